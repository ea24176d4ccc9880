"""What becomes of a restored connection: deleted by request, made whole by a create, never pruned."""

from __future__ import annotations

from pathlib import Path

import pytest

from shared import naming
from shared.errors import PermanentError
from shared.models import OperationId
from shared.ports import Insert, Linker, Remove
from shared.steps.base import LABEL_CONNECTION, account_thing
from shared.users import User
from tests.fakes.clock import START
from tests.fakes.journal import Call
from tests.fakes.local_app import (
    CLUSTER,
    STORAGE,
    LocalApp,
    create_body,
    delete_body,
    deletion_event,
    make_app,
)
from tests.unit.test_restore import (
    LINKER,
    OURS,
    SECRET,
    THEIRS,
    connection,
    created,
    lost,
    observed,
    our_prune,
    outputs,
    pruned,
    restore,
    secret,
)


@pytest.fixture
def app(tmp_path: Path) -> LocalApp:
    return make_app(tmp_path, MOORING_PRUNE_CONFIRM_SECONDS="1", MOORING_PRUNE_GRACE_SECONDS="1")


# --- and then ------------------------------------------------------------------------------------


async def test_a_delete_removes_what_was_put_back_of_service_connectors_too(app: LocalApp):
    prune = await pruned(app)
    await restore(app, prune)
    record = await app.send({"action": "delete", "connectionId": THEIRS}, message_id="d")
    assert record.outcome == "opened"
    await app.settle()
    assert await app.state(THEIRS) == "deleted"
    left = app.leftovers()
    assert (left["objects"], left["users"]) == ([], [])


async def test_a_delete_that_overtakes_a_restore_leaves_nothing(app: LocalApp):
    prune = await pruned(app)
    await app.services.restorer.restore(prune.operation_id, key="k")
    await app.pump()
    assert await secret(app) is not None
    await app.send({"action": "delete", "connectionId": THEIRS}, message_id="d")
    await app.settle(seconds=3600)
    assert app.leftovers()["objects"] == []


async def test_a_create_with_the_same_body_makes_it_whole_again(app: LocalApp):
    prune = await our_prune(app)
    await restore(app, prune)
    app.world.add_resource(
        STORAGE, {"properties": {"primaryEndpoints": {"blob": "https://orders.blob.core.windows.net/"}}}
    )
    await app.send(create_body(), message_id="again")
    await app.settle()
    assert await app.state(OURS) == "configured"
    stored = await app.clusters.get(CLUSTER, "Secret", "shop", "sc-ordersblob-secret", values=True)
    assert stored is not None
    assert stored.labels[LABEL_CONNECTION] == OURS
    intents = await app.services.state.intents(OURS)
    assert stored.data["AZURE_STORAGEBLOB_CLIENTID"] == intents["managed_identity"].outputs["clientId"]
    await app.send(delete_body(), message_id="d")
    await app.settle()
    assert app.leftovers() == {"identities": [], "assignments": [], "objects": [], "users": []}


async def test_a_create_takes_over_what_was_put_back_of_a_dead_linker(app: LocalApp):
    prune = await pruned(app)
    await restore(app, prune)
    await app.send(create_body("theirs"), message_id="c")
    await app.settle()
    present = await connection(app)
    assert (present.state, present.linker_id) == ("configured", "")
    await app.send(delete_body("theirs"), message_id="d")
    await app.settle()
    assert app.leftovers() == {"identities": [], "assignments": [], "objects": [], "users": []}


async def test_an_event_never_prunes_what_was_put_back(app: LocalApp):
    prune = await pruned(app)
    await restore(app, prune)
    app.queue.put("resource-events", deletion_event(LINKER, "e-2"))
    app.queue.put("resource-events", deletion_event(STORAGE, "e-3"))
    await app.settle(seconds=600)
    assert await app.state(THEIRS) == "restored"
    assert await secret(app) is not None
    assert [one.kind.value for one in await app.operations(THEIRS)] == ["prune", "restore"]


