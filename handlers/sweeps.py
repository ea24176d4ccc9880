"""The sweep: a timer that begins one, the queue of its slices, and that queue's poison."""

import hashlib

import azure.functions as func
from pydantic import ValidationError

from handlers.poison import note
from shared.errors import RefusedError
from shared.services import Services
from shared.settings import sweep_schedule
from shared.sweeping.sweeps import SliceMessage
from shared.wiring import Wiring

QUEUE = "sweep-slices"


def blueprint(wiring: Wiring) -> func.Blueprint:
    """The triggers of sweeps."""
    part = func.Blueprint()

    @part.function_name("sweep")
    @part.timer_trigger(arg_name="timer", schedule=sweep_schedule(), use_monitor=True)
    async def sweep(timer: func.TimerRequest) -> None:  # noqa: ARG001 - the binding's name
        """Begin a sweep, unless one is under way."""
        services = await wiring.services()
        await services.sweeping.sweeper.start(asked_by="timer")

    @part.function_name("sweep_slices")
    @part.queue_trigger(arg_name="message", queue_name=QUEUE, connection="AzureWebJobsStorage")
    async def sweep_slices(message: func.QueueMessage) -> None:
        """Look at one slice for as long as time allows."""
        services = await wiring.services()
        if await services.newer.put_back(QUEUE, message.get_body().decode(errors="replace")):
            return
        await services.sweeping.slices.run_one(SliceMessage.model_validate_json(message.get_body()))

    @part.function_name("sweep_slices_poison")
    @part.queue_trigger(arg_name="message", queue_name=f"{QUEUE}-poison", connection="AzureWebJobsStorage")
    async def sweep_slices_poison(message: str) -> None:
        """End a slice whose every run died."""
        await slices_poison(await wiring.services(), message)

    return part


async def slices_poison(services: Services, message: str) -> None:
    """A slice whose runs all died ends, and says so; the next sweep looks again."""
    if await services.newer.put_back(QUEUE, message):
        return
    note(services, QUEUE)
    try:
        asked = SliceMessage.model_validate_json(message)
    except ValidationError:
        error = RefusedError("not-a-slice", f"a message of {QUEUE} failed again and again")
        key = f"poison:{QUEUE}:{hashlib.sha256(message.encode()).hexdigest()[:32]}"
        await services.intake.refuse(error, key=key, source="poison")
        return
    await services.sweeping.slices.poisoned(asked)
