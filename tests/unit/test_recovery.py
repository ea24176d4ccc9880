"""The tables are lost; Azure and the clusters hold what was made. A recovery puts it on record again."""

import json
from pathlib import Path
from typing import Any

from shared import naming
from shared.models import Intent
from shared.ports import Identity
from tests.fakes.local_app import (
    CLUSTER,
    GROUP,
    STORAGE,
    VAULT,
    LocalApp,
    create_body,
    delete_body,
    deletion_event,
    make_app,
)
from tests.fakes.recoveries import lose_tables, outcomes, recovered
from tests.fakes.sweeps import connected, put_linker, swept

OTHER = f"{GROUP}/providers/Microsoft.Storage/storageAccounts/canary"
GIVEN = f"{GROUP}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/given"
CONTAINER = f"{STORAGE}/blobServices/default/containers/orders"
NOTHING = {"identities": [], "assignments": [], "objects": [], "users": []}
NAMES = ("orders-blob", "Orders.Keys", "reader", "given", "extra", "mapped", "own")


def connection(name: str) -> str:
    return naming.connection_id(CLUSTER, "shop", name)


async def made(app: LocalApp) -> None:
    """Connections of several kinds, two of them in one workload."""
    blob = {"properties": {"primaryEndpoints": {"blob": "https://canary.blob.core.windows.net/"}}}
    app.world.add_resource(OTHER, blob)
    app.world.add_resource(CONTAINER)
    app.policy_file.write_text(
        app.policy_file.read_text() + f'identities = ["{GIVEN}"]\nservice_accounts = ["mine"]\n'
    )
    app.world.identities[naming.fold_id(GIVEN)] = Identity(
        resource_id=GIVEN, client_id=app.world.guid(), principal_id=app.world.guid(), location="x", tags={}
    )
    app.world.credentials[naming.fold_id(GIVEN)] = {}
    await connected(app)
    await connected(app, "Orders.Keys", target={"type": "keyvault", "id": VAULT})
    part = {"type": "storage-blob", "id": CONTAINER}
    await connected(app, "reader", workload="reader", target=part, intent="read", clientType="none")
    await connected(
        app, "given", workload="given", identityId=GIVEN, target={"type": "storage-blob", "id": OTHER}
    )
    await connected(
        app,
        "extra",
        workload="extra",
        customizedKeys={"AZURE_STORAGEBLOB_RESOURCEENDPOINT": "ENDPOINT"},
        additionalSettings={"REGION": "west"},
    )
    await connected(app, "mapped", workload="mapped", settingsIn="configMap")
    app.clusters.put_object(CLUSTER, "ServiceAccount", "shop", "mine")
    await connected(app, "own", workload="own", serviceAccount="mine")


async def records(app: LocalApp) -> dict[str, Any]:
    """What is on record, without what a recovery cannot know: times, operations, versions."""
    found: dict[str, Any] = {}
    for name in NAMES:
        stored = await app.services.state.connection(connection(name))  # type: ignore[arg-type]
        assert stored is not None, name
        known = stored.value.model_dump(exclude={"created_at", "configured_at", "last_operation"})
        intents = await app.services.state.intents(connection(name))  # type: ignore[arg-type]
        found[name] = (known, {step: _known(one) for step, one in intents.items() if step != "prove"})
    return found


def _known(intent: Intent) -> Intent:
    # Which identity the values were written for is not asked either: the next sweep compares them.
    unknown = {"version", "warnings"} | ({"clientId"} if intent.step == "settings" else set())
    outputs = {name: value for name, value in intent.outputs.items() if name not in unknown}
    planned = dict(intent.planned)
    if intent.step == "managed_identity":
        planned.pop("nonce", None)  # who found the identity there planned one that it never wrote
    return intent.model_copy(update={"outputs": outputs, "planned": planned})


def rows_of(app: LocalApp, *tables: str) -> list[tuple[str, str, str, str]]:
    return [
        (table, row.partition, row.key, str(row.columns.get("body")))
        for table in tables
        for row in app.store.rows(table)
    ]


def users(app: LocalApp) -> dict[str, Any]:
    bodies = [json.loads(str(row.columns["body"])) for row in app.store.rows("users")]
    return {
        one["thing"]: {**one, "users": sorted(one["users"], key=lambda user: user["connection_id"])}
        for one in bodies
    }


async def findings(app: LocalApp, name: str) -> list[dict[str, Any]]:
    record = await app.send(
        {"action": "validate", "connectionId": connection(name)}, message_id=f"v-{name}-{app.clock.now()}"
    )
    await app.settle()
    snapshot = await app.services.state.load(record.operation_id)
    assert snapshot is not None
    found = [one for step in snapshot.steps.values() for one in step.value.outputs["findings"]]
    return [one for one in found if one["result"] != "ok" and one["name"] != "access-proved"]


async def test_what_is_recovered_is_what_was_on_record(app: LocalApp):
    await made(app)
    before, used, relied = await records(app), users(app), rows_of(app, "dependents")
    lose_tables(app)
    result = await recovered(app)
    assert outcomes(result) == dict.fromkeys(NAMES, "recovered")
    assert result["totals"]["connections"] == {"recovered": len(NAMES)}
    assert all(one["notes"] == [] for one in result["connections"])
    assert await records(app) == before
    assert users(app) == used
    assert rows_of(app, "dependents") == relied


