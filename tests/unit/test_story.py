"""The story of a connection on in-memory ports: create, share, delete, prune."""

from pathlib import Path

from shared import naming
from shared.ports import Linker
from tests.fakes.local_app import (
    CLUSTER,
    STORAGE,
    VAULT,
    LocalApp,
    create_body,
    delete_body,
    deletion_event,
    make_app,
)

EMPTY = {"identities": [], "assignments": [], "objects": [], "users": []}


async def created(app: LocalApp, name: str = "orders-blob", **changes: object) -> str:
    record = await app.send(create_body(name, **changes), message_id=f"create-{name}")
    assert record.outcome == "opened", record
    await app.settle()
    return str(record.connection_id)


async def test_a_create_configures_the_connection_and_leaves_nothing_open(app: LocalApp) -> None:
    connection_id = await created(app)
    assert await app.state(connection_id) == "configured"
    operation = (await app.operations(connection_id))[-1]
    assert operation.state == "succeeded"
    assert await app.services.state.open_operations() == []
    secret = app.world.clusters[naming.fold_id(CLUSTER)].objects["Secret", "shop", "sc-ordersblob-secret"]
    assert secret.data["AZURE_STORAGEBLOB_RESOURCEENDPOINT"] == "https://orders.blob.core.windows.net/"


async def test_a_delete_removes_everything_that_was_made(app: LocalApp) -> None:
    connection_id = await created(app)
    await app.send(delete_body(), message_id="delete-1")
    await app.settle()
    assert await app.state(connection_id) == "deleted"
    assert app.leftovers() == EMPTY


async def test_shared_things_go_with_their_last_user(app: LocalApp) -> None:
    await created(app, "orders-blob")
    await created(app, "orders-vault", target={"type": "keyvault", "id": VAULT})
    await created(app, "orders-blob-java", clientType="java")
    assert len(app.world.identities) == 1
    assert len(app.world.assignments) == 3
    accounts = [one for one in app.leftovers()["objects"] if one.startswith("ServiceAccount")]
    assert len(accounts) == 1
    await app.send(delete_body("orders-blob"), message_id="d1")
    await app.settle()
    assert len(app.world.assignments) == 3, "the Java connection still uses the blob role"
    assert len(app.world.identities) == 1
    await app.send(delete_body("orders-blob-java"), message_id="d2")
    await app.settle()
    assert len(app.world.assignments) == 2, "only the vault's roles are left"
    await app.send(delete_body("orders-vault"), message_id="d3")
    await app.settle()
    assert app.leftovers() == EMPTY


async def test_the_same_message_five_times_is_one_operation(app: LocalApp) -> None:
    outcomes = [(await app.send(create_body(), message_id=f"m-{count}")).outcome for count in range(5)]
    await app.settle()
    assert outcomes == ["opened", "attached", "attached", "attached", "attached"]
    connection_id = naming.connection_id(CLUSTER, "shop", "orders-blob")
    assert len(await app.operations(connection_id)) == 1
    again = await app.send(create_body(), message_id="m-6")
    assert again.outcome == "unchanged"


async def test_deleting_something_unknown_is_a_recorded_no_op(app: LocalApp) -> None:
    record = await app.send(delete_body("nobody"), message_id="d")
    assert record.outcome == "nothing-to-do"
    assert await app.services.requests.find("message:d") == record


async def test_a_deleted_target_is_pruned_after_its_grace_period(tmp_path: Path) -> None:
    app = make_app(tmp_path, MOORING_PRUNE_GRACE_SECONDS="900")
    connection_id = await created(app)
    app.world.remove(STORAGE)
    app.queue.put("resource-events", deletion_event(STORAGE))
    await app.settle(seconds=300)
    assert (await app.operations(connection_id))[-1].state == "held"
    assert (await app.operations(connection_id))[-1].waiting == "grace"
    await app.settle(seconds=3600)
    assert await app.state(connection_id) == "pruned"
    assert app.leftovers() == EMPTY


async def test_an_event_about_a_living_resource_prunes_nothing(app: LocalApp) -> None:
    connection_id = await created(app)
    before = app.leftovers()
    app.queue.put("resource-events", deletion_event(STORAGE))
    await app.settle()
    assert await app.state(connection_id) == "configured"
    assert (await app.operations(connection_id))[-1].code == "resource-alive"
    assert app.leftovers() == before


async def test_a_deleted_identity_prunes_the_rest(app: LocalApp) -> None:
    connection_id = await created(app)
    identity_id = next(iter(app.world.identities))
    app.world.remove(identity_id)
    app.queue.put("resource-events", deletion_event(identity_id))
    await app.settle(seconds=3600)
    assert await app.state(connection_id) == "pruned"
    assert app.leftovers() == EMPTY


