"""Two hosts on one storage: each takes messages, dies, comes back, and believes another time.

What a Functions host does with a queue: a message that was handled is deleted; one whose function failed
comes back after ten seconds; one whose host died comes back when its lease runs out; the fifth failure
moves it to the poison queue (host.json).
"""

from __future__ import annotations

import asyncio
import dataclasses
import random
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Any

from handlers import poison, sweeps, timers
from shared.errors import MooringError
from shared.models import StepMessage, StepRecord
from shared.services import Services
from shared.step_log import StepLog
from shared.sweeping.sweeps import SliceMessage
from tests.simulation.ports import RUN, Crash, Run, Wire
from tests.simulation.storage import Message, SimulatedQueue

MAX_DELIVERIES = 5
FAILED_SECONDS = 10.0
TIMER_SECONDS = 60.0
REQUESTS, STEPS, EVENTS = "connection-requests", "connection-steps", "resource-events"
Act = Callable[[Services], Awaitable[object]]
"""What one function call does."""


@dataclasses.dataclass(slots=True)
class SkewedClock:
    """``ports.Clock`` of a host that is wrong about the time."""

    base: Callable[[], datetime]
    skew: timedelta

    def now(self) -> datetime:
        return self.base() + self.skew


@dataclasses.dataclass(slots=True, eq=False)
class Host:
    """One process of the app. ``life`` counts its starts; what belongs to an earlier life is dead."""

    name: str
    wire: Wire
    life: int = 0
    alive: bool = True
    services: Services | None = None

    def crash(self) -> None:
        """Die at once; come back in a while."""
        self.life += 1
        self.alive = False
        self.wire.say(self.name, "CRASH")
        self.wire.loop.call_later(self.wire.random.uniform(1.0, 30.0), self.start)

    def start(self) -> None:
        """Come back, with nothing remembered."""
        self.alive = True


class Log(StepLog):
    """What the engine says; an error that no step foresaw, which the engine tries again, is kept."""

    def __init__(self, *given: Any, kept: list[BaseException]) -> None:
        super().__init__(*given)
        self._kept = kept

    def unexpected(self, step: StepRecord, error: Exception) -> None:
        self._kept.append(error)
        super().unexpected(step, error)


class Platform:
    """Delivers messages to hosts and ticks the timer."""

    def __init__(self, wire: Wire, dice: random.Random) -> None:
        self.wire = wire
        self.random = dice
        self.hosts: list[Host] = []
        self.queue = SimulatedQueue(self._schedule)
        self.running = 0
        self.handled = 0
        """Messages that a function took to its end."""
        self.unexpected: list[BaseException] = []
        """Errors that are none of the product's own kinds, out of functions and out of steps."""
        self._tasks: set[asyncio.Task[None]] = set()

    def tick(self) -> None:
        """Run the timer on one of the hosts, and again a minute later."""
        self.wire.loop.call_later(TIMER_SECONDS, self.tick)
        self.call("timer", self._tend)

    def call(self, label: str, act: Act) -> None:
        """Call a function of one of the hosts, as timers and people do: nobody calls again if it fails."""
        alive = [host for host in self.hosts if host.alive]
        if alive:
            self._start(self.random.choice(alive), label, act)

    async def _tend(self, services: Services) -> None:
        await timers.announce_again(services)
        await services.sweeping.sweeper.tend()
        if self.random.random() < 0.05:
            await timers.log_depths(services)

    @property
    def quiet(self) -> bool:
        """Nothing is under way and no message waits."""
        return not self.running and not self.queue.live

    def stop(self) -> None:
        """End whatever still runs, so that nothing is left for the garbage collector to end."""
        for host in self.hosts:
            host.life += 1
        for task in [*self._tasks]:
            task.cancel()
        self.wire.loop.run(until=lambda: not self._tasks, limit=self.wire.loop.time())

    def _schedule(self, message: Message, delay_seconds: float) -> None:
        chance = self.random.random()
        jitter = chance if chance < 0.95 else chance * 40.0
        self.wire.loop.call_later(delay_seconds + jitter, self._deliver, message)

    def _deliver(self, message: Message) -> None:
        if message.done:
            return
        alive = [host for host in self.hosts if host.alive]
        if not alive:
            self.wire.loop.call_later(1.0, self._deliver, message)
            return
        if message.deliveries >= MAX_DELIVERIES and not message.queue.endswith("-poison"):
            self.queue.acknowledge(message)
            self.wire.say("queue", f"POISON {message.queue} {message.text}")
            self.queue.put(f"{message.queue}-poison", message.text)
            return
        message.deliveries += 1
        if self.wire.dice.on and self.random.random() < 0.03:
            # The host lost its lease on the message: somebody else gets it too.
            self.wire.loop.call_later(self.random.uniform(0.0, 200.0), self._deliver, message)
        self._start(self.random.choice(alive), f"{message.queue}#{message.message_id}", message)

    def _start(self, host: Host, label: str, what: Message | Act) -> None:
        run = Run(host=host.name, life=host.life, label=label, started_at=self.wire.loop.time())
        self.running += 1
        task = self.wire.loop.create_task(self._run(host, run, what))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run(self, host: Host, run: Run, what: Message | Act) -> None:
        RUN.set(run)
        assert host.services is not None
        message = what if isinstance(what, Message) else None
        try:
            if isinstance(what, Message):
                await self._handle(host.services, run, what)
            else:
                said = await what(host.services)
                if said is not None:
                    self.wire.say(run.host, f"{run.label} -> {said}")
        except MooringError as error:
            self.wire.say(run.host, f"{run.label} failed: {error}")
            self._again(message, FAILED_SECONDS)
        except (Crash, asyncio.CancelledError):
            self._again(message, self.random.uniform(30.0, 600.0))
        except Exception as error:  # noqa: BLE001 - a bug of the product is a finding, not the end of the run
            self.unexpected.append(error)
            self._again(message, FAILED_SECONDS)
        else:
            if message is not None:
                self.handled += 1
                self.queue.acknowledge(message)
        finally:
            self.running -= 1

    def _again(self, message: Message | None, seconds: float) -> None:
        if message is not None and not message.done:
            self.wire.loop.call_later(seconds, self._deliver, message)

    async def _handle(self, services: Services, run: Run, message: Message) -> None:
        match message.queue:
            case "connection-steps":
                step = StepMessage.model_validate_json(message.text)
                run.connection_id, run.operation_id, run.turn = step.connection, step.operation, step.turn
                run.label = f"{step.step}/{step.turn} {step.operation[-6:]}"
                ended = await services.engine.run_one(step)
                self.wire.say(run.host, f"{run.label} -> {ended}")
            case "connection-requests":
                record = await services.intake.receive(
                    message.text, message_id=message.message_id, source="queue"
                )
                self.wire.say(run.host, f"{run.label} -> {record.outcome} {record.code}")
            case "resource-events":
                words = await services.events.receive(message.text)
                self.wire.say(run.host, f"{run.label} -> {words}")
            case "sweep-slices":
                ended = await services.sweeping.slices.run_one(SliceMessage.model_validate_json(message.text))
                self.wire.say(run.host, f"{run.label} -> {ended}")
            case "sweep-slices-poison":
                await sweeps.slices_poison(services, message.text)
            case "connection-steps-poison":
                await poison.steps_poison(services, message.text)
            case "connection-requests-poison":
                await poison.requests_poison(services, message.text)
            case _:
                await poison.events_poison(services, message.text)
