"""The host's own access to storage queues, through the app's connection settings.

A connection is a connection string in the setting ``<NAME>`` (or ``AzureWebJobs<NAME>``), or
identity-based: ``<NAME>__queueServiceUri`` (or ``__accountName``), with ``__credential`` and
``__clientId`` naming the managed identity.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import dataclasses
from typing import Any
from urllib.parse import urlsplit

from azure.core.exceptions import ResourceExistsError, ResourceNotFoundError
from azure.storage.queue.aio import QueueServiceClient

from sandbox.functions.bindings import QueueFacts
from sandbox.functions.settings import AppSettings, SettingsError

LOCAL_API_VERSION = "2025-11-05"
"""The newest storage API that Azurite speaks."""
_AZURE_SUFFIXES = (".core.windows.net", ".core.usgovcloudapi.net", ".core.chinacloudapi.cn")
_RETRY = {"retry_total": 2, "initial_backoff": 0.25, "increment_base": 0, "random_jitter_range": 0.1}


@dataclasses.dataclass(slots=True, kw_only=True)
class ReceivedMessage:
    """A message under lease. ``pop_receipt`` changes with every renewal."""

    content: str
    facts: QueueFacts
    pop_receipt: str


class StorageQueue:
    """One queue, with the app-wide message encoding."""

    def __init__(self, client: Any, *, encode_base64: bool) -> None:
        self._client = client
        self._base64 = encode_base64
        self.name: str = client.queue_name

    def decode(self, content: str) -> bytes | None:
        """Return a message's body, or None when it is not base64 and should be."""
        if not self._base64:
            return content.encode()
        try:
            return base64.b64decode(content, validate=True)
        except (binascii.Error, ValueError):
            return None

    async def receive(self, count: int, lease_seconds: int) -> list[ReceivedMessage]:
        """Take up to ``count`` messages; a queue that does not exist is empty.

        Raises:
            AzureError: Storage refused or did not answer.
        """
        pages = self._client.receive_messages(
            messages_per_page=count,
            max_messages=count,
            visibility_timeout=lease_seconds,
        )
        try:
            return [_received(message) async for message in pages]
        except ResourceNotFoundError:
            return []

    async def send(self, body: bytes) -> None:
        """Send a body; the queue is created when it does not exist."""
        content = base64.b64encode(body).decode() if self._base64 else body.decode("utf-8", "replace")
        await self.send_raw(content)

    async def send_raw(self, content: str) -> None:
        """Send text as it stands, without encoding it."""
        try:
            await self._client.send_message(content)
        except ResourceNotFoundError:
            # Another host or sender may be faster; the queue is there, which is all we need.
            with contextlib.suppress(ResourceExistsError):
                await self._client.create_queue()
            await self._client.send_message(content)

    async def renew(self, message: ReceivedMessage, lease_seconds: int) -> None:
        """Extend the lease; the body stays."""
        updated = await self._client.update_message(
            message.facts.message_id,
            pop_receipt=message.pop_receipt,
            visibility_timeout=lease_seconds,
        )
        message.pop_receipt = updated.pop_receipt

    async def release(self, message: ReceivedMessage, delay_seconds: float) -> None:
        """Give a failed message back, seen again after the delay."""
        await self.renew(message, int(delay_seconds))

    async def delete(self, message: ReceivedMessage) -> None:
        """Delete a message."""
        await self._client.delete_message(message.facts.message_id, message.pop_receipt)


def _received(message: Any) -> ReceivedMessage:
    return ReceivedMessage(
        content=message.content,
        facts=QueueFacts(
            message_id=message.id,
            dequeue_count=int(message.dequeue_count),
            inserted_on=message.inserted_on,
            expires_on=message.expires_on,
            next_visible_on=message.next_visible_on,
            pop_receipt=message.pop_receipt,
        ),
        pop_receipt=message.pop_receipt,
    )


class StorageQueues:
    """All queues of all connections; clients are shared and closed together."""

    def __init__(self, settings: AppSettings, *, encode_base64: bool, ca_file: str) -> None:
        self._settings = settings
        self._base64 = encode_base64
        # A storage that is not in Azure is the sandbox's own, and so is the identity endpoint then.
        # Named here, because aiohttp reads SSL_CERT_FILE only once, at import.
        self._verify = ca_file
        self._services: dict[str, QueueServiceClient] = {}
        self._queues: dict[tuple[str, str], StorageQueue] = {}
        self._credentials: list[Any] = []

    def queue(self, connection: str, name: str) -> StorageQueue:
        """Return a queue of a connection (``AzureWebJobsStorage`` if empty).

        Raises:
            SettingsError: The connection is not set.
        """
        connection = connection or "AzureWebJobsStorage"
        key = (connection, name)
        if key not in self._queues:
            if connection not in self._services:
                self._services[connection] = self._service(connection)
            client = self._services[connection].get_queue_client(name)
            self._queues[key] = StorageQueue(client, encode_base64=self._base64)
        return self._queues[key]

    async def close(self) -> None:
        """Close every client and credential."""
        for service in self._services.values():
            await service.close()
        for credential in self._credentials:
            await credential.close()

    def _service(self, connection: str) -> QueueServiceClient:
        for name in (f"AzureWebJobs{connection}", connection):
            text = self._settings.get(name)
            if text:
                service_url = urlsplit(_queue_endpoint(text))
                options = self._options(service_url.hostname or "")
                return QueueServiceClient.from_connection_string(text, **options)
            uri = self._settings.get(f"{name}__queueServiceUri")
            account = self._settings.get(f"{name}__accountName")
            if uri or account:
                uri = uri or f"https://{account}.queue.core.windows.net"
                options = self._options(urlsplit(uri).hostname or "")
                return QueueServiceClient(uri, credential=self._credential(name, options), **options)
        raise SettingsError(f"storage connection '{connection}' is not set")

    def _credential(self, name: str, options: dict[str, Any]) -> Any:
        from azure.identity.aio import DefaultAzureCredential, ManagedIdentityCredential

        client_id = self._settings.get(f"{name}__clientId")
        trust = {key: value for key, value in options.items() if key == "connection_verify"}
        credential: Any
        if (self._settings.get(f"{name}__credential") or "").casefold() == "managedidentity":
            credential = ManagedIdentityCredential(client_id=client_id, **trust)
        else:
            credential = DefaultAzureCredential(
                managed_identity_client_id=client_id,
                **trust,
            )
        self._credentials.append(credential)
        return credential

    def _options(self, host: str) -> dict[str, Any]:
        options: dict[str, Any] = {**_RETRY, "connection_timeout": 5, "read_timeout": 30}
        version = self._settings.get("STORAGE_API_VERSION")
        if not host.endswith(_AZURE_SUFFIXES):
            options["connection_verify"] = self._verify
            version = version or LOCAL_API_VERSION
        if version:
            options["api_version"] = version
        return options


def _queue_endpoint(connection_string: str) -> str:
    """Return the endpoint a connection string names, only to tell Azure from a local storage."""
    parts = dict(item.split("=", 1) for item in connection_string.split(";") if "=" in item)
    folded = {key.casefold(): value for key, value in parts.items()}
    if "queueendpoint" in folded:
        return folded["queueendpoint"]
    suffix = folded.get("endpointsuffix", "core.windows.net")
    return f"https://{folded.get('accountname', '')}.queue.{suffix}"
