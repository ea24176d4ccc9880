"""HTTP: prunes with their evidence; release what the cap holds, put back what was removed."""

import asyncio
import json
import re
import uuid
from http import HTTPStatus
from typing import Any

import azure.functions as func

from handlers.http_answers import RETRY_AFTER_SECONDS, answer, base_url, guarded, problem
from handlers.http_lists import LeftOut
from shared import evidence, naming
from shared.errors import RefusedError
from shared.models import Kind, OperationId
from shared.opening import Answer
from shared.prunes import PruneEntry, month_of
from shared.releasing import LIMIT as RELEASE_LIMIT
from shared.services import Services
from shared.wiring import Wiring

LIST_LIMIT = 500
SCAN_LIMIT = 5000
"""Of a month, where only those in one state are asked for."""
AT_ONCE = 16
BODY_BYTES = 16 * 1024
_MONTH = re.compile(r"\d{4}-(0[1-9]|1[0-2])")
_OPERATION_ID = re.compile(r"[0-9a-f]{24}-[0-9a-f]{12}")
_KEY = re.compile(r"[A-Za-z0-9._:-]{1,128}")
_CLUSTER = "Microsoft.ContainerService/managedClusters"


def blueprint(wiring: Wiring) -> func.Blueprint:
    """The prune resources."""
    part = func.Blueprint()

    @part.function_name("list_prunes")
    @part.route("prunes", methods=["GET"])
    async def list_prunes(req: func.HttpRequest) -> func.HttpResponse:
        """List the prunes of a month."""
        return await guarded(wiring, _list, req)

    @part.function_name("get_prune")
    @part.route("prunes/{pruneId}", methods=["GET"])
    async def get_prune(req: func.HttpRequest) -> func.HttpResponse:
        """Read a prune's evidence."""
        return await guarded(wiring, _get, req)

    @part.function_name("release_prunes")
    @part.route("prunes/release", methods=["POST"])
    async def release_prunes(req: func.HttpRequest) -> func.HttpResponse:
        """Let prunes go that the cap holds."""
        return await guarded(wiring, _release, req)

    @part.function_name("restore_prune")
    @part.route("prunes/{pruneId}/restore", methods=["POST"])
    async def restore_prune(req: func.HttpRequest) -> func.HttpResponse:
        """Put back what a prune has removed from the cluster."""
        return await guarded(wiring, _restore, req)

    return part


def opened(found: Answer, req: func.HttpRequest) -> func.HttpResponse:
    """The answer to a request that has opened an operation, or found it open."""
    location = f"{base_url(req)}/operations/{found.operation_id}"
    body = {"outcome": found.outcome, "operationId": found.operation_id or None}
    if found.outcome == "nothing-to-do":
        return answer(body, headers={"Location": location} if found.operation_id else None)
    headers = {"Location": location, "Retry-After": str(RETRY_AFTER_SECONDS)}
    return answer(body, status=HTTPStatus.ACCEPTED, headers=headers)


def request_key(req: func.HttpRequest) -> str:
    """Makes a repeat of a request recognisable, as the sender said, else once.

    Raises:
        RefusedError: ``invalid-id``.
    """
    key = req.headers.get("Idempotency-Key") or req.headers.get("x-ms-client-request-id")
    if key and not _KEY.fullmatch(key):
        raise RefusedError("invalid-id", "a key is letters, digits and ._:-, at most 128")
    return key or str(uuid.uuid4())


