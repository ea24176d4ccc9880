"""HTTP: operations, and what became of requests."""

import re
from http import HTTPStatus
from typing import Any

import azure.functions as func

from handlers.http_answers import RETRY_AFTER_SECONDS, answer, guarded, problem
from handlers.http_lists import LeftOut
from shared import views
from shared.models import OperationId
from shared.records import RequestRecord
from shared.services import Services
from shared.wiring import Wiring

LIST_LIMIT = 500
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")
_OPERATION_ID = re.compile(r"[0-9a-f]{24}-[0-9a-f]{12}")
_REJECTED = re.compile(r"rejected-(\d{4})(\d{2})(\d{2})-[0-9a-f]+")


def blueprint(wiring: Wiring) -> func.Blueprint:
    """The operation resources."""
    part = func.Blueprint()

    @part.function_name("get_operation")
    @part.route("operations/{operationId}", methods=["GET"])
    async def get_operation(req: func.HttpRequest) -> func.HttpResponse:
        """Read an operation."""
        operation_id = req.route_params["operationId"].lower()
        return await guarded(wiring, _operation, operation_id)

    @part.function_name("find_operations")
    @part.route("operations", methods=["GET"])
    async def find_operations(req: func.HttpRequest) -> func.HttpResponse:
        """Find what became of a request, or the refusals of a day, or what is open now."""
        return await guarded(wiring, _find, req)

    return part


async def _operation(services: Services, operation_id: str) -> func.HttpResponse:
    if operation_id.startswith("rejected-"):
        return await _rejected_one(services, operation_id)
    sound = _OPERATION_ID.fullmatch(operation_id)  # table keys refuse some characters
    snapshot = await services.state.load(OperationId(operation_id)) if sound else None
    if snapshot is None:
        detail = f"there is no operation {operation_id[:64]}"
        return problem("not-found", detail, status=HTTPStatus.NOT_FOUND)
    running = not snapshot.operation.value.state.final
    headers = {"Retry-After": str(RETRY_AFTER_SECONDS)} if running else {}
    return answer(views.operation(snapshot), headers=headers)


async def _find(services: Services, req: func.HttpRequest) -> func.HttpResponse:
    request_id = req.params.get("requestId", "")
    if request_id:
        record = None
        for key in ("id:", "message:", "message:http:"):
            record = record or await services.requests.find(f"{key}{request_id}")
        if record is None:
            detail = f"no request {request_id[:64]} has been taken in"
            return problem("not-found", detail, status=HTTPStatus.NOT_FOUND)
        return await _of(services, record)
    left_out, shown = LeftOut(), list[dict[str, Any]]()
    if req.params.get("state") == "rejected":
        day = req.params.get("day") or f"{services.clock.now():%Y-%m-%d}"
        if not _DAY.fullmatch(day):
            return problem("invalid-day", "day is YYYY-MM-DD", status=HTTPStatus.BAD_REQUEST, field="day")
        records = left_out.note(await services.requests.rejected(day))
        shown = [views.rejection(record) for record in records]
        return answer({"day": day, "operations": shown, **left_out.told()})
    listed = await services.state.open_operations()
    for operation_id, _ in listed[:LIST_LIMIT]:
        snapshot = await left_out.read(operation_id, services.state.load(operation_id))
        # What was overtaken stays on the timer's list until the timer has seen it.
        if snapshot is not None and not snapshot.operation.value.state.final:
            shown.append(views.operation(snapshot))
    return answer({"operations": shown, "truncated": len(listed) > LIST_LIMIT, **left_out.told()})


async def _of(services: Services, record: RequestRecord) -> func.HttpResponse:
    if record.outcome == "rejected":
        return answer({"operations": [views.rejection(record)]})
    snapshot = await services.state.load(OperationId(record.operation_id)) if record.operation_id else None
    if snapshot is None:
        return answer({"operations": [views.nothing_to_do(record)]})
    return answer({"operations": [{**views.operation(snapshot), "outcome": record.outcome}]})


async def _rejected_one(services: Services, operation_id: str) -> func.HttpResponse:
    found = _REJECTED.fullmatch(operation_id)
    day = "-".join(found.groups()) if found else ""
    for record in await services.requests.rejected(day):
        if record.operation_id == operation_id:
            return answer(views.rejection(record))
    detail = "refusals of a day are at /api/operations?state=rejected&day=YYYY-MM-DD"
    return problem("not-found", detail, status=HTTPStatus.NOT_FOUND)
