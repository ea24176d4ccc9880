"""How values become table rows and back: one JSON column, and a few columns for people to read.

Table storage has no types worth the trouble; the model itself is kept as JSON in ``body`` and is
validated when read. ``schema`` stands on every row so that a later version can tell old ones.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from pydantic import ValidationError

from shared.errors import UnreadableRowError
from shared.ports import Columns, Row
from shared.spec import Model

SCHEMA = 1
TABLES = (
    "connections",
    "requests",
    "openoperations",
    "dependents",
    "users",
    "linkers",
    "subscriptions",
    "prunes",
    "orphans",
    "sweeps",
)


def columns(value: Model, **readable: str | int | bool) -> Columns:
    """Columns of a value; ``readable`` ones are for people and queries, ``body`` is what is read back."""
    return {"schema": SCHEMA, "body": value.model_dump_json(), **readable}


def parse[M: Model](model: type[M], row: Row) -> M:
    """The value of a row.

    Raises:
        UnreadableRowError: the row does not hold such a value; it names the fields at fault, and no value.
    """
    try:
        return model.model_validate_json(str(row.columns.get("body", "")))
    except ValidationError as error:
        faults = sorted(
            {".".join(map(str, one["loc"])) or "body" for one in error.errors(include_input=False)}
        )
    raise UnreadableRowError(f"{model.__name__}: {', '.join(faults)[:200]}")


class Listed[M](list[M]):
    """Values of a list, and in ``unreadable`` the keys of rows that this version does not understand.

    One row that another version or a person has written must not hide the others.
    """

    unreadable: tuple[str, ...] = ()
    """``<partition>/<key>`` of each row that was left out."""


def parse_all[M: Model](model: type[M], rows: Iterable[Row]) -> Listed[M]:
    """The values of rows that are only shown; what cannot be read is named and left out."""
    found: Listed[M] = Listed()
    unreadable: list[str] = []
    for row in rows:
        try:
            found.append(parse(model, row))
        except UnreadableRowError:
            unreadable.append(f"{row.partition}/{row.key}")
    found.unreadable = tuple(unreadable)
    return found


def key_hash(text: str) -> str:
    """A key part for text that may hold characters which table keys refuse (slashes, hash, question mark)."""
    return hashlib.sha256(text.encode()).hexdigest()[:32]
