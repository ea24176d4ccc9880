"""Connections by a key of the target: gated, fetched when needed, and written nowhere but in the secret."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import yaml

from shared import naming
from tests.fakes.by_key import (
    ID,
    KEY,
    NAME,
    SETTING,
    body,
    created,
    failed,
    get,
    keyed_app,
    secret,
    validated,
)
from tests.fakes.http_app import HttpApp
from tests.fakes.local_app import CLUSTER, POLICY, STORAGE, LocalApp, create_body


@pytest.fixture
def app(tmp_path: Path) -> LocalApp:
    return keyed_app(tmp_path)


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


async def test_an_update_changes_names_and_client_type_and_never_the_kind_of_authentication(app: LocalApp):
    await created(app)
    http = HttpApp(app)
    patch = {"clientType": "springBoot", "customizedKeys": {"azure.storage.account-key": "KEY"}}
    status, _, _ = await http.call("update_connection", connectionId=ID, body=patch)
    assert status == 202
    await app.settle()
    assert await app.state(ID) == "configured"
    assert (secret(app).data["KEY"], SETTING in secret(app).data) == (KEY, False)
    without = {"authType": None, "customizedKeys": None}
    status, found, _ = await http.call("update_connection", connectionId=ID, body=without)
    assert (status, found["code"], found["field"]) == (409, "cannot-change", "connection.authType")
