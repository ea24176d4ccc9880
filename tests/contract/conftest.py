"""An Azure in this process: Entra, Resource Manager and Kubernetes emulators on free ports."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from azure.identity.aio import ClientSecretCredential

from sandbox.arm.application import make_app as make_arm
from sandbox.contract import Contract
from sandbox.entra.application import make_app as make_entra
from sandbox.kube.app import make_app as make_kubernetes
from sandbox.layout import prepare
from sandbox.owner import Owner
from sandbox.server import serve
from sandbox.topology import Topology
from tests.contract.dataplane_world import World

POLL_SECONDS = 0.05
REPOSITORY = Path(__file__).parents[2]


@dataclasses.dataclass(slots=True)
class Cloud:
    """The running emulators and a client that trusts their CA."""

    topology: Topology
    session: aiohttp.ClientSession
    credential: ClientSecretCredential
    servers: list[asyncio.Task[None]]

    @property
    def group(self) -> str:
        return self.topology.resource_group

    @property
    def tls(self) -> dict[str, Any]:
        """Arguments that make an Azure client talk to the emulators."""
        return {"connection_verify": self.topology.ca_file}

    def client(self, kind: Any, **arguments: Any) -> Any:
        """An ``azure-mgmt-*`` client of the owner."""
        settings = {"base_url": self.topology.arm_url, "polling_interval": POLL_SECONDS, **self.tls}
        return kind(self.credential, self.topology.subscription_id, **{**settings, **arguments})

    async def control(self, method: str, path: str, body: Any = None, *, url: str = "") -> Any:
        """Call a control endpoint of an emulator."""
        async with self.session.request(method, (url or self.topology.arm_url) + path, json=body) as answer:
            return await answer.json(content_type=None)

    async def token(self, scope: str = "https://management.azure.com/.default") -> str:
        return (await self.credential.get_token(scope)).token

    async def arm(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        version: str = "2024-11-30",
        token: str | None = None,
    ) -> tuple[int, dict[str, str], Any]:
        """A bare request: status, headers, JSON (or text) of the answer."""
        bearer = await self.token() if token is None else token
        joint = "&" if "?" in path else "?"
        url = (
            path if path.startswith("https") else f"{self.topology.arm_url}{path}{joint}api-version={version}"
        )
        headers = {"Authorization": f"Bearer {bearer}"} if bearer else {}
        async with self.session.request(method, url, json=body, headers=headers) as answer:
            text = await answer.text()
            parsed = await answer.json(content_type=None) if text else None
            return answer.status, {name.lower(): value for name, value in answer.headers.items()}, parsed

    async def finished(self, path: str, body: Any, *, version: str, method: str = "PUT") -> Any:
        """Write, then wait until the resource is ``Succeeded`` (or gone, for a DELETE)."""
        status, headers, answer = await self.arm(method, path, body, version=version)
        assert status < 300, answer
        poll = headers.get("azure-asyncoperation") or headers.get("location")
        while poll and poll.startswith("https"):
            status, _, operation = await self.arm("GET", poll)
            if status == 200 and (
                not operation or operation.get("status", "Succeeded") in {"Succeeded", "Failed"}
            ):
                return operation
            await asyncio.sleep(POLL_SECONDS)
        return answer


async def start(make: Any, topology: Topology, name: str, url: str) -> asyncio.Task[None]:
    """Serve one emulator and wait until it answers."""
    files = {"cert_file": topology.cert_file, "key_file": topology.key_file}
    return asyncio.create_task(serve(make(topology), name=name, url=url, **files))


@pytest.fixture
async def cloud(tmp_path: Path) -> AsyncIterator[Cloud]:
    topology = prepare(tmp_path)
    servers = [
        await start(make_entra, topology, "entra", topology.entra_url),
        await start(make_arm, topology, "arm", topology.arm_url),
        await start(make_kubernetes, topology, "kubernetes", topology.kubernetes_url),
    ]
    tls = ssl.create_default_context(cafile=topology.ca_file)
    credential = ClientSecretCredential(
        topology.tenant_id,
        topology.owner_client_id,
        topology.owner_client_secret,
        authority=topology.entra_url,
        disable_instance_discovery=True,
        connection_verify=topology.ca_file,
    )
    async with credential, aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=tls)) as session:
        world = Cloud(topology, session, credential, servers)
        for url in (topology.entra_url, topology.arm_url, topology.kubernetes_url):
            for _ in range(200):
                with contextlib.suppress(aiohttp.ClientError):
                    await world.control("GET", "/sandbox/ready", url=url)
                    break
                await asyncio.sleep(0.01)
        yield world
    for server in servers:
        server.cancel()
    await asyncio.gather(*servers, return_exceptions=True)


@pytest.fixture(scope="module")
def dataplane() -> Iterator[Contract]:
    """A sandbox of the module's own, without the app."""
    with subprocess.Popen(
        [sys.executable, "-m", "sandbox", "up", "--no-app", "--die-with-parent"],
        stdout=subprocess.PIPE,
        text=True,
        cwd=REPOSITORY,
    ) as process:
        assert process.stdout is not None
        running = Contract.from_json(process.stdout.readline())
        try:
            yield running
        finally:
            process.terminate()
            assert process.wait(timeout=15) == 0
            assert not Path(running.state_dir).exists()


@pytest.fixture
async def world(dataplane: Contract) -> AsyncIterator[World]:
    tls = ssl.create_default_context(cafile=dataplane.ca_file)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=tls)) as http:
        made = World(dataplane, Owner(Topology.load(Path(dataplane.topology_file)), http), http)
        async with made.credential:
            yield made
