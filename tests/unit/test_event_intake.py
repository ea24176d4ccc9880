"""A deletion opens prunes for whom it concerns."""

import json

import pytest

from shared import naming
from shared.errors import TransientError
from shared.records import Dependent
from tests.fakes.journal import Call
from tests.fakes.linker_events import (
    ID,
    created,
    receive,
)
from tests.fakes.local_app import (
    CLUSTER,
    GROUP,
    STORAGE,
    SUBSCRIPTION,
    VAULT,
    LocalApp,
    create_body,
    delete_body,
    deletion_event,
)


async def test_an_unknown_id_costs_one_table_read_and_no_call_to_azure(app: LocalApp):
    assert await receive(app, deletion_event(STORAGE)) == ["prunes:0"]
    assert app.journal.names() == ["state.query"]


async def test_a_deletion_opens_one_prune_however_often_it_is_told(app: LocalApp):
    await created(app)
    for _ in range(3):
        assert await receive(app, deletion_event(STORAGE.upper())) == ["prunes:1"]
    assert [one.kind.value for one in await app.operations(ID)] == ["create", "prune"]
    assert await receive(app, deletion_event(STORAGE, "e-2")) == ["prunes:1"]
    prune = (await app.operations(ID))[-1]
    assert prune.cause is not None
    assert (prune.cause.kind, naming.fold_id(prune.cause.resource_id), prune.cause.event_id) == (
        "target",
        STORAGE.lower(),
        "e-1",
    )


async def test_the_deletion_of_a_group_prunes_each_connection_once_for_its_strongest_cause(app: LocalApp):
    await created(app)
    await created(app, "orders-blob-java", clientType="java")
    assert await receive(app, deletion_event(GROUP)) == ["prunes:2"]
    for name in ("orders-blob", "orders-blob-java"):
        prune = (await app.operations(naming.connection_id(CLUSTER, "shop", name)))[-1]
        assert prune.cause is not None
        assert prune.cause.kind == "cluster", "the group held cluster and target"


async def test_a_dependent_of_an_earlier_life_opens_nothing(app: LocalApp):
    await created(app)
    await app.send(delete_body(), message_id="d")
    await app.settle()
    await app.send(create_body(target={"type": "keyvault", "id": VAULT}), message_id="c2")
    await app.settle()
    assert await app.state(ID) == "configured"
    count = len(await app.operations(ID))
    assert await receive(app, deletion_event(STORAGE)) == ["prunes:1"]
    assert len(await app.operations(ID)) == count


async def test_a_dependent_without_its_connection_opens_nothing(app: LocalApp):
    await app.services.events.dependents.add(
        Dependent(resource_id=STORAGE.lower(), kind="target", connection_id=ID, generation=1)
    )
    assert await receive(app, deletion_event(STORAGE)) == ["prunes:1"]
    assert await app.operations(ID) == []


async def test_an_event_that_is_not_trusted_is_put_aside_with_its_reason(app: LocalApp):
    await created(app)
    forged = json.loads(deletion_event(STORAGE))
    forged["data"]["resourceUri"] = CLUSTER
    foreign = deletion_event(STORAGE.replace(SUBSCRIPTION, "99999999-9999-4999-8999-999999999999"))
    assert await receive(app, json.dumps(forged)) == ["rejected"]
    assert await receive(app, foreign) == ["rejected"]
    assert await receive(app, "nonsense") == ["rejected"]
    told = [json.loads(text) for text in app.queue.take("rejected")]
    assert [one["kind"] for one in told] == ["event-rejected"] * 3
    assert [one["reason"] for one in told] == ["subject-mismatch", "source-mismatch", "not-json"]
    assert len(await app.operations(ID)) == 1


async def test_a_batch_is_decided_event_by_event(app: LocalApp):
    await created(app)
    other = json.loads(deletion_event(f"{GROUP}/providers/Microsoft.Compute/virtualMachines/vm"))
    batch = [json.loads(deletion_event(STORAGE)), other, 7]
    assert await receive(app, json.dumps(batch)) == ["prunes:1", "ignored", "rejected"]


async def test_a_body_that_is_delivered_again_after_a_fault_is_the_same_event(app: LocalApp):
    await created(app)
    app.queue.take("connection-steps")

    def rule(call: Call) -> BaseException | None:
        return TransientError("busy") if call.name == "queue.announce" else None

    app.journal.before = rule
    with pytest.raises(TransientError):
        await receive(app, deletion_event(STORAGE))
    app.journal.before = None
    assert await receive(app, deletion_event(STORAGE)) == ["prunes:1"]
    assert len(await app.operations(ID)) == 2
    assert await app.queue.depth("connection-steps") == 1


async def test_a_prune_of_what_no_longer_is_opens_nothing(app: LocalApp):
    await created(app)
    await app.send(delete_body(), message_id="d")
    await app.settle()
    count = len(await app.operations(ID))
    assert await receive(app, deletion_event(STORAGE)) == ["prunes:1"]
    assert len(await app.operations(ID)) == count
