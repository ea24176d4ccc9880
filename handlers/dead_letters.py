"""HTTP: replay what Event Grid could not deliver."""

import dataclasses

import azure.functions as func

from handlers.http_answers import answer, guarded
from shared.services import Services
from shared.wiring import Wiring


def blueprint(wiring: Wiring) -> func.Blueprint:
    """The dead-letter container."""
    part = func.Blueprint()

    @part.function_name("replay_dead_letters")
    @part.route("dead-letters/replay", methods=["POST"])
    async def replay_dead_letters(req: func.HttpRequest) -> func.HttpResponse:
        """Put undelivered events on the queue, some hundreds for each call."""
        del req  # nothing of it is read
        return await guarded(wiring, _replay)

    return part


async def _replay(services: Services) -> func.HttpResponse:
    return answer(dataclasses.asdict(await services.dead_letters.run()))
