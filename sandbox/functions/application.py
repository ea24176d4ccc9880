"""The web application around a host: control endpoints of the sandbox, then the host itself."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from aiohttp import web

from sandbox.functions.host import FunctionsHost

BODY_LIMIT = 210 * 1024 * 1024
"""The platform's limit for a request body, in bytes."""

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def make_app(host: FunctionsHost) -> web.Application:
    """Return the application that serves a host and starts and stops it.

    - ``GET /sandbox/ready``: 503 with the reason until the app is loaded and its listeners run.
    - ``GET|DELETE /sandbox/invocations``: the invocations that have ended.
    """

    @web.middleware
    async def readiness(request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.path == "/sandbox/ready" and host.state != "Running":
            answer = {"name": host.name, "ready": False, "state": host.state, "error": host.load_error}
            return web.json_response(answer, status=503)
        return await handler(request)

    async def invocations(_request: web.Request) -> web.Response:
        return web.json_response(host.journal.entries())

    async def forget_invocations(_request: web.Request) -> web.Response:
        host.journal.clear()
        return web.Response(status=204)

    async def life(_app: web.Application) -> None:
        # In the background: the control endpoints answer while the app loads.
        starting.append(asyncio.create_task(host.start()))

    async def death(_app: web.Application) -> None:
        await asyncio.gather(*starting)
        await host.stop()

    starting: list[asyncio.Task[None]] = []
    app = web.Application(client_max_size=BODY_LIMIT, middlewares=[readiness])
    app.router.add_get("/sandbox/invocations", invocations)
    app.router.add_delete("/sandbox/invocations", forget_invocations)
    app.router.add_route("*", "/{path:.*}", host.handle)
    app.on_startup.append(life)
    app.on_shutdown.append(death)
    return app
