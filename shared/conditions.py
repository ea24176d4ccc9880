"""What Azure's answer of a target must say before anything is made for it; rows of ``catalogue.json``.

A condition that is not met refuses the connection (``code``), makes it wait (``waits``), or is said and
hinders nothing (neither). One that hinders nothing may have failed all the same: a firewall that lets nobody
in may be opened after the connection was made.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from shared import templates
from shared.facts import at


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """One condition on the answer of the GET of a target."""

    finding: str
    """Name of its line in a validation."""
    paths: tuple[str, ...]
    """Places in the answer that are looked at, dots between names; what is not there is an empty text."""
    expected: frozenset[str]
    """Folded values that are fine; empty: all but the refused ones."""
    refused: frozenset[str]
    """Folded values that are not fine."""
    code: str
    """What a create ends with that meets it unmet; empty if none does."""
    waits: str
    """What a create waits for that meets it unmet; empty if none does."""
    of_parent: bool
    """It looks at the answer of the resource above the target."""
    detail: str
    """Template, with ``{value}`` and the names of the target's id."""
    remedy: str
    """Template of the command that mends it, with the same, ``{id}`` and ``{parent}``."""
    ways: Mapping[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)
    """By folded value: places in the answer with lists of ways around it, such as private endpoints. A value
    that stands here has failed if all its lists are empty."""

    @property
    def hinders(self) -> bool:
        """No connection is made while it is not met."""
        return bool(self.code or self.waits)

    def unmet(self, answer: Mapping[str, Any]) -> str | None:
        """What the answer says that it must not say, empty if it says nothing; ``None`` if all is well."""
        for path in self.paths:
            value = at(answer, path)
            text = "" if value is None else str(value)
            folded = text.lower()
            if folded in self.refused or (self.expected and folded not in self.expected):
                return text
        return None

    def failed(self, value: str, answer: Mapping[str, Any]) -> bool:
        """Say whether what is not met is wrong for sure, and not only perhaps.

        Args:
            value: what ``unmet`` found.
            answer: of the GET.
        """
        if self.hinders:
            return True
        ways = self.ways.get(value.lower())
        return ways is not None and not any(_open(entry) for way in ways for entry in at(answer, way) or ())

    def told(self, value: str, names: Mapping[str, str]) -> tuple[str, str]:
        """Detail and remedy for a value that is not as it must be.

        Args:
            value: what ``unmet`` found.
            names: of the target's id, ``id`` and ``parent``.
        """
        known = {**names, "value": value or "nothing"}
        return templates.fill(self.detail, known), templates.fill(self.remedy, known)


def _open(way: Any) -> bool:
    """Say whether a way in is one: a private endpoint has to be approved first."""
    status = at(way, "properties.privateLinkServiceConnectionState.status")
    return status in {None, "Approved"}
