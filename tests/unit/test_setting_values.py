"""Settings under the workload's own names, and constants beside them: written, shown, compared, put back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from shared import naming, requests
from shared.errors import RefusedError
from shared.spec import ConnectionSpec
from tests.fakes.http_app import HttpApp
from tests.fakes.local_app import CLUSTER, STORAGE, LocalApp, create_body, deletion_event, make_app
from tests.fakes.sweeps import swept

ENDPOINT, CLIENT = "AZURE_STORAGEBLOB_RESOURCEENDPOINT", "AZURE_STORAGEBLOB_CLIENTID"
BLOB = "https://orders.blob.core.windows.net/"
ID = naming.connection_id(CLUSTER, "shop", "orders-blob")
OWN: dict[str, Any] = {
    "customizedKeys": {ENDPOINT: "BLOB_URL"},
    "additionalSettings": {"LOG_LEVEL": "info", "GREETING": "grüß dich"},
}


@pytest.fixture
def app(tmp_path: Path) -> LocalApp:
    return make_app(tmp_path, MOORING_PRUNE_CONFIRM_SECONDS="1", MOORING_PRUNE_GRACE_SECONDS="1")


async def created(app: LocalApp, **changes: Any) -> Any:
    record = await app.send(create_body(**(OWN | changes)))
    await app.settle()
    return record


async def secret(app: LocalApp) -> dict[str, str]:
    found = await app.clusters.get(CLUSTER, "Secret", "shop", "sc-ordersblob-secret", values=True)
    assert found is not None
    return dict(found.data)


async def validated(app: LocalApp) -> dict[str, str]:
    await app.send(
        {"action": "validate", "connectionId": ID}, message_id=f"validate {len(app.journal.calls)}"
    )
    await app.settle()
    newest = (await app.operations(ID))[-1].operation_id
    _, found, _ = await HttpApp(app).call("get_operation", operationId=newest)
    return {one["name"]: one["detail"] for one in found["findings"] if one["result"] == "failed"}


async def test_a_setting_has_the_name_that_the_workload_gives_it(app: LocalApp):
    await created(app)
    data = await secret(app)
    assert data.pop(CLIENT)
    assert data == {"BLOB_URL": BLOB, "LOG_LEVEL": "info", "GREETING": "grüß dich"}


async def test_plan_configuration_connection_and_patch_use_the_same_names(app: LocalApp):
    http = HttpApp(app)
    _, plan, _ = await http.call("plan_connection", body=create_body(**OWN))
    await created(app)
    data = await secret(app)
    assert plan["secret"]["keys"] == sorted(data)
    _, found, _ = await http.call("get_configuration", connectionId=ID)
    assert {one["name"]: one["value"] for one in found["configurations"]} == data
    _, shown, _ = await http.call("get_connection", connectionId=ID)
    assert {name: shown[name] for name in OWN} == OWN
    _, patch, _ = await http.call("get_manifest", connectionId=ID, params={"kind": "patch"})
    assert all(f'- name: "{key}"' in patch for key in data)
    assert ENDPOINT not in patch


async def test_another_client_type_keeps_the_constants_and_what_it_has_of_the_names(app: LocalApp):
    await created(app)
    http = HttpApp(app)
    _, found, _ = await http.call("get_configuration", connectionId=ID, params={"clientType": "springBoot"})
    shown = {one["name"]: one["value"] for one in found["configurations"]}
    assert (shown["LOG_LEVEL"], shown["spring.cloud.azure.storage.blob.endpoint"]) == ("info", BLOB)


async def test_before_anything_is_made_the_constants_are_known_and_the_rest_by_name(app: LocalApp):
    await app.send(create_body(**OWN))
    _, found, _ = await HttpApp(app).call("get_configuration", connectionId=ID)
    shown = {one["name"]: one["value"] for one in found["configurations"]}
    assert shown == {"BLOB_URL": None, CLIENT: None, "LOG_LEVEL": "info", "GREETING": "grüß dich"}


async def test_a_plan_of_what_cannot_be_seen_names_the_keys_all_the_same(app: LocalApp):
    del app.world.resources[naming.fold_id(STORAGE)]
    _, plan, _ = await HttpApp(app).call("plan_connection", body=create_body(**OWN))
    assert plan["secret"]["keys"] == sorted(["BLOB_URL", CLIENT, "LOG_LEVEL", "GREETING"])


@pytest.mark.parametrize("key", ["BLOB_URL", "LOG_LEVEL"])
async def test_an_edited_value_is_told_by_validation_and_sweep_and_mended_by_a_repair(
    app: LocalApp, key: str
):
    await created(app)
    assert await validated(app) == {}
    thing = app.world.clusters[naming.fold_id(CLUSTER)].objects["Secret", "shop", "sc-ordersblob-secret"]
    thing.data[key] = "http://elsewhere"
    thing.resource_version = str(app.world.number())
    assert await validated(app) == {"settings-keys": f"wrong: {key}"}
    assert (await swept(app))["totals"]["drift"] == {"values-edited": 1}
    await app.send({"action": "repair", "connectionId": ID}, message_id="repair")
    await app.settle()
    assert await validated(app) == {}


async def test_what_a_prune_takes_is_put_back_under_the_same_names(app: LocalApp):
    await created(app)
    before = await secret(app)
    app.world.remove(STORAGE)
    app.queue.put("resource-events", deletion_event(STORAGE))
    await app.settle(seconds=600)
    assert await app.state(ID) == "pruned"
    prune = (await app.operations(ID))[-1].operation_id
    _, shown, _ = await HttpApp(app).call("get_prune", pruneId=prune)
    [saved] = [one for one in shown["saved"] if one["kind"] == "Secret"]
    assert (saved["keys"], saved["restorable"]) == (sorted(before), "yes")
    await HttpApp(app).call("restore_prune", pruneId=prune)
    await app.settle()
    assert await secret(app) == before


@pytest.mark.parametrize(
    ("changes", "code", "field"),
    [
        ({"customizedKeys": {"AZURE_OTHER": "A"}}, "unknown-setting", "customizedKeys"),
        ({"customizedKeys": {ENDPOINT: CLIENT}}, "setting-collision", "customizedKeys"),
        ({"additionalSettings": {CLIENT: "x"}}, "setting-collision", "additionalSettings"),
        (
            {"customizedKeys": {ENDPOINT: "A"}, "additionalSettings": {"A": "x"}},
            "setting-collision",
            "additionalSettings",
        ),
        ({"customizedKeys": {ENDPOINT: "1A"}}, "invalid-name", f"customizedKeys.{ENDPOINT}"),
        ({"customizedKeys": {ENDPOINT: ""}}, "invalid-name", f"customizedKeys.{ENDPOINT}"),
        ({"additionalSettings": {"..": "x"}}, "invalid-setting", "additionalSettings"),
        ({"additionalSettings": {"A": "two\nlines"}}, "invalid-setting", "additionalSettings.A"),
        ({"additionalSettings": {"A": "x" * 257}}, "invalid-setting", "additionalSettings.A"),
        (
            {"additionalSettings": {f"A{one}": "" for one in range(33)}},
            "too-many-settings",
            "additionalSettings",
        ),
        ({"additionalSettings": {"A": 1}}, "wrong-type", "additionalSettings.A"),
        ({"additionalSettings": None}, "wrong-type", "additionalSettings"),
    ],
)
async def test_names_that_fit_nothing_are_refused(
    app: LocalApp, changes: dict[str, Any], code: str, field: str
):
    record = await app.send(create_body(**changes))
    assert (record.outcome, record.code) == ("rejected", code)
    assert record.field.removesuffix(".[key]").startswith(f"connection.{field}")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("DB_PASSWORD", "hunter2"),
        ("A", "AccountKey=abc"),
        ("A", "redis://:hunter2@host:6380"),
        ("A", "Zm9vYmFyYmF6cXV4Zm9vYmFyYmF6cXV4MTIz"),
        ("A", "-----BEGIN RSA"),
        ("ACCESS_KEY", "hunter2"),
        ("A", "eyJhbGciOi"),
    ],
)
async def test_a_constant_that_looks_like_a_credential_is_refused_and_never_shown(
    app: LocalApp, key: str, value: str
):
    record = await app.send(create_body(additionalSettings={key: value}))
    assert (record.outcome, record.code) == ("rejected", "invalid-setting")
    everything = repr([app.queue.take("rejected"), list(app.store.rows("requests"))])
    assert value not in everything


def test_what_was_stored_before_there_were_names_keeps_its_hash():
    group = "/subscriptions/11111111-2222-3333-4444-555555555555/resourceGroups/rg/providers"
    cluster = f"{group}/Microsoft.ContainerService/managedClusters/aks"
    account = f"{group}/Microsoft.Storage/storageAccounts/acc"
    stored = (
        f'{{"name":"Blob_1","cluster_id":"{cluster}","namespace":"shop","workload":"blob-1",'
        f'"target_type":"storage-blob","target_id":"{account}","client_type":"none","intent":"",'
        '"identity_id":""}'
    )
    spec = ConnectionSpec.model_validate_json(stored)
    assert naming.spec_hash(spec) == "35138895057ff167c59a790faf4bf423"
    target = {"type": "storage-blob", "id": account}
    key = {"name": "Blob_1", "clusterId": cluster, "namespace": "shop"}
    request = requests.decode(json.dumps({"action": "create", "connection": {**key, "target": target}}))
    assert isinstance(request, requests.CreateRequest)
    assert naming.spec_hash(requests.to_spec(request)) == naming.spec_hash(spec)
    body = request.model_dump(mode="json", exclude={"request_id"}, exclude_unset=True)
    assert naming.body_hash(body) == "d71b4840858f7061e166c22f1ebc1707"


async def test_other_names_are_another_wish(app: LocalApp):
    await created(app)
    same = await app.send(create_body(**OWN), message_id="again")
    assert same.outcome == "unchanged"
    other = await app.send(create_body(customizedKeys={ENDPOINT: "URL"}), message_id="other")
    assert (other.outcome, other.code) == ("rejected", "body-differs")


def test_the_rules_hold_also_where_a_spec_comes_from_elsewhere():
    with pytest.raises(RefusedError) as refused:
        requests.decode(json.dumps(create_body(customizedKeys={"a=b": "A"})))
    assert refused.value.code == "invalid-name"
    assert "a=b" not in refused.value.field
