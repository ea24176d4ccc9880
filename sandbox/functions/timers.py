"""The timer trigger: ``TimerListener`` and ``ScheduleMonitor`` of the WebJobs extensions.

One run at a time; the next is armed after the run ends, so missed occurrences give one run. A
recorded occurrence that passed while no host ran gives one run with ``isPastDue``.
"""

from __future__ import annotations

import asyncio
import datetime as dt

from sandbox.functions.bindings import timer_value
from sandbox.functions.definitions import FunctionDefinition
from sandbox.functions.invoker import Invoker
from sandbox.functions.schedules import Schedule, is_faster_than_a_minute
from sandbox.functions.timer_status import TimerLock, TimerStatus, TimerStatusFile

LOCK_RETRY_SECONDS = 60.0
"""How often a host without the lock asks for it (``ListenerLockPeriod`` of the singleton)."""


def _now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)


def judge_status(
    recorded: TimerStatus | None,
    schedule: Schedule,
    now: dt.datetime,
) -> tuple[TimerStatus, bool]:
    """Return the status to go on with, and whether a run is past due.

    A status whose ``Next`` is not what the schedule gives from ``Last`` belongs to another
    schedule text: it is computed anew and nothing is past due.
    """
    if recorded is not None:
        expected = schedule.next_after(recorded.last or recorded.last_updated)
        if abs((expected - recorded.next).total_seconds()) < 1:
            return recorded, recorded.next < now
    last = recorded.last if recorded is not None else None
    return TimerStatus(last=last, next=schedule.next_after(now), last_updated=now), False


class TimerListener:
    """Runs one timer function while this host holds its lock."""

    def __init__(
        self,
        *,
        function: FunctionDefinition,
        schedule: Schedule,
        status_file: TimerStatusFile,
        lock: TimerLock,
        invoker: Invoker,
        lock_retry_seconds: float = LOCK_RETRY_SECONDS,
    ) -> None:
        self.function = function
        self._schedule = schedule
        self._file = status_file
        self._lock = lock
        self._invoker = invoker
        self._lock_retry_seconds = lock_retry_seconds
        use_monitor = bool(function.trigger.get("useMonitor", True))
        self._monitored = use_monitor and not is_faster_than_a_minute(schedule, _now())
        self._stopping = asyncio.Event()
        self._loop_task: asyncio.Task[None] | None = None
        self._status: TimerStatus | None = None

    def start(self) -> None:
        """Start waiting for the schedule."""
        self._loop_task = asyncio.create_task(self._loop(), name=f"timer {self.function.name}")

    async def stop(self) -> None:
        """Stop the schedule and wait for a run that is under way."""
        self._stopping.set()
        if self._loop_task is not None:
            await self._loop_task

    async def run_by_hand(self) -> None:
        """Run once outside the schedule; the status stays as it is."""
        status = self._status.to_wire() if self._monitored and self._status is not None else None
        await self._invoke(past_due=False, status=status, reason="admin")

    async def _loop(self) -> None:
        try:
            while not self._lock.acquire():
                if await self._stopped_within(self._lock_retry_seconds):
                    return
            due = await self._first()
            while not await self._stopped_within(max(0.0, (due - _now()).total_seconds())):
                due = await self._run(past_due=False)
        finally:
            self._lock.release()

    async def _first(self) -> dt.datetime:
        """Do what a start asks for and return when the schedule is due."""
        now = _now()
        past_due = False
        self._status = TimerStatus(last=None, next=self._schedule.next_after(now), last_updated=now)
        if self._monitored:
            self._status, past_due = judge_status(self._file.read(), self._schedule, now)
            if not past_due:
                self._file.write(self._status)
        if past_due or bool(self.function.trigger.get("runOnStartup", False)):
            return await self._run(past_due=past_due)
        return self._status.next

    async def _run(self, *, past_due: bool) -> dt.datetime:
        started = _now()
        status = self._status.to_wire() if self._monitored and self._status is not None else None
        await self._invoke(past_due=past_due, status=status, reason="")
        self._status = TimerStatus(last=started, next=self._schedule.next_after(started), last_updated=_now())
        if self._monitored:
            self._file.write(self._status)
        return self._status.next

    async def _invoke(self, *, past_due: bool, status: dict[str, str] | None, reason: str) -> None:
        value = timer_value(past_due=past_due, status=status)
        await self._invoker.run(
            self.function,
            value,
            {"TimerTrigger": value},
            reason=reason,
            honour_retry=True,
        )

    async def _stopped_within(self, seconds: float) -> bool:
        try:
            await asyncio.wait_for(self._stopping.wait(), seconds)
        except TimeoutError:
            return False
        return True