async def test_a_deleted_credential_prunes_the_cluster_objects_and_keeps_the_identity(app: LocalApp) -> None:
    connection_id = await created(app)
    identity_id = next(iter(app.world.identities))
    name = next(iter(app.world.credentials[identity_id]))
    app.world.credentials[identity_id].clear()
    gone = f"{identity_id}/federatedIdentityCredentials/{name}"
    app.queue.put("resource-events", deletion_event(gone))
    await app.settle(seconds=3600)
    assert await app.state(connection_id) == "orphaned"
    assert app.leftovers()["objects"] == []
    assert len(app.world.identities) == 1
    await app.send(create_body(), message_id="again")
    await app.settle(seconds=3600)
    assert await app.state(connection_id) == "configured"
    await app.send(delete_body(), message_id="d")
    await app.settle(seconds=3600)
    assert app.leftovers() == EMPTY


async def test_a_deleted_cluster_orphans_the_identity_and_drops_the_credential(app: LocalApp) -> None:
    connection_id = await created(app)
    app.world.remove(CLUSTER)
    app.queue.put("resource-events", deletion_event(CLUSTER))
    await app.settle(seconds=3600)
    assert await app.state(connection_id) == "orphaned"
    assert len(app.world.identities) == 1
    assert not any(app.world.credentials.values())
    await app.send(delete_body(), message_id="d")
    await app.settle(seconds=3600)
    assert app.leftovers() == EMPTY


async def test_service_connectors_leavings_are_held_while_used_and_pruned_after(
    app: LocalApp,
) -> None:
    client_id = app.world.guid()
    linker_id = f"{CLUSTER}/providers/Microsoft.ServiceLinker/linkers/theirs"
    app.world.linkers[naming.fold_id(linker_id)] = Linker(
        resource_id=linker_id,
        name="theirs",
        namespace="shop",
        target_id=f"{STORAGE}/blobServices/default",
        client_id=client_id,
        client_type="python",
        provisioning_state="Succeeded",
    )
    app.world.add_resource(linker_id)
    app.clusters.put_object(CLUSTER, "Secret", "shop", "sc-theirs-secret")
    app.clusters.put_object(CLUSTER, "ServiceAccount", "shop", f"sc-account-{client_id}")
    assert await app.services.events.observer.observe(linker_id, tries=0) == "observed"
    app.world.remove(linker_id)
    app.clusters.put_pod(
        CLUSTER, "shop", "reader", {"serviceAccountName": f"sc-account-{client_id}", "containers": []}
    )
    app.queue.put("resource-events", deletion_event(linker_id))
    await app.settle(seconds=600)
    connection_id = naming.connection_id(CLUSTER, "shop", "theirs")
    operation = (await app.operations(connection_id))[-1]
    assert (operation.state, operation.waiting) == ("held", "in-use")
    app.clusters.remove_pod(CLUSTER, "shop", "reader")
    await app.settle(seconds=1200)
    assert await app.state(connection_id) == "pruned"
    assert app.leftovers() == EMPTY


async def test_a_delete_overtakes_a_create_and_leaves_nothing(app: LocalApp) -> None:
    record = await app.send(create_body(), message_id="c")
    for _ in range(3):
        await app.pump()
    await app.send(delete_body(), message_id="d")
    await app.settle(seconds=3600)
    assert await app.state(record.connection_id) == "deleted"
    assert app.leftovers() == EMPTY
    states = {one.kind.value: one.state.value for one in await app.operations(record.connection_id)}
    assert states == {"create": "superseded", "delete": "succeeded"}


async def test_a_create_waits_for_the_delete_before_it_and_begins_a_new_life(app: LocalApp) -> None:
    connection_id = await created(app)
    await app.send(delete_body(), message_id="d")
    record = await app.send(create_body(clientType="java"), message_id="c2")
    assert record.outcome == "opened"
    await app.settle(seconds=3600)
    stored = await app.services.state.connection(connection_id)  # type: ignore[arg-type]
    assert stored is not None
    assert stored.value.state == "configured"
    assert stored.value.generation == 2
    assert stored.value.spec.client_type == "java"


async def test_a_validation_lists_findings_and_finds_what_was_changed_by_hand(app: LocalApp) -> None:
    connection_id = await created(app)
    await app.send({"action": "validate", "connectionId": connection_id}, message_id="v")
    await app.settle()
    operation = (await app.operations(connection_id))[-1]
    snapshot = await app.services.state.load(operation.operation_id)
    assert snapshot is not None
    findings = [
        finding for step in snapshot.steps.values() for finding in step.value.outputs.get("findings", [])
    ]
    assert {finding["result"] for finding in findings} == {"ok", "unknown"}
    assert {"target-exists", "issuer-unchanged", "role-assigned", "settings-keys"} <= {
        finding["name"] for finding in findings
    }


async def test_prove_makes_a_connection_usable(tmp_path: Path) -> None:
    app = make_app(tmp_path, MOORING_PROVE="on")
    connection_id = await created(app)
    assert await app.state(connection_id) == "usable"
