"""The admin endpoints of the host, for people and tests; all but ``ping`` need the master key."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

from aiohttp import web

from sandbox.functions.definitions import HTTP, FunctionDefinition
from sandbox.functions.http_triggers import presented_key
from sandbox.functions.keys import Access

if TYPE_CHECKING:
    from sandbox.functions.host import FunctionsHost


async def handle_admin(host: FunctionsHost, request: web.Request) -> web.Response:
    """Answer a request below ``/admin/``."""
    path = request.path.strip("/")
    parts = path.split("/")
    if path.lower() == "admin/host/ping":
        return web.Response()
    if host.keys.access(presented_key(request))[0] is not Access.ADMIN:
        return web.Response(status=401)
    match [part.lower() for part in parts], request.method:
        case ["admin", "host", "status"], "GET":
            return web.json_response(_status(host))
        case ["admin", "functions"], "GET":
            return web.json_response([_describe(host, item) for item in host.functions.values()])
        case ["admin", "functions", _], "GET":
            function = host.functions.get(parts[2])
            return (
                web.Response(status=404) if function is None else web.json_response(_describe(host, function))
            )
        case ["admin", "functions", _], "POST":
            return await _run(host, parts[2], request)
        case _:
            return web.Response(status=404)


def _status(host: FunctionsHost) -> dict[str, Any]:
    status: dict[str, Any] = {
        "id": host.host_id,
        "state": host.state,
        "version": "4.0.0-sandbox",
        "instanceId": host.name,
        "processUptime": int((time.monotonic() - host.started) * 1000),
        "workerRestarts": host.worker_restarts,
    }
    if host.load_error:
        status["errors"] = [host.load_error]
    return status


def _describe(host: FunctionsHost, function: FunctionDefinition) -> dict[str, Any]:
    return {
        "name": function.name,
        "language": "python",
        "isDisabled": host.settings.is_disabled(function.name),
        "href": f"{host.url}/admin/functions/{function.name}",
        "config": {"name": function.name, "bindings": list(function.bindings)},
    }


async def _run(host: FunctionsHost, name: str, request: web.Request) -> web.Response:
    """Run a function by hand: 202 at once, the run goes on."""
    function = host.functions.get(name)
    if function is None:
        return web.Response(status=404)
    if function.trigger_type == HTTP:
        return web.Response(status=400, text="An HTTP function is run through its own route.")
    raw = await request.read()
    try:
        body = json.loads(raw) if raw else {}
    except ValueError:
        return web.Response(status=400)
    given = body.get("input") if isinstance(body, dict) else None
    text = given if isinstance(given, str) else json.dumps(given) if given is not None else ""
    try:
        started = host.run_by_hand(function, text)
    except ValueError:
        return web.Response(status=400, text="An Event Grid function takes one event as JSON.")
    if not started:
        return web.Response(status=503, text="Function host is not running.")
    return web.Response(status=202)
