"""Connections by a key of the target: gated, fetched when needed, and written nowhere but in the secret."""

from __future__ import annotations

import dataclasses
import logging
from pathlib import Path
from typing import Any

import pytest
import yaml

from shared import naming
from shared.rows import TABLES
from shared.steps.base import LABEL_CONNECTION
from tests.fakes.azure_world import StoredObject
from tests.fakes.http_app import HttpApp
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
from tests.fakes.sweeps import swept

ID = naming.connection_id(CLUSTER, "shop", "orders-blob")
NAME = "sc-ordersblob-secret"
KEY = "Zk9vPrettySecretKey0123456789abcdefABCDEF=="
ROTATED = "Um90YXRlZFNlY3JldEtleTk4NzY1NDMyMTA9PT09PQ=="
SETTING = "AZURE_STORAGEBLOB_CONNECTIONSTRING"
QUEUES = ("connection-requests", "connection-steps", "resource-events", "rejected")


def keys(value: str) -> dict[str, Any]:
    """Storage Accounts - List Keys."""
    rows = [("key1", value), ("key2", "other")]
    return {"keys": [{"keyName": name, "value": one, "permissions": "FULL"} for name, one in rows]}


@pytest.fixture
def app(tmp_path: Path) -> LocalApp:
    made = make_app(tmp_path, MOORING_PRUNE_CONFIRM_SECONDS="1", MOORING_PRUNE_GRACE_SECONDS="1")
    made.policy_file.write_text(POLICY + '\nauth = ["workloadIdentity", "secret"]\n')
    made.world.keys[naming.fold_id(STORAGE)] = keys(KEY)
    return made


def body(**changes: Any) -> dict[str, Any]:
    return create_body(**({"authType": "secret"} | changes))


async def created(app: LocalApp, **changes: Any) -> None:
    await app.send(body(**changes))
    await app.settle()
    assert await app.state(ID) == "configured"


def secret(app: LocalApp) -> StoredObject:
    return app.world.clusters[naming.fold_id(CLUSTER)].objects["Secret", "shop", NAME]


async def get(app: LocalApp, name: str, **route: Any) -> Any:
    status, found, _ = await HttpApp(app).call(name, **route)
    assert status == 200, found
    return found


async def validated(app: LocalApp, key: str = "v") -> dict[str, dict[str, Any]]:
    await app.send({"action": "validate", "connectionId": ID}, message_id=key)
    await app.settle()
    found = await get(app, "get_operation", operationId=(await app.operations(ID))[-1].operation_id)
    return {one["name"]: one for one in found["findings"]}


def failed(findings: dict[str, dict[str, Any]]) -> dict[str, str]:
    return {name: one["detail"] for name, one in findings.items() if one["result"] != "ok"}


async def lost(app: LocalApp) -> str:
    app.world.remove(STORAGE)
    app.queue.put("resource-events", deletion_event(STORAGE))
    await app.settle(seconds=600)
    return (await app.operations(ID))[-1].operation_id


def stored(app: LocalApp) -> str:
    """All that the app has written down, and what stands in its queues."""
    tables = [list(app.store.rows(table)) for table in TABLES]
    return repr((tables, [app.queue.take(queue) for queue in QUEUES], vars(app.topic)))


# --- making ---------------------------------------------------------------------------------------


async def test_the_secret_holds_the_connection_string_and_nothing_else_is_made(app: LocalApp):
    await created(app)
    assert secret(app).data == {
        SETTING: "DefaultEndpointsProtocol=https;AccountName=orders;"
        f"AccountKey={KEY};EndpointSuffix=core.windows.net"
    }
    left = app.leftovers()
    assert left == {"identities": [], "assignments": [], "objects": [f"Secret shop/{NAME}"], "users": []}
    [operation] = await app.operations(ID)
    assert [step.name for step in operation.plan] == ["preflight", "settings"]
    shown = await get(app, "get_connection", connectionId=ID)
    assert (shown["authType"], shown["identity"], shown["kubernetes"]["serviceAccount"]) == (
        "secret",
        None,
        None,
    )


@pytest.mark.parametrize("action", ["validate", "repair", "delete"])
async def test_every_later_operation_is_about_the_secret_alone(app: LocalApp, action: str):
    await created(app)
    await app.send({"action": action, "connectionId": ID}, message_id="later")
    await app.settle()
    last = (await app.operations(ID))[-1]
    names = {step.name for step in last.plan} - {"preflight", "quiesce", "verify_gone"}
    assert (last.state.value, names) == ("succeeded", {"settings"})
    if action == "delete":
        assert app.leftovers()["objects"] == []


async def test_a_connection_by_a_key_can_have_own_names_and_constants(app: LocalApp):
    await created(app, customizedKeys={SETTING: "BLOB"}, additionalSettings={"LEVEL": "info"})
    assert set(secret(app).data) == {"BLOB", "LEVEL"}
    found = await get(app, "get_configuration", connectionId=ID)
    assert found["configurations"] == [{"name": "BLOB", "value": None}, {"name": "LEVEL", "value": "info"}]


