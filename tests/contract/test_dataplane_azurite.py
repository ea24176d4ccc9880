"""Azurite, started as the sandbox starts it, serves the SDKs that the product uses."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Self

import jwt
import pytest
from azure.core.credentials import AccessToken
from azure.core.exceptions import HttpResponseError
from azure.data.tables.aio import TableServiceClient
from azure.storage.blob.aio import BlobServiceClient
from azure.storage.queue.aio import QueueServiceClient

from sandbox.azurite import azurite_command, azurite_environment
from sandbox.layout import prepare
from sandbox.processes import start_child, stop_children, wait_ready
from sandbox.topology import Topology


class AnybodysToken:
    """A credential whose tokens are signed with a key that nobody knows."""

    def __init__(self, topology: Topology, *, audience: str = "https://storage.azure.com") -> None:
        now = int(time.time())
        claims = {
            "aud": audience,
            "iss": f"https://sts.windows.net/{topology.tenant_id}/",
            "iat": now,
            "nbf": now - 10,
            "exp": now + 600,
        }
        self._token = AccessToken(jwt.encode(claims, "k" * 32, algorithm="HS256"), now + 600)

    async def get_token(self, *scopes: str, **kwargs: object) -> AccessToken:
        return self._token

    async def close(self) -> None:
        return None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        return None


@pytest.fixture
async def topology(tmp_path: Path) -> AsyncIterator[Topology]:
    laid_out = prepare(tmp_path)
    azurite = await start_child(
        "azurite",
        azurite_command(laid_out),
        log_folder=tmp_path,
        environment=azurite_environment(laid_out),
    )
    try:
        await asyncio.gather(
            *(
                wait_ready(
                    azurite,
                    url,
                    ca_file=laid_out.ca_file,
                    timeout_seconds=30,
                    statuses=frozenset(),
                )
                for url in (laid_out.queue_url, laid_out.table_url, laid_out.blob_url)
            ),
        )
        yield laid_out
    finally:
        await stop_children([azurite])


async def test_queues_tables_and_blobs_work_over_tls_with_an_oauth_token(topology: Topology) -> None:
    credential = AnybodysToken(topology)
    trust = {"connection_verify": topology.ca_file, "retry_total": 0}
    async with (
        QueueServiceClient(topology.queue_url, credential=credential, **trust) as queues,
        TableServiceClient(topology.table_url, credential=credential, **trust) as tables,
        BlobServiceClient(topology.blob_url, credential=credential, **trust) as blobs,
    ):
        queue = await queues.create_queue("steps")
        await queue.send_message("work")
        assert [message.content async for message in queue.receive_messages()] == ["work"]

        table = await tables.create_table("connections")
        await table.create_entity({"PartitionKey": "a", "RowKey": "b", "n": 1})
        assert (await table.get_entity("a", "b"))["n"] == 1

        container = await blobs.create_container("files")
        await container.upload_blob("one", b"1")
        assert await (await container.download_blob("one")).readall() == b"1"


async def test_a_spare_account_is_empty_and_apart_from_the_products_own(topology: Topology) -> None:
    credential = AnybodysToken(topology)
    trust = {"connection_verify": topology.ca_file, "retry_total": 0}
    spare = topology.blob_url.replace(topology.azurite_account, topology.azurite_pool[0])
    async with (
        BlobServiceClient(topology.blob_url, credential=credential, **trust) as own,
        BlobServiceClient(spare, credential=credential, **trust) as other,
    ):
        await own.create_container("files")
        assert [container.name async for container in other.list_containers()] == []


async def test_a_token_for_another_service_is_refused(topology: Topology) -> None:
    credential = AnybodysToken(topology, audience="https://management.azure.com")
    trust = {"connection_verify": topology.ca_file, "retry_total": 0}
    async with QueueServiceClient(topology.queue_url, credential=credential, **trust) as queues:
        with pytest.raises(HttpResponseError) as refused:
            await queues.create_queue("steps")
    assert refused.value.status_code in {401, 403}
