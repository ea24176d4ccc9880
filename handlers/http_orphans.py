"""HTTP: what a sweep found and nobody owns; one is pruned only when it is named here."""

import azure.functions as func

from handlers.http_answers import answer, base_url, guarded
from handlers.http_lists import LeftOut
from handlers.http_prunes import opened, request_key
from shared import evidence, naming
from shared.errors import RefusedError
from shared.orphans import LIST_LIMIT
from shared.services import Services
from shared.wiring import Wiring


def blueprint(wiring: Wiring) -> func.Blueprint:
    """The orphan resources."""
    part = func.Blueprint()

    @part.function_name("list_orphans")
    @part.route("orphans", methods=["GET"])
    async def list_orphans(req: func.HttpRequest) -> func.HttpResponse:
        """List orphans."""
        return await guarded(wiring, _list, req)

    @part.function_name("get_orphan")
    @part.route("orphans/{orphanId}", methods=["GET"])
    async def get_orphan(req: func.HttpRequest) -> func.HttpResponse:
        """Read an orphan."""
        return await guarded(wiring, _get, req)

    @part.function_name("prune_orphan")
    @part.route("orphans/{orphanId}/prune", methods=["POST"])
    async def prune_orphan(req: func.HttpRequest) -> func.HttpResponse:
        """Prune an orphan."""
        return await guarded(wiring, _prune, req)

    return part


async def _list(services: Services, req: func.HttpRequest) -> func.HttpResponse:
    cluster_id = req.params.get("clusterId", "")
    if cluster_id and (fault := naming.id_fault(cluster_id)):
        raise RefusedError("invalid-id", fault, field="clusterId")
    left_out = LeftOut()
    found = left_out.note(await services.orphans.list(cluster_id, limit=LIST_LIMIT))
    shown = [evidence.orphan(one, base_url=base_url(req)) for one in found]
    truncated = len(found) + left_out.number == LIST_LIMIT
    return answer({"orphans": shown, "truncated": truncated, **left_out.told()})


async def _get(services: Services, req: func.HttpRequest) -> func.HttpResponse:
    orphan_id = req.route_params["orphanId"].lower()
    found = await services.orphans.get(orphan_id)
    if found is None:
        raise RefusedError("not-found", f"there is no orphan {orphan_id[:64]}")
    return answer(evidence.orphan(found, base_url=base_url(req)))


async def _prune(services: Services, req: func.HttpRequest) -> func.HttpResponse:
    orphan_id = req.route_params["orphanId"].lower()
    return opened(await services.orphan_pruner.prune(orphan_id, key=request_key(req)), req)
