"""What Azure says was deleted or written: Event Grid's own queue delivery, and an Event Grid trigger.

The trigger is thin: it hands the event over to the queue, where retries, poison and scale are one
thing, and answers well inside Event Grid's 30 seconds.
"""

import azure.functions as func

from shared.wiring import Wiring

QUEUE = "resource-events"


def blueprint(wiring: Wiring) -> func.Blueprint:
    """Both ways in for resource events."""
    part = func.Blueprint()

    @part.function_name("resource_events")
    @part.queue_trigger(arg_name="message", queue_name=QUEUE, connection="AzureWebJobsStorage")
    async def resource_events(message: func.QueueMessage) -> None:
        """Take in one message of Event Grid's, plain or base64, one event or several."""
        services = await wiring.services()
        await services.events.receive(message.get_body())

    @part.function_name("resource_events_webhook")
    @part.event_grid_trigger(arg_name="event")
    async def resource_events_webhook(event: str) -> None:
        """Hand one event over to the queue, without who asked for the deletion."""
        services = await wiring.services()
        await services.events.forward(event)

    return part
