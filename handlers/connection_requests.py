"""Queue ``connection-requests``: create, delete, validate, repair, adopt."""

import azure.functions as func

from shared.wiring import Wiring

QUEUE = "connection-requests"


def blueprint(wiring: Wiring) -> func.Blueprint:
    """The trigger of the request queue."""
    part = func.Blueprint()

    @part.function_name("connection_requests")
    @part.queue_trigger(arg_name="message", queue_name=QUEUE, connection="AzureWebJobsStorage")
    async def connection_requests(message: func.QueueMessage) -> None:
        """Take in one request; it is acknowledged once its fate is on record."""
        services = await wiring.services()
        await services.intake.receive(message.get_body(), message_id=message.id or "", source="queue")

    return part
