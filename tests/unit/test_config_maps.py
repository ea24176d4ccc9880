"""Settings in a config map: made, used, compared, pruned and put back as those in a secret."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from shared import naming
from shared.steps.base import LABEL_CONNECTION, LABEL_MANAGED_BY
from tests.fakes.azure_world import StoredObject
from tests.fakes.http_app import HttpApp
from tests.fakes.local_app import (
    CLUSTER,
    STORAGE,
    LocalApp,
    create_body,
    delete_body,
    deletion_event,
    make_app,
)
from tests.fakes.sweeps import connected, prunes, put_linker, swept

ID = naming.connection_id(CLUSTER, "shop", "orders-blob")
NAME = "sc-ordersblob-configmap"
KEY = ("ConfigMap", "shop", NAME)
KEYS = ["AZURE_STORAGEBLOB_CLIENTID", "AZURE_STORAGEBLOB_RESOURCEENDPOINT"]


@pytest.fixture
def app(tmp_path: Path) -> LocalApp:
    return make_app(tmp_path, MOORING_PRUNE_CONFIRM_SECONDS="1", MOORING_PRUNE_GRACE_SECONDS="1")


def objects(app: LocalApp) -> dict[tuple[str, str, str], StoredObject]:
    return app.world.clusters[naming.fold_id(CLUSTER)].objects


async def created(app: LocalApp) -> None:
    assert await connected(app, settingsIn="configMap") == ID


async def lost(app: LocalApp) -> None:
    app.world.remove(STORAGE)
    app.queue.put("resource-events", deletion_event(STORAGE))
    await app.settle(seconds=600)


async def get(app: LocalApp, name: str, **route: Any) -> Any:
    status, found, _ = await HttpApp(app).call(name, **route)
    assert status == 200, found
    return found


async def test_the_settings_are_in_a_config_map_and_no_secret_is_made(app: LocalApp):
    plan = await get(app, "plan_connection", body=create_body(settingsIn="configMap"))
    assert plan["configMap"] == {"namespace": "shop", "name": NAME, "keys": KEYS}
    assert plan["secret"] is None
    await created(app)
    assert sorted(objects(app)[KEY].data) == KEYS
    assert {kind for kind, _, _ in objects(app)} == {"ConfigMap", "ServiceAccount"}
    shown = await get(app, "get_connection", connectionId=ID)
    assert (shown["settingsIn"], shown["kubernetes"]["configMap"]) == ("configMap", NAME)
    assert shown["kubernetes"]["secret"] is None
    pod = yaml.safe_load(await get(app, "get_manifest", connectionId=ID))
    assert pod["spec"]["containers"][0]["envFrom"] == [{"configMapRef": {"name": NAME}}]


async def test_asking_for_a_secret_is_asking_for_what_there_is_without_asking(app: LocalApp):
    await connected(app)
    same = await app.send(create_body(settingsIn="secret"), message_id="same")
    assert same.outcome == "unchanged"
    other = await app.send(create_body(settingsIn="configMap"), message_id="other")
    assert (other.outcome, other.code) == ("rejected", "body-differs")


async def test_a_delete_takes_it_away(app: LocalApp):
    await created(app)
    await app.send(delete_body(), message_id="delete")
    await app.settle()
    assert app.leftovers()["objects"] == []


async def test_a_config_map_that_somebody_else_made_is_not_written_into(app: LocalApp):
    app.clusters.put_object(CLUSTER, *KEY, data={"A": "theirs"})
    plan = await get(app, "plan_connection", body=create_body(settingsIn="configMap"))
    assert {one["name"] for one in plan["findings"] if one["result"] == "failed"} == {"secret-free"}
    await app.send(create_body(settingsIn="configMap"))
    await app.settle()
    failed = (await app.operations(ID))[-1]
    assert failed.code == "object-not-ours"
    assert failed.remedy == f"kubectl delete configmap {NAME} --namespace shop, if nothing needs it"
    assert objects(app)[KEY].data == {"A": "theirs"}


@pytest.mark.parametrize(
    "part",
    [
        {"containers": [{"name": "c", "envFrom": [{"configMapRef": {"name": NAME}}]}]},
        {"containers": [{"name": "c", "env": [{"valueFrom": {"configMapKeyRef": {"name": NAME}}}]}]},
        {"containers": [], "volumes": [{"name": "v", "configMap": {"name": NAME}}]},
        {"containers": [], "volumes": [{"projected": {"sources": [{"configMap": {"name": NAME}}]}}]},
    ],
)
async def test_a_prune_is_held_while_a_pod_uses_it_and_takes_it_then(app: LocalApp, part: dict[str, Any]):
    await created(app)
    app.clusters.put_pod(CLUSTER, "shop", "reader", part)
    await lost(app)
    prune = await get(app, "get_prune", pruneId=(await app.operations(ID))[-1].operation_id)
    assert (prune["state"], prune["waiting"]) == ("held", "in-use")
    assert f"ConfigMap shop/{NAME} is used by Pod reader; can be restored: yes" in prune["detail"]
    [planned] = [one for one in prune["objects"] if one["outcome"] == "planned" and one["step"] == "settings"]
    assert (planned["kind"], planned["restorable"]) == ("ConfigMap", "unknown")
    app.clusters.remove_pod(CLUSTER, "shop", "reader")
    await app.settle(seconds=600)
    assert KEY not in objects(app)


async def test_what_a_prune_takes_is_saved_with_its_values_and_put_back(app: LocalApp):
    await created(app)
    data = dict(objects(app)[KEY].data)
    await lost(app)
    assert KEY not in objects(app)
    prune = (await app.operations(ID))[-1].operation_id
    shown = await get(app, "get_prune", pruneId=prune)
    [saved] = [one for one in shown["saved"] if one["kind"] == "ConfigMap"]
    assert (saved["keys"], saved["restorable"]) == (KEYS, "yes")
    await HttpApp(app).call("restore_prune", pruneId=prune)
    await app.settle()
    assert objects(app)[KEY].data == data
    await app.send(delete_body(), message_id="delete")
    await app.settle()
    assert app.leftovers()["objects"] == []


async def test_a_value_that_came_into_it_and_is_no_setting_is_not_saved(app: LocalApp):
    await created(app)
    objects(app)[KEY].data["MORE"] = "hunter2"
    await lost(app)
    shown = await get(app, "get_prune", pruneId=(await app.operations(ID))[-1].operation_id)
    [saved] = [one for one in shown["saved"] if one["kind"] == "ConfigMap"]
    assert (saved["keys"], saved["restorable"]) == ([], "no")
    assert "MORE" in saved["why"]
    assert "hunter2" not in repr(list(app.store.rows("prunes")))


async def test_drift_of_it_is_found_by_a_sweep(app: LocalApp):
    await created(app)
    thing = objects(app)[KEY]
    thing.data[KEYS[1]] = "https://elsewhere/"
    thing.resource_version = str(app.world.number())
    assert (await swept(app))["totals"]["drift"] == {"values-edited": 1}
    del thing.labels[LABEL_CONNECTION]
    assert (await swept(app))["totals"]["drift"]["object-edited"] == 1
    del objects(app)[KEY]
    assert (await swept(app))["totals"]["drift"] == {"object-missing": 1}
    await app.send({"action": "repair", "connectionId": ID}, message_id="repair")
    await app.settle()
    assert "drift" not in (await swept(app))["totals"]


async def test_one_with_our_labels_and_no_record_is_an_orphan_and_its_name_alone_says_nothing(app: LocalApp):
    await created(app)
    labels = {LABEL_MANAGED_BY: "mooring", LABEL_CONNECTION: "0" * 24}
    app.clusters.put_object(CLUSTER, "ConfigMap", "shop", "sc-lost-configmap", labels=labels)
    app.clusters.put_object(CLUSTER, "ConfigMap", "shop", "renamed", labels=labels)
    app.clusters.put_object(CLUSTER, "ConfigMap", "shop", "sc-theirs-configmap")
    assert (await swept(app))["totals"]["orphans"] == {"config-map": {"new": 2}}


async def test_one_whose_entry_was_lost_is_found_by_its_name_and_is_no_orphan(app: LocalApp):
    await created(app)
    app.store._tables["linkers"].clear()
    found = await swept(app)
    assert "orphans" not in found["totals"]
    assert found["totals"]["entriesMissing"] == 1
    assert await prunes(app, ID) == []


async def test_a_linker_of_that_name_does_not_hold_it(app: LocalApp):
    await created(app)
    put_linker(app, "orders_blob")
    await app.send(delete_body(), message_id="delete")
    await app.settle()
    assert KEY not in objects(app)
