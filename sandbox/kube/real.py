"""The control endpoints of the Kubernetes emulator in front of real API servers.

Each cluster is a control plane of its own, started by ``PUT /sandbox/clusters/NAME`` (some five
seconds) and answering at a URL of its own; what comes back names it.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import uuid
from pathlib import Path

from aiohttp import web

from sandbox.kube.apiserver import ApiServer
from sandbox.kube.app import read_json
from sandbox.kube.clusters import NAME
from sandbox.topology import Topology


class RealClusters:
    """Control planes by cluster name, kept over restarts."""

    def __init__(self, topology: Topology) -> None:
        self._topology = topology
        self._folder = Path(topology.state_dir) / "kubernetes-real"
        self._servers: dict[str, tuple[str, ApiServer]] = {}
        self._turn = asyncio.Lock()

    async def start_saved(self) -> None:
        """Start the clusters of an earlier run."""
        for file in sorted(self._folder.glob("*/incarnation.json")):
            saved = json.loads(file.read_text())
            await self.put(saved["name"], saved["incarnation"])

    async def put(self, name: str, incarnation: str) -> ApiServer:
        """Make a cluster; the same incarnation again changes nothing, another one replaces it."""
        async with self._turn:
            if name in self._servers and self._servers[name][0] == incarnation:
                return self._servers[name][1]
            if name in self._servers:
                await self._remove(name)
            folder = self._folder / name
            server = ApiServer(self._topology, folder)
            await server.start()
            saved = {"name": name, "incarnation": incarnation}
            (folder / "incarnation.json").write_text(json.dumps(saved))
            self._servers[name] = (incarnation, server)
            return server

    async def delete(self, name: str) -> bool:
        """Stop a cluster and forget its data; False when there is none."""
        async with self._turn:
            if name not in self._servers:
                return False
            await self._remove(name)
            return True

    async def _remove(self, name: str) -> None:
        _, server = self._servers.pop(name)
        await server.stop()
        await asyncio.to_thread(shutil.rmtree, self._folder / name)

    async def stop(self) -> None:
        """End every process, keep every cluster's data."""
        for _, server in self._servers.values():
            await server.stop()


CLUSTERS = web.AppKey("real_clusters", RealClusters)


def make_app(topology: Topology) -> web.Application:
    """The control endpoints as an application."""
    app = web.Application()
    app[CLUSTERS] = RealClusters(topology)
    app.on_startup.append(_start)
    app.on_cleanup.append(_stop)
    app.router.add_put("/sandbox/clusters/{name}", _put_cluster)
    app.router.add_delete("/sandbox/clusters/{name}", _delete_cluster)
    return app


async def _start(app: web.Application) -> None:
    await app[CLUSTERS].start_saved()


async def _stop(app: web.Application) -> None:
    await app[CLUSTERS].stop()


async def _put_cluster(request: web.Request) -> web.Response:
    body = await read_json(request)
    name, incarnation = request.match_info["name"], str(body.get("incarnation", ""))
    if not NAME.fullmatch(name):
        raise web.HTTPBadRequest(text="a cluster's name has letters, digits, hyphens and underscores")
    try:
        uuid.UUID(incarnation)
    except ValueError:
        raise web.HTTPBadRequest(text="incarnation is a GUID") from None
    try:
        server = await request.app[CLUSTERS].put(name, incarnation)
    except (RuntimeError, OSError) as error:
        return web.json_response({"error": str(error)}, status=503)
    return web.json_response({"server": server.url, "issuer": server.issuer})


async def _delete_cluster(request: web.Request) -> web.Response:
    found = await request.app[CLUSTERS].delete(request.match_info["name"])
    return web.Response(status=204 if found else 404)
