"""One Azurite for the port suites, and a credential it accepts."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

import jwt
from azure.core.credentials import AccessToken

from sandbox.azurite import azurite_command, azurite_environment
from sandbox.layout import prepare
from sandbox.topology import DEAD_LETTER_CONTAINER, Topology
from shared.clients.http_pool import HttpPool


class StorageToken:
    """What ``AppCredential`` does, with tokens that Azurite takes: it checks claims, not signatures."""

    def __init__(self, tenant_id: str) -> None:
        now = int(time.time())
        claims = {
            "aud": "https://storage.azure.com",
            "iss": f"https://sts.windows.net/{tenant_id}/",
            "iat": now,
            "nbf": now - 10,
            "exp": now + 3600,
        }
        self._token = AccessToken(jwt.encode(claims, "k" * 32, algorithm="HS256"), now + 3600)

    async def get_token(self, *scopes: str, **options: Any) -> AccessToken:
        return self._token

    async def close(self) -> None:
        return None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        return None


@contextlib.contextmanager
def running_azurite(folder: Path) -> Iterator[Topology]:
    """Azurite with the product's tables, queues and dead-letter container, as the sandbox starts it."""
    topology = prepare(folder)
    with (folder / "azurite.log").open("wb") as log:
        process = subprocess.Popen(
            azurite_command(topology),
            env={**os.environ, **azurite_environment(topology)},
            stdout=log,
            stderr=log,
        )
        try:
            for url in (topology.queue_url, topology.table_url, topology.blob_url):
                _wait_for(url, process, folder / "azurite.log")
            with ThreadPoolExecutor(1) as thread:  # a test's own loop may be running here
                thread.submit(asyncio.run, _make_storage(topology)).result()
            yield topology
        finally:
            process.terminate()
            process.wait(timeout=10)


def _wait_for(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    parts = urlsplit(url)
    until = time.monotonic() + 30
    while process.poll() is None and time.monotonic() < until:
        with contextlib.suppress(OSError), socket.create_connection((parts.hostname, parts.port), timeout=1):
            return
        time.sleep(0.05)
    raise AssertionError(f"Azurite did not start: {log.read_text()}")


async def _make_storage(topology: Topology) -> None:
    from azure.data.tables.aio import TableServiceClient
    from azure.storage.blob.aio import BlobServiceClient
    from azure.storage.queue.aio import QueueServiceClient

    from shared.rows import TABLES

    pool, token = HttpPool(ca_file=topology.ca_file), StorageToken(topology.tenant_id)
    try:
        tables = TableServiceClient(topology.table_url, credential=token, transport=pool.transport())
        for name in TABLES:
            await tables.create_table_if_not_exists(name)
        queues = QueueServiceClient(topology.queue_url, credential=token, transport=pool.transport())
        for name in ("connection-steps", "resource-events", "sweep-slices", "rejected"):
            await queues.create_queue(name)
        blobs = BlobServiceClient(topology.blob_url, credential=token, transport=pool.transport())
        await blobs.create_container(DEAD_LETTER_CONTAINER)
        await blobs.close()
        await tables.close()
        await queues.close()
    finally:
        await pool.aclose()
