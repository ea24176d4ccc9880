"""The ``-poison`` queues: messages whose every run died. Each ends on record, none is retried for ever.

The parameters are ``str`` on purpose: a body with a top-level ``dequeueCount`` that is no number makes the
binding of ``func.QueueMessage`` fail before any code of ours runs, here as in the first trigger. A ``str``
parameter is bound without the metadata (azure-functions-runtime 1.3.0, ``functions.py``).
"""

import hashlib
import logging

import azure.functions as func
from pydantic import ValidationError

from handlers import connection_requests, connection_steps, resource_events
from shared.errors import RefusedError, UnreadableRowError
from shared.logs import bind
from shared.models import StepMessage
from shared.services import Services
from shared.wiring import Wiring


def blueprint(wiring: Wiring) -> func.Blueprint:
    """The triggers of the poison queues."""
    part = func.Blueprint()

    @part.function_name("connection_requests_poison")
    @part.queue_trigger(
        arg_name="message",
        queue_name=f"{connection_requests.QUEUE}-poison",
        connection="AzureWebJobsStorage",
    )
    async def connection_requests_poison(message: str) -> None:
        """Try once more to decide; what cannot be decoded is refused with its reason."""
        await requests_poison(await wiring.services(), message)

    @part.function_name("connection_steps_poison")
    @part.queue_trigger(
        arg_name="message",
        queue_name=f"{connection_steps.QUEUE}-poison",
        connection="AzureWebJobsStorage",
    )
    async def connection_steps_poison(message: str) -> None:
        """Announce the step once more, or fail its operation."""
        await steps_poison(await wiring.services(), message)

    @part.function_name("resource_events_poison")
    @part.queue_trigger(
        arg_name="message",
        queue_name=f"{resource_events.QUEUE}-poison",
        connection="AzureWebJobsStorage",
    )
    async def resource_events_poison(message: str) -> None:
        """Put the event aside, on record, where it can be replayed."""
        await events_poison(await wiring.services(), message)

    return part


async def requests_poison(services: Services, message: str) -> None:
    """A request whose runs all died: its fate is on record after this."""
    note(services, connection_requests.QUEUE)
    # The same bytes may be poisoned again in another life of the connection: that is another request.
    hour = f"{services.clock.now():%Y-%m-%dT%H}"
    message_id = f"poison:{hour}:{_hash(message)}"
    try:
        await services.intake.receive(message, message_id=message_id, source="poison")
    except UnreadableRowError as error:
        # A deployment outlasts the tries of both queues, and behind this one a message is gone.
        await services.intake.give_up(error, message, message_id=message_id, source="poison")


async def steps_poison(services: Services, message: str) -> None:
    """A step whose runs all died: once more, then its operation fails with ``host-crash``."""
    if await services.newer.put_back(connection_steps.QUEUE, message):
        return
    note(services, connection_steps.QUEUE)
    try:
        step = StepMessage.model_validate_json(message)
    except ValidationError:
        await _refuse(services, connection_steps.QUEUE, message, "not-a-step")
        return
    try:
        await services.engine.poisoned(step)
    except UnreadableRowError:
        # A newer version has written it. It is open: the timer announces it again when it can be read.
        log = bind(logging.getLogger("mooring"), operation_id=step.operation)
        log.warning("row-newer", extra={"queue": connection_steps.QUEUE})


async def events_poison(services: Services, message: str) -> None:
    """An event whose runs all died: kept for a replay, and refused on record.

    Neither waits for the other: whatever killed the runs may be away for longer than this queue tries.
    """
    note(services, resource_events.QUEUE)
    try:
        await services.events.keep(message)
    finally:
        await _refuse(services, resource_events.QUEUE, message, "event-crashed")


async def _refuse(services: Services, queue: str, message: str, code: str) -> None:
    error = RefusedError(code, f"a message of {queue} failed again and again")
    await services.intake.refuse(error, key=f"poison:{queue}:{_hash(message)}", source="poison")


def note(services: Services, queue: str) -> None:
    """Tell of a message of a poison queue."""
    bind(logging.getLogger("mooring")).error("poison", extra={"queue": queue})
    services.telemetry.measure("poison_messages", queue=queue)


def _hash(message: str) -> str:
    return hashlib.sha256(message.encode()).hexdigest()[:32]
