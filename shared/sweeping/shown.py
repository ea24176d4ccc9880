"""What HTTP answers show of sweeps: plain JSON, camelCase."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from shared.sweeping.sweeps import Slice, Sweep, totals


def sweep(value: Sweep, slices: Iterable[Slice] = (), *, base_url: str) -> dict[str, Any]:
    """One sweep with its slices; while it runs, the totals are those so far."""
    parts = list(slices)
    counts, calls = (value.totals, value.calls) if value.state.final or not parts else totals(parts)
    return {
        **listed(value, base_url=base_url),
        "totals": grouped(counts),
        "calls": dict(calls),
        "open": sum(one.ended_at is None for one in parts),
        "details": _details(parts),
        "slices": [_slice(one) for one in parts],
    }


def listed(value: Sweep, *, base_url: str) -> dict[str, Any]:
    """One sweep of a list."""
    return {
        "id": value.sweep_id,
        "url": f"{base_url}/sweeps/{value.sweep_id}",
        "state": value.state.value,
        "askedBy": value.asked_by,
        "startedAt": _instant(value.started_at),
        "endedAt": _instant(value.ended_at),
        "sliceCount": value.slices,
        "totals": grouped(value.totals),
        "calls": dict(value.calls),
    }


def grouped(counts: Mapping[str, int]) -> dict[str, Any]:
    """Counts whose names have dots as objects: ``orphans.secret.new`` is ``{"orphans": {"secret": ...}}``."""
    found: dict[str, Any] = {}
    for name, number in sorted(counts.items()):
        place = found
        *groups, last = name.split(".")
        for group in groups:
            place = place.setdefault(group, {})
        place[last] = number
    return found


def _details(parts: Iterable[Slice]) -> dict[str, int]:
    """How many slices say each thing that kept them from looking at everything."""
    found: dict[str, int] = {}
    for one in parts:
        for code in one.details:
            found[code] = found.get(code, 0) + 1
    return dict(sorted(found.items()))


def _slice(one: Slice) -> dict[str, Any]:
    return {
        "id": one.slice_id,
        "kind": one.kind,
        "what": one.what or None,
        "state": one.state.value,
        "details": list(one.details),
        "counts": grouped(one.counts),
        "calls": dict(one.calls),
        "messages": one.messages,
        "dueAt": _instant(one.due_at),
        "startedAt": _instant(one.started_at),
        "endedAt": _instant(one.ended_at),
    }


def _instant(value: datetime | None) -> str | None:
    return value.isoformat(timespec="milliseconds") if value else None
