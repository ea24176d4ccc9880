"""HTTP: sweeps. Asking for one while one is under way answers that one."""

import re
from datetime import timedelta
from http import HTTPStatus

import azure.functions as func

from handlers.http_answers import RETRY_AFTER_SECONDS, answer, base_url, guarded, problem
from handlers.http_lists import LeftOut
from shared.services import Services
from shared.sweeping import shown
from shared.wiring import Wiring

LIST_LIMIT = 100
LIST_DAYS = 30
_SWEEP_ID = re.compile(r"\d{8}t\d{6}-[0-9a-f]{8}")


def blueprint(wiring: Wiring) -> func.Blueprint:
    """The sweep resources."""
    part = func.Blueprint()

    @part.function_name("post_sweep")
    @part.route("sweeps", methods=["POST"])
    async def post_sweep(req: func.HttpRequest) -> func.HttpResponse:
        """Begin a sweep."""
        return await guarded(wiring, _start, req)

    @part.function_name("list_sweeps")
    @part.route("sweeps", methods=["GET"])
    async def list_sweeps(req: func.HttpRequest) -> func.HttpResponse:
        """List sweeps."""
        return await guarded(wiring, _list, req)

    @part.function_name("get_sweep")
    @part.route("sweeps/{sweepId}", methods=["GET"])
    async def get_sweep(req: func.HttpRequest) -> func.HttpResponse:
        """Read a sweep."""
        return await guarded(wiring, _get, req)

    return part


async def _start(services: Services, req: func.HttpRequest) -> func.HttpResponse:
    sweep, begun = await services.sweeping.sweeper.start(asked_by="request")
    url = f"{base_url(req)}/sweeps/{sweep.sweep_id}"
    return answer(
        {"outcome": "opened" if begun else "attached", "sweepId": sweep.sweep_id},
        status=HTTPStatus.ACCEPTED,
        headers={"Location": url, "Retry-After": str(RETRY_AFTER_SECONDS)},
    )


async def _list(services: Services, req: func.HttpRequest) -> func.HttpResponse:
    since = services.clock.now() - timedelta(days=LIST_DAYS)
    left_out = LeftOut()
    found = left_out.note(await services.sweeping.sweeps.newest(since=since, limit=LIST_LIMIT + 1))
    sweeps = [shown.listed(one, base_url=base_url(req)) for one in found[:LIST_LIMIT]]
    truncated = len(found) + left_out.number > LIST_LIMIT
    return answer({"sweeps": sweeps, "truncated": truncated, **left_out.told()})


async def _get(services: Services, req: func.HttpRequest) -> func.HttpResponse:
    sweep_id = req.route_params["sweepId"].lower()
    sound = _SWEEP_ID.fullmatch(sweep_id)  # table keys refuse some characters
    stored = await services.sweeping.sweeps.get(sweep_id) if sound else None
    if stored is None:
        return problem("not-found", f"there is no sweep {sweep_id[:64]}", status=HTTPStatus.NOT_FOUND)
    slices = [one.value for one in await services.sweeping.sweeps.slices(sweep_id)]
    headers = {} if stored.value.state.final else {"Retry-After": str(RETRY_AFTER_SECONDS)}
    return answer(shown.sweep(stored.value, slices, base_url=base_url(req)), headers=headers)
