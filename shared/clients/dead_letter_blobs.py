"""Event Grid's dead-letter container, through azure-storage-blob."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from shared.clients.arm_errors import ask
from shared.clients.credentials import AppCredential
from shared.clients.error_rules import Intent, Service
from shared.clients.http_pool import HttpPool
from shared.clients.storage_client import storage_client
from shared.ports import DeadLetterBlob

SET_ASIDE = "set-aside/"
LISTED = 5000
"""One page of the service's list."""
PIECE_BYTES = 1024 * 1024
"""Of a copy; a block blob has 50,000 blocks at most (learn.microsoft.com, "Put Block")."""


class DeadLetterBlobs:
    """``ports.DeadLetters`` over Azure Storage.

    Args:
        pool: Connections.
        credential: The app's identity.
        endpoint: URL of the blob service.
        container: Name of the container.
        api_version: Service version, empty for the SDK's own.
    """

    def __init__(
        self,
        pool: HttpPool,
        credential: AppCredential,
        *,
        endpoint: str,
        container: str,
        api_version: str = "",
    ) -> None:
        self._pool = pool
        self._credential = credential
        self._endpoint = endpoint
        self._name = container
        self._api_version = api_version
        self._client: Any = None

    async def waiting(self) -> list[DeadLetterBlob]:
        """Blobs that nobody has taken yet, by name, at most 5000; what was set aside is not among them."""
        found = await ask(self._list(), Intent.READ, service=Service.STORAGE)
        return found or []

    async def read(self, name: str) -> bytes | None:
        """Content of a blob, ``None`` if somebody else has taken it."""
        return await ask(self._download(name), Intent.READ, service=Service.STORAGE)

    async def keep(self, name: str, content: bytes) -> None:
        """Write a blob; one of that name is replaced."""
        call = self._container().upload_blob(name, content, overwrite=True)
        await ask(call, Intent.ENSURE, service=Service.STORAGE)

    async def remove(self, name: str) -> None:
        """Delete a blob; absent is fine."""
        call = self._container().delete_blob(name, delete_snapshots="include")
        await ask(call, Intent.DELETE, service=Service.STORAGE)

    async def set_aside(self, name: str) -> None:
        """Move a blob below ``set-aside/`` of the container, where ``waiting`` does not look.

        Copied in pieces, whatever its size; removed once the copy is whole.
        """
        stream = await ask(self._container().download_blob(name), Intent.READ, service=Service.STORAGE)
        if stream is None:
            return
        # Without its length: the SDK would put what is below 64 MB from memory as a whole.
        call = self._container().upload_blob(f"{SET_ASIDE}{name}", _pieces(stream), overwrite=True)
        await ask(call, Intent.ENSURE, service=Service.STORAGE)
        await self.remove(name)

    async def aclose(self) -> None:
        """Close the SDK's client."""
        client, self._client = self._client, None
        if client is not None:
            await client.close()

    async def _list(self) -> list[DeadLetterBlob]:
        found: list[DeadLetterBlob] = []
        async for blob in self._container().list_blobs(results_per_page=LISTED):
            if not blob.name.startswith(SET_ASIDE):
                found.append(DeadLetterBlob(blob.name, blob.size))
            if len(found) == LISTED:
                break
        return found

    async def _download(self, name: str) -> bytes:
        stream = await self._container().download_blob(name)
        return bytes(await stream.readall())

    def _container(self) -> Any:
        if self._client is None:
            from azure.storage.blob.aio import ContainerClient

            self._client = storage_client(
                ContainerClient,
                self._endpoint,
                self._name,
                pool=self._pool,
                credential=self._credential,
                api_version=self._api_version,
                max_block_size=PIECE_BYTES,
            )
        return self._client


async def _pieces(stream: Any) -> AsyncIterator[bytes]:
    """What the SDK hands out, as an iterator that its own upload takes."""
    async for piece in stream.chunks():
        yield piece
