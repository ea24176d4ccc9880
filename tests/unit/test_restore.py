"""A prune is undone by request: what was removed from the cluster is put back and kept."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from shared import naming
from shared.errors import PermanentError, RefusedError, TransientError
from shared.models import Connection, ConnectionId, Operation
from shared.ports import Linker
from shared.steps.base import ANNOTATION_CLIENT_ID, ANNOTATION_KEEP, LABEL_CONNECTION
from shared.steps.saving import LAST_APPLIED
from tests.fakes.clock import START
from tests.fakes.journal import Call
from tests.fakes.local_app import (
    CLUSTER,
    POLICY,
    STORAGE,
    LocalApp,
    create_body,
    delete_body,
    deletion_event,
    make_app,
)

LINKER = f"{CLUSTER}/providers/Microsoft.ServiceLinker/linkers/theirs"
THEIRS = naming.connection_id(CLUSTER, "shop", "theirs")
OURS = naming.connection_id(CLUSTER, "shop", "orders-blob")
SECRET = "sc-theirs-secret"
VALUES = {
    "AZURE_STORAGEBLOB_RESOURCEENDPOINT": "https://orders.blob.core.windows.net/",
    "AZURE_STORAGEBLOB_CLIENTID": "client",
}


@pytest.fixture
def app(tmp_path: Path) -> LocalApp:
    return make_app(tmp_path, MOORING_PRUNE_CONFIRM_SECONDS="1", MOORING_PRUNE_GRACE_SECONDS="1")


async def observed(app: LocalApp, *, data: dict[str, str] | None = None, client_id: str = "") -> str:
    """A Service Connector connection that Mooring has seen alive; returns its client id."""
    client_id = client_id or app.world.guid()
    app.world.linkers[naming.fold_id(LINKER)] = Linker(
        resource_id=LINKER,
        name="theirs",
        namespace="shop",
        target_id=f"{STORAGE}/blobServices/default",
        client_id=client_id,
        client_type="python",
        provisioning_state="Succeeded",
        auth_type="userAssignedIdentity",
    )
    app.clusters.put_object(CLUSTER, "Secret", "shop", SECRET, labels={"team": "shop"}, data=data or VALUES)
    app.clusters.put_object(
        CLUSTER,
        "ServiceAccount",
        "shop",
        f"sc-account-{client_id}",
        annotations={ANNOTATION_CLIENT_ID: client_id},
    )
    assert await app.services.events.observer.observe(LINKER, tries=0) == "observed"
    return client_id


async def pruned(app: LocalApp, **observing: Any) -> Operation:
    """The prune of a deleted Service Connector connection."""
    await observed(app, **observing)
    return await lost(app)


async def lost(app: LocalApp) -> Operation:
    app.world.remove(LINKER)
    app.queue.put("resource-events", deletion_event(LINKER))
    await app.settle(seconds=600)
    assert await app.state(THEIRS) == "pruned"
    return (await app.operations(THEIRS))[-1]


async def restore(app: LocalApp, prune: Operation, key: str = "k") -> Operation:
    answer = await app.services.restorer.restore(prune.operation_id, key=key)
    await app.settle(seconds=600)
    stored = await app.services.state.operation(answer.operation_id)  # type: ignore[arg-type]
    assert stored is not None
    return stored.value


async def outputs(app: LocalApp, operation: Operation, step: str = "restored_objects") -> dict[str, Any]:
    snapshot = await app.services.state.load(operation.operation_id)
    assert snapshot is not None
    return dict(snapshot.steps[step].value.outputs)


async def connection(app: LocalApp, connection_id: ConnectionId = THEIRS) -> Connection:
    stored = await app.services.state.connection(connection_id)
    assert stored is not None
    return stored.value


async def secret(app: LocalApp) -> Any:
    return await app.clusters.get(CLUSTER, "Secret", "shop", SECRET, values=True)


async def created(app: LocalApp) -> None:
    await app.send(create_body())
    await app.settle()
    assert await app.state(OURS) == "configured"


async def our_prune(app: LocalApp) -> Operation:
    await created(app)
    app.world.remove(STORAGE)
    app.queue.put("resource-events", deletion_event(STORAGE))
    await app.settle(seconds=600)
    assert await app.state(OURS) == "pruned"
    return (await app.operations(OURS))[-1]


# --- what comes back -----------------------------------------------------------------------------


async def test_what_was_pruned_is_put_back_with_its_values_and_kept(app: LocalApp):
    client_id = await observed(app)
    before = await secret(app)
    prune = await lost(app)
    assert await secret(app) is None
    done = await restore(app, prune)
    assert (done.state, done.restores) == ("succeeded", prune.operation_id)
    after = await secret(app)
    assert after.data == before.data == VALUES
    assert after.labels["team"] == "shop"
    assert after.annotations[ANNOTATION_KEEP] == "restore"
    assert after.uid != before.uid
    account = await app.clusters.get(CLUSTER, "ServiceAccount", "shop", f"sc-account-{client_id}")
    assert account is not None
    assert account.annotations[ANNOTATION_CLIENT_ID] == client_id
    said = await outputs(app, done)
    assert {(one["kind"], one["uid"]) for one in said["restored"]} == {
        ("Secret", after.uid),
        ("ServiceAccount", account.uid),
    }
    intents = await app.services.state.intents(THEIRS)
    assert intents["restored_objects"].outputs["restored"] == said["restored"]
    present = await connection(app)
    assert (present.state, present.ended_at) == ("restored", None)


async def test_each_hop_is_looked_at_and_what_does_not_work_is_said(app: LocalApp):
    prune = await our_prune(app)
    done = await restore(app, prune)
    findings = {one["name"]: one["result"] for one in (await outputs(app, done))["findings"]}
    assert findings == {
        "target-exists": "failed",
        "identity-exists": "failed",
        "credential-exists": "failed",
        "role-assigned": "failed",
    }


async def test_the_hops_that_azure_still_has_are_found(app: LocalApp):
    identity = await app.services.engine.outside.identities.ensure(
        f"{STORAGE.partition('/providers/')[0]}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/i",
        location="westeurope",
        tags={},
    )
    prune = await pruned(app, client_id=identity.client_id)
    done = await restore(app, prune)
    findings = {one["name"]: one["result"] for one in (await outputs(app, done))["findings"]}
    assert findings == {
        "linker-exists": "failed",
        "target-exists": "ok",
        "identity-exists": "ok",
        "credential-exists": "failed",
        "role-assigned": "failed",
    }


async def test_a_hop_that_cannot_be_read_is_unknown_and_the_rest_is_said(app: LocalApp):
    prune = await pruned(app)
    denied = {"linkers.get", "identities.list"}

    def rule(call: Call) -> BaseException | None:
        return PermanentError("arm-access-denied", "no") if call.name in denied else None

    app.journal.before = rule
    done = await restore(app, prune)
    findings = {one["name"]: one["result"] for one in (await outputs(app, done))["findings"]}
    assert findings["linker-exists"] == findings["identity-exists"] == "unknown"
    assert findings["target-exists"] == "ok"


async def test_an_object_that_somebody_made_meanwhile_is_not_overwritten(app: LocalApp):
    prune = await pruned(app)
    app.clusters.put_object(CLUSTER, "Secret", "shop", SECRET, data={"their": "own"})
    done = await restore(app, prune)
    said = await outputs(app, done)
    assert [(one["kind"], one["rule"]) for one in said["kept"]] == [("Secret", "object-exists")]
    assert [one["kind"] for one in said["restored"]] == ["ServiceAccount"]
    assert (await secret(app)).data == {"their": "own"}


async def test_a_run_that_died_after_its_post_finds_its_own_object(app: LocalApp):
    prune = await pruned(app)
    died: list[int] = []

    def rule(call: Call) -> BaseException | None:
        if call.name == "clusters.create" and not died:
            died.append(call.number)
            return TransientError("crash")
        return None

    app.journal.after = rule
    done = await restore(app, prune)
    said = await outputs(app, done)
    assert "kept" not in said
    assert len(said["restored"]) == 2
    assert ANNOTATION_KEEP in (await secret(app)).annotations


# --- what a secret may not hold ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "why"),
    [
        ({**VALUES, "AZURE_STORAGEBLOB_CONNECTIONSTRING": "x"}, "does not know 1 of its keys"),
        ({**VALUES, "AZURE_STORAGEBLOB_RESOURCEENDPOINT": "Endpoint=sb://x;AccountKey=abc"}, "looks like"),
        ({**VALUES, "AZURE_STORAGEBLOB_RESOURCEENDPOINT": "https://me:pass@host/"}, "looks like"),
    ],
)
async def test_a_value_that_may_be_a_credential_is_nowhere_on_record(
    app: LocalApp, data: dict[str, str], why: str
):
    prune = await pruned(app, data=data)
    [saved] = [one for one in await app.services.prunes.saved(prune.operation_id) if one.kind == "Secret"]
    assert (saved.restorable, saved.data) == (False, {})
    assert why in saved.why
    rows = str([row.columns for table in ("prunes", "connections") for row in app.store.rows(table)])
    assert "AccountKey=" not in rows
    assert "me:pass" not in rows
    done = await restore(app, prune)
    [kept] = (await outputs(app, done))["kept"]
    assert (kept["rule"], kept["restorable"]) == ("not-restorable", "no")
    assert await secret(app) is None


async def test_a_secret_of_a_connection_that_was_not_seen_to_use_an_identity_is_not_saved(app: LocalApp):
    await observed(app)
    row = await app.services.state.connection(THEIRS)
    assert row is not None
    intents = await app.services.state.intents(THEIRS)
    preflight = intents["settings"].model_copy(
        update={"step": "preflight", "outputs": {"authType": "secret"}, "planned": {}, "previous": ()}
    )
    await app.services.state.observe(row.value, [preflight], etag=row.etag)
    prune = await lost(app)
    [saved] = [one for one in await app.services.prunes.saved(prune.operation_id) if one.kind == "Secret"]
    assert saved.why == "its connection may have held a credential"


async def test_kubectls_copy_of_a_secret_is_not_saved(app: LocalApp):
    await observed(app)
    annotations = {
        "kubectl.kubernetes.io/last-applied-configuration": "{}",
        "team": "shop",
        "long": "x" * 600,
    }
    app.clusters.put_object(CLUSTER, "Secret", "shop", SECRET, annotations=annotations, data=VALUES)
    prune = await lost(app)
    [saved] = [one for one in await app.services.prunes.saved(prune.operation_id) if one.kind == "Secret"]
    assert saved.annotations == {"team": "shop"}
    assert saved.left_out == (LAST_APPLIED, "long")


# --- what is refused -----------------------------------------------------------------------------


async def refusal(app: LocalApp, prune_id: str) -> RefusedError:
    with pytest.raises(RefusedError) as caught:
        await app.services.restorer.restore(prune_id, key="k")  # type: ignore[arg-type]
    return caught.value


async def test_what_is_no_prune_is_not_found(app: LocalApp):
    await created(app)
    [create] = await app.operations(OURS)
    assert (await refusal(app, create.operation_id)).code == "not-found"
    assert (await refusal(app, f"{OURS}-000000000000")).code == "not-found"


async def test_a_prune_that_has_not_ended_is_not_undone(app: LocalApp):
    client_id = await observed(app)
    spec = {"serviceAccountName": f"sc-account-{client_id}", "containers": []}
    app.clusters.put_pod(CLUSTER, "shop", "user", spec)
    app.world.remove(LINKER)
    app.queue.put("resource-events", deletion_event(LINKER))
    await app.settle(seconds=100)
    [prune] = await app.operations(THEIRS)
    assert prune.state == "held"
    assert (await refusal(app, prune.operation_id)).code == "not-restorable"


async def test_a_prune_that_saved_nothing_or_nothing_whole_is_not_undone(app: LocalApp):
    prune = await pruned(app, data={"unknown": "x"})
    for row in app.store.rows("prunes"):
        if row.columns.get("kind") == "ServiceAccount":
            await app.store.transact("prunes", row.partition, [_remove(row.key)])
    assert "does not know" in (await refusal(app, prune.operation_id)).detail
    for row in app.store.rows("prunes"):
        if row.columns.get("kind") == "Secret":
            await app.store.transact("prunes", row.partition, [_remove(row.key)])
    assert "removed nothing" in (await refusal(app, prune.operation_id)).detail


def _remove(key: str) -> Any:
    from shared.ports import Remove

    return Remove(key=key)


async def test_a_prune_of_an_earlier_life_is_not_undone(app: LocalApp):
    prune = await our_prune(app)
    app.world.add_resource(STORAGE, {"properties": {"primaryEndpoints": {"blob": "https://orders/"}}})
    await app.send(create_body(), message_id="again")
    await app.settle()
    refused = await refusal(app, prune.operation_id)
    assert refused.code == "not-restorable"
    assert "anew" in refused.detail


async def test_a_report_has_nothing_to_undo(tmp_path: Path):
    app = make_app(tmp_path, MOORING_PRUNE_CONFIRM_SECONDS="1", MOORING_PRUNE_MODE="report")
    await observed(app)
    app.world.remove(LINKER)
    app.queue.put("resource-events", deletion_event(LINKER))
    await app.settle(seconds=600)
    [prune] = await app.operations(THEIRS)
    assert "only reported" in (await refusal(app, prune.operation_id)).detail
    assert await app.services.prunes.saved(prune.operation_id) == []


@pytest.mark.parametrize(
    ("policy", "code"),
    [("nonsense", "policy-unreadable"), (POLICY.replace('["*"]', '["other"]'), "policy-denied")],
)
async def test_nothing_is_put_back_where_the_policy_does_not_say_so(app: LocalApp, policy: str, code: str):
    prune = await pruned(app)
    app.policy_file.write_text(policy)
    assert (await refusal(app, prune.operation_id)).code == code


async def test_a_cluster_of_another_life_gets_nothing_of_the_old_one(app: LocalApp):
    prune = await our_prune(app)
    app.world.remove(CLUSTER)
    app.world.add_cluster(CLUSTER, namespaces=("shop",), issuer="https://another")
    done = await restore(app, prune)
    assert (done.state, done.code) == ("failed", "not-restorable")
    assert await app.state(OURS) == "pruned"
    app.world.remove(CLUSTER)
    assert (await restore(app, prune, "k2")).code == "cluster-not-found"


async def test_without_its_namespace_nothing_is_put_back(app: LocalApp):
    prune = await pruned(app)
    app.world.clusters[naming.fold_id(CLUSTER)].namespaces.discard("shop")
    done = await restore(app, prune)
    assert (done.state, done.code) == ("failed", "namespace-missing")


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
