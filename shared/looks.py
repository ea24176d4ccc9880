"""Looks at what a wanted connection depends on: each has its bound, and its finding."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from shared.errors import NotYetError, PermanentError, TransientError
from shared.models import Finding
from shared.steps.base import found

LOOK_SECONDS = 10.0
"""Longest that one look may take; at most four follow each other."""
NAMES = (
    "target-exists",
    "providers-registered",
    "cluster-exists",
    "cluster-running",
    "cluster-takes-entra",
    "issuer-on",
    "workload-identity-on",
    "namespace-exists",
    "name-free",
    "linker-name-free",
    "secret-free",
    "service-account-free",
    "identity-usable",
    "credential-budget",
)
"""Every finding, in the order in which they are shown."""
OF_IDENTITY = frozenset(
    {"issuer-on", "workload-identity-on", "service-account-free", "identity-usable", "credential-budget"}
)
"""Findings of which a connection by a key has none."""


class Looks:
    """Findings of looks, each of which has its bound."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._found: dict[str, Finding] = {}

    async def take[T](self, name: str, work: Awaitable[T]) -> T | None:
        """What a look saw; ``None`` if it failed, which is a finding then."""
        try:
            async with asyncio.timeout(self._seconds):
                seen = await work
        except PermanentError as error:
            self.say(found(name, ok=False, detail=str(error), remedy=error.remedy))
        except TransientError as error:
            self.say(Finding(name=name, result="unknown", detail=str(error), remedy="ask again"))
        except TimeoutError:
            detail = f"no answer within {self._seconds:g} s"
            self.say(Finding(name=name, result="unknown", detail=detail, remedy="ask again"))
        else:
            self._found.setdefault(name, found(name, ok=True))
            return seen
        return None

    def hold(self, name: str, rule: Callable[[], None], detail: str = "") -> bool:
        """Say whether a rule of the steps holds."""
        try:
            rule()
        except NotYetError as waits:
            self.say(Finding(name=name, result="warning", detail=str(waits), remedy="a create waits for it"))
        except PermanentError as error:
            self.say(found(name, ok=False, detail=str(error), remedy=error.remedy))
        else:
            self.say(found(name, ok=True, detail=detail))
            return True
        return False

    def say(self, finding: Finding) -> None:
        """Keep one finding, in the place of an earlier one of its name."""
        self._found[finding.name] = finding

    def good(self, name: str) -> bool:
        """Say whether a finding is there, and fine."""
        return name in self._found and self._found[name].result == "ok"

    def keep[T](self, name: str, value: T) -> T:
        """A value that needs no look: its finding is fine."""
        self.say(found(name, ok=True))
        return value

    def told(
        self, reason: str, *, conditions: Sequence[str] = (), by_identity: bool = True
    ) -> tuple[Finding, ...]:
        """Every finding in order; what was not looked at is unknown for that reason.

        Args:
            reason: why something was not looked at.
            conditions: findings of what the target's row requires, which follow the target's own.
            by_identity: whether the connection has an identity.
        """
        names = [NAMES[0], *dict.fromkeys(conditions), *NAMES[1:]]
        return tuple(
            self._found.get(name, Finding(name=name, result="unknown", detail=f"not looked at: {reason}"))
            for name in names
            if by_identity or name not in OF_IDENTITY
        )
