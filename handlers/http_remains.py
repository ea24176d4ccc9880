"""HTTP: what stays when Mooring is taken away."""

import azure.functions as func

from handlers.http_answers import answer, base_url, guarded
from handlers.http_lists import LeftOut, after, last_of
from shared import remains
from shared.services import Services
from shared.wiring import Wiring

PAGE = 200


def blueprint(wiring: Wiring) -> func.Blueprint:
    """The list of what remains."""
    part = func.Blueprint()

    @part.function_name("list_remains")
    @part.route("remains", methods=["GET"])
    async def list_remains(req: func.HttpRequest) -> func.HttpResponse:
        """List what connections hold, a page at a time."""
        return await guarded(wiring, _list, req)

    return part


async def _list(services: Services, req: func.HttpRequest) -> func.HttpResponse:
    left_out = LeftOut()
    page = left_out.note(await services.state.connections(limit=PAGE, after=after(req)))
    found = []
    for connection in page:
        if not (connection.state.live or connection.active):
            continue
        key = connection.connection_id
        intents = await left_out.read(key, services.state.intents(key))
        if intents is not None:
            found.append(
                {
                    "connectionId": key,
                    "name": connection.spec.name,
                    "clusterId": connection.spec.cluster_id,
                    "namespace": connection.spec.namespace,
                    "workload": connection.spec.workload,
                    "state": connection.state.value,
                    "linkerId": connection.linker_id or None,
                    "remains": remains.of(connection, intents),
                }
            )
    more = len(page) + len(page.unreadable) >= PAGE
    url = f"{base_url(req)}/remains?after={last_of(page)}" if more else None
    return answer({"connections": found, "next": url, **left_out.told()})
