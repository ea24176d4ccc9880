"""An event loop whose time is a number: nothing sleeps, nothing is left to chance.

Ready callbacks run in the order in which they became ready, timers in the order of their virtual time.
When nothing is ready, time jumps to the next timer. So ``asyncio.timeout``, ``gather`` and leases behave as
they do in production, and the same seed gives the same run to the last callback.
"""

from __future__ import annotations

import asyncio
import collections
import heapq
import itertools
from collections.abc import Callable, Coroutine
from contextvars import Context
from datetime import UTC, datetime, timedelta
from typing import Any

START = datetime(2026, 1, 5, 8, 0, tzinfo=UTC)


class _Ready:
    """A callback whose turn has come. Nothing here takes one back, so it is less than a handle."""

    __slots__ = ("args", "callback", "context")

    def __init__(
        self, callback: Callable[..., object], args: tuple[Any, ...], context: Context | None
    ) -> None:
        self.callback, self.args, self.context = callback, args, context


class VirtualLoop(asyncio.AbstractEventLoop):
    """The few parts of an event loop that coroutines, futures and timeouts need."""

    def __init__(self) -> None:
        self._now = 0.0
        self._ready: collections.deque[_Ready] = collections.deque()
        self._timers: list[tuple[float, int, asyncio.TimerHandle | asyncio.Future[None]]] = []
        self._numbers = itertools.count()
        self._closed = False
        self._told = (0, START)
        self.turns = 0
        """Callbacks run so far; two equal runs agree on it."""

    def time(self) -> float:
        return self._now

    def now(self) -> datetime:
        """The service's own clock."""
        return START + timedelta(seconds=self._now)

    def second(self) -> datetime:
        """The same to the second, as the service's answers tell it."""
        if self._told[0] != int(self._now):
            self._told = (int(self._now), START + timedelta(seconds=int(self._now)))
        return self._told[1]

    def call_soon(  # type: ignore[override]
        self, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> _Ready:
        ready = _Ready(callback, args, context)
        self._ready.append(ready)
        return ready

    def call_at(  # type: ignore[override]
        self, when: float, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        handle = asyncio.TimerHandle(when, callback, args, self, context)
        heapq.heappush(self._timers, (when, next(self._numbers), handle))
        return handle

    def call_later(  # type: ignore[override]
        self, delay: float, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        return self.call_at(self._now + delay, callback, *args, context=context)

    def create_future(self) -> asyncio.Future[Any]:
        return asyncio.Future(loop=self)

    def create_task[T](  # type: ignore[override]
        self, coro: Coroutine[Any, Any, T], *, name: str | None = None, context: Context | None = None
    ) -> asyncio.Task[T]:
        return asyncio.Task(coro, loop=self, name=name, context=context)

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """A cancelled timer is passed over when its time comes."""

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """A task that nobody waits for died with its host: its end is noted by whoever started it."""

    def get_debug(self) -> bool:
        return False

    def is_running(self) -> bool:
        return not self._closed

    def is_closed(self) -> bool:
        return self._closed

    def sleep(self, seconds: float) -> asyncio.Future[None]:
        """A future that is done after so much virtual time."""
        future: asyncio.Future[None] = asyncio.Future(loop=self)
        heapq.heappush(self._timers, (self._now + seconds, next(self._numbers), future))
        return future

    def run(self, *, until: Callable[[], object], limit: float) -> bool:
        """Run until the condition holds; false if nothing is left to do, or time passes ``limit`` seconds.

        The condition is looked at after every jump in time.
        """
        before = asyncio._get_running_loop()
        asyncio._set_running_loop(self)
        ready, timers = self._ready, self._timers
        try:
            while True:
                while ready:
                    one = ready.popleft()
                    self.turns += 1
                    if one.context is None:
                        one.callback(*one.args)
                    else:
                        one.context.run(one.callback, *one.args)
                if until():
                    return True
                while timers and _over(timers[0][2]):
                    heapq.heappop(timers)
                if not timers or timers[0][0] > limit:
                    return False
                when, _, timer = heapq.heappop(timers)
                self._now = max(self._now, when)
                if isinstance(timer, asyncio.Future):
                    timer.set_result(None)
                else:
                    ready.append(_Ready(timer._callback, timer._args, timer._context))
        finally:
            asyncio._set_running_loop(before)

    def close(self) -> None:
        """Drop what is left, so that nothing of one run reaches into the next."""
        self._closed = True
        self._ready.clear()
        self._timers.clear()


def _over(timer: asyncio.TimerHandle | asyncio.Future[None]) -> bool:
    """Say whether nobody waits for a timer any more."""
    return timer.done() if isinstance(timer, asyncio.Future) else timer._cancelled
