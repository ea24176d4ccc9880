"""What a run tells people: a readable trace, and the matrix of calls and faults."""

from __future__ import annotations

import collections
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from shared.errors import MooringError
from shared.ports import Change, Remove
from tests.simulation.faults import CELLS, WORLD_FAULTS
from tests.simulation.ports import Entry

_WIDTH = 150


def lines(trace: Iterable[Entry]) -> Iterator[str]:
    """The trace, a line an entry; equal runs give equal lines."""
    for at, host, label, what, arguments, options, end in trace:
        if not label:
            yield f"{at:10.3f} {host:9} *** {what}"
            continue
        given = ", ".join(
            [*(_short(one) for one in arguments), *(f"{k}={_short(v)}" for k, v in options.items())]
        )
        yield f"{at:10.3f} {host:9} {label:34} {what}({given[:_WIDTH]}) = {_short(end)[:_WIDTH]}"


def _short(value: Any) -> str:
    if isinstance(value, MooringError):
        return f"{type(value).__name__} {value}"
    if isinstance(value, Change):
        body = "" if isinstance(value, Remove) else _columns(value.columns)
        return f"{type(value).__name__} {value.key} {body}"
    if isinstance(value, list | tuple) and value and hasattr(value[0], "etag"):
        return f"{len(value)} rows"
    if isinstance(value, list | tuple):
        return f"[{'; '.join(_short(one) for one in value)}]"
    if hasattr(value, "etag"):
        return _columns(getattr(value, "columns", {}))
    text = str(value)
    return text.rsplit("/", 1)[-1] if text.startswith("/subscriptions/") else text


def _columns(columns: Mapping[str, Any]) -> str:
    return " ".join(
        f"{name}={value}" for name, value in columns.items() if name not in {"schema", "body"} and value
    )


def empty_cells(struck: Mapping[tuple[str, str], int]) -> list[tuple[str, str]]:
    """Cells that no seed has reached."""
    wanted = [(method, cell.name) for method, cells in CELLS.items() for cell in cells]
    wanted += [(method, code) for code, method in WORLD_FAULTS.items()]
    return [cell for cell in wanted if not struck.get(cell)]


def matrix(struck: Mapping[tuple[str, str], int]) -> str:
    """Calls down, faults across; a dot where a call cannot meet a fault."""
    names = list(dict.fromkeys(cell.name for cells in CELLS.values() for cell in cells))
    names += [name for name in WORLD_FAULTS if name not in names]
    width = max(map(len, CELLS))
    rows = [" " * width + "".join(f" {_head(name):>7}" for name in names)]
    for method in CELLS:
        possible = {cell.name for cell in CELLS[method]}
        possible |= {code for code, where in WORLD_FAULTS.items() if where == method}
        cells = [str(struck.get((method, name), 0)) if name in possible else "." for name in names]
        rows.append(f"{method:{width}}" + "".join(f" {cell:>7}" for cell in cells))
    keys = [f"{_head(name)} = {name}" for name in names if _head(name) != name]
    return "\n".join([*rows, "", "; ".join(keys)])


def _head(name: str) -> str:
    if len(name) <= 7:
        return name
    parts = name.replace("RoleAssignment", "Role-").split("-")
    return "-".join(part[:3] for part in parts)[:7]


def total(counters: Iterable[Mapping[Any, int]]) -> collections.Counter[Any]:
    """All counts together."""
    summed: collections.Counter[Any] = collections.Counter()
    for counter in counters:
        summed.update(counter)
    return summed