async def test_an_event_that_comes_again_does_not_stop_a_restore(app: LocalApp):
    prune = await pruned(app)
    await app.services.restorer.restore(prune.operation_id, key="k")
    app.queue.put("resource-events", deletion_event(LINKER, "e-2"))
    await app.settle(seconds=600)
    assert await app.state(THEIRS) == "restored"


async def test_the_same_request_again_is_the_same_restore_and_another_puts_back_what_is_missing(
    app: LocalApp,
):
    prune = await pruned(app)
    first = await restore(app, prune)
    assert (await restore(app, prune)).operation_id == first.operation_id
    there = await secret(app)
    await app.clusters.delete(
        CLUSTER, "Secret", "shop", SECRET, uid=there.uid, resource_version=there.resource_version
    )
    again = await restore(app, prune, "k2")
    assert again.operation_id != first.operation_id
    assert {one["kind"] for one in (await outputs(app, again))["restored"]} == {"Secret", "ServiceAccount"}
    assert await secret(app) is not None


async def test_a_restore_that_fails_half_way_can_be_deleted(app: LocalApp):
    prune = await pruned(app)

    def rule(call: Call) -> BaseException | None:
        account = call.name == "clusters.create" and "ServiceAccount" in call.arguments
        return PermanentError("kubernetes-access-denied") if account else None

    app.journal.before = rule
    done = await restore(app, prune)
    assert (done.state, done.code) == ("failed", "kubernetes-access-denied")
    app.journal.before = None
    assert await app.state(THEIRS) == "restored"
    await app.send({"action": "delete", "connectionId": THEIRS}, message_id="d")
    await app.settle()
    assert app.leftovers()["objects"] == []


async def test_an_orphan_whose_objects_are_put_back_stays_an_orphan(app: LocalApp):
    await created(app)
    intents = await app.services.state.intents(OURS)
    identity_id = intents["managed_identity"].outputs["resourceId"]
    name = intents["federated_credential"].outputs["name"]
    await app.services.engine.outside.identities.delete_credential(identity_id, name)
    credential = f"{identity_id}/federatedIdentityCredentials/{name}"
    app.queue.put("resource-events", deletion_event(credential))
    await app.settle(seconds=600)
    assert await app.state(OURS) == "orphaned"
    prune = (await app.operations(OURS))[-1]
    done = await restore(app, prune)
    findings = {one["name"]: one["result"] for one in (await outputs(app, done))["findings"]}
    assert findings["identity-exists"] == findings["role-assigned"] == "ok"
    assert findings["credential-exists"] == "failed"
    assert await app.state(OURS) == "orphaned"
    ended = (await connection(app, OURS)).ended_at
    assert ended is not None
    assert ended > START


async def test_a_validation_looks_at_what_was_put_back(app: LocalApp):
    prune = await pruned(app)
    await restore(app, prune)
    there = await secret(app)
    await app.clusters.delete(
        CLUSTER, "Secret", "shop", SECRET, uid=there.uid, resource_version=there.resource_version
    )
    await app.send({"action": "validate", "connectionId": THEIRS}, message_id="v")
    await app.settle()
    validate = (await app.operations(THEIRS))[-1]
    found = [one for one in (await outputs(app, validate))["findings"] if one["name"] == "restored-object"]
    assert [one["result"] for one in found] == ["failed", "ok"]
    assert found[0]["remedy"] == "send the create request again"


async def test_what_a_living_linker_uses_by_now_stays_when_the_connection_is_deleted(app: LocalApp):
    client_id = await observed(app)
    prune = await lost(app)
    await restore(app, prune)
    other = f"{LINKER}-2"
    app.world.linkers[naming.fold_id(other)] = Linker(
        resource_id=other,
        name="The-irs",
        namespace="shop",
        target_id=STORAGE,
        client_id=client_id,
        client_type="python",
        provisioning_state="Succeeded",
    )
    await app.send({"action": "delete", "connectionId": THEIRS}, message_id="d")
    await app.settle()
    delete = (await app.operations(THEIRS))[-1]
    kept = (await outputs(app, delete))["kept"]
    assert {(one["kind"], one["rule"]) for one in kept} == {
        ("Secret", "live-linker"),
        ("ServiceAccount", "live-linker"),
    }
    assert await secret(app) is not None


