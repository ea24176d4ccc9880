"""Events: a deletion opens prunes for whom it concerns, a linker is recorded while it is alive."""

import json

import pytest

from shared import naming
from shared.errors import PermanentError, StateConflictError, TransientError
from shared.event_notes import TRIES
from shared.ports import Linker
from shared.records import Dependent
from shared.rows import key_hash
from tests.fakes.journal import Call
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

ID = naming.connection_id(CLUSTER, "shop", "orders-blob")
THEIRS = naming.connection_id(CLUSTER, "shop", "theirs")
LINKER = f"{CLUSTER}/providers/Microsoft.ServiceLinker/linkers/theirs"


def written_event(resource_id: str) -> str:
    event = json.loads(deletion_event(resource_id))
    return json.dumps({**event, "eventType": "Microsoft.Resources.ResourceWriteSuccess"})


async def created(app: LocalApp, name: str = "orders-blob", **changes: object) -> str:
    record = await app.send(create_body(name, **changes), message_id=name)
    await app.settle()
    return str(record.connection_id)


async def receive(app: LocalApp, body: str | bytes) -> list[str]:
    return await app.services.events.receive(body)


def linker(app: LocalApp, *, client_id: str = "", state: str = "Succeeded", target: str = "") -> str:
    client = app.world.guid() if client_id == "new" else client_id
    app.world.linkers[naming.fold_id(LINKER)] = Linker(
        resource_id=LINKER,
        name="theirs",
        namespace="shop",
        target_id=target or f"{STORAGE}/blobServices/default",
        client_id=client,
        client_type="",
        provisioning_state=state,
    )
    app.world.add_resource(LINKER)
    return client


def their_objects(app: LocalApp, client_id: str) -> None:
    app.clusters.put_object(CLUSTER, "Secret", "shop", "sc-theirs-secret")
    if client_id:
        app.clusters.put_object(CLUSTER, "ServiceAccount", "shop", f"sc-account-{client_id}")


# --- deletions -----------------------------------------------------------------------------------


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


# --- linkers -------------------------------------------------------------------------------------


async def test_a_live_linker_is_recorded_with_the_uids_of_its_objects(app: LocalApp):
    client_id = linker(app, client_id="new")
    their_objects(app, client_id)
    assert await receive(app, written_event(LINKER)) == ["observed"]
    stored = await app.services.state.connection(THEIRS)
    assert stored is not None
    value = stored.value
    assert (value.state, value.linker_id, value.generation) == ("observed", LINKER, 1)
    assert (value.spec.target_type, value.spec.client_type) == ("storage-blob", "none")
    intents = await app.services.state.intents(THEIRS)
    assert set(intents) == {"settings", "service_account", "preflight"}
    objects = app.world.clusters[naming.fold_id(CLUSTER)].objects
    assert intents["settings"].outputs == {"uid": objects["Secret", "shop", "sc-theirs-secret"].uid}
    assert {one.planned["provenance"] for one in intents.values()} == {"observed"}
    assert len(await app.store.query("linkers", key_hash(naming.fold_id(CLUSTER)))) == 1
    assert len(app.store.rows("users")) == 1
    assert len(await app.services.events.dependents.of(LINKER)) == 1


async def test_a_linker_with_a_secret_only_is_complete_without_an_account(app: LocalApp):
    linker(app, target=f"{GROUP}/providers/Microsoft.Sql/servers/s")
    their_objects(app, "")
    assert await receive(app, written_event(LINKER)) == ["observed"]
    stored = await app.services.state.connection(THEIRS)
    assert stored is not None
    assert stored.value.spec.target_type == "unknown"
    assert set(await app.services.state.intents(THEIRS)) == {"settings", "preflight"}
    assert app.store.rows("users") == []


@pytest.mark.parametrize("missing", ["objects", "account", "success"])
async def test_a_young_linker_is_looked_at_again_until_it_is_complete(app: LocalApp, missing: str):
    client_id = linker(app, client_id="new", state="Creating" if missing == "success" else "Succeeded")
    if missing != "objects":
        their_objects(app, "" if missing == "account" else client_id)
    assert await receive(app, written_event(LINKER)) == ["observe:later"]
    assert await app.services.state.connection(THEIRS) is None
    linker(app, client_id=client_id)
    their_objects(app, client_id)
    await app.settle(seconds=10)
    assert await app.state(THEIRS) == "observed"


async def test_a_linker_that_never_becomes_complete_is_left_to_the_sweep(app: LocalApp):
    linker(app, client_id="new")
    await receive(app, written_event(LINKER))
    await app.settle(seconds=400)
    assert app.journal.names().count("linkers.get") == TRIES + 1
    assert app.queue.next_due() is None
    assert await app.services.state.connection(THEIRS) is None


async def test_a_linker_that_is_gone_when_it_is_looked_at_is_not_recorded(app: LocalApp):
    assert await receive(app, written_event(LINKER)) == ["observe:gone"]
    linker(app, client_id="new")
    app.world.clusters.clear()
    assert await receive(app, written_event(LINKER)) == ["observe:later"], "its cluster is gone"


