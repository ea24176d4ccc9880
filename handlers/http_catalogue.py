"""HTTP: what can be connected, what would be made, and what a connection's settings are. Reads only."""

import azure.functions as func

from handlers import http_requests
from handlers.http_answers import answer, guarded, no_connection
from shared import configuration, offers
from shared.services import Services
from shared.wiring import Wiring


def blueprint(wiring: Wiring) -> func.Blueprint:
    """The catalogue's resources."""
    part = func.Blueprint()

    @part.function_name("list_targets")
    @part.route("targets", methods=["GET"])
    async def list_targets(req: func.HttpRequest) -> func.HttpResponse:
        """List the kinds of targets."""
        return await guarded(wiring, _targets, req)

    @part.function_name("get_configuration")
    @part.route("connections/{connectionId}/configuration", methods=["GET"])
    async def get_configuration(req: func.HttpRequest) -> func.HttpResponse:
        """The settings of a connection."""
        return await guarded(wiring, _configuration, req)

    @part.function_name("plan_connection")
    @part.route("connections/plan", methods=["POST"])
    async def plan_connection(req: func.HttpRequest) -> func.HttpResponse:
        """Tell what a create request would make."""
        return await guarded(wiring, _plan, req)

    return part


async def _targets(services: Services, req: func.HttpRequest) -> func.HttpResponse:
    """All of them, or the one that the query names."""
    wanted = req.params.get("type", "")
    if wanted:
        return answer({"targets": [offers.target(services.catalogue.find(wanted))]})
    return answer({"targets": offers.targets(services.catalogue)})


async def _configuration(services: Services, req: func.HttpRequest) -> func.HttpResponse:
    connection_id = http_requests.connection_id(req)
    stored = await services.state.connection(connection_id)
    if stored is None:
        return no_connection(connection_id)
    if not (stored.value.state.live or stored.value.active):
        detail = f"the connection is {stored.value.state.value}: nothing of it is left"
        return no_connection(connection_id, detail)
    intents = await services.state.intents(connection_id)
    asked = req.params.get("clientType", "")
    settings = configuration.settings(stored.value, intents, services.catalogue, asked)
    return answer(
        {
            "clientType": asked or stored.value.spec.client_type,
            "configurations": [{"name": one.name, "value": one.value} for one in settings],
        }
    )


async def _plan(services: Services, req: func.HttpRequest) -> func.HttpResponse:
    return answer(await services.dry_run.tell(http_requests.with_action(req.get_body(), "create")))