async def test_values_without_a_key_are_shown_and_those_with_one_are_not(app: LocalApp):
    await created(app, clientType="springBoot")
    found = await get(app, "get_configuration", connectionId=ID)
    shown = {one["name"]: one["value"] for one in found["configurations"]}
    assert set(shown) == set(secret(app).data)
    assert shown["spring.cloud.azure.storage.blob.account-name"] == "orders"
    assert shown["spring.cloud.azure.storage.blob.account-key"] is None


@pytest.mark.parametrize("kind", ["", "pod", "deployment", "job", "patch"])
async def test_its_manifests_name_no_service_account(app: LocalApp, kind: str):
    await created(app)
    text = await get(app, "get_manifest", connectionId=ID, params={"kind": kind})
    assert "azure.workload.identity" not in text
    assert "serviceAccountName" not in text
    found = yaml.safe_load(text)
    pod = found if kind in {"", "pod"} else found["spec"]["template"]
    [container] = pod["spec"]["containers"]
    assert container.get("envFrom") == (None if kind == "patch" else [{"secretRef": {"name": NAME}}])
    if kind == "deployment":
        assert pod["metadata"]["labels"] == found["spec"]["selector"]["matchLabels"]


async def test_a_plan_tells_of_the_secret_and_of_no_identity_and_asks_for_no_key(app: LocalApp):
    plan = await get(app, "plan_connection", body=body())
    none = ("identity", "federatedCredential", "roleAssignments", "serviceAccount", "configMap")
    assert [plan[name] for name in none] == [None] * len(none)
    assert plan["secret"] == {"namespace": "shop", "name": NAME, "keys": [SETTING]}
    assert (plan["result"], plan["policy"]["verdict"]) == ("ok", "allowed")
    assert "identity-usable" not in {one["name"] for one in plan["findings"]}
    assert not [call for call in app.journal.calls if call.name == "resources.list_keys"]


async def test_a_cluster_without_workload_identity_will_do(app: LocalApp):
    cluster = app.world.clusters[naming.fold_id(CLUSTER)]
    cluster.described = dataclasses.replace(cluster.described, issuer="", workload_identity=False)
    await created(app)
    assert failed(await validated(app)) == {}


# --- who may ask, and for what ----------------------------------------------------------------------


@pytest.mark.parametrize("rule", ["", 'auth = ["workloadIdentity"]'])
async def test_without_a_rule_for_it_the_policy_refuses_and_names_the_rule(app: LocalApp, rule: str):
    app.policy_file.write_text(f"{POLICY}\n{rule}\n")
    record = await app.send(body())
    assert (record.code, record.field) == ("policy-denied", "connection.authType")
    assert 'auth = ["secret"]' in record.remedy
    app.policy_file.write_text(f"version = 1\n{record.remedy.split(chr(10), 1)[1]}\n")
    await created(app)


async def test_a_rule_for_keys_alone_allows_no_identity(app: LocalApp):
    app.policy_file.write_text(POLICY + '\nauth = ["secret"]\n')
    record = await app.send(create_body())
    assert (record.code, record.field) == ("policy-denied", "connection.authType")


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"intent": "read"}, "auth-mismatch"),
        ({"settingsIn": "configMap"}, "auth-mismatch"),
        ({"serviceAccount": "web"}, "auth-mismatch"),
        ({"authType": "servicePrincipal"}, "invalid-name"),
        ({"clientType": "go"}, "unknown-client-type"),
        ({"target": {"type": "sql", "id": f"{STORAGE}/x/y"}}, "target-deferred"),
        ({"target": {"type": "app-insights", "id": STORAGE}}, "target-not-offered"),
        ({"target": {"type": "keyvault", "id": STORAGE}}, "unknown-auth-type"),
        ({"target": {"type": "storage-file", "id": STORAGE}}, "policy-denied"),
        (
            {"target": {"type": "storage-file", "id": STORAGE}, "authType": "workloadIdentity"},
            "target-not-offered",
        ),
    ],
)
async def test_what_a_key_cannot_do_or_the_target_has_not_is_refused(
    app: LocalApp, changes: dict[str, Any], code: str
):
    record = await app.send(body(**changes))
    assert (record.outcome, record.code) == ("rejected", code)


async def test_the_kind_of_authentication_is_a_part_of_the_wish(app: LocalApp):
    await created(app)
    record = await app.send(create_body(), message_id="other")
    assert record.code == "body-differs"


# --- what is found before anything is made ------------------------------------------------------------


async def refused(app: LocalApp) -> Any:
    await app.send(body())
    await app.settle()
    last = (await app.operations(ID))[-1]
    assert last.state.value == "failed"
    assert app.leftovers()["objects"] == []
    return last


async def test_an_account_that_takes_no_keys_is_found_with_the_command(app: LocalApp):
    properties = app.world.resources[naming.fold_id(STORAGE)]["properties"]
    properties["allowSharedKeyAccess"] = False
    last = await refused(app)
    assert last.code == "target-keys-off"
    assert f"az storage account update --ids {STORAGE} --allow-shared-key-access true" in last.remedy


