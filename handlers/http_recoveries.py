"""HTTP: recoveries. A dry run unless the body asks for rows to be written."""

import re
from http import HTTPStatus

import azure.functions as func

from handlers.http_answers import RETRY_AFTER_SECONDS, answer, base_url, guarded, problem
from shared import decoding
from shared.errors import RefusedError
from shared.recovering import recoveries
from shared.services import Services
from shared.wiring import Wiring

BODY_BYTES = 1024
_SWEEP_ID = re.compile(r"\d{8}t\d{6}-[0-9a-f]{8}")


def blueprint(wiring: Wiring) -> func.Blueprint:
    """The recovery resources."""
    part = func.Blueprint()

    @part.function_name("post_recovery")
    @part.route("recoveries", methods=["POST"])
    async def post_recovery(req: func.HttpRequest) -> func.HttpResponse:
        """Begin a recovery."""
        return await guarded(wiring, _start, req)

    @part.function_name("get_recovery")
    @part.route("recoveries/{recoveryId}", methods=["GET"])
    async def get_recovery(req: func.HttpRequest) -> func.HttpResponse:
        """Read a recovery."""
        return await guarded(wiring, _get, req)

    return part


async def _start(services: Services, req: func.HttpRequest) -> func.HttpResponse:
    asked_by = recoveries.RECOVERY if _writes(req.get_body()) else recoveries.DRY_RUN
    sweep, begun = await services.sweeping.sweeper.start(asked_by=asked_by)
    if sweep.asked_by != asked_by:
        return problem(
            "sweep-under-way",
            f"sweep {sweep.sweep_id}, asked for by {sweep.asked_by}, has not ended",
            status=HTTPStatus.CONFLICT,
            remedy="send this again once GET /api/sweeps/{sweepId} says done",
        )
    return answer(
        {"outcome": "opened" if begun else "attached", "recoveryId": sweep.sweep_id},
        status=HTTPStatus.ACCEPTED,
        headers={
            "Location": f"{base_url(req)}/recoveries/{sweep.sweep_id}",
            "Retry-After": str(RETRY_AFTER_SECONDS),
        },
    )


async def _get(services: Services, req: func.HttpRequest) -> func.HttpResponse:
    sweep_id, sweeping = req.route_params["recoveryId"].lower(), services.sweeping
    sound = _SWEEP_ID.fullmatch(sweep_id)  # table keys refuse some characters
    stored = await sweeping.sweeps.get(sweep_id) if sound else None
    if stored is None or stored.value.asked_by not in recoveries.ASKED:
        return problem("not-found", f"there is no recovery {sweep_id[:64]}", status=HTTPStatus.NOT_FOUND)
    slices = [one.value for one in await sweeping.sweeps.slices(sweep_id)]
    found = await sweeping.found.of(sweep_id)
    headers = {} if stored.value.state.final else {"Retry-After": str(RETRY_AFTER_SECONDS)}
    return answer(recoveries.answer(stored.value, slices, found, base_url=base_url(req)), headers=headers)


def _writes(body: bytes) -> bool:
    """``{"write": true}`` or nothing at all.

    Raises:
        RefusedError: ``invalid-recovery``: whoever means one thing and writes another gets neither.
    """
    if not body.strip():
        return False
    found = decoding.decode(body, message_bytes=BODY_BYTES, json_bytes=BODY_BYTES, depth=2)
    if type(found) is not dict or set(found) - {"write"} or type(found.get("write", False)) is not bool:
        raise RefusedError(
            "invalid-recovery", 'the body is {"write": true}, {"write": false} or nothing', field="write"
        )
    return bool(found.get("write", False))