async def test_what_was_recovered_validates_and_is_deleted_without_a_trace(app: LocalApp):
    await made(app)
    lose_tables(app)
    await recovered(app)
    for name in NAMES:
        assert await findings(app, name) == [], name
    for name in NAMES:
        await app.send(delete_body(name), message_id=f"d-{name}")
    await app.settle(seconds=3600.0)
    del app.world.identities[naming.fold_id(GIVEN)]  # its owner's, and the owner's to remove
    mine = app.world.clusters[naming.fold_id(CLUSTER)].objects.pop(("ServiceAccount", "shop", "mine"))
    assert mine.annotations == {}
    assert app.leftovers() == NOTHING


async def test_what_two_connections_share_stays_until_the_last_has_gone(app: LocalApp):
    await made(app)
    lose_tables(app)
    await recovered(app)
    await app.send(delete_body(), message_id="d")
    await app.settle(seconds=3600.0)
    assert await app.state(connection("orders-blob")) == "deleted"
    assert await findings(app, "Orders.Keys") == []


async def test_a_deleted_target_prunes_what_was_recovered(tmp_path: Path):
    app = make_app(tmp_path, MOORING_PRUNE_GRACE_SECONDS="0")
    await made(app)
    lose_tables(app)
    await recovered(app)
    app.world.remove(STORAGE)
    await app.services.events.receive(deletion_event(STORAGE))
    await app.settle(seconds=3600.0)
    states = {name: await app.state(connection(name)) for name in NAMES}
    assert states == {
        "orders-blob": "pruned",
        "reader": "pruned",
        "extra": "pruned",
        "mapped": "pruned",
        "own": "pruned",
        "Orders.Keys": "configured",
        "given": "configured",
    }


async def test_a_target_that_went_while_the_tables_were_lost_is_recorded_and_pruned_by_a_sweep(
    tmp_path: Path,
):
    app = make_app(tmp_path, MOORING_PRUNE_GRACE_SECONDS="0")
    await made(app)
    lose_tables(app)
    app.world.remove(STORAGE)
    result = await recovered(app)
    notes = {one["name"]: one["notes"] for one in result["connections"]}
    assert notes["orders-blob"] == ["target-gone"]
    assert outcomes(result)["orders-blob"] == "recovered"
    await swept(app)
    await app.settle(seconds=3600.0)
    assert await app.state(connection("orders-blob")) == "pruned"
    assert await app.state(connection("Orders.Keys")) == "configured"
    objects = app.world.clusters[naming.fold_id(CLUSTER)].objects
    assert ("Secret", "shop", "sc-ordersblob-secret") not in objects


async def test_a_dry_run_says_the_same_and_writes_nothing(app: LocalApp):
    await made(app)
    lose_tables(app)
    result = await recovered(app, write=False)
    assert outcomes(result) == dict.fromkeys(NAMES, "would-recover")
    assert (result["dryRun"], result["state"]) == (True, "done")
    written = {
        row[0] for row in rows_of(app, "connections", "users", "dependents", "linkers", "subscriptions")
    }
    assert written == set()
    assert outcomes(await recovered(app)) == dict.fromkeys(NAMES, "recovered")


async def test_a_second_recovery_changes_nothing(app: LocalApp):
    await made(app)
    lose_tables(app)
    await recovered(app)
    tables = ("connections", "users", "dependents", "linkers")
    before = rows_of(app, *tables)
    assert outcomes(await recovered(app)) == dict.fromkeys(NAMES, "on-record")
    assert rows_of(app, *tables) == before


async def test_a_recovery_of_whole_tables_changes_nothing(app: LocalApp):
    await made(app)
    tables = ("connections", "users", "dependents", "linkers", "requests", "openoperations")
    before = rows_of(app, *tables)
    assert outcomes(await recovered(app)) == dict.fromkeys(NAMES, "on-record")
    assert rows_of(app, *tables) == before


async def test_a_create_request_of_what_was_recovered_changes_nothing(app: LocalApp):
    await made(app)
    lose_tables(app)
    await recovered(app)
    record = await app.send(create_body(), message_id="again")
    assert record.outcome == "unchanged"


async def test_a_sweep_after_a_recovery_finds_nothing_amiss(app: LocalApp):
    await made(app)
    lose_tables(app)
    first = await swept(app)
    assert first["totals"]["orphans"], "with lost tables everything looks like nobody's, and is only told"
    app.clock.advance(1)
    await recovered(app)
    for _ in range(2):
        found = await swept(app)
        app.clock.advance(1)
        assert not {"drift", "prunes", "usersRowsMissing"} & set(found["totals"]), found["totals"]
    assert not {key for kind in found["totals"].get("orphans", {}).values() for key in kind} - {"gone"}


async def test_connections_of_service_connector_are_recorded_by_the_next_sweep(app: LocalApp):
    put_linker(app)
    result = await recovered(app)
    assert (result["connections"], result["totals"]["linkers"]) == ([], 1)
    assert (await swept(app))["totals"]["linkers"] == {"observed": 1}
