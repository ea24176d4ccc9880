"""What the timer measures of everything on record: connections, orphans, and how old the last sweep is."""

from __future__ import annotations

import collections
import dataclasses
from datetime import timedelta

from shared.orphans import Orphans
from shared.ports import Clock, StateStore, Telemetry
from shared.state import CONNECTION_KEY, CONNECTIONS
from shared.sweeping.sweeps import Sweeps, SweepState

PAGE = 1000
PAGES = 20
"""Connections beyond 20,000 are not counted."""
EVERY_MINUTES = 15
LOOK_BACK = timedelta(days=2)
SWEEPS = 200


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Census:
    """Counts what is on record."""

    store: StateStore
    orphans: Orphans
    sweeps: Sweeps
    clock: Clock
    telemetry: Telemetry

    async def sweep_age_seconds(self) -> float | None:
        """Seconds since the end of the last sweep that came to one; ``None`` if there was no sweep yet.

        Where none came to an end in two days, since the oldest of these two days began.
        """
        current = await self.sweeps.current()
        if current is None:
            return None
        now, newest = current.read_at, current.value
        known = [newest]
        if newest.state is not SweepState.DONE:
            known += await self.sweeps.newest(since=now - LOOK_BACK, limit=SWEEPS)
        done = [sweep.ended_at for sweep in known if sweep.state is SweepState.DONE and sweep.ended_at]
        since = max(done, default=None) or min(sweep.started_at for sweep in known)
        return max(0.0, (now - since).total_seconds())

    async def tell(self) -> float | None:
        """Measure; what takes a look at all rows only every quarter of an hour. Returns the sweep's age."""
        age_seconds = await self.sweep_age_seconds()
        if age_seconds is not None:
            self.telemetry.measure("sweep_age_seconds", age_seconds)
        if self.clock.now().minute % EVERY_MINUTES == 0:
            for state, number in (await self._connections()).items():
                self.telemetry.measure("connections", number, state=state)
            for (kind, state), number in (await self._orphans()).items():
                self.telemetry.measure("orphans", number, kind=kind, state=state)
        return age_seconds

    async def _connections(self) -> collections.Counter[str]:
        """By state. Columns are read and no row's body, so that a newer version's rows count too."""
        found: collections.Counter[str] = collections.Counter()
        after = ""
        for _ in range(PAGES):
            rows = await self.store.scan(CONNECTIONS, key=CONNECTION_KEY, limit=PAGE, after=after)
            found.update(str(row.columns.get("state", "")) for row in rows)
            if len(rows) < PAGE:
                break
            after = rows[-1].partition
        return found

    async def _orphans(self) -> collections.Counter[tuple[str, str]]:
        """By kind, and whether somebody has asked for a prune."""
        return collections.Counter(
            (one.kind.value, "pruning" if one.prune else "found") for one in await self.orphans.list()
        )
