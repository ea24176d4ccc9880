"""The queues we write to: the fake and the adapter on Azurite keep the same promises."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from datetime import UTC, datetime, timedelta

import pytest

from sandbox.topology import Topology
from shared.clients.clock import SystemClock
from shared.clients.http_pool import HttpPool
from shared.clients.step_queue import StorageStepQueue
from shared.errors import PermanentError
from shared.models import ConnectionId, OperationId, StepMessage
from shared.ports import StepQueue
from tests.contract.ports_azurite import StorageToken, running_azurite
from tests.fakes.step_queue import InMemoryStepQueue

MESSAGE = StepMessage(connection=ConnectionId("c"), operation=OperationId("c-o"), step="preflight", turn=3)
Take = Callable[[str], Awaitable[list[str]]]


@pytest.fixture(scope="module")
def azurite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Topology]:
    with running_azurite(tmp_path_factory.mktemp("azurite")) as topology:
        yield topology


class Both:
    """A queue under test, and what others take from it."""

    def __init__(self, queue: StepQueue, take: Take) -> None:
        self.queue = queue
        self.take = take


@pytest.fixture(params=["fake", "azurite"])
async def both(request: pytest.FixtureRequest) -> AsyncIterator[Both]:
    if request.param == "fake":
        fake = InMemoryStepQueue(SystemClock())

        async def take_fake(queue: str) -> list[str]:
            return fake.take(queue)

        yield Both(fake, take_fake)
        return
    from azure.storage.queue.aio import QueueServiceClient

    topology: Topology = request.getfixturevalue("azurite")
    pool, token = HttpPool(ca_file=topology.ca_file), StorageToken(topology.tenant_id)
    queue = StorageStepQueue(pool, token, endpoint=topology.queue_url)
    service = QueueServiceClient(topology.queue_url, credential=token, transport=pool.transport())
    for name in ("connection-steps", "resource-events", "sweep-slices", "rejected"):
        await service.get_queue_client(name).clear_messages()

    async def take(name: str) -> list[str]:
        client = service.get_queue_client(name)
        found = [message async for message in client.receive_messages(max_messages=32)]
        for message in found:
            await client.delete_message(message)
        return [message.content for message in found]

    yield Both(queue, take)
    await queue.aclose()
    await service.close()
    await pool.aclose()


async def test_an_announced_step_is_plain_json_of_ids(both: Both):
    await both.queue.announce(MESSAGE)
    [text] = await both.take("connection-steps")
    assert json.loads(text) == {
        "schema_version": 1,
        "connection": "c",
        "operation": "c-o",
        "step": "preflight",
        "turn": 3,
    }
    assert StepMessage.model_validate_json(text) == MESSAGE


async def test_a_slice_of_a_sweep_goes_on_its_own_queue(both: Both):
    await both.queue.announce_slice('{"turn":1}')
    await both.queue.announce_slice('{"turn":2}', delay_seconds=30)
    assert await both.take("sweep-slices") == ['{"turn":1}']
    assert await both.queue.depth("sweep-slices") == 1


async def test_a_message_that_is_put_back_keeps_its_text_and_waits(both: Both):
    text = '{"schema_version": 2, "added": "ü"}'
    await both.queue.put_back("connection-steps", text, delay_seconds=0)
    assert await both.take("connection-steps") == [text]
    await both.queue.put_back("sweep-slices", text, delay_seconds=30)
    assert await both.take("sweep-slices") == []
    assert await both.queue.depth("sweep-slices") == 1


async def test_a_delayed_step_is_hidden_and_counted(both: Both):
    await both.queue.announce(MESSAGE, delay_seconds=30)
    assert await both.take("connection-steps") == []
    assert await both.queue.depth("connection-steps") == 1


async def test_a_delay_beyond_the_services_limit_is_cut_to_it(both: Both):
    await both.queue.announce(MESSAGE, delay_seconds=9_000_000)
    assert await both.queue.depth("connection-steps") == 1


async def test_a_forwarded_event_keeps_its_text(both: Both):
    text = '{ "subject": "<&> ü \\u0000", "id": "1" }'
    await both.queue.forward_event(text)
    assert await both.take("resource-events") == [text]


async def test_a_rejection_is_one_json_object(both: Both):
    await both.queue.reject({"reason": "policy", "message": {"id": "x", "text": "é"}})
    [text] = await both.take("rejected")
    assert json.loads(text) == {"reason": "policy", "message": {"id": "x", "text": "é"}}


async def test_a_queue_that_was_never_made_is_empty(both: Both):
    assert await both.queue.depth("no-such-queue") == 0
    assert await both.queue.oldest_at("no-such-queue") is None


async def test_the_age_of_the_message_that_is_next_is_seen_and_the_message_stays(both: Both):
    assert await both.queue.oldest_at("resource-events") is None
    await both.queue.put_back("resource-events", "hidden", delay_seconds=30)
    assert await both.queue.oldest_at("resource-events") is None, "nobody could take it yet"
    before = datetime.now(UTC)
    await both.queue.forward_event("first")
    await both.queue.forward_event("second")
    put_at = await both.queue.oldest_at("resource-events")
    assert put_at is not None
    assert abs(put_at - before) < timedelta(seconds=5)
    assert await both.take("resource-events") == ["first", "second"]


async def test_a_message_for_a_queue_that_infra_never_made_is_permanent(azurite: Topology):
    pool = HttpPool(ca_file=azurite.ca_file)
    elsewhere = azurite.queue_url.replace("/mooringstate", f"/{azurite.azurite_pool[0]}")
    queue = StorageStepQueue(pool, StorageToken(azurite.tenant_id), endpoint=elsewhere)
    with pytest.raises(PermanentError, match="queue-missing") as caught:
        await queue.announce(MESSAGE)
    assert "infra" in caught.value.remedy
    await queue.aclose()
    await pool.aclose()
