"""What one run of a slice has done so far: where it stands, what it counted, what it asked, how long it may.

Mutable, and alive for one run. A run that fails or dies is done again from the cursor, and counts again what
it had counted behind it, so only what was counted up to the cursor is kept: nothing is counted twice.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from datetime import datetime

from shared.ports import Clock
from shared.sweeping.sweeps import Sweep

AT_ONCE = 8
"""Connections that one run looks at side by side."""


@dataclasses.dataclass(slots=True, kw_only=True)
class Ledger:
    """One run of one slice."""

    sweep: Sweep
    slice_id: str
    what: str
    cursor: str
    """``<stage>:<key>``; where to go on, empty at first. Moved by ``move``."""
    until: datetime
    """No new page is begun after that."""
    clock: Clock
    counts: Counter[str] = dataclasses.field(default_factory=Counter)
    calls: Counter[str] = dataclasses.field(default_factory=Counter)
    last_try: bool = False
    """If this run fails where it begins, the slice ends."""
    first: bool = True
    """This run begins the slice; what is listed by each run anew is counted by the first alone."""
    details: dict[str, None] = dataclasses.field(default_factory=dict)
    counted: dict[str, int] = dataclasses.field(default_factory=dict)
    """The counts as they were when the cursor last moved."""

    def move(self, stage: str, key: str = "") -> None:
        """Go on behind a key of a stage if this run ends here: all up to it is done."""
        self.cursor = f"{stage}:{key}"
        self.counted = dict(self.counts)

    def count(self, name: str, number: int = 1) -> None:
        """Count something that was found or done; dots make groups, such as ``prunes.target``."""
        if number:
            self.counts[name] += number

    def count_once(self, name: str, number: int = 1) -> None:
        """Count something that every run of the slice sees."""
        if self.first:
            self.count(name, number)

    def note(self, code: str) -> None:
        """Say what kept this slice from looking at everything; once."""
        self.details.setdefault(code)

    def over(self) -> bool:
        """Say whether the time is up."""
        return self.clock.now() >= self.until

    async def arm[T](self, call: Awaitable[T]) -> T:
        """Make a call to Resource Manager; a list counts once, whatever its pages."""
        self.calls["arm"] += 1
        return await call

    async def kubernetes[T](self, call: Awaitable[T]) -> T:
        """Make a call to a cluster's API server."""
        self.calls["kubernetes"] += 1
        return await call

    def stage(self, stages: Iterable[str]) -> tuple[list[str], str]:
        """The stages that are left, the present one first, and the key behind which that one goes on."""
        name, _, after = self.cursor.partition(":")
        left = list(stages)
        return (left[left.index(name) :] if name in left else left), after


async def side_by_side[T](work: Callable[[T], Awaitable[None]], items: Iterable[T]) -> None:
    """Do some things at a time; the first failure is raised once those under way have ended."""
    turns = asyncio.Semaphore(AT_ONCE)

    async def one(item: T) -> None:
        async with turns:
            await work(item)

    results = await asyncio.gather(*(one(item) for item in items), return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result