async def test_an_account_that_another_connection_joined_stays_when_the_connection_is_deleted(app: LocalApp):
    client_id = await observed(app)
    prune = await lost(app)
    await restore(app, prune)
    users = app.services.engine.users
    thing = account_thing(CLUSTER, "shop", client_id)
    other = User(connection_id=OURS, generation=1)
    known, cluster = await users.get(thing), await app.clusters.describe(CLUSTER)
    assert known is not None
    assert cluster is not None
    assert known.details["given"]["issuer"] == cluster.issuer, (
        "a backup of it in another cluster proves nothing"
    )

    async def settled(_: OperationId) -> bool:
        return True

    await users.join(thing, other, settled=settled)
    await app.send({"action": "delete", "connectionId": THEIRS}, message_id="d")
    await app.settle()
    delete = (await app.operations(THEIRS))[-1]
    said = await outputs(app, delete)
    assert [(one["kind"], one["rule"]) for one in said["kept"]] == [("ServiceAccount", "still-shared")]
    assert [one["kind"] for one in said["removed"]] == ["Secret"]


async def test_a_restore_of_one_prune_waits_for_that_of_another(app: LocalApp):
    await created(app)
    intents = await app.services.state.intents(OURS)
    identity_id = intents["managed_identity"].outputs["resourceId"]
    app.world.remove(STORAGE)
    app.queue.put("resource-events", deletion_event(STORAGE))
    await app.settle(seconds=600)
    first = (await app.operations(OURS))[-1]
    other = first.model_copy(update={"operation_id": naming.operation_id(OURS, "other")})
    for one in await app.services.prunes.saved(first.operation_id):
        await app.services.prunes.save(one.model_copy(update={"operation_id": other.operation_id}))
    row = await app.store.get("connections", OURS, f"op|{first.operation_id}")
    assert row is not None
    copy = Insert(key=f"op|{other.operation_id}", columns={**row.columns, "body": other.model_dump_json()})
    await app.store.transact("connections", OURS, [copy])
    answers = [await app.services.restorer.restore(one.operation_id, key="k") for one in (first, other)]
    assert {answer.outcome for answer in answers} == {"opened"}
    assert len({answer.operation_id for answer in answers}) == 2
    await app.settle()
    [last] = [one for one in await app.operations(OURS) if one.restores == other.operation_id]
    assert last.state == "succeeded"
    assert {one["rule"] for one in (await outputs(app, last))["kept"]} == {"object-exists"}
    assert identity_id


async def test_a_connection_without_an_account_has_hops_that_nobody_knows(app: LocalApp):
    prune = await pruned(app)
    for row in app.store.rows("prunes"):
        if row.columns.get("kind") == "ServiceAccount":
            await app.store.transact("prunes", row.partition, [Remove(key=row.key)])
    done = await restore(app, prune)
    findings = {one["name"]: one["detail"] for one in (await outputs(app, done))["findings"]}
    assert findings["identity-exists"] == "no identity is on record"


async def test_what_a_person_put_back_outlives_the_prune_of_the_connection_it_became(app: LocalApp):
    prune = await our_prune(app)
    await restore(app, prune)
    app.world.add_resource(
        STORAGE, {"properties": {"primaryEndpoints": {"blob": "https://orders.blob.core.windows.net/"}}}
    )
    await app.send(create_body(), message_id="again")
    await app.settle()
    app.world.remove(STORAGE)
    app.queue.put("resource-events", deletion_event(STORAGE, "e-2"))
    await app.settle(seconds=600)
    assert await app.state(OURS) == "restored"
    assert set(await app.services.state.intents(OURS)) == {"restored_objects"}
    # The account is named after an identity that is gone: nothing but the restore knows it.
    assert len(app.leftovers()["objects"]) == 1
    await app.send(delete_body(), message_id="d")
    await app.settle()
    assert app.leftovers() == {"identities": [], "assignments": [], "objects": [], "users": []}
