"""The frame around each emulator: TLS, faults, latency, a journal of calls, readiness.

An emulator is an ``aiohttp`` application made by a factory; ``serve`` puts this frame around it.
Control endpoints live under ``/sandbox/`` on the emulator's own port and never meet faults:

- ``GET /sandbox/ready``: 200 when the emulator answers.
- ``GET|DELETE /sandbox/calls``: the journal, oldest first; DELETE forgets it.
- ``GET|PUT /sandbox/faults``, ``GET|PUT /sandbox/latency``: lists of rules (``sandbox/faults.py``).
"""

from __future__ import annotations

import asyncio
import collections
import dataclasses
import json
import ssl
import time
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import urlsplit

from aiohttp import web

from sandbox.faults import FaultRule, LatencyRule

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

JOURNAL_LIMIT = 50_000


@dataclasses.dataclass(slots=True)
class Frame:
    """What one emulator's control endpoints read and write."""

    name: str
    faults: list[FaultRule] = dataclasses.field(default_factory=list)
    latency: list[LatencyRule] = dataclasses.field(default_factory=list)
    journal: collections.deque[dict[str, Any]] = dataclasses.field(
        default_factory=lambda: collections.deque(maxlen=JOURNAL_LIMIT),
    )


FRAME = web.AppKey("frame", Frame)


def frame_application(app: web.Application, name: str) -> web.Application:
    """Add the control endpoints and the fault middleware to an emulator's application."""
    frame = Frame(name)
    app[FRAME] = frame
    app.middlewares.insert(0, _middleware)
    app.router.add_get("/sandbox/ready", _ready)
    app.router.add_get("/sandbox/calls", _calls)
    app.router.add_delete("/sandbox/calls", _forget_calls)
    app.router.add_get("/sandbox/faults", _faults)
    app.router.add_put("/sandbox/faults", _set_faults)
    app.router.add_get("/sandbox/latency", _latency)
    app.router.add_put("/sandbox/latency", _set_latency)
    return app


async def serve(app: web.Application, *, name: str, url: str, cert_file: str, key_file: str) -> None:
    """Serve ``app`` at ``url`` (host and port) over TLS until the task is cancelled."""
    frame_application(app, name)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(cert_file, key_file)
    parts = urlsplit(url)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    site = web.TCPSite(runner, parts.hostname or "127.0.0.1", parts.port or 443, ssl_context=tls, backlog=512)
    await site.start()
    try:
        await asyncio.Event().wait()
    finally:
        await runner.cleanup()


@web.middleware
async def _middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
    if request.path.startswith("/sandbox/"):
        return await handler(request)
    frame = request.app[FRAME]
    target = request.path_qs
    started = time.monotonic()
    for rule in frame.latency:
        if rule.matches(request.method, target):
            await asyncio.sleep(rule.seconds)
            break
    fault = next((rule for rule in frame.faults if rule.take(request.method, target)), None)
    response: web.StreamResponse | None = None
    status = 0
    try:
        if fault is None:
            response = await handler(request)
        else:
            if fault.delay_seconds:
                await asyncio.sleep(fault.delay_seconds)
            if fault.after:
                await handler(request)
            if fault.drop:
                if request.transport is not None:
                    request.transport.close()
                status = -1
                raise ConnectionResetError("dropped by a fault rule")
            response = _fault_response(fault)
        status = response.status
        return response
    except web.HTTPException as http_error:
        status = http_error.status
        raise
    finally:
        frame.journal.append(
            {
                "at": time.time(),
                "method": request.method,
                "path": request.path,
                "query": request.query_string,
                "status": status,
                "seconds": round(time.monotonic() - started, 6),
                "caller": request.get("caller", ""),
                "fault": fault is not None,
            },
        )


def _fault_response(fault: FaultRule) -> web.Response:
    if fault.body is None or isinstance(fault.body, str):
        return web.Response(status=fault.status, headers=fault.headers, text=fault.body or "")
    return web.Response(
        status=fault.status,
        headers=fault.headers,
        text=json.dumps(fault.body),
        content_type="application/json",
    )


async def _ready(request: web.Request) -> web.Response:
    return web.json_response({"name": request.app[FRAME].name, "ready": True})


async def _calls(request: web.Request) -> web.Response:
    return web.json_response(list(request.app[FRAME].journal))


async def _forget_calls(request: web.Request) -> web.Response:
    request.app[FRAME].journal.clear()
    return web.Response(status=204)


async def _faults(request: web.Request) -> web.Response:
    return web.json_response([dataclasses.asdict(rule) for rule in request.app[FRAME].faults])


async def _set_faults(request: web.Request) -> web.Response:
    rules = [FaultRule(**raw) for raw in await request.json()]
    request.app[FRAME].faults[:] = rules
    return web.json_response([dataclasses.asdict(rule) for rule in rules])


async def _latency(request: web.Request) -> web.Response:
    return web.json_response([dataclasses.asdict(rule) for rule in request.app[FRAME].latency])


async def _set_latency(request: web.Request) -> web.Response:
    rules = [LatencyRule(**raw) for raw in await request.json()]
    request.app[FRAME].latency[:] = rules
    return web.json_response([dataclasses.asdict(rule) for rule in rules])
