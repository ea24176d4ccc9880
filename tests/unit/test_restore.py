"""A prune is undone by request: what was removed from the cluster is put back and kept."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from shared import naming
from shared.errors import PermanentError, TransientError
from shared.models import Connection, ConnectionId, Operation
from shared.ports import Linker
from shared.steps.base import ANNOTATION_CLIENT_ID, ANNOTATION_KEEP
from tests.fakes.journal import Call
from tests.fakes.local_app import (
    CLUSTER,
    STORAGE,
    LocalApp,
    create_body,
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
