"""HTTP: what stays when Mooring is taken away."""

import re

import azure.functions as func

from handlers.http_answers import answer, base_url, guarded
from handlers.http_lists import LeftOut
from shared import remains
from shared.errors import RefusedError
from shared.services import Services
from shared.wiring import Wiring

PAGE = 200
_CONNECTION_ID = re.compile(r"[0-9a-f]{24}")


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
    after = req.params.get("after", "")
    if after and not _CONNECTION_ID.fullmatch(after):
        detail = "after is a connection's id, as next has it"
        raise RefusedError("invalid-id", detail, field="after", remedy="follow next")
    left_out = LeftOut()
    page = left_out.note(await services.state.connections(limit=PAGE, after=after))
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
    last = max(
        [*(one.connection_id for one in page), *(key.partition("/")[0] for key in page.unreadable)],
        default="",
    )
    url = f"{base_url(req)}/remains?after={last}" if more else None
    return answer({"connections": found, "next": url, **left_out.told()})
