"""The dead-letter container: the fake and the adapter on Azurite keep the same promises."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

import pytest

from sandbox.topology import DEAD_LETTER_CONTAINER, Topology
from shared.clients.dead_letter_blobs import DeadLetterBlobs
from shared.clients.http_pool import HttpPool
from shared.errors import PermanentError
from shared.ports import DeadLetterBlob, DeadLetters
from tests.contract.ports_azurite import StorageToken, running_azurite
from tests.fakes.dead_letters import InMemoryDeadLetters

NAME = "MOORING-DELETIONS/2026/11/26/9/6c1c.json"


@pytest.fixture(scope="module")
def azurite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Topology]:
    with running_azurite(tmp_path_factory.mktemp("azurite")) as topology:
        yield topology


class Both:
    """A container under test, and how Event Grid writes into it."""

    def __init__(self, port: DeadLetters, write: Callable[[str, bytes], Awaitable[object]]) -> None:
        self.port = port
        self.write = write


@pytest.fixture(params=["fake", "azurite"])
async def both(request: pytest.FixtureRequest) -> AsyncIterator[Both]:
    if request.param == "fake":
        fake = InMemoryDeadLetters()

        async def write_fake(name: str, content: bytes) -> None:
            fake.blobs[name] = content

        yield Both(fake, write_fake)
        return
    from azure.storage.blob.aio import ContainerClient

    topology: Topology = request.getfixturevalue("azurite")
    pool, token = HttpPool(ca_file=topology.ca_file), StorageToken(topology.tenant_id)
    port = DeadLetterBlobs(pool, token, endpoint=topology.blob_url, container=DEAD_LETTER_CONTAINER)
    container = ContainerClient(
        topology.blob_url,
        DEAD_LETTER_CONTAINER,
        credential=token,
        transport=pool.transport(),
        max_single_put_size=1024 * 1024,
        max_block_size=1024 * 1024,
    )
    async for blob in container.list_blobs():
        await container.delete_blob(blob.name)
    yield Both(port, container.upload_blob)
    await port.aclose()
    await container.close()
    await pool.aclose()


async def test_an_empty_container_has_nothing_waiting(both: Both):
    assert await both.port.waiting() == []


async def test_blobs_are_listed_by_name_with_their_size_and_read_as_they_are(both: Both):
    await both.write(f"{NAME}2", b"[]")
    await both.write(NAME, b"\xff\x00[1]")
    assert await both.port.waiting() == [DeadLetterBlob(NAME, 5), DeadLetterBlob(f"{NAME}2", 2)]
    assert await both.port.read(NAME) == b"\xff\x00[1]"


async def test_an_empty_blob_is_read_as_nothing(both: Both):
    await both.write(NAME, b"")
    assert await both.port.read(NAME) == b""


async def test_what_is_kept_waits_as_it_was_written_last(both: Both):
    await both.port.keep("crashed/1.json", b"[1, 2]")
    await both.port.keep("crashed/1.json", b"[3]")
    assert await both.port.waiting() == [DeadLetterBlob("crashed/1.json", 3)]
    assert await both.port.read("crashed/1.json") == b"[3]"


async def test_a_blob_that_is_gone_is_read_as_none_and_may_be_removed_again(both: Both):
    await both.write(NAME, b"[]")
    await both.port.remove(NAME)
    assert await both.port.read(NAME) is None
    await both.port.remove(NAME)
    assert await both.port.waiting() == []


@pytest.mark.parametrize("size_bytes", [0, 8, 2 * 1024 * 1024 + 1])
async def test_what_is_set_aside_is_kept_and_waits_no_longer(both: Both, size_bytes: int):
    content = bytes(number % 251 for number in range(size_bytes))
    for _ in range(2):
        # The second time as after a run that was cut off before it had removed what it had copied.
        await both.write(NAME, content)
        await both.port.set_aside(NAME)
    assert await both.port.waiting() == []
    assert await both.port.read(NAME) is None
    assert await both.port.read(f"set-aside/{NAME}") == content


async def test_setting_aside_what_another_call_has_taken_is_fine(both: Both):
    await both.port.set_aside(NAME)
    assert await both.port.waiting() == []
    assert await both.port.read(f"set-aside/{NAME}") is None


async def test_a_container_that_nobody_made_is_said_with_its_setting(azurite: Topology):
    pool = HttpPool(ca_file=azurite.ca_file)
    token = StorageToken(azurite.tenant_id)
    port = DeadLetterBlobs(pool, token, endpoint=azurite.blob_url, container="no-such")
    with pytest.raises(PermanentError, match="container-missing") as caught:
        await port.waiting()
    assert "MOORING_DEAD_LETTER_CONTAINER" in caught.value.remedy
    await port.aclose()
    await port.aclose()
    await pool.aclose()


async def test_a_service_version_that_the_sdk_does_not_know_is_a_bad_setting(azurite: Topology):
    pool = HttpPool(ca_file=azurite.ca_file)
    token = StorageToken(azurite.tenant_id)
    for version, fault in (("2025-11-05", ""), ("1999-01-01", "settings-invalid")):
        port = DeadLetterBlobs(
            pool, token, endpoint=azurite.blob_url, container=DEAD_LETTER_CONTAINER, api_version=version
        )
        if fault:
            with pytest.raises(PermanentError, match=fault):
                await port.waiting()
        else:
            await port.waiting()
        await port.aclose()
    await pool.aclose()
