"""Every minute: operations that stand still are announced again, waits that are due are woken."""

import asyncio
import dataclasses
import logging
from datetime import timedelta

import azure.functions as func

from shared.errors import MooringError
from shared.logs import bind
from shared.models import OperationId
from shared.services import Services
from shared.wiring import Wiring

SCHEDULE = "0 * * * * *"
AT_ONCE = 8
NUDGE_SECONDS = 120.0
"""After so long the rest is left to the next tick: a topic that does not answer must not keep the sweeps from
being tended, nor the line ``tended`` from being written."""
QUEUES = ("connection-requests", "connection-steps", "resource-events", "sweep-slices")
TAKEN_AT_ONCE = ("connection-requests", "resource-events")
"""Queues on which nothing waits by our own wish: an old message is one that nobody takes. Steps have rows."""


@dataclasses.dataclass(frozen=True, slots=True)
class Standing:
    """How open operations stand."""

    open: int
    step_late_seconds: int
    """How long the oldest step that is due has not been taken."""


def blueprint(wiring: Wiring) -> func.Blueprint:
    """The timer."""
    part = func.Blueprint()

    @part.function_name("tend")
    @part.timer_trigger(arg_name="timer", schedule=SCHEDULE, use_monitor=False)
    async def tend(timer: func.TimerRequest) -> None:  # noqa: ARG001 - the binding's name
        """Tend what would otherwise stand still."""
        try:
            await look_after(await wiring.services())
        except MooringError as error:
            # Without tables no step can say why it stands still: an alert reads this line.
            said = {"code": error.code, "detail": error.detail}
            bind(logging.getLogger("mooring")).error("tend-failed", extra=said)
            raise

    return part


async def look_after(services: Services) -> None:
    """One tick of the timer, with its sign of life.

    Raises:
        MooringError: the tables or the queues gave no answer.
    """
    found = await announce_again(services)
    rejected = await log_depths(services)
    late = await message_late_seconds(services)
    services.telemetry.measure("step_late_seconds", found.step_late_seconds)
    services.telemetry.measure("message_late_seconds", late)
    await services.sweeping.sweeper.tend()
    age = await measure(services)
    throttled = await throttled_seconds(services)
    # Written even when there is nothing to do: an alert fires when this line stays away.
    said = {
        "open": found.open,
        "step_late_seconds": found.step_late_seconds,
        "message_late_seconds": late,
        "sweep_age_seconds": age,
        "throttled_seconds": throttled,
        "rejected": rejected,
    }
    bind(logging.getLogger("mooring")).info("tended", extra=said)


async def measure(services: Services) -> int | None:
    """Measure what is on record; returns the age of the last sweep, ``None`` if it is not known."""
    try:
        age_seconds = await services.census.tell()
    except MooringError as error:
        bind(logging.getLogger("mooring")).warning("census-failed", extra={"code": error.code})
        return None
    return None if age_seconds is None else round(age_seconds)


async def announce_again(services: Services) -> Standing:
    """Nudge every open operation, and say how they stand. One that fails does not stop the rest."""
    found = await services.state.open_operations()
    # Each tick begins elsewhere, so that a tick which is cut off does not always miss the same ones.
    start = services.clock.now().minute * len(found) // 60
    turns, began = asyncio.Semaphore(AT_ONCE), services.clock.now()
    late = [0.0]

    async def nudge(operation_id: OperationId, noted_seconds: float) -> None:
        async with turns:
            if services.clock.now() - began > timedelta(seconds=NUDGE_SECONDS):
                return
            try:
                nudged = await services.announcer.nudge(operation_id, noted_seconds=noted_seconds)
                late.append(nudged.late_seconds)
            except (MooringError, ValueError) as error:
                # A row that another version wrote is a ValueError; it must not stop the others.
                log = bind(logging.getLogger("mooring"), operation_id=operation_id)
                log.warning("nudge-failed", extra={"error": type(error).__name__})

    await asyncio.gather(*(nudge(*one) for one in [*found[start:], *found[:start]]))
    return Standing(len(found), round(max(late)))


async def message_late_seconds(services: Services) -> int:
    """How long ago the oldest request or event that nobody has taken yet was sent."""
    now = services.clock.now()
    put = [await services.queue.oldest_at(queue) for queue in TAKEN_AT_ONCE]
    return max([0, *(round((now - one).total_seconds()) for one in put if one is not None)])


async def throttled_seconds(services: Services) -> int | None:
    """For how long Azure wants to be left alone, in whichever subscription longest; ``None`` if unknown.

    A step that waits for it writes no line before that time has passed.
    """
    try:
        return round(await services.engine.limits.throttled_seconds())
    except MooringError as error:
        bind(logging.getLogger("mooring")).warning("census-failed", extra={"code": error.code})
        return None


async def log_depths(services: Services) -> int:
    """One line per queue that holds anything, poison and refusals included; returns how many refusals."""
    log, depth = bind(logging.getLogger("mooring")), 0
    for queue in (*QUEUES, *(f"{queue}-poison" for queue in QUEUES), "rejected"):
        depth = await services.queue.depth(queue)
        if depth:
            log.info("queue-depth", extra={"queue": queue, "depth": depth})
    return depth
