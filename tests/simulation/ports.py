"""Every call of the product to the outside: it takes time, it may fail, its host may die in it.

The wrapper stands between one host's services and what all hosts share. Each call is a scheduling point:
the seed decides how long it takes, and so which of many coroutines goes on next.
"""

from __future__ import annotations

import asyncio
import contextvars
import dataclasses
import random
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from shared.errors import MooringError
from tests.simulation.faults import CELLS, LATE_SECONDS, OWN, WRITES, Dice, Fault
from tests.simulation.scheduler import VirtualLoop

TIMEOUT_SECONDS = 30.0
"""Patience of the clients with one answer (``clients/http_pool.py``)."""
SERIAL = frozenset({"identities.ensure_credential", "identities.delete_credential"})
"""Writes that Azure refuses where two of one identity overlap: the product sends one at a time."""
SERIAL_SECONDS = 60.0
"""So long nobody else may send one (``CREDENTIAL_LEASE_SECONDS``)."""
HANG_SECONDS = 100.0
"""More than a step's deadline: several slow answers in one call."""
SLOW_SECONDS = 75.0
"""So long a host may have waited for such answers when it dies in a call that writes: it writes last."""


class Crash(BaseException):
    """The host died; nothing of the product may stop this."""


@dataclasses.dataclass(slots=True)
class Run:
    """One function call on one host: what a crash kills."""

    host: str
    life: int
    label: str
    connection_id: str = ""
    operation_id: str = ""
    started_at: float = 0.0
    turn: int = -1
    """Turn of the step's message; -1 for whatever else runs."""


RUN: contextvars.ContextVar[Run] = contextvars.ContextVar("run")


class Mortal(Protocol):
    """A host, as its ports see it."""

    name: str
    life: int

    def crash(self) -> None:
        """Die with everything that runs."""
        ...


class Watch(Protocol):
    """The oracles, as the ports see them."""

    def before(self, method: str, arguments: tuple[Any, ...], options: dict[str, Any], run: Run) -> None:
        """A call is about to take effect."""
        ...

    def failed(self, error: MooringError) -> None:
        """A call ends with an error."""
        ...

    def fail(self, text: str) -> None:
        """Note a violation."""
        ...

    def after(
        self, method: str, arguments: tuple[Any, ...], options: dict[str, Any], result: Any, *, late: bool
    ) -> None:
        """A call has taken effect."""
        ...


Effect = Callable[..., Awaitable[Any]]
Entry = tuple[float, str, str, str, tuple[Any, ...], dict[str, Any], Any]


@dataclasses.dataclass(slots=True)
class Call:
    """One call of one run."""

    run: Run
    method: str
    inner: Effect
    arguments: tuple[Any, ...]
    options: dict[str, Any]


@dataclasses.dataclass(slots=True)
class Wire:
    """What all ports of all hosts share."""

    loop: VirtualLoop
    random: random.Random
    dice: Dice
    watch: Watch
    rival: Callable[[Call, Any], None] | None = None
    """Told of every answer: somebody who acts between a look and what follows from it."""
    traced: bool = True
    """A trace holds everything that was said; without it a run is quicker, and can be had again with it."""
    trace: list[Entry] = dataclasses.field(default_factory=list)
    flying: dict[str, list[tuple[Call, Mortal, float]]] = dataclasses.field(default_factory=dict)
    """Serial writes that have been sent and not been answered, by identity."""

    def note(self, call: Call, end: Any) -> None:
        """Remember one thing that happened, to be told if something is wrong."""
        if not self.traced:
            return
        run = call.run
        self.trace.append(
            (self.loop.time(), run.host, run.label, call.method, call.arguments, call.options, end)
        )

    def say(self, who: str, what: str) -> None:
        """Remember something that is no call."""
        if not self.traced:
            return
        self.trace.append((self.loop.time(), who, "", what, (), {}, ""))

    def seconds(self, method: str) -> float:
        """How long a call takes: storage is fast, Azure is not, and now and then it is slow."""
        chance = self.random.random()
        if method.startswith(("state.", "queue.")):
            return 0.002 + chance * 0.03 if chance < 0.98 else chance * 3.0
        return 0.05 + chance * 1.5 if chance < 0.95 else chance * 20.0


class Port:
    """One port of one host; a method becomes a call on the wire when it is first asked for."""

    def __init__(self, wire: Wire, host: Mortal, name: str, port: Any) -> None:
        self._wire, self._host, self._name, self._port = wire, host, name, port

    def __getattr__(self, attribute: str) -> Any:
        inner: Effect = getattr(self._port, attribute)
        method = f"{self._name}.{attribute}"
        if method not in CELLS:
            raise AttributeError(f"{method} has no faults: add it to tests/simulation/faults.py")
        wire, host = self._wire, self._host

        def called(*arguments: Any, **options: Any) -> Awaitable[Any]:
            return _send(wire, host, Call(RUN.get(), method, inner, arguments, options))

        setattr(self, attribute, called)
        return called


