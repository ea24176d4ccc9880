"""A mounted vault: its SecretProviderClass is made, used, compared, pruned and put back as settings are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from shared import naming, vault_objects
from shared.errors import PermanentError
from shared.spec import ConnectionSpec
from shared.steps.base import LABEL_CONNECTION, LABEL_MANAGED_BY
from tests.fakes.azure_world import StoredObject
from tests.fakes.http_app import HttpApp
from tests.fakes.local_app import CLUSTER, VAULT, LocalApp, create_body, delete_body, deletion_event, make_app
from tests.fakes.sweeps import connected, swept

TENANT = "99999999-9999-4999-8999-999999999999"
ID = naming.connection_id(CLUSTER, "shop", "orders-vault")
NAME = "sc-ordersvault-secretproviderclass"
KEY = ("SecretProviderClass", "shop", NAME)
OBJECTS = [{"name": "db-password", "type": "secret"}, {"name": "site", "type": "cert", "alias": "site.pem"}]
ASKED: dict[str, Any] = {
    "target": {"type": "keyvault", "id": VAULT},
    "settingsIn": "secretProviderClass",
    "vaultObjects": OBJECTS,
}
ENABLING = "az aks enable-addons --addons azure-keyvault-secrets-provider"


@pytest.fixture
def app(tmp_path: Path) -> LocalApp:
    made = make_app(tmp_path, MOORING_PRUNE_CONFIRM_SECONDS="1", MOORING_PRUNE_GRACE_SECONDS="1")
    made.clusters.set_secrets_store(CLUSTER, on=True)
    made.world.resources[naming.fold_id(VAULT)]["properties"]["tenantId"] = TENANT
    return made


def objects(app: LocalApp) -> dict[tuple[str, str, str], StoredObject]:
    return app.world.clusters[naming.fold_id(CLUSTER)].objects


async def created(app: LocalApp, **changes: Any) -> None:
    assert await connected(app, "orders-vault", **{**ASKED, **changes}) == ID


async def lost(app: LocalApp) -> None:
    app.world.remove(VAULT)
    app.queue.put("resource-events", deletion_event(VAULT))
    await app.settle(seconds=600)


async def get(app: LocalApp, name: str, **route: Any) -> Any:
    status, found, _ = await HttpApp(app).call(name, **route)
    assert status == 200, found
    return found


def body(**changes: Any) -> dict[str, Any]:
    return create_body("orders-vault", **{**ASKED, **changes})


async def test_the_class_names_vault_tenant_identity_and_objects_and_no_secret_is_made(app: LocalApp):
    plan = await get(app, "plan_connection", body=body())
    keys = ["clientID", "cloudName", "keyvaultName", "objects", "tenantId", "usePodIdentity"]
    assert plan["secretProviderClass"] == {"namespace": "shop", "name": NAME, "keys": keys}
    assert (plan["secret"], plan["configMap"], plan["result"]) == (None, None, "ok")
    assert "secrets-store-on" in {one["name"] for one in plan["findings"]}
    await created(app)
    data = dict(objects(app)[KEY].data)
    listed = yaml.safe_load(data.pop("objects"))
    assert [yaml.safe_load(one) for one in listed["array"]] == [
        {"objectName": "db-password", "objectAlias": "db-password", "objectType": "secret"},
        {"objectName": "site", "objectAlias": "site.pem", "objectType": "cert"},
    ]
    shown = await get(app, "get_connection", connectionId=ID)
    assert data == {
        "usePodIdentity": "false",
        "clientID": shown["identity"]["clientId"],
        "keyvaultName": "orders",
        "cloudName": "AzurePublicCloud",
        "tenantId": TENANT,
    }
    assert {kind for kind, _, _ in objects(app)} == {"SecretProviderClass", "ServiceAccount"}
    assert shown["authType"] == "workloadIdentity"
    names = shown["kubernetes"]
    assert (names["secretProviderClass"], names["secret"], names["configMap"]) == (NAME, None, None)


async def test_a_manifest_mounts_it(app: LocalApp):
    await created(app)
    pod = yaml.safe_load(await get(app, "get_manifest", connectionId=ID))["spec"]
    container, (volume,) = pod["containers"][0], pod["volumes"]
    assert "envFrom" not in container
    assert container["volumeMounts"] == [
        {"name": "sc-ordersvault", "mountPath": "/mnt/secrets-store/ordersvault", "readOnly": True}
    ]
    assert volume["name"] == "sc-ordersvault"
    assert volume["csi"]["driver"] == "secrets-store.csi.k8s.io"
    assert volume["csi"]["volumeAttributes"] == {"secretProviderClass": NAME}


@pytest.mark.parametrize("kind", ["pod", "deployment", "job", "patch"])
async def test_every_kind_of_manifest_mounts_it(app: LocalApp, kind: str):
    await created(app)
    found = yaml.safe_load(await get(app, "get_manifest", connectionId=ID, params={"kind": kind}))
    spec = found["spec"] if kind == "pod" else found["spec"]["template"]["spec"]
    ((volume,), (container,)) = spec["volumes"], spec["containers"]
    assert volume["csi"]["volumeAttributes"] == {"secretProviderClass": NAME}
    assert [one["name"] for one in container["volumeMounts"]] == [volume["name"]]
    assert not {"env", "envFrom"} & set(container)


async def test_its_parameters_are_listed_as_settings(app: LocalApp):
    await created(app)
    found = await get(app, "get_configuration", connectionId=ID)
    listed = {one["name"]: one["value"] for one in found["configurations"]}
    assert listed == dict(objects(app)[KEY].data)


async def test_a_cluster_without_the_driver_is_refused_before_anything_is_made(app: LocalApp):
    app.clusters.set_secrets_store(CLUSTER, on=False)
    plan = await get(app, "plan_connection", body=body())
    failed = [one for one in plan["findings"] if one["result"] == "failed"]
    assert [one["name"] for one in failed] == ["secrets-store-on"]
    assert failed[0]["remedy"].startswith(ENABLING)
    await app.send(body())
    await app.settle()
    operation = (await app.operations(ID))[-1]
    assert operation.code == "secrets-store-off"
    assert operation.remedy == (f"{ENABLING} --subscription {CLUSTER.split('/')[2]} -g rg -n aks1")
    assert objects(app) == {}
    assert app.leftovers()["identities"] == []


async def test_a_vault_that_tells_no_tenant_is_refused_before_anything_is_made(app: LocalApp):
    del app.world.resources[naming.fold_id(VAULT)]["properties"]["tenantId"]
    await app.send(body())
    await app.settle()
    assert (await app.operations(ID))[-1].code == "endpoint-missing"
    assert objects(app) == {}


async def test_a_vault_that_tells_no_tenant_is_connected_otherwise_as_ever(app: LocalApp):
    del app.world.resources[naming.fold_id(VAULT)]["properties"]["tenantId"]
    assert await connected(app, "orders-vault", target=ASKED["target"]) == ID


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"vaultObjects": []}, "at least one"),
        ({"vaultObjects": [OBJECTS[0], {**OBJECTS[1], "alias": "db-password"}]}, "one file"),
        ({"customizedKeys": {"A": "B"}}, "customizedKeys"),
        ({"additionalSettings": {"A": "b"}}, "additionalSettings"),
        ({"intent": "read"}, "intent"),
        ({"settingsIn": "secret"}, "only with settingsIn"),
    ],
)
async def test_what_does_not_fit_a_mounted_vault_is_refused(
    app: LocalApp, changes: dict[str, Any], word: str
):
    record = await app.send(body(**changes))
    assert (record.outcome, record.code) == ("rejected", "settings-mismatch")
    assert word in record.detail


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": "a/b", "type": "secret"},
        {"name": "a", "type": "password"},
        {"name": "a", "type": "secret", "alias": "../x"},
        {"name": "a", "type": "secret", "alias": ".hidden"},
    ],
)
async def test_names_that_a_vault_or_a_folder_cannot_have_are_refused(app: LocalApp, wrong: dict[str, str]):
    record = await app.send(body(vaultObjects=[wrong]))
    assert (record.outcome, record.code) == ("rejected", "invalid-vault-object")


async def test_only_a_vault_can_be_mounted(app: LocalApp):
    record = await app.send(create_body("x", settingsIn="secretProviderClass", vaultObjects=OBJECTS))
    assert (record.outcome, record.code) == ("rejected", "unknown-auth-type")


async def test_the_same_wish_in_another_order_is_the_same_and_others_are_an_update(app: LocalApp):
    await created(app)
    same = await app.send(body(vaultObjects=OBJECTS[::-1]), message_id="same")
    assert same.outcome == "unchanged"
    uid = objects(app)[KEY].uid
    await app.send({**body(vaultObjects=OBJECTS[:1]), "action": "update"}, message_id="update")
    await app.settle()
    assert objects(app)[KEY].uid == uid
    assert "site" not in objects(app)[KEY].data["objects"]


async def test_a_delete_takes_it_away_also_where_the_driver_went_before(app: LocalApp):
    await created(app)
    app.clusters.set_secrets_store(CLUSTER, on=False)
    await app.send(delete_body("orders-vault"), message_id="delete")
    await app.settle()
    assert app.leftovers()["objects"] == []


async def test_one_that_somebody_else_made_is_not_written_into(app: LocalApp):
    app.clusters.put_object(CLUSTER, *KEY, data={"keyvaultName": "theirs"})
    await app.send(body())
    await app.settle()
    failed = (await app.operations(ID))[-1]
    assert failed.code == "object-not-ours"
    assert failed.remedy.startswith(f"kubectl delete secretproviderclass {NAME} --namespace shop")
    assert objects(app)[KEY].data == {"keyvaultName": "theirs"}


async def test_a_prune_is_held_while_a_pod_mounts_it_and_what_it_takes_is_put_back(app: LocalApp):
    await created(app)
    data = dict(objects(app)[KEY].data)
    mounted = {"driver": "secrets-store.csi.k8s.io", "volumeAttributes": {"secretProviderClass": NAME}}
    app.clusters.put_pod(CLUSTER, "shop", "reader", {"containers": [], "volumes": [{"csi": mounted}]})
    await lost(app)
    operation = (await app.operations(ID))[-1].operation_id
    prune = await get(app, "get_prune", pruneId=operation)
    assert (prune["state"], prune["waiting"]) == ("held", "in-use")
    assert f"SecretProviderClass shop/{NAME} is used by Pod reader; can be restored: yes" in prune["detail"]
    app.clusters.remove_pod(CLUSTER, "shop", "reader")
    await app.settle(seconds=600)
    assert KEY not in objects(app)
    shown = await get(app, "get_prune", pruneId=operation)
    [saved] = [one for one in shown["saved"] if one["kind"] == "SecretProviderClass"]
    assert saved["restorable"] == "yes"
    await HttpApp(app).call("restore_prune", pruneId=operation)
    await app.settle()
    assert objects(app)[KEY].data == data


async def test_another_drivers_volume_of_that_name_holds_nothing(app: LocalApp):
    await created(app)
    other = {"driver": "disk.csi.azure.com", "volumeAttributes": {"secretProviderClass": NAME}}
    app.clusters.put_pod(CLUSTER, "shop", "reader", {"containers": [], "volumes": [{"csi": other}]})
    await lost(app)
    assert KEY not in objects(app)


async def test_drift_of_it_is_found_validated_and_repaired(app: LocalApp):
    await created(app)
    thing = objects(app)[KEY]
    thing.data["keyvaultName"] = "elsewhere"
    thing.resource_version = str(app.world.number())
    assert (await swept(app))["totals"]["drift"] == {"values-edited": 1}
    await app.send({"action": "validate", "connectionId": ID}, message_id="validate")
    await app.settle()
    operation = (await app.operations(ID))[-1].operation_id
    told = await get(app, "get_operation", operationId=operation)
    results = {one["name"]: one["result"] for one in told["findings"]}
    assert (results["settings-keys"], results["secrets-store-on"]) == ("failed", "ok")
    await app.send({"action": "repair", "connectionId": ID}, message_id="repair")
    await app.settle()
    assert objects(app)[KEY].data["keyvaultName"] == "orders"
    assert "drift" not in (await swept(app))["totals"]


async def test_one_with_our_labels_and_no_record_is_an_orphan_and_its_name_alone_says_nothing(app: LocalApp):
    labels = {LABEL_MANAGED_BY: "mooring", LABEL_CONNECTION: "0" * 24}
    kind = "SecretProviderClass"
    await created(app)
    app.clusters.put_object(CLUSTER, kind, "shop", "sc-lost-secretproviderclass", labels=labels)
    app.clusters.put_object(CLUSTER, kind, "shop", "sc-theirs-secretproviderclass")
    assert (await swept(app))["totals"]["orphans"] == {"secret-provider-class": {"new": 1}}


@pytest.mark.parametrize(
    ("endpoint", "cloud"),
    [
        ("https://v.vault.azure.net/", "AzurePublicCloud"),
        ("https://v.vault.azure.cn/", "AzureChinaCloud"),
        ("https://v.vault.usgovcloudapi.net/", "AzureUSGovernmentCloud"),
    ],
)
def test_the_cloud_is_told_by_the_vaults_url(endpoint: str, cloud: str):
    spec = ConnectionSpec(
        name="a", cluster_id=CLUSTER, namespace="shop", workload="a", target_type="keyvault", target_id=VAULT
    )
    facts = {"endpoint": endpoint, "tenantId": TENANT}
    assert vault_objects.parameters({"cloudName": "{cloud}"}, spec, facts) == {"cloudName": cloud}
    with pytest.raises(PermanentError, match="endpoint-missing"):
        vault_objects.parameters({}, spec, {"endpoint": endpoint})
