"""Names that fold to one belong to one connection, whoever else asks and when, until it is deleted."""

import asyncio

import pytest

from shared import naming
from shared.ports import Row
from tests.fakes.local_app import CLUSTER, LocalApp, create_body, delete_body
from tests.fakes.state_store import InMemoryStateStore

ID = naming.connection_id(CLUSTER, "shop", "orders-blob")


@pytest.mark.parametrize("other", ["Orders-Blob", "orders.blob", "ordersblob", "ORDERS_blob"])
@pytest.mark.parametrize("settled", [True, False])
async def test_names_that_fold_to_one_secret_collide(app: LocalApp, other: str, settled: bool):
    await app.send(create_body())
    if settled:
        await app.settle()
    record = await app.send(create_body(other), message_id="m-2")
    assert (record.outcome, record.code, record.field) == ("rejected", "name-collision", "connection.name")
    assert len(app.queue.take("rejected")) == 1
    await app.settle()
    assert len([one for one in app.leftovers()["objects"] if one.startswith("Secret")]) == 1


class Interleaved(InMemoryStateStore):
    """Lets other tasks run after each read, as a network does."""

    async def get(self, table: str, partition: str, key: str) -> Row | None:
        row = await super().get(table, partition, key)
        await asyncio.sleep(0)
        return row


async def test_names_that_collide_at_the_same_moment_give_one_connection(
    app: LocalApp, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(app.store, "__class__", Interleaved)
    names = ["orders-blob", "Orders-Blob", "orders.blob", "ordersblob"]
    records = await asyncio.gather(*(app.send(create_body(name), message_id=f"m-{name}") for name in names))
    assert sorted(record.outcome for record in records) == ["opened", "rejected", "rejected", "rejected"]
    assert {record.code for record in records} == {"", "name-collision"}
    await app.settle()
    stored = await app.services.state.connection(ID)
    assert stored is not None
    opened = next(record for record in records if record.outcome == "opened")
    assert stored.value.last_operation == opened.operation_id
    assert len(app.queue.take("rejected")) == 3


async def test_a_name_is_free_again_once_its_holder_is_deleted(app: LocalApp):
    await app.send(create_body())
    await app.settle()
    await app.send(delete_body(), message_id="d")
    await app.settle()
    record = await app.send(create_body("Orders.Blob"), message_id="m-2")
    await app.settle()
    assert (record.outcome, await app.state(ID)) == ("opened", "configured")
