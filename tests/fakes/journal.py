"""A note of every port call, and a place to break them: crashes, lost answers, faults.

``Recorded(port, "identities", journal)`` stands in front of any port. A rule decides per call what to raise
before or after the real call; raising after is a crash whose effect has happened.
"""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable
from typing import Any


@dataclasses.dataclass(frozen=True, slots=True)
class Call:
    """One call: ``name`` is ``port.method``, ``number`` counts from 1 over all ports."""

    number: int
    name: str
    arguments: tuple[Any, ...]
    options: dict[str, Any]


Rule = Callable[[Call], BaseException | None]


class Journal:
    """All calls so far, and what to break."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.before: Rule | None = None
        self.after: Rule | None = None
        self.watch: Callable[[Call], None] | None = None
        """Sees each call in the moment before it takes effect."""

    def names(self) -> list[str]:
        """Names of all calls in order."""
        return [call.name for call in self.calls]


class Recorded:
    """A port whose coroutine methods are noted and may be broken; all else passes through."""

    def __init__(self, port: Any, name: str, journal: Journal) -> None:
        self._port = port
        self._name = name
        self._journal = journal

    def __getattr__(self, attribute: str) -> Any:
        inner = getattr(self._port, attribute)
        if not inspect.iscoroutinefunction(inner):
            return inner

        async def recorded(*arguments: Any, **options: Any) -> Any:
            journal = self._journal
            call = Call(len(journal.calls) + 1, f"{self._name}.{attribute}", arguments, options)
            journal.calls.append(call)
            broken = journal.before(call) if journal.before else None
            if broken is not None:
                raise broken
            if journal.watch:
                journal.watch(call)
            result = await inner(*arguments, **options)
            broken = journal.after(call) if journal.after else None
            if broken is not None:
                raise broken
            return result

        return recorded
