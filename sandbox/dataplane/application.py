"""The data plane's application: which path goes to which service."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator

import aiohttp
from aiohttp import web

from sandbox.dataplane.access import AccessChecks
from sandbox.dataplane.accounts import AccountPool
from sandbox.dataplane.blob import BlobService
from sandbox.dataplane.callers import CallerTokens
from sandbox.dataplane.vault import VaultService
from sandbox.topology import Topology

UPLOAD_LIMIT_BYTES = 256 * 1024**2
IDLE_SECONDS = 30


def make_app(topology: Topology) -> web.Application:
    """Make the application that answers ``/blob/ACCOUNT/...`` and ``/vault/NAME/...``."""
    app = web.Application(client_max_size=UPLOAD_LIMIT_BYTES)

    async def lifetime(application: web.Application) -> AsyncIterator[None]:
        tls = ssl.create_default_context(cafile=topology.ca_file)
        connector = aiohttp.TCPConnector(ssl=tls, limit=0, keepalive_timeout=IDLE_SECONDS)
        async with aiohttp.ClientSession(connector=connector, auto_decompress=False) as session:
            tokens = CallerTokens(topology, session)
            access = AccessChecks(topology, session)
            blob = BlobService(topology, session, tokens, access, AccountPool(topology))
            vault = VaultService(topology, tokens, access)
            application[BLOB] = blob
            application[VAULT] = vault
            yield

    async def to_blob(request: web.Request) -> web.StreamResponse:
        return await request.app[BLOB].answer(request)

    async def to_container(request: web.Request) -> web.StreamResponse:
        account, container = (request.match_info[name] for name in ("account", "container"))
        held = await request.app[BLOB].container(request.method, account, container)
        return web.Response(status=200 if held else 404)

    async def to_vault(request: web.Request) -> web.StreamResponse:
        return await request.app[VAULT].answer(request)

    app.cleanup_ctx.append(lifetime)
    app.router.add_route("*", "/blob/{account}{path:(/.*)?}", to_blob)
    app.router.add_get("/sandbox/containers/{account}/{container}", to_container)
    app.router.add_delete("/sandbox/containers/{account}/{container}", to_container)
    app.router.add_route("*", "/vault/{vault}{path:(/.*)?}", to_vault)
    return app


BLOB = web.AppKey("blob", BlobService)
VAULT = web.AppKey("vault", VaultService)