async def _send(wire: Wire, host: Mortal, call: Call) -> Any:
    if call.run.life != host.life:
        raise Crash
    if call.method not in SERIAL:
        return await _carried(wire, host, call)
    now, flying = wire.loop.time(), wire.flying.setdefault(str(call.arguments[0]).lower(), [])
    for other, where, at in flying:
        if other.run.life == where.life and now - at < SERIAL_SECONDS:
            wire.watch.fail(f"{call.method} by {call.run.label} while {other.run.label} writes one as well")
    mine = (call, host, now)
    flying.append(mine)
    try:
        return await _carried(wire, host, call)
    finally:
        flying.remove(mine)


async def _carried(wire: Wire, host: Mortal, call: Call) -> Any:
    fault = wire.dice.draw(call.method)
    if fault is not None and fault.how in {"crash-before", "late", "answer"}:
        return await _unanswered(wire, host, call, fault)
    how, sent_at = fault.how if fault else "", wire.loop.time()
    try:
        await wire.loop.sleep(HANG_SECONDS if how == "hang" else wire.seconds(call.method))
    except asyncio.CancelledError:
        # The step's deadline: what was sent may still arrive.
        if call.method in WRITES and wire.random.random() < 0.7:
            wire.loop.call_later(wire.random.uniform(0.1, 40.0), _land, wire, call)
        wire.note(call, "cancelled")
        raise
    if call.run.life != host.life:
        _outlive(wire, call, sent_at)
        raise Crash
    if how == "stale":
        call.options = {**call.options, "stale": True}
    result = await _effect(wire, call)
    if fault is None:
        wire.note(call, result)
        return result
    if how == "crash-after":
        wire.note(call, fault.name)
        host.crash()
        raise Crash
    if how == "lost":
        raise _error(wire, call, fault)
    wire.note(call, result)
    return result


async def _unanswered(wire: Wire, host: Mortal, call: Call, fault: Fault) -> None:
    """A call that has no effect, or not yet."""
    if fault.how == "crash-before":
        began_at = wire.loop.time()
        if call.method in WRITES and not call.method.startswith(OWN):
            await wire.loop.sleep(wire.random.uniform(0.0, SLOW_SECONDS))
        died = call.run.life != host.life
        _outlive(wire, call, began_at if died else wire.loop.time())
        if not died:
            wire.note(call, fault.name)
            host.crash()
        raise Crash
    seconds = wire.seconds(call.method) if fault.how == "answer" else TIMEOUT_SECONDS
    if fault.name == "timeout":
        seconds = TIMEOUT_SECONDS
    if fault.how == "late":
        landing = wire.random.uniform(TIMEOUT_SECONDS + 1.0, LATE_SECONDS)
        wire.loop.call_later(landing, _land, wire, call)
    await wire.loop.sleep(seconds)
    if call.run.life != host.life:
        raise Crash
    raise _error(wire, call, fault)


def _outlive(wire: Wire, call: Call, sent_at: float) -> None:
    """A write whose host has died is lost with it, or under way as long as one that gets no answer."""
    if call.method in WRITES and wire.random.random() < 0.5:
        landing_at = sent_at + wire.random.uniform(0.0, LATE_SECONDS)
        wire.loop.call_later(max(0.0, landing_at - wire.loop.time()), _land, wire, call)


def _error(wire: Wire, call: Call, fault: Fault) -> MooringError:
    assert fault.error is not None
    wire.note(call, f"FAULT {fault.name}")
    error = fault.error(wire.random)
    wire.watch.failed(error)
    return error


async def _effect(wire: Wire, call: Call, *, late: bool = False) -> Any:
    wire.watch.before(call.method, call.arguments, call.options, call.run)
    try:
        result = await call.inner(*call.arguments, **call.options)
    except MooringError as error:
        wire.watch.failed(error)
        wire.dice.note(error.code)
        wire.note(call, error)
        raise
    wire.dice.answered(call.method, result)
    wire.watch.after(call.method, call.arguments, call.options, result, late=late)
    if wire.rival is not None:
        wire.rival(call, result)
    return result


def _land(wire: Wire, call: Call) -> None:
    """A write that nobody waits for any more takes effect; the fakes never suspend, so one step is all."""
    work = _effect(wire, call, late=True)
    try:
        work.send(None)
    except StopIteration as end:
        wire.note(call, ("LANDED LATE", end.value))
    except MooringError:
        return
    else:
        raise RuntimeError(f"{call.method} of a fake suspends")
