"""What was changed or removed by hand is told, and mended where that is wanted."""

from pathlib import Path

import pytest

from shared import naming
from shared.drift import KINDS, REPAIRABLE
from shared.models import ConnectionId, ConnectionState
from shared.ports import Upsert
from shared.steps.base import ANNOTATION_CLIENT_ID, ANNOTATION_KEEP, LABEL_CONNECTION
from tests.fakes.azure_world import StoredObject
from tests.fakes.http_app import HttpApp
from tests.fakes.local_app import CLUSTER, VAULT, LocalApp, make_app
from tests.fakes.sweeps import connected, put_linker, swept
from tests.unit.pages import REFERENCE, table_rows

SECRET = ("Secret", "shop", "sc-ordersblob-secret")


def object_of(app: LocalApp, kind: str = "Secret") -> StoredObject:
    objects = app.world.clusters[naming.fold_id(CLUSTER)].objects
    return next(found for key, found in objects.items() if key[0] == kind)


def touch(app: LocalApp, thing: StoredObject) -> None:
    """As a write by somebody: the version moves on."""
    thing.resource_version = str(app.world.number())


async def drift_of(app: LocalApp, connection_id: str) -> list[tuple[str, str]]:
    status, shown, _ = await HttpApp(app).call("get_connection", connectionId=connection_id)
    assert status == 200
    return [(one["kind"], one["detail"]) for one in (shown["drift"] or {"found": []})["found"]]


async def test_a_connection_without_drift_says_so(app: LocalApp):
    connection_id = await connected(app)
    await swept(app)
    assert await drift_of(app, connection_id) == []


async def test_a_secret_that_is_gone_is_told_and_told_no_more_once_it_is_back(app: LocalApp):
    connection_id = await connected(app)
    objects = app.world.clusters[naming.fold_id(CLUSTER)].objects
    secret = objects.pop(SECRET)
    assert (await swept(app))["totals"]["drift"] == {"object-missing": 1}
    assert await drift_of(app, connection_id) == [("object-missing", None)]
    assert await app.state(connection_id) == "configured"
    objects[SECRET] = secret
    assert "drift" not in (await swept(app))["totals"]
    assert await drift_of(app, connection_id) == []


async def test_how_long_it_has_been_so_is_told(app: LocalApp):
    connection_id = await connected(app)
    del app.world.clusters[naming.fold_id(CLUSTER)].objects[SECRET]
    await swept(app)
    app.clock.advance(3600)
    await swept(app)
    _, shown, _ = await HttpApp(app).call("get_connection", connectionId=connection_id)
    assert shown["drift"]["firstSeenAt"] < shown["drift"]["lastSeenAt"]


async def test_an_object_that_somebody_made_in_its_place_is_told(app: LocalApp):
    connection_id = await connected(app)
    del app.world.clusters[naming.fold_id(CLUSTER)].objects[SECRET]
    other = app.clusters.put_object(CLUSTER, *SECRET)
    found = await swept(app)
    assert found["totals"]["drift"] == {"object-replaced": 1}
    assert "orphans" not in found["totals"]
    assert await drift_of(app, connection_id) == [("object-replaced", f"uid {other.uid}")]


async def test_labels_and_annotations_of_ours_that_changed_are_named(app: LocalApp):
    connection_id = await connected(app)
    object_of(app).labels[LABEL_CONNECTION] = "another"
    account = object_of(app, "ServiceAccount")
    account.annotations[ANNOTATION_CLIENT_ID] = "somebody-elses"
    account.annotations["team"] = "theirs to set"
    assert (await swept(app))["totals"]["drift"] == {"object-edited": 2}
    assert await drift_of(app, connection_id) == [
        ("object-edited", LABEL_CONNECTION),
        ("object-edited", ANNOTATION_CLIENT_ID),
    ]


async def test_an_account_that_another_connection_of_the_workload_made_anew_is_no_drift(app: LocalApp):
    await connected(app)
    object_of(app, "ServiceAccount").uid = app.world.guid()
    assert "drift" not in (await swept(app))["totals"]


async def test_an_object_with_the_keep_annotation_is_left_alone(app: LocalApp):
    await connected(app)
    secret = object_of(app)
    secret.annotations[ANNOTATION_KEEP] = "mine now"
    secret.uid = app.world.guid()
    assert "drift" not in (await swept(app))["totals"]


async def test_values_are_read_only_when_somebody_has_written_since(app: LocalApp):
    connection_id = await connected(app)
    await swept(app)
    before = app.journal.names().count("clusters.get")
    await swept(app)
    assert app.journal.names().count("clusters.get") == before
    secret = object_of(app)
    touch(app, secret)
    assert "drift" not in (await swept(app))["totals"]
    assert app.journal.names().count("clusters.get") == before + 1
    await swept(app)
    assert app.journal.names().count("clusters.get") == before + 1
    secret.data["AZURE_STORAGEBLOB_CLIENTID"] = "another"
    touch(app, secret)
    found = await swept(app)
    assert found["totals"]["drift"] == {"values-edited": 1}
    assert await drift_of(app, connection_id) == [("values-edited", "AZURE_STORAGEBLOB_CLIENTID")]
    assert "another" not in str(app.store.rows("connections"))


