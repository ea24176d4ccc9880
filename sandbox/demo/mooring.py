"""Mooring from outside: requests on its queue, questions over HTTP. Nothing here imports the product."""

from __future__ import annotations

import json
from typing import Any

import aiohttp
from azure.identity.aio import ClientSecretCredential
from azure.storage.queue.aio import QueueClient

from sandbox.app_settings import STORAGE_API_VERSION
from sandbox.contract import Contract

Object = dict[str, Any]

REQUEST_QUEUE = "connection-requests"
FINAL = frozenset({"succeeded", "failed", "superseded", "rejected"})


class UnexpectedAnswerError(RuntimeError):
    """The API answered something else than it documents; the message has status and body."""


class Mooring:
    """A sender of requests and a caller of the API.

    Args:
        contract: The sandbox.
        session: A session that trusts its CA.
        credential: Who sends to the queue.
    """

    def __init__(
        self,
        contract: Contract,
        session: aiohttp.ClientSession,
        credential: ClientSecretCredential,
    ) -> None:
        self._api = f"{contract.functions_url}/api"
        self._headers = {"x-functions-key": contract.function_keys["default"]}
        self._session = session
        self._queue = QueueClient(
            contract.queue_url,
            REQUEST_QUEUE,
            credential=credential,
            connection_verify=contract.ca_file,
            api_version=STORAGE_API_VERSION,
        )

    async def send(self, request: Object) -> None:
        """Put a request on the queue."""
        await self._queue.send_message(json.dumps(request))

    async def operation_of_request(self, request_id: str) -> Object | None:
        """The operation that carries out a request; ``None`` before the request was taken in."""
        answer = await self._get(f"/operations?requestId={request_id}", or_none=True)
        operations: list[Object] = answer["operations"] if answer else []
        return operations[0] if operations else None

    async def operation(self, operation_id: str) -> Object | None:
        """One operation."""
        return await self._get(f"/operations/{operation_id}", or_none=True)

    async def open_prune(self, connection_id: str) -> Object | None:
        """The prune of a connection that is going on now."""
        answer = await self._get("/operations") or {}
        for operation in answer["operations"]:
            if operation["kind"] == "prune" and operation["connectionId"] == connection_id:
                return dict(operation)
        return None

    async def connection(self, connection_id: str) -> Object:
        """One connection."""
        return await self._get(f"/connections/{connection_id}") or {}

    async def observed(self, linker_id: str) -> Object | None:
        """Service Connector's connection, once Mooring lists it as observed."""
        answer = await self._get("/connections?state=observed") or {}
        for connection in answer["connections"]:
            if str(connection["linkerId"]).lower() == linker_id.lower():
                return dict(connection)
        return None

    async def manifest(self, connection_id: str) -> str:
        """What a pod's manifest needs for a connection, YAML."""
        url = f"{self._api}/connections/{connection_id}/manifest"
        async with self._session.get(url, headers=self._headers) as response:
            text = await response.text()
            if response.status != 200:
                raise UnexpectedAnswerError(f"GET {url} answered {response.status}: {text}")
            return text

    async def validate(self, connection_id: str) -> str:
        """Ask for a validation; returns its operation's id."""
        url = f"{self._api}/connections/{connection_id}/validate"
        async with self._session.post(url, headers=self._headers) as response:
            text = await response.text()
            if response.status != 202 or "Location" not in response.headers:
                raise UnexpectedAnswerError(f"POST {url} answered {response.status}: {text}")
            return response.headers["Location"].rpartition("/")[2]

    async def _get(self, path: str, *, or_none: bool = False) -> Object | None:
        async with self._session.get(self._api + path, headers=self._headers) as response:
            text = await response.text()
            if response.status == 404 and or_none:
                return None
            if response.status != 200:
                raise UnexpectedAnswerError(f"GET /api{path} answered {response.status}: {text}")
            answer: Object = json.loads(text)
            return answer

    async def close(self) -> None:
        """Close the queue's client."""
        await self._queue.close()
