"""The application: clusters below ``/clusters/NAME``, their public issuers, the control endpoints."""

from __future__ import annotations

import json
import uuid
from typing import Any

from aiohttp import web

from sandbox.kube.authentication import Authenticator
from sandbox.kube.clusters import NAME, Cluster, Clusters
from sandbox.kube.requests import answer
from sandbox.topology import Topology

MAX_BODY_BYTES = 3 * 1024 * 1024
"""Request bodies over this are refused with 413, as kube-apiserver does."""

TOPOLOGY = web.AppKey("topology", Topology)
CLUSTERS = web.AppKey("clusters", Clusters)
AUTHENTICATOR = web.AppKey("authenticator", Authenticator)


def make_app(topology: Topology) -> web.Application:
    """The emulator as an application, with the clusters that were saved."""
    app = web.Application(client_max_size=MAX_BODY_BYTES)
    app[TOPOLOGY] = topology
    app[CLUSTERS] = Clusters(topology)
    app[AUTHENTICATOR] = Authenticator(topology)
    app.on_cleanup.append(_save)
    app.router.add_put("/sandbox/clusters/{name}", _put_cluster)
    app.router.add_delete("/sandbox/clusters/{name}", _delete_cluster)
    app.router.add_post("/sandbox/clusters/{name}/compact", _compact)
    issuer = "/issuers/{tenant}/{incarnation}"
    app.router.add_get(issuer + "/.well-known/openid-configuration", _issuer_metadata)
    app.router.add_get(issuer + "/openid/v1/jwks", _issuer_keys)
    app.router.add_route("*", "/clusters/{name}{path:(/.*)?}", _kubernetes)
    return app


async def _save(app: web.Application) -> None:
    app[CLUSTERS].save()


async def _put_cluster(request: web.Request) -> web.Response:
    body: Any = await read_json(request)
    name, incarnation = request.match_info["name"], str(body.get("incarnation", ""))
    if not NAME.fullmatch(name):
        raise web.HTTPBadRequest(text="a cluster's name has letters, digits, hyphens and underscores")
    try:
        uuid.UUID(incarnation)
    except ValueError:
        raise web.HTTPBadRequest(text="incarnation is a GUID") from None
    cluster = await request.app[CLUSTERS].put(name, incarnation)
    server = f"{request.app[TOPOLOGY].kubernetes_url}/clusters/{name}"
    return web.json_response({"server": server, "issuer": cluster.issuer.url})


async def read_json(request: web.Request) -> dict[str, Any]:
    """The body of a control request.

    Raises:
        HTTPBadRequest: It is no JSON object.
    """
    try:
        body = json.loads(await request.read())
    except ValueError:
        body = None
    if not isinstance(body, dict):
        raise web.HTTPBadRequest(text="the body is a JSON object")
    return body


async def _delete_cluster(request: web.Request) -> web.Response:
    found = request.app[CLUSTERS].delete(request.match_info["name"])
    return web.Response(status=204 if found else 404)


async def _compact(request: web.Request) -> web.Response:
    _named(request).store.compact()
    return web.Response(status=204)


def _named(request: web.Request) -> Cluster:
    cluster = request.app[CLUSTERS].get(request.match_info["name"])
    if cluster is None:
        raise web.HTTPNotFound(text="404 page not found")
    return cluster


def _issued(request: web.Request) -> Cluster:
    cluster = request.app[CLUSTERS].by_issuer(request.match_info["incarnation"])
    if cluster is None or request.match_info["tenant"] != request.app[TOPOLOGY].tenant_id:
        raise web.HTTPNotFound(text="404 page not found")
    return cluster


async def _issuer_metadata(request: web.Request) -> web.Response:
    return web.json_response(_issued(request).issuer.metadata())


async def _issuer_keys(request: web.Request) -> web.Response:
    return web.json_response(_issued(request).issuer.keys(), content_type="application/jwk-set+json")


async def _kubernetes(request: web.Request) -> web.StreamResponse:
    return await answer(request, _named(request), request.app[AUTHENTICATOR], request.match_info["path"])
