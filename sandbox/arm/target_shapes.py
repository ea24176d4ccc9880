"""What a target's service adds to the resource as posted: endpoints, ports, states, as data."""

from __future__ import annotations

import dataclasses
import functools
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_PLACE = re.compile(r"\{(\w+)\}")


@dataclasses.dataclass(frozen=True, slots=True)
class TargetShape:
    """Read-only properties of one resource type, with ``{name}``, ``{location}`` and ``{subscription}``."""

    type: str
    kind: str
    """Kind of a resource that is posted without one; empty if the type has none."""
    common: Mapping[str, Any]
    by_kind: Mapping[str, Mapping[str, Any]]
    """Properties that differ from the common ones, by kind."""

    def properties(self, kind: str, names: Mapping[str, str]) -> dict[str, Any]:
        """The properties of one resource."""
        filled: dict[str, Any] = fill({**self.common, **self.by_kind.get(kind, {})}, names)
        return filled


@functools.cache
def target_shapes() -> tuple[TargetShape, ...]:
    """The shapes of ``target_shapes.json``."""
    rows = json.loads(Path(__file__).with_suffix(".json").read_text())
    return tuple(
        TargetShape(name, row.get("kind", ""), row["properties"], row.get("kinds", {}))
        for name, row in rows.items()
    )


def fill(value: Any, names: Mapping[str, str]) -> Any:
    """A value with the placeholders of all its texts filled in."""
    if isinstance(value, dict):
        return {key: fill(one, names) for key, one in value.items()}
    if isinstance(value, list):
        return [fill(one, names) for one in value]
    if isinstance(value, str):
        return _PLACE.sub(lambda place: names[place[1]], value)
    return value
