"""The Event Grid webhook, ``/runtime/webhooks/EventGrid?functionName=NAME``.

Rules of ``HttpRequestProcessor`` and ``EventGridExtensionConfigProvider``: one invocation per
event, all started together; 202 when all went well, 500 with the first error's text otherwise.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any

from aiohttp import web

from sandbox.functions.bindings import event_metadata, event_value
from sandbox.functions.definitions import FunctionDefinition
from sandbox.functions.invoker import Invoker

PATH = "/runtime/webhooks/eventgrid"
"""Compared without case; the function's name is compared with case."""
_ORIGINS = ("eventgrid.azure.net", "eventgrid.azure.us", "eventgrid.azure.cn")


def validation_code(body: Any) -> str | None:
    """Return the code of a validation handshake: array form, or object with ``data`` as text."""
    try:
        if isinstance(body, list):
            code = body[0]["data"]["validationCode"]
        else:
            data = body["data"]
            code = (json.loads(data) if isinstance(data, str) else data)["validationCode"]
    except (KeyError, IndexError, TypeError, ValueError):
        return None
    return str(code)


class EventGridWebhook:
    """Answers Event Grid for every Event Grid function of the app."""

    def __init__(self, functions: Mapping[str, FunctionDefinition], invoker: Invoker) -> None:
        self._functions = functions
        self._invoker = invoker

    async def handle(self, request: web.Request) -> web.Response:
        """Answer a request whose key has been accepted."""
        name = request.query.get("functionName", "")
        function = self._functions.get(name)
        if function is None:
            return web.Response(status=404, text=f"cannot find function: '{name}'")
        if request.method == "OPTIONS":
            origin = request.headers.get("WebHook-Request-Origin", "")
            allowed = origin if origin in _ORIGINS else _ORIGINS[0]
            return web.Response(headers={"Webhook-Allowed-Origin": allowed})
        if request.method != "POST":
            return web.Response(status=400)
        match request.headers.get("aeg-event-type", ""):
            case "SubscriptionValidation":
                code = validation_code(await _json(request))
                if code is None:
                    return web.Response(status=400)
                return web.Response(text=json.dumps({"validationResponse": code}))
            case "Notification":
                body = await _json(request)
                events = body if isinstance(body, list) else [body]
                if not all(isinstance(event, dict) for event in events):
                    return web.Response(status=400)
                return await self._deliver(function, events)
            case "Unsubscribe":
                return web.Response(status=202)
            case _:
                return web.Response(status=400)

    async def _deliver(self, function: FunctionDefinition, events: list[dict[str, Any]]) -> web.Response:
        runs = [self._invoker.run(function, event_value(event), event_metadata(event)) for event in events]
        results = await asyncio.gather(*runs)
        failed = next((result for result in results if not result.ok), None)
        return web.Response(status=202) if failed is None else web.Response(status=500, text=failed.error)


async def _json(request: web.Request) -> Any:
    try:
        return json.loads(await request.read())
    except ValueError:
        return None