async def test_a_fault_while_looking_at_a_linker_delivers_the_event_again(app: LocalApp):
    linker(app)
    app.world.clusters[naming.fold_id(CLUSTER)].reachable = False
    with pytest.raises(TransientError, match="cluster-unreachable"):
        await receive(app, written_event(LINKER))

    def rule(call: Call) -> BaseException | None:
        return PermanentError("forbidden") if call.name == "clusters.get" else None

    app.journal.before = rule
    other = json.loads(deletion_event(STORAGE))
    both = json.dumps([json.loads(written_event(LINKER)), other])
    assert await receive(app, both) == ["rejected", "prunes:0"], "one event does not lose the others"
    assert [json.loads(text)["reason"] for text in app.queue.take("rejected")] == ["forbidden"]


async def test_looking_again_at_a_live_linker_refreshes_uids_in_the_same_life(app: LocalApp):
    client_id = linker(app, client_id="new")
    their_objects(app, client_id)
    await receive(app, written_event(LINKER))
    first = await app.services.state.connection(THEIRS)
    del app.world.clusters[naming.fold_id(CLUSTER)].objects["Secret", "shop", "sc-theirs-secret"]
    their_objects(app, client_id)
    app.clock.advance(60)
    assert await receive(app, written_event(LINKER)) == ["observed"]
    second = await app.services.state.connection(THEIRS)
    assert first is not None
    assert second is not None
    assert (second.value.generation, second.value.created_at) == (1, first.value.created_at)
    objects = app.world.clusters[naming.fold_id(CLUSTER)].objects
    uid = (await app.services.state.intents(THEIRS))["settings"].outputs["uid"]
    assert uid == objects["Secret", "shop", "sc-theirs-secret"].uid


async def test_a_linker_that_takes_a_name_of_ours_is_not_recorded_over_it(app: LocalApp):
    await created(app, "theirs")
    before = await app.services.state.connection(THEIRS)
    linker(app)
    assert await receive(app, written_event(LINKER)) == ["observe:name-is-ours"]
    assert await app.services.state.connection(THEIRS) == before


async def test_a_linker_after_our_deleted_connection_begins_a_new_life(app: LocalApp):
    await created(app, "theirs")
    await app.send(delete_body("theirs"), message_id="d")
    await app.settle()
    linker(app)
    their_objects(app, "")
    assert await receive(app, written_event(LINKER)) == ["observed"]
    stored = await app.services.state.connection(THEIRS)
    assert stored is not None
    assert (stored.value.generation, stored.value.state) == (2, "observed")


async def test_a_linker_whose_row_moves_while_it_is_recorded_is_looked_at_again(app: LocalApp):
    linker(app)
    their_objects(app, "")
    await receive(app, written_event(LINKER))

    def rule(call: Call) -> BaseException | None:
        moved = call.name == "state.transact" and call.arguments[0] == "connections"
        return StateConflictError() if moved else None

    app.journal.before = rule
    with pytest.raises(StateConflictError):
        await receive(app, written_event(LINKER))
    app.journal.before = None
    assert await receive(app, written_event(LINKER)) == ["observed"]


async def test_an_observed_connection_is_not_deleted_validated_or_created_over(app: LocalApp):
    linker(app)
    their_objects(app, "")
    await receive(app, written_event(LINKER))
    for action in ("delete", "validate"):
        record = await app.send({"action": action, "connectionId": THEIRS}, message_id=action)
        assert (record.outcome, record.code) == ("rejected", "observed-connection")
        assert record.remedy == f"az aks connection {action} --id {LINKER}"
    record = await app.send(create_body("theirs"), message_id="c")
    assert (record.outcome, record.code, record.field) == (
        "rejected",
        "linker-holds-name",
        "connection.name",
    )


async def test_a_service_account_that_waits_for_its_last_user_is_joined_only_after_it_is_gone(app: LocalApp):
    client_id = linker(app, client_id="new")
    their_objects(app, client_id)
    await receive(app, written_event(LINKER))
    users = app.services.events.observer.users
    [row] = app.store.rows("users")
    thing = json.loads(str(row.columns["body"]))["thing"]
    shared = await users.get(thing)
    assert shared is not None
    await users.leave(thing, shared.users[0], operation_id=naming.operation_id(THEIRS, "gone"))
    app.clock.advance(200)
    assert await receive(app, written_event(LINKER)) == ["observed"], "that operation never was"
    again = await users.get(thing)
    assert again is not None
    assert again.closing == ""


# --- our own notes -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body",
    [
        '{"observe": {"linkerId": 7}}',
        '{"observe": []}',
        '{"observe": {"linkerId": "/x"}, "more": 1}',
        "[" * 4000,
        '{"observe": {"linkerId": "' + "x" * 5000 + '"}}',
    ],
)
async def test_what_only_looks_like_our_note_is_an_event_like_any_other(app: LocalApp, body: str):
    assert await receive(app, body) == ["rejected"]
    assert "linkers.get" not in app.journal.names()


async def test_a_note_with_strange_tries_is_the_last_one(app: LocalApp):
    linker(app, client_id="new")
    for tries in ("many", -5, True, None):
        note = json.dumps({"observe": {"linkerId": LINKER, "tries": tries}})
        assert await receive(app, note.encode()) == ["observe:incomplete"]
    app.clock.advance(5)
    assert app.queue.take("resource-events") == []


async def test_a_prune_of_what_no_longer_is_opens_nothing(app: LocalApp):
    await created(app)
    await app.send(delete_body(), message_id="d")
    await app.settle()
    count = len(await app.operations(ID))
    assert await receive(app, deletion_event(STORAGE)) == ["prunes:1"]
    assert len(await app.operations(ID)) == count
