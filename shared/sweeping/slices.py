"""Runs one slice once: claim, look for as long as time allows, save where it stands, announce what is next.

The message is a nudge and the row is the truth, as with steps: a duplicate finds the slice taken, a stale one
another turn, a late one the sweep ended. A run that dies leaves the cursor where it was; what it opened until
then is recognised by its key and opened once. Every exception of a run is caught, as the engine does.
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import uuid
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Protocol

from shared import naming
from shared.errors import MooringError, PermanentError, StateConflictError, TransientError
from shared.limits import Limits
from shared.logs import bind
from shared.ports import SILENCE, Clock, StepQueue, Telemetry
from shared.retry import QUEUE_DELAY_LIMIT_SECONDS, patience
from shared.state import Stored
from shared.sweeping import slice_log
from shared.sweeping.ledger import Ledger
from shared.sweeping.sweeps import (
    Slice,
    SliceMessage,
    SliceState,
    Sweep,
    Sweeps,
    SweepState,
    lease_left_seconds,
    message_of,
    totals,
)
from shared.throttling import THROTTLED

TRIES = 5
"""Runs that fail or die at the same cursor before the slice ends with what kept it."""
RETRY_SECONDS = 20.0
"""Before the second try; doubled each time."""
THROTTLED_SECONDS = 60.0
"""Where Azure asks for patience and does not say for how long."""
EARLY_SECONDS = 1.5
DIED = "host-crash"


class Worker(Protocol):
    """Looks at one kind of slice."""

    async def work(self, ledger: Ledger) -> bool:
        """Look at as much as time allows; False if there is more to do."""
        ...


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Slices:
    """Carries out slices."""

    sweeps: Sweeps
    queue: StepQueue
    limits: Limits
    clock: Clock
    workers: Mapping[str, Worker]
    """By kind of slice."""
    slice_seconds: float
    deadline_seconds: float
    lease_seconds: int
    retry_scale: float
    logger: logging.Logger
    telemetry: Telemetry = SILENCE

    async def run_one(self, message: SliceMessage) -> str:
        """Carry out what one message asks for, if it still stands; returns what became of it.

        Raises:
            TransientError: the state store or the queue failed: the host delivers the message again.
        """
        sweep, stored = await self._load(message)
        if sweep is None or stored is None:
            return "unknown"
        dropped = await self._dropped(sweep.value, stored, message)
        if dropped:
            return dropped
        try:
            return await self._run(sweep.value, await self._claim(stored))
        except StateConflictError:
            return "lost"

    async def poisoned(self, message: SliceMessage) -> str:
        """A slice's message crashed its host over and over: the slice ends and says so."""
        sweep, stored = await self._load(message)
        if sweep is None or stored is None or sweep.value.state.final:
            return "ended"
        current = stored.value.turn == message.turn and stored.value.state is not SliceState.DONE
        if not current or lease_left_seconds(stored) > 0:
            return "stale"
        await self._end(stored, stored.value, stored.read_at, DIED)
        return "failed"

    async def _load(self, message: SliceMessage) -> tuple[Stored[Sweep] | None, Stored[Slice] | None]:
        sweep = await self.sweeps.get(message.sweep)
        return sweep, await self.sweeps.slice(message.sweep, message.slice) if sweep else None

    async def _dropped(self, sweep: Sweep, stored: Stored[Slice], message: SliceMessage) -> str:
        """Why a message is not to be acted on, empty if it is."""
        if sweep.state.final:
            return "ended"
        if stored.value.state is SliceState.DONE:
            await self.end_if_done(sweep.sweep_id)
            return "ended"
        if stored.value.turn != message.turn:
            return "stale"
        if lease_left_seconds(stored) > 0:
            return "taken"
        due_at = stored.value.due_at
        early_seconds = (due_at - stored.read_at).total_seconds() if due_at else 0.0
        if early_seconds > EARLY_SECONDS:
            await self._announce(stored.value, early_seconds)
            return "early"
        return ""

    async def _claim(self, stored: Stored[Slice]) -> Stored[Slice]:
        """Take the slice for this run. One that still says running was left by a run that died."""
        present = stored.value
        taken = present.model_copy(
            update={
                "state": SliceState.RUNNING,
                "holder": uuid.uuid4().hex,
                "lease_seconds": self.lease_seconds,
                "due_at": None,
                "tries": present.tries + (present.state is SliceState.RUNNING),
                "started_at": present.started_at or stored.read_at,
                "messages": present.messages + 1,
            },
        )
        return await self.sweeps.replace(stored, taken)

    async def _run(self, sweep: Sweep, stored: Stored[Slice]) -> str:
        taken = stored.value
        if taken.tries >= TRIES:
            return await self._end(stored, taken, stored.read_at, DIED)
        throttled_seconds = await self._throttled_seconds(taken, stored.read_at)
        if throttled_seconds > 0:
            return await self._later(stored, taken, throttled_seconds, stored.read_at)
        started_at = self.clock.now()
        ledger = Ledger(
            sweep=sweep,
            slice_id=taken.slice_id,
            what=taken.what,
            cursor=taken.cursor,
            until=started_at + timedelta(seconds=self.slice_seconds),
            clock=self.clock,
            last_try=taken.tries + 1 >= TRIES,
            first=not taken.cursor,
        )
        error: MooringError | None = None
        finished = False
        try:
            with self.telemetry.span(f"sweep {taken.kind}", of=sweep.sweep_id, fields=_told(taken)):
                async with asyncio.timeout(self.deadline_seconds):
                    finished = await self.workers[taken.kind].work(ledger)
        except MooringError as failure:
            error = failure
        except TimeoutError:
            error = TransientError("step-deadline", f"no end after {self.deadline_seconds:g} s")
        except Exception as failure:  # noqa: BLE001 - as in the engine: whatever was not foreseen is retried, capped
            error = slice_log.unexpected(self.logger, taken, failure)
        now = stored.read_at + (self.clock.now() - started_at)
        counted = _counted(taken, ledger, ledger.counted if error else ledger.counts)
        slice_log.ran(self.logger, taken, ledger, error, done=finished)
        if error is None:
            if finished:
                return await self._end(stored, counted, now)
            return await self._later(stored, counted, 0.0, now)
        if error.code == THROTTLED:
            return await self._spare(stored, counted, error, now)
        tries = (0 if counted.cursor != taken.cursor else taken.tries) + 1
        if isinstance(error, PermanentError) or tries >= TRIES:
            return await self._end(stored, counted, now, error.code)
        delay_seconds = RETRY_SECONDS * 2 ** (tries - 1) * self.retry_scale
        again = counted.model_copy(update={"tries": tries})
        return await self._later(stored, again, max(delay_seconds, _asked_seconds(error)), now)

    async def _throttled_seconds(self, taken: Slice, now: datetime) -> float:
        subscription = _subscription_of(taken)
        until = await self.limits.throttled_until(subscription) if subscription else None
        return (until - now).total_seconds() if until else 0.0

    async def _spare(self, stored: Stored[Slice], counted: Slice, error: MooringError, now: datetime) -> str:
        """Azure asks for patience: everybody leaves the subscription alone for so long; no try is used up."""
        seconds = _asked_seconds(error, otherwise=THROTTLED_SECONDS)
        subscription = _subscription_of(counted)
        if subscription:
            await self.limits.throttle(subscription, not_before=now + timedelta(seconds=seconds))
        return await self._later(stored, counted, seconds, now)

    async def _later(self, stored: Stored[Slice], one: Slice, seconds: float, now: datetime) -> str:
        """Go on in a new message."""
        waits = one.model_copy(
            update={
                "state": SliceState.WAITING if seconds else SliceState.PENDING,
                "holder": "",
                "turn": one.turn + 1,
                "due_at": now + timedelta(seconds=seconds) if seconds else None,
                "tries": one.tries if seconds or one.cursor == stored.value.cursor else 0,
            },
        )
        await self.sweeps.replace(stored, waits)
        await self._announce(waits, seconds)
        return waits.state.value

    async def _end(self, stored: Stored[Slice], one: Slice, now: datetime, code: str = "") -> str:
        details = one.details if not code or code in one.details else (*one.details, code)
        done = one.model_copy(
            update={
                "state": SliceState.DONE,
                "holder": "",
                "ended_at": now,
                "details": details,
                "due_at": None,
            },
        )
        await self.sweeps.replace(stored, done)
        slice_log.ended(self.logger, done)
        await self.end_if_done(one.sweep_id)
        return done.state.value

    async def end_if_done(self, sweep_id: str) -> bool:
        """End a sweep of which no slice is open any more; the first to see that does it."""
        if await self.sweeps.any_open(sweep_id):
            return False
        stored = await self.sweeps.get(sweep_id)
        if stored is None or stored.value.state is not SweepState.RUNNING:
            return False
        slices = [one.value for one in await self.sweeps.slices(sweep_id)]
        counts, calls = totals(slices)
        update = {"state": SweepState.DONE, "ended_at": stored.read_at, "totals": counts, "calls": calls}
        ended = stored.value.model_copy(update=update)
        try:
            await self.sweeps.save(stored, ended)
        except StateConflictError:
            return False
        bind(self.logger).info("sweep-ended", extra={"sweep": sweep_id, "slices": len(slices), **calls})
        self.telemetry.whole(
            "sweep",
            of=sweep_id,
            began_at=ended.started_at,
            ended_at=stored.read_at,
            code="",
            fields={"sweep": sweep_id, "asked_by": ended.asked_by, "slices": len(slices)},
        )
        return True

    async def announce(self, one: Slice) -> None:
        """Announce a slice that may not have been announced, or whose message may be lost."""
        await self._announce(one, 0.0)

    async def _announce(self, one: Slice, seconds: float) -> None:
        await self.queue.announce_slice(
            message_of(one), delay_seconds=min(seconds, QUEUE_DELAY_LIMIT_SECONDS)
        )


def _counted(taken: Slice, ledger: Ledger, added: Mapping[str, int]) -> Slice:
    """The slice with what a run has added to it."""
    counts = {**taken.counts}
    for name, number in added.items():
        counts[name] = counts.get(name, 0) + number
    calls = {**taken.calls}
    for name, number in ledger.calls.items():
        calls[name] = calls.get(name, 0) + number
    details = tuple(dict.fromkeys((*taken.details, *ledger.details)))
    update = {"cursor": ledger.cursor, "counts": counts, "calls": calls, "details": details}
    return taken.model_copy(update=update)


def _asked_seconds(error: MooringError, *, otherwise: float = 0.0) -> float:
    asked = error.retry_after_seconds if isinstance(error, TransientError) else None
    return patience(asked, otherwise=otherwise)


def _told(taken: Slice) -> dict[str, str | int]:
    return {"sweep": taken.sweep_id, "slice": taken.slice_id, "run": taken.messages}


def _subscription_of(one: Slice) -> str:
    return one.what if one.kind == "subscription" else naming.subscription_of(one.what)
