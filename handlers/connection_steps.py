"""Queue ``connection-steps``: one step per message through the engine."""

import azure.functions as func

from shared.models import StepMessage
from shared.wiring import Wiring

QUEUE = "connection-steps"


def blueprint(wiring: Wiring) -> func.Blueprint:
    """The trigger of the step queue."""
    part = func.Blueprint()

    @part.function_name("connection_steps")
    @part.queue_trigger(arg_name="message", queue_name=QUEUE, connection="AzureWebJobsStorage")
    async def connection_steps(message: func.QueueMessage) -> None:
        """Carry out one step, if it still stands."""
        services = await wiring.services()
        if await services.newer.put_back(QUEUE, message.get_body().decode(errors="replace")):
            return
        await services.engine.run_one(StepMessage.model_validate_json(message.get_body()))

    return part