async def _list(services: Services, req: func.HttpRequest) -> func.HttpResponse:
    month = req.params.get("month") or month_of(services.clock.now())
    if not _MONTH.fullmatch(month):
        return problem("invalid-month", "month is YYYY-MM", status=HTTPStatus.BAD_REQUEST, field="month")
    state, cluster_id = req.params.get("state", ""), req.params.get("clusterId", "")
    left_out = LeftOut()
    entries = [
        entry
        for entry in left_out.note(await services.prunes.of_month(month))
        if not cluster_id or naming.fold_id(entry.cluster_id) == naming.fold_id(cluster_id)
    ]
    turns = asyncio.Semaphore(AT_ONCE)

    async def shown(entry: PruneEntry) -> dict[str, Any] | None:
        async with turns:
            reading = services.state.operation(entry.operation_id)
            stored = await left_out.read(entry.operation_id, reading)
        # The list is written first: what was never opened is not a prune.
        if stored is None or state not in {"", stored.value.state.value}:
            return None
        return evidence.listed(entry, stored.value, base_url=base_url(req))

    # What is held may lie far behind what has ended since.
    looked_at = SCAN_LIMIT if state else LIST_LIMIT
    found = await asyncio.gather(*(shown(entry) for entry in entries[:looked_at]))
    prunes = [one for one in found if one is not None]
    truncated = len(entries) > looked_at or len(prunes) > LIST_LIMIT
    listed = {"month": month, "prunes": prunes[:LIST_LIMIT], "truncated": truncated}
    return answer({**listed, **left_out.told()})


async def _get(services: Services, req: func.HttpRequest) -> func.HttpResponse:
    prune_id = _prune_id(req)
    snapshot = await services.state.load(prune_id)
    if snapshot is None or snapshot.operation.value.kind is not Kind.PRUNE:
        raise RefusedError("not-found", f"there is no prune {prune_id}")
    saved = await services.prunes.saved(prune_id)
    final = snapshot.operation.value.state.final
    headers = {} if final else {"Retry-After": str(RETRY_AFTER_SECONDS)}
    return answer(evidence.record(snapshot, saved, base_url=base_url(req)), headers=headers)


async def _release(services: Services, req: func.HttpRequest) -> func.HttpResponse:
    cluster_id, operation_ids = _release_body(req.get_body())
    if cluster_id:
        released = await services.releaser.of_cluster(cluster_id)
    else:
        released = await services.releaser.these(operation_ids)
    shown = [{"operationId": one.operation_id, "outcome": one.outcome} for one in released.prunes]
    number = sum(one.outcome == "released" for one in released.prunes)
    return answer({"prunes": shown, "released": number, "truncated": released.truncated})


async def _restore(services: Services, req: func.HttpRequest) -> func.HttpResponse:
    return opened(await services.restorer.restore(_prune_id(req), key=request_key(req)), req)


def _prune_id(req: func.HttpRequest) -> OperationId:
    prune_id = req.route_params["pruneId"].lower()
    if not _OPERATION_ID.fullmatch(prune_id):
        # Table keys refuse some characters, so no other text is looked up.
        raise RefusedError("not-found", "a prune's id is that of its operation", field="pruneId")
    return OperationId(prune_id)


def _release_body(body: bytes) -> tuple[str, list[OperationId]]:
    """A cluster's id, or ids of prunes.

    Raises:
        RefusedError: ``invalid-release`` or ``invalid-id``.
    """
    try:
        parsed = json.loads(body) if len(body) <= BODY_BYTES else None
    except (ValueError, RecursionError):
        parsed = None
    value: dict[str, Any] = parsed if isinstance(parsed, dict) else {}
    names = set(value)
    if names == {"clusterId"} and isinstance(value["clusterId"], str):
        if fault := naming.id_fault(value["clusterId"], _CLUSTER):
            raise RefusedError("invalid-id", fault, field="clusterId")
        return value["clusterId"], []
    ids = value["operationIds"] if names == {"operationIds"} else None
    if not isinstance(ids, list) or not 0 < len(ids) <= RELEASE_LIMIT:
        raise RefusedError(
            "invalid-release",
            f"one object with clusterId, or with operationIds: 1 to {RELEASE_LIMIT} ids",
        )
    if not all(isinstance(one, str) and _OPERATION_ID.fullmatch(one) for one in ids):
        raise RefusedError("invalid-id", "each is a prune's id", field="operationIds")
    return "", [OperationId(one) for one in ids]
