"""The function app's own handlers, called with what the Functions worker would hand them."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import azure.functions as func

from handlers import (
    connection_requests,
    connection_steps,
    dead_letters,
    http_api,
    http_catalogue,
    http_operations,
    http_orphans,
    http_prunes,
    http_recoveries,
    http_remains,
    http_sweeps,
    poison,
    resource_events,
    sweeps,
    timers,
)
from shared.services import Services
from tests.fakes.local_app import LocalApp

SITE = "https://mooring.example"
_PARTS = (
    connection_requests,
    connection_steps,
    dead_letters,
    http_api,
    http_catalogue,
    http_operations,
    http_orphans,
    http_prunes,
    http_recoveries,
    http_remains,
    http_sweeps,
    poison,
    resource_events,
    sweeps,
    timers,
)


class LocalWiring:
    """What ``shared.wiring.Wiring`` is to handlers."""

    def __init__(self, app: LocalApp) -> None:
        self._app = app

    async def services(self) -> Services:
        return self._app.services


def handlers_of(app: LocalApp) -> dict[str, Callable[..., Awaitable[Any]]]:
    """Every handler by its function's name."""
    whole = func.FunctionApp()
    for part in _PARTS:
        whole.register_functions(part.blueprint(LocalWiring(app)))  # type: ignore[arg-type]
    return {one.get_function_name(): one.get_user_function() for one in whole.get_functions()}


class HttpApp:
    """Calls the HTTP handlers."""

    def __init__(self, app: LocalApp) -> None:
        self.handlers = handlers_of(app)

    async def call(
        self,
        function: str,
        *,
        body: Any = None,
        params: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        **route: str,
    ) -> tuple[int, Any, Mapping[str, str]]:
        """Status, JSON (or text) and headers of one call."""
        raw = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        request = func.HttpRequest(
            method="POST" if raw else "GET",
            url=f"{SITE}/api/connections",
            params=dict(params or {}),
            headers=dict(headers or {}),
            route_params=dict(route),
            body=raw,
        )
        response: func.HttpResponse = await self.handlers[function](request)
        text = response.get_body().decode()
        json_like = "json" in (response.mimetype or "")
        return response.status_code, json.loads(text) if json_like else text, response.headers

    async def operations(self, **params: str) -> list[dict[str, Any]]:
        """What ``GET /api/operations`` lists."""
        status, found, _ = await self.call("find_operations", params=params)
        assert status == 200, found
        return list(found["operations"])
