"""Drift: what is on record of a connection and is not so any more; rows of table ``connections``.

A row of its own beside the connection, outside of every operation's transaction, so that a sweep disturbs
nothing. There is one for each kind of slice that looks at a connection; both are shown as one.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping
from datetime import datetime
from types import MappingProxyType

from pydantic import Field

from shared.errors import UnreadableRowError
from shared.models import ConnectionId
from shared.ports import Remove, Row, StateStore, Upsert
from shared.rows import columns, parse
from shared.spec import Model

TABLE = "connections"
KEY_FROM, KEY_TO = "k|drift|", "k|drift}"
PARTS = ("cluster", "subscription")
"""Kinds of slices that look at connections; each has a row of its own."""

KINDS: Mapping[str, str] = MappingProxyType(
    {
        "object-missing": "A service account, or the object with the settings, of the connection is gone.",
        "object-replaced": "Another object of that name stands there: its uid is not the one on record.",
        "object-edited": "A label or annotation of ours was changed or removed.",
        "values-edited": "A value of the settings is not the one that was written.",
        "role-missing": "A role assignment of the connection is gone, or its native role or access policy.",
        "role-stale": "One to an earlier identity, which is gone, is still there.",
        "target-missing": "The target of a living Service Connector connection is not listed any more.",
        "identity-missing": "The identity of a living Service Connector connection is not listed any more.",
        "namespace-missing": "The namespace of a living Service Connector connection is gone.",
    },
)
"""Every kind with one line for people."""
REPAIRABLE = frozenset({"object-missing", "object-edited", "values-edited", "role-missing"})
"""What a repair mends. An object that was replaced is somebody else's, and is left to them."""


class Drifted(Model):
    """One thing that is not as it was written."""

    kind: str
    thing: str
    """What it is, for people: ``Secret shop/sc-orders-secret``."""
    detail: str = ""
    mark: str = ""
    """Tells one state of the thing from another: uids and versions, no values."""


class Drift(Model):
    """What a slice of one kind found of a connection."""

    generation: int
    found: tuple[Drifted, ...] = ()
    checked: Mapping[str, str] = Field(default_factory=dict)
    """Versions of things whose values were read and found right, so that they are not read again."""
    first_seen_at: datetime
    last_seen_at: datetime
    sweep: str


class Drifts:
    """The drift rows."""

    def __init__(self, store: StateStore) -> None:
        self._store = store

    async def of(self, connection_id: ConnectionId) -> dict[str, Drift]:
        """What is known of a connection, by the kind of slice that found it."""
        rows = await self._store.query(TABLE, connection_id, key_from=KEY_FROM, key_to=KEY_TO)
        return read(rows)

    async def all(self, *, page: int = 1000) -> dict[ConnectionId, dict[str, Drift]]:
        """Every connection of which a slice found something, by the kind of slice; reads all drift rows.

        A row that another version wrote is left out: the next sweep writes it again.
        """
        found: dict[ConnectionId, dict[str, Drift]] = {}
        for part in PARTS:
            after = ""
            while rows := await self._store.scan(TABLE, key=f"{KEY_FROM}{part}", limit=page, after=after):
                after = rows[-1].partition
                for row in rows:
                    with contextlib.suppress(UnreadableRowError):
                        if (value := parse(Drift, row)).found:
                            found.setdefault(ConnectionId(row.partition), {})[part] = value
        return found

    async def save(
        self, connection_id: ConnectionId, part: str, drift: Drift | None, *, known: Drift | None
    ) -> None:
        """Keep what a slice found; ``None`` keeps nothing. What is right and known is not written again."""
        if drift is None:
            if known is not None:
                await self._store.transact(TABLE, connection_id, [Remove(key=f"{KEY_FROM}{part}")])
            return
        if known is not None and known.found == drift.found and known.generation == drift.generation:
            drift = drift.model_copy(update={"first_seen_at": known.first_seen_at})
            if not drift.found and known.checked == drift.checked:
                return
        values = columns(drift, found=len(drift.found), sweep=drift.sweep)
        await self._store.transact(TABLE, connection_id, [Upsert(key=f"{KEY_FROM}{part}", columns=values)])


def read(rows: Iterable[Row]) -> dict[str, Drift]:
    """Drift rows by the kind of slice that wrote them."""
    return {row.key.removeprefix(KEY_FROM): parse(Drift, row) for row in rows}


def shown(parts: Mapping[str, Drift], *, generation: int) -> dict[str, object] | None:
    """What HTTP answers show of a connection's present life; ``None`` if all is as it was written."""
    present = [one for one in parts.values() if one.found and one.generation == generation]
    if not present:
        return None
    return {
        "firstSeenAt": min(one.first_seen_at for one in present).isoformat(timespec="milliseconds"),
        "lastSeenAt": max(one.last_seen_at for one in present).isoformat(timespec="milliseconds"),
        "found": [
            {"kind": item.kind, "thing": item.thing, "detail": item.detail or None}
            for one in present
            for item in one.found
        ],
    }
