"""Begins sweeps, one at a time, and sees to it that they come to an end."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta

from shared import naming
from shared.errors import PermanentError, StateConflictError
from shared.inventory import Inventory
from shared.logs import bind
from shared.policy import Policy
from shared.ports import Clock
from shared.state import Stored
from shared.sweeping import scope
from shared.sweeping.slices import Slices
from shared.sweeping.sweeps import (
    Slice,
    SliceState,
    Sweep,
    Sweeps,
    SweepState,
    lease_left_seconds,
    too_old,
)

OVERDUE_SECONDS = 120.0
"""A slice that was announced and that nobody took after so long is announced again."""
TRIES = 4


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Sweeper:
    """Begins and tends sweeps."""

    sweeps: Sweeps
    slices: Slices
    inventory: Inventory
    load_policy: Callable[[], Policy]
    subscription_ids: frozenset[str]
    limit_seconds: float
    """A sweep older than this is given up for a new one."""
    overdue_seconds: float
    clock: Clock
    logger: logging.Logger
    cuts: Mapping[str, Callable[[Sweep], Awaitable[list[Slice]]]] = dataclasses.field(default_factory=dict)
    """How a sweep is cut that was asked for by other than timer or request, such as a recovery."""

    async def start(self, *, asked_by: str) -> tuple[Sweep, bool]:
        """Begin a sweep, unless one is under way.

        Returns:
            The sweep, and whether it was begun by this call.

        Raises:
            StateConflictError: others begin and end sweeps all the time (transient).
        """
        for _ in range(TRIES):
            current = await self.sweeps.current()
            under_way = current is not None and not current.value.state.final
            given_up = current is not None and under_way and too_old(current, self.limit_seconds)
            if current is not None and under_way and not given_up:
                await self.tend()
                return current.value, False
            now = current.read_at if current else self.clock.now()
            try:
                sweep = await self.sweeps.begin(
                    now=now,
                    asked_by=asked_by,
                    instead_of=current,
                    abandon_at=now if given_up else None,
                )
            except StateConflictError:
                continue
            bind(self.logger).info("sweep-begun", extra={"sweep": sweep.sweep_id, "asked_by": asked_by})
            stored = await self.sweeps.get(sweep.sweep_id)
            return (await self._cut(stored) if stored else sweep), True
        raise StateConflictError("beginning a sweep")

    async def tend(self) -> int:
        """Announce again what stands still, end what has ended; called by the timer.

        Returns:
            How many slices were announced.
        """
        current = await self.sweeps.current()
        if current is None or current.value.state.final:
            return 0
        if current.value.state is SweepState.STARTING:
            sweep = await self._cut(current)
            return sweep.slices
        announced = 0
        for stored in await self.sweeps.slices(current.value.sweep_id):
            if self._stands_still(stored):
                await self.slices.announce(stored.value)
                announced += 1
        if not announced:
            await self.slices.end_if_done(current.value.sweep_id)
        return announced

    def _stands_still(self, stored: Stored[Slice]) -> bool:
        """Say whether a slice's message got lost, or its host died."""
        one = stored.value
        if one.state is SliceState.DONE or lease_left_seconds(stored) > 0:
            return False
        if one.state is SliceState.RUNNING:
            return True
        due_at = max(one.due_at or stored.written_at, stored.written_at)
        return due_at + timedelta(seconds=self.overdue_seconds) <= stored.read_at

    async def _cut(self, stored: Stored[Sweep]) -> Sweep:
        """Write and announce the slices of a sweep that is starting; done again after a crash."""
        sweep = stored.value
        slices = await self._slices_of(sweep)
        try:
            await self.sweeps.add(slices)
            running = sweep.model_copy(update={"state": SweepState.RUNNING, "slices": len(slices)})
            await self.sweeps.save(stored, running)
        except StateConflictError:
            # Somebody else cuts it too; what they announce is the same.
            return sweep
        for one in slices:
            await self.slices.announce(one)
        return running

    async def _slices_of(self, sweep: Sweep) -> list[Slice]:
        cut = self.cuts.get(sweep.asked_by)
        if cut is not None:
            return await cut(sweep)
        try:
            policy: Policy | None = self.load_policy()
        except PermanentError:
            policy = None  # each slice of a cluster says so
        found = [
            _slice(sweep, "cluster", cluster_id)
            for cluster_id in scope.clusters(await self.inventory.clusters(), policy)
            if naming.subscription_of(cluster_id) in self.subscription_ids
        ]
        found += [_slice(sweep, "subscription", one) for one in sorted(self.subscription_ids)]
        return [*found, _slice(sweep, "housekeeping", "")]


def _slice(sweep: Sweep, kind: str, what: str) -> Slice:
    name = f"{kind}-{naming.digest([naming.fold_id(what)], 12)}" if what else kind
    return Slice(sweep_id=sweep.sweep_id, slice_id=name, kind=kind, what=what)
