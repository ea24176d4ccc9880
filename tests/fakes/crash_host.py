"""A host that delivers messages and may die: what a queue and a restart would do about it.

A crash is the death of the host: it passes through the engine as no error does, and until the process is
"restarted" every further call fails too, so that no ``finally`` tidies up what a dead host could not.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Awaitable, Callable
from typing import Any

from handlers import timers
from shared.models import StepMessage
from tests.fakes.journal import Call
from tests.fakes.local_app import LocalApp

REDELIVERED_SECONDS = 10.0
"""host.json's visibilityTimeout: a message whose run died comes back after so long."""
CALLS = "calls"
"""A queue of calls by a client who asks again until there is an answer."""
QUEUES = ("connection-requests", "connection-steps", "resource-events", CALLS)


class Crash(BaseException):
    """The host dies."""


@dataclasses.dataclass(slots=True)
class Host:
    """Delivers messages until each is acknowledged; may die once, at one call."""

    app: LocalApp
    dies_at: int = 0
    after: bool = False
    called: Callable[[LocalApp], Awaitable[object]] | None = None
    """What a client calls who has a message in ``CALLS``."""
    dead: bool = False
    died: bool = False
    deliveries: int = 0
    in_hand: list[tuple[str, str]] = dataclasses.field(default_factory=list)
    """Messages that were taken and not acknowledged; the first is the one that is handled."""

    def arm(self) -> None:
        self.dies_at += len(self.app.journal.calls)

        def before(call: Call) -> BaseException | None:
            if not self.dead and not self.after and not self.died and call.number == self.dies_at:
                self.dead = self.died = True
            return Crash() if self.dead else None

        def after(call: Call) -> BaseException | None:
            if not self.dead and self.after and not self.died and call.number == self.dies_at:
                self.dead = self.died = True
            return Crash() if self.dead else None

        self.app.journal.before, self.app.journal.after = before, after

    async def survives(self, work: Callable[[], Awaitable[object]]) -> bool:
        """Run a function; after a crash, restart and say that its message was not acknowledged."""
        self.deliveries += 1
        try:
            await work()
        except Crash:
            self.dead = False
            return False
        return True

    async def pump(self) -> int:
        handled = await self._handle()
        for queue in QUEUES:
            self.in_hand += [(queue, text) for text in self.app.queue.take(queue)]
            handled += await self._handle()
        return handled

    async def settle(self, seconds: float = 1500) -> None:
        """Pump, and let the timer tick each minute, until nothing is open and nothing is queued."""
        for _ in range(int(seconds // 30)):
            while await self.pump():
                pass
            self.app.clock.advance(30)
            await self.survives(lambda: timers.announce_again(self.app.services))
            if self.app.queue.next_due() is None and not self.app.store.rows("openoperations"):
                return
        raise AssertionError("never settled")

    async def cut_off(self, call_name: str) -> None:
        """Pump until the host dies right after a call of that name; its message comes back."""
        dead = False

        def after(call: Call) -> BaseException | None:
            nonlocal dead
            dead = dead or call.name == call_name
            return Crash() if dead else None

        journal = self.app.journal
        journal.before, journal.after = lambda _: Crash() if dead else None, after
        while not dead:
            assert await self.pump(), f"{call_name} is never called"
            if dead:
                self.dead = False
        journal.before = journal.after = None

    async def _handle(self) -> int:
        handled = 0
        while self.in_hand:
            handled += 1
            queue, text = self.in_hand[0]
            answered = await self.survives(lambda queue=queue, text=text: self._deliver(queue, text))
            del self.in_hand[0]
            if not answered:
                self.app.queue.put(queue, text, REDELIVERED_SECONDS)
        return handled

    async def _deliver(self, queue: str, text: str) -> None:
        services = self.app.services
        if queue == "connection-requests":
            await services.intake.receive(text, message_id=json.loads(text)["requestId"], source="queue")
        elif queue == "connection-steps":
            message = StepMessage.model_validate_json(text)
            self.app.oracle.operation = message.operation
            await services.engine.run_one(message)
        elif queue == "resource-events":
            await services.events.receive(text)
        else:
            assert self.called is not None
            await self.called(self.app)


def ask(app: LocalApp, body: dict[str, Any], key: str) -> None:
    """Put a request into its queue."""
    app.queue.put("connection-requests", json.dumps({**body, "requestId": key}))
