"""HTTP triggers: which function answers a request, and what it gets to see.

``WebScriptHostHttpRoutesManager`` makes the method part of the route, so that a wrong method is
404; ``FunctionInvocationMiddleware`` answers a missing or wrong key with an empty 401.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any

from aiohttp import web

from sandbox.functions.bindings import TypedValue
from sandbox.functions.definitions import FunctionDefinition
from sandbox.functions.invoker import Invoker
from sandbox.functions.keys import KeyRing
from sandbox.functions.responses import http_response
from sandbox.functions.routes import RouteTemplate


def presented_key(request: web.Request) -> str | None:
    """Return the key of a request: the header wins over ``?code=``."""
    return request.headers.get("x-functions-key") or request.query.get("code")


@dataclasses.dataclass(frozen=True, slots=True)
class HttpRoute:
    """One HTTP function with its route."""

    function: FunctionDefinition
    template: RouteTemplate
    methods: frozenset[str]
    """Empty means every method."""
    level: str

    @classmethod
    def of(cls, function: FunctionDefinition, prefix: str) -> HttpRoute:
        """Make the route of a function below the app's route prefix.

        Raises:
            RouteError: The template cannot be read.
        """
        route = str(function.trigger.get("route") or function.name).strip("/")
        return cls(
            function=function,
            template=RouteTemplate(f"{prefix}/{route}"),
            methods=frozenset(str(method).upper() for method in function.trigger.get("methods") or ()),
            level=str(function.trigger.get("authLevel") or "function"),
        )


class HttpTriggers:
    """Every HTTP function of the app; the first that matches answers."""

    def __init__(self, routes: Iterable[HttpRoute], keys: KeyRing, invoker: Invoker) -> None:
        self._routes = tuple(routes)
        self._keys = keys
        self._invoker = invoker

    async def handle(self, request: web.Request) -> web.Response:
        """Answer a request."""
        for route in self._routes:
            if route.methods and request.method not in route.methods:
                continue
            values = route.template.match(request.rel_url.raw_path)
            if values is None:
                continue
            if not self._keys.allows_http(presented_key(request), route.level):
                return web.Response(status=401)
            result = await self._invoker.run(
                route.function,
                await request_value(request, values),
                {},
                trace_parent=request.headers.get("traceparent", ""),
            )
            return http_response(result.returned) if result.ok else web.Response(status=500)
        return web.Response(status=404)


async def request_value(request: web.Request, route_values: dict[str, str]) -> TypedValue:
    """Return a request as the worker gets it.

    Header names in lower case, repeated headers and query parameters joined by a comma, empty
    query values dropped, the body as bytes.
    """
    headers: dict[str, str] = {}
    for name, value in request.headers.items():
        folded = name.lower()
        headers[folded] = f"{headers[folded]},{value}" if folded in headers else value
    query: dict[str, str] = {}
    for name, value in request.query.items():
        if value:
            query[name] = f"{query[name]},{value}" if name in query else value
    body = await request.read()
    wire_body: dict[str, Any] = {"bytes": body} if body else {}
    return {
        "http": {
            "method": request.method,
            "url": str(request.url),
            "headers": headers,
            "params": route_values,
            "query": query,
            "body": wire_body,
        },
    }
