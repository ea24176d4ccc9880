"""What a person in front of Azure and the product has: clients and credentials, and nothing else.

Everything goes through public doors: the product's queues and HTTP API, Resource Manager and the data
planes through Azure's own SDKs as the subscription's owner, Kubernetes through its client.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import ssl
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, Self

import aiohttp
from azure.identity.aio import ClientSecretCredential
from azure.storage.queue.aio import QueueClient

from sandbox.contract import Contract
from tests.e2e.azure_owner import AzureOwner
from tests.e2e.cluster import Cluster

FINAL = frozenset({"succeeded", "failed", "superseded", "rejected"})
PATIENCE_SECONDS = 240.0
POLL_SECONDS = 0.4
CLOSING_SECONDS = 0.25
"""TLS connections say goodbye after their session is closed."""
STORAGE_VERSION = "2025-11-05"
"""Newest that Azurite knows."""
Json = dict[str, Any]


@dataclasses.dataclass(slots=True)
class Answer:
    """An HTTP answer: status, headers by lower-case name, JSON (or text)."""

    status: int
    headers: Mapping[str, str]
    body: Any


@dataclasses.dataclass(slots=True)
class World(AzureOwner):
    """One running sandbox, seen from outside."""

    session: aiohttp.ClientSession
    cluster: Cluster
    rejected: list[Json] = dataclasses.field(default_factory=list)
    """Envelopes taken from the ``rejected`` queue so far."""
    _rules: asyncio.Lock = dataclasses.field(default_factory=asyncio.Lock)

    @classmethod
    @contextlib.asynccontextmanager
    async def opened(cls, contract: Contract) -> AsyncIterator[Self]:
        tls = ssl.create_default_context(cafile=contract.ca_file)
        async with contextlib.AsyncExitStack() as stack:
            session = await stack.enter_async_context(
                aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=tls)),
            )
            credential = await stack.enter_async_context(
                ClientSecretCredential(
                    contract.tenant_id,
                    contract.owner_client_id,
                    contract.owner_client_secret,
                    authority=contract.entra_url,
                    disable_instance_discovery=True,
                    connection_verify=contract.ca_file,
                ),
            )
            cluster = await stack.enter_async_context(
                Cluster.opened(contract, contract.cluster_server),
            )
            yield cls(contract, credential, session, cluster)
        await asyncio.sleep(CLOSING_SECONDS)

    # the product's queues

    def queue(self, name: str) -> QueueClient:
        return QueueClient(
            self.contract.queue_url,
            name,
            credential=self.credential,
            api_version=STORAGE_VERSION,
            connection_verify=self.contract.ca_file,
        )

    async def send(self, *messages: Json | str) -> None:
        """Put requests on the product's queue, as they stand."""
        async with self.queue("connection-requests") as queue:
            for message in messages:
                text = message if isinstance(message, str) else json.dumps(message)
                await queue.send_message(text)

    async def read_rejected(self) -> list[Json]:
        """Take what is on the ``rejected`` queue; returns all that was ever there."""
        async with self.queue("rejected") as queue:
            async for message in queue.receive_messages(messages_per_page=32, visibility_timeout=30):
                self.rejected.append(json.loads(message.content))
                await queue.delete_message(message)
        return self.rejected

    # the product's HTTP API

    async def api(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        data: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        key: str | None = "",
        url: str = "",
    ) -> Answer:
        """Call the product's API with a function key (``None``: without)."""
        where = path if path.startswith("https://") else f"{url or self.contract.functions_url}/api/{path}"
        keys = {} if key is None else {"x-functions-key": key or self.contract.function_keys["default"]}
        content = {"data": data} if data is not None else {} if body is None else {"json": body}
        async with self.session.request(method, where, headers={**keys, **(headers or {})}, **content) as got:
            text = await got.text()
            found = {name.lower(): value for name, value in got.headers.items()}
        with contextlib.suppress(json.JSONDecodeError):
            return Answer(got.status, found, json.loads(text))
        return Answer(got.status, found, text)

    def spec(self, name: str, **more: Any) -> Json:
        """A connection of the seeded cluster and storage account, unless ``more`` says otherwise."""
        target = {"type": "storage-blob", "id": self.contract.storage_account_id}
        base = {
            "name": name,
            "clusterId": self.contract.cluster_id,
            "namespace": "default",
            "target": target,
            "clientType": "python",
        }
        return {**base, **more}

    async def request(self, action: str, connection: Json, *, patience: float = PATIENCE_SECONDS) -> Json:
        """Send one request by queue and wait for its end; returns the operation."""
        request_id = f"{action}-{uuid.uuid4().hex}"
        if action not in {"create", "update"}:
            connection = {name: connection[name] for name in ("name", "clusterId", "namespace")}
        await self.send({"action": action, "requestId": request_id, "connection": connection})
        return await self.ended(request_id, patience=patience)

    async def create(self, connection: Json, *, patience: float = PATIENCE_SECONDS) -> Json:
        """Create a connection, insist on success; returns the connection as the API shows it."""
        operation = await self.request("create", connection, patience=patience)
        assert operation["state"] == "succeeded", operation
        return await self.connection(operation["connectionId"])

    async def delete(self, connection: Json, *, patience: float = PATIENCE_SECONDS) -> Json:
        """Delete a connection and insist on success; returns the operation."""
        operation = await self.request("delete", connection, patience=patience)
        assert operation["state"] == "succeeded", operation
        return operation

    async def operation(self, request_id: str) -> Json | None:
        found = await self.api("GET", f"operations?requestId={request_id}")
        if found.status == 404:
            return None
        assert found.status == 200, found.body
        (only,) = found.body["operations"]
        return dict(only)

    async def ended(self, request_id: str, *, patience: float = PATIENCE_SECONDS) -> Json:
        """Wait for the end of a request's operation."""

        async def look() -> Json | None:
            operation = await self.operation(request_id)
            return operation if operation is not None and operation["state"] in FINAL else None

        try:
            return await eventually(look, patience=patience)
        except TimeoutError:
            raise AssertionError(f"{request_id}: {await self.operation(request_id)}") from None

    async def connection(self, connection_id: str) -> Json:
        found = await self.api("GET", f"connections/{connection_id}")
        assert found.status == 200, found.body
        return dict(found.body)

    async def connection_in(self, connection_id: str, *states: str) -> Json:
        """Wait until a connection is in one of these states and nothing is under way."""

        async def look() -> Json | None:
            found = await self.connection(connection_id)
            return found if found["state"] in states and not found["operations"] else None

        try:
            return await eventually(look)
        except TimeoutError:
            found = await self.connection(connection_id)
            open_now = [await self.api("GET", one) for one in found["operations"]]
            raise AssertionError(f"{found} {[one.body for one in open_now]}") from None

    async def held(self, connection_id: str, reason: str) -> Json:
        """Wait until a connection's operation is held for that reason; returns the operation."""

        async def look() -> Json | None:
            for link in (await self.connection(connection_id))["operations"]:
                operation: Json = (await self.api("GET", link)).body
                if operation["state"] == "held" and operation["waiting"] == reason:
                    return operation
            return None

        return await eventually(look)

    # the sandbox's own controls

    async def control(self, method: str, path: str, body: Any = None, *, url: str = "") -> Any:
        """Call a control endpoint of a part (Resource Manager's by default)."""
        where = f"{url or self.contract.arm_url}/sandbox/{path}"
        async with self.session.request(method, where, json=body) as got:
            return await got.json(content_type=None)

    async def add_fault(self, part: str, **rule: Any) -> None:
        """Put a fault rule in front of a part's others."""
        url = self.contract.framed_parts[part]
        async with self._rules:
            present = await self.control("GET", "faults", url=url)
            await self.control("PUT", "faults", [rule, *present], url=url)

    async def remove_fault(self, part: str, path: str) -> None:
        url = self.contract.framed_parts[part]
        async with self._rules:
            present = await self.control("GET", "faults", url=url)
            await self.control("PUT", "faults", [one for one in present if one["path"] != path], url=url)

    async def calls(self, part: str, method: str, path: str) -> list[Json]:
        """Journal of a part: calls of one method whose path contains a text, oldest first."""
        journal = await self.control("GET", "calls", url=self.contract.framed_parts[part])
        return [one for one in journal if one["method"] == method and path.lower() in one["path"].lower()]

    @property
    def policy_file(self) -> Path:
        return Path(self.contract.state_dir) / "policy.toml"

    async def allow_every_cluster(self) -> None:
        """The owner's policy lists the one seeded cluster; some stories make clusters of their own."""
        pattern = self.contract.cluster_id.rpartition("/")[0] + "/*"
        text = self.policy_file.read_text().replace(self.contract.cluster_id, pattern)
        await asyncio.to_thread(self.policy_file.write_text, text)


async def eventually[T](
    look: Callable[[], Awaitable[T | None]],
    *,
    patience: float = PATIENCE_SECONDS,
) -> T:
    """Look again and again until there is something to see.

    Raises:
        TimeoutError: Nothing in that many seconds.
    """
    end = time.monotonic() + patience
    while True:
        seen = await look()
        if seen is not None:
            return seen
        if time.monotonic() > end:
            raise TimeoutError(f"nothing to see in {patience:g} s")
        await asyncio.sleep(POLL_SECONDS)