async def test_what_cannot_be_compared_says_nothing(app: LocalApp):
    connection_id = ConnectionId(await connected(app))
    intents = await app.services.state.intents(connection_id)
    from shared.rows import columns

    bare = intents["preflight"].model_copy(
        update={"outputs": {"issuer": intents["preflight"].outputs["issuer"]}}
    )
    change = Upsert(key="i|preflight", columns=columns(bare))
    await app.store.transact("connections", connection_id, [change])
    touch(app, object_of(app))
    object_of(app).data["AZURE_STORAGEBLOB_CLIENTID"] = "another"
    assert "drift" not in (await swept(app))["totals"]


async def test_a_row_that_nobody_understands_stops_nothing(app: LocalApp):
    broken = await connected(app)
    kept = await connected(app, "orders-vault", target={"type": "keyvault", "id": VAULT})
    await app.store.transact(
        "connections", broken, [Upsert(key="i|settings", columns={"schema": 2, "body": "{}"})]
    )
    del app.world.clusters[naming.fold_id(CLUSTER)].objects["Secret", "shop", "sc-ordersvault-secret"]
    found = await swept(app)
    assert found["totals"]["rowsUnreadable"] == 2
    assert found["totals"]["drift"] == {"object-missing": 1}
    assert await drift_of(app, kept) == [("object-missing", None)]


async def test_while_something_is_under_way_nothing_is_amiss(app: LocalApp):
    connection_id = await connected(app)
    from tests.fakes.local_app import delete_body

    del app.world.clusters[naming.fold_id(CLUSTER)].objects[SECRET]
    await app.send(delete_body(), message_id="d")
    assert "drift" not in (await swept(app))["totals"]
    await app.settle()
    assert await app.state(connection_id) == "deleted"


async def test_a_restored_connection_is_left_alone(app: LocalApp):
    connection_id = ConnectionId(await connected(app))
    stored = await app.services.state.connection(connection_id)
    assert stored is not None
    from shared.state import _connection_columns

    restored = stored.value.model_copy(update={"state": ConnectionState.RESTORED})
    change = Upsert(key="a|connection", columns=_connection_columns(restored))
    await app.store.transact("connections", connection_id, [change])
    app.world.clusters[naming.fold_id(CLUSTER)].objects.clear()
    app.world.identities.clear()
    found = (await swept(app))["totals"]
    assert "drift" not in found
    assert "prunes" not in found
    app.world.remove(CLUSTER)
    assert "prunes" not in (await swept(app))["totals"]


async def test_an_object_of_a_living_linker_that_is_gone_is_told(app: LocalApp):
    put_linker(app)
    await swept(app)
    del app.world.clusters[naming.fold_id(CLUSTER)].objects["Secret", "shop", "sc-theirs-secret"]
    assert (await swept(app))["totals"]["drift"] == {"object-missing": 1}


@pytest.fixture
def repairing(tmp_path: Path) -> LocalApp:
    return make_app(tmp_path, MOORING_DRIFT="repair")


def test_the_page_has_every_kind_as_the_code_has_it():
    rows = table_rows(REFERENCE / "sweeps.md", "## Drift")
    written = {row[0].strip("`"): (row[1], row[2] == "yes") for row in rows}
    assert written == {kind: (meaning, kind in REPAIRABLE) for kind, meaning in KINDS.items()}


async def test_the_connections_that_have_drift_are_listed_with_it_page_by_page(app: LocalApp):
    first, second = await connected(app), await connected(app, "other-blob")
    http, objects = HttpApp(app), app.world.clusters[naming.fold_id(CLUSTER)].objects
    await swept(app)
    assert (await http.call("list_connections", params={"drift": "true"}))[1]["connections"] == []
    del objects[SECRET]
    del objects["Secret", "shop", "sc-otherblob-secret"]
    await swept(app)
    _, body, _ = await http.call("list_connections", params={"drift": "true", "namespace": "shop"})
    assert {one["id"] for one in body["connections"]} == {first, second}
    assert {one["drift"]["found"][0]["kind"] for one in body["connections"]} == {"object-missing"}
    assert set(await app.services.sweeping.drifts.all(page=1)) == {first, second}
    of_another_version = Upsert(key="k|drift|subscription", columns={"body": "{}"})
    await app.services.state.store.transact("connections", first, [of_another_version])
    assert set(await app.services.sweeping.drifts.all()) == {first, second}
    _, body, _ = await http.call("list_connections", params={"drift": "true", "namespace": "other"})
    assert body["connections"] == []
    _, body, _ = await http.call("list_connections")
    assert all("drift" not in one for one in body["connections"])