async def test_an_app_without_the_right_to_keys_is_told_which_role_it_lacks(app: LocalApp):
    app.resources.may_list_keys = False
    last = await refused(app)
    assert (last.code, "infra/roles/keys.json" in last.remedy) == ("keys-not-allowed", True)


async def test_an_answer_without_the_key_is_no_key(app: LocalApp):
    app.world.keys[naming.fold_id(STORAGE)] = {"keys": [{"keyName": "key2", "value": KEY}]}
    last = await refused(app)
    assert last.code == "key-missing"
    assert KEY not in stored(app)


# --- after it was made ------------------------------------------------------------------------------


async def test_a_rotated_key_fails_the_validation_and_a_repair_writes_the_new_one(app: LocalApp):
    await created(app)
    assert failed(await validated(app)) == {}
    app.world.keys[naming.fold_id(STORAGE)] = keys(ROTATED)
    assert failed(await validated(app, "after")) == {"settings-keys": f"wrong: {SETTING}"}
    await app.send({"action": "repair", "connectionId": ID}, message_id="repair")
    await app.settle()
    assert ROTATED in secret(app).data[SETTING]
    assert failed(await validated(app, "mended")) == {}


async def test_a_validation_that_may_not_see_the_key_says_so(app: LocalApp):
    await created(app)
    app.resources.may_list_keys = False
    finding = (await validated(app))["settings-keys"]
    assert (finding["result"], finding["detail"].split(":")[0]) == ("failed", "keys-not-allowed")
    assert "infra/roles/keys.json" in finding["remedy"]


async def test_a_sweep_compares_what_is_no_key_and_fetches_none(app: LocalApp):
    await created(app, clientType="springBoot")
    assert "drift" not in (await swept(app))["totals"]
    thing, before = secret(app), len(app.journal.calls)
    thing.data["spring.cloud.azure.storage.blob.endpoint"] = "https://elsewhere/"
    thing.resource_version = str(app.world.number())
    assert (await swept(app))["totals"]["drift"] == {"values-edited": 1}
    del thing.labels[LABEL_CONNECTION]
    assert (await swept(app))["totals"]["drift"]["object-edited"] == 1
    assert "resources.list_keys" not in {call.name for call in app.journal.calls[before:]}


async def test_a_prune_takes_the_secret_reads_no_value_and_says_that_it_cannot_be_restored(app: LocalApp):
    await created(app)
    app.clusters.put_pod(
        CLUSTER, "shop", "reader", {"containers": [{"envFrom": [{"secretRef": {"name": NAME}}]}]}
    )
    prune = await lost(app)
    shown = await get(app, "get_prune", pruneId=prune)
    assert (shown["state"], shown["waiting"]) == ("held", "in-use")
    assert "can be restored: no, it holds a key of the target" in shown["detail"]
    app.clusters.remove_pod(CLUSTER, "shop", "reader")
    before = len(app.journal.calls)
    await app.settle(seconds=600)
    reads = [call for call in app.journal.calls[before:] if call.name == "clusters.get"]
    assert reads
    assert not [call for call in reads if call.options.get("values")]
    assert (await app.state(ID), app.leftovers()["objects"]) == ("pruned", [])
    shown = await get(app, "get_prune", pruneId=prune)
    [saved] = shown["saved"]
    assert (saved["restorable"], saved["keys"], saved["why"]) == ("no", [], "it holds a key of the target")
    assert shown["restore"] is None


async def test_a_lost_cluster_leaves_nothing_to_keep_for_a_rebuild(app: LocalApp):
    await created(app)
    app.world.remove(CLUSTER)
    app.queue.put("resource-events", deletion_event(CLUSTER))
    await app.settle(seconds=600)
    assert await app.state(ID) == "pruned"
    [operation] = [one for one in await app.operations(ID) if one.kind.value == "prune"]
    assert [step.name for step in operation.plan] == ["confirm_gone", "verify_gone"]


async def test_no_table_queue_log_or_answer_ever_holds_a_key(app: LocalApp, caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.DEBUG)
    answers = []
    await app.send(body(clientType="springBoot"))
    answers.append(await get(app, "plan_connection", body=body()))
    await app.settle()
    answers.append(await validated(app))
    app.world.keys[naming.fold_id(STORAGE)] = keys(ROTATED)
    answers.append(await validated(app, "again"))
    await app.send({"action": "repair", "connectionId": ID}, message_id="repair")
    await app.settle()
    await swept(app)
    routes = ("get_connection", "get_configuration", "get_manifest")
    answers += [await get(app, route, connectionId=ID) for route in routes]
    assert ROTATED in repr(secret(app).data)
    prune = await lost(app)
    answers.append(await get(app, "get_prune", pruneId=prune))
    await app.send(delete_body(), message_id="delete")
    await app.settle()
    calls = repr([call for call in app.journal.calls if not call.name.startswith("clusters.")])
    for text in (stored(app), repr(answers), caplog.text, calls):
        for key in (KEY, ROTATED):
            assert key not in text
            assert key[:16] not in text
