"""A repair makes anew what was deleted by hand and forces back what was edited: only what is proven ours."""

from typing import Any

import pytest

from shared import naming
from shared.models import Operation
from shared.ports import Credential
from shared.steps.base import (
    ANNOTATION_CLIENT_ID,
    ANNOTATION_NONCE,
    LABEL_CONNECTION,
    LABEL_MANAGED_BY,
    TAG_WORKLOAD,
)
from tests.fakes.azure_world import StoredObject
from tests.fakes.local_app import CLUSTER, LocalApp, create_body, delete_body

ID = naming.connection_id(CLUSTER, "shop", "orders-blob")
ENDPOINT = "AZURE_STORAGEBLOB_RESOURCEENDPOINT"
EMPTY = {"identities": [], "assignments": [], "objects": [], "users": []}
KINDS = ("Secret", "ServiceAccount")


def repair_body(name: str = "orders-blob") -> dict[str, Any]:
    return {**delete_body(name), "action": "repair"}


@pytest.fixture(autouse=True)
async def made(app: LocalApp) -> None:
    await app.send(create_body(), message_id="made")
    await app.settle()
    assert await app.state(ID) == "configured"


async def repaired(app: LocalApp, key: str = "repair") -> Operation:
    record = await app.send(repair_body(), message_id=key)
    assert record.outcome == "opened"
    await app.settle(seconds=4000)
    stored = await app.services.state.operation(record.operation_id)
    assert stored is not None
    return stored.value


async def findings(app: LocalApp) -> dict[str, str]:
    record = await app.send(
        {**repair_body(), "action": "validate"}, message_id=f"look-{len(app.journal.calls)}"
    )
    await app.settle()
    snapshot = await app.services.state.load(record.operation_id)
    assert snapshot is not None
    found = [one for step in snapshot.steps.values() for one in step.value.outputs["findings"]]
    return {one["name"]: one["result"] for one in found if one["result"] == "failed"}


async def gone_again(app: LocalApp) -> bool:
    await app.send(delete_body(), message_id="last")
    await app.settle(seconds=4000)
    return app.leftovers() == EMPTY


def objects(app: LocalApp) -> dict[tuple[str, str, str], StoredObject]:
    return app.world.clusters[naming.fold_id(CLUSTER)].objects


def thing(app: LocalApp, kind: str) -> StoredObject:
    [found] = [one for key, one in objects(app).items() if key[0] == kind]
    return found


def key_of(app: LocalApp, kind: str) -> tuple[str, str, str]:
    [found] = [key for key in objects(app) if key[0] == kind]
    return found


def identity(app: LocalApp) -> str:
    [found] = app.world.identities
    return found


async def test_what_is_whole_stays_as_it_is(app: LocalApp):
    before = app.leftovers(), {key: one.resource_version for key, one in objects(app).items()}
    assert (await repaired(app)).state == "succeeded"
    assert (app.leftovers(), {key: one.resource_version for key, one in objects(app).items()}) == before
    assert await app.state(ID) == "configured"


@pytest.mark.parametrize("kind", KINDS)
async def test_an_object_that_was_deleted_by_hand_is_made_again_and_known_by_its_new_uid(
    app: LocalApp, kind: str
):
    old = thing(app, kind).uid
    del objects(app)[key_of(app, kind)]
    assert (await repaired(app)).state == "succeeded"
    assert thing(app, kind).uid != old
    step = {"Secret": "settings", "ServiceAccount": "service_account"}[kind]
    assert (await app.services.state.intents(ID))[step].outputs["uid"] == thing(app, kind).uid
    assert await findings(app) == {}
    assert await gone_again(app)


async def test_a_value_that_another_manager_owns_now_is_put_back(app: LocalApp):
    app.clusters.put_object(CLUSTER, *key_of(app, "Secret"), data={ENDPOINT: "https://elsewhere.example/"})
    assert await findings(app) == {"settings-keys": "failed"}
    assert (await repaired(app)).state == "succeeded"
    assert thing(app, "Secret").data[ENDPOINT] == "https://orders.blob.core.windows.net/"
    assert await findings(app) == {}


async def test_an_annotation_that_another_manager_owns_now_is_put_back(app: LocalApp):
    app.clusters.put_object(
        CLUSTER, *key_of(app, "ServiceAccount"), annotations={ANNOTATION_CLIENT_ID: "another"}
    )
    assert await findings(app) == {"service-account-annotation": "failed"}
    assert (await repaired(app)).state == "succeeded"
    assert await findings(app) == {}


async def test_what_others_added_to_our_objects_stays(app: LocalApp):
    app.clusters.put_object(CLUSTER, *key_of(app, "Secret"), data={"THEIRS": "1"})
    await repaired(app)
    assert thing(app, "Secret").data["THEIRS"] == "1"


@pytest.mark.parametrize("kind", KINDS)
async def test_labels_that_were_taken_off_do_not_hide_an_object_whose_uid_is_recorded(
    app: LocalApp, kind: str
):
    found = thing(app, kind)
    found.labels.clear()
    found.annotations.pop(ANNOTATION_NONCE)
    assert (await repaired(app)).state == "succeeded"
    assert thing(app, kind).labels[LABEL_MANAGED_BY] == naming.MANAGED_BY
    assert await gone_again(app)


@pytest.mark.parametrize("kind", KINDS)
async def test_a_copy_with_our_nonce_is_ours_though_its_uid_is_new(app: LocalApp, kind: str):
    """A backup that was put back: same content, another uid."""
    thing(app, kind).uid = "from-the-backup"
    assert (await repaired(app)).state == "succeeded"
    step = {"Secret": "settings", "ServiceAccount": "service_account"}[kind]
    assert (await app.services.state.intents(ID))[step].outputs["uid"] == "from-the-backup"


@pytest.mark.parametrize("kind", KINDS)
async def test_an_object_that_only_bears_our_labels_is_not_forced_and_the_connection_stays_what_it_is(
    app: LocalApp, kind: str
):
    found = thing(app, kind)
    found.uid, found.annotations[ANNOTATION_NONCE] = "made-by-somebody", "guessed"
    found.data["THEIRS"] = "1"
    before = dict(found.data)
    operation = await repaired(app)
    assert (operation.state, operation.code) == ("failed", "object-not-ours")
    assert operation.remedy
    assert thing(app, kind).data == before
    assert await app.state(ID) == "configured"


async def test_a_role_that_was_revoked_by_hand_is_given_again(app: LocalApp):
    before = dict(app.world.assignments)
    app.world.assignments.clear()
    assert (await repaired(app)).state == "succeeded"
    assert app.world.assignments.keys() == before.keys()


async def test_a_credential_that_was_deleted_by_hand_is_made_again(app: LocalApp):
    before = dict(app.world.credentials[identity(app)])
    app.world.credentials[identity(app)].clear()
    assert (await repaired(app)).state == "succeeded"
    assert app.world.credentials[identity(app)] == before


@pytest.mark.parametrize("change", ["issuer", "subject", "audiences"])
async def test_a_credential_that_was_edited_is_put_right(app: LocalApp, change: str):
    [good] = app.world.credentials[identity(app)].values()
    parts = {"issuer": good.issuer, "subject": good.subject, "audiences": good.audiences}
    parts[change] = ("api://other",) if change == "audiences" else "https://other.example/"
    app.world.credentials[identity(app)][good.name] = Credential(name=good.name, **parts)  # type: ignore[arg-type]
    assert (await repaired(app)).state == "succeeded"
    assert list(app.world.credentials[identity(app)].values()) == [good]


async def test_an_identity_that_was_deleted_by_hand_is_made_again_with_all_that_hangs_on_it(app: LocalApp):
    app.world.remove(identity(app))
    assert (await repaired(app)).state == "succeeded"
    assert await findings(app) == {}
    assert await gone_again(app), "the first identity's account and role go too"


async def test_tags_that_were_taken_off_our_identity_are_put_back(app: LocalApp):
    found = app.world.identities[identity(app)]
    tags = dict(found.tags)
    object.__setattr__(found, "tags", {"cost": "centre"})
    assert (await repaired(app)).state == "succeeded"
    assert app.world.identities[identity(app)].tags == {**tags, "cost": "centre"}
    assert tags[TAG_WORKLOAD]
    assert await gone_again(app)


async def test_an_identity_of_that_name_that_somebody_else_made_is_not_taken(app: LocalApp):
    found = app.world.identities[identity(app)]
    object.__setattr__(found, "tags", {})
    object.__setattr__(found, "client_id", app.world.guid())
    operation = await repaired(app)
    assert (operation.state, operation.code) == ("failed", "object-not-ours")
    assert app.world.identities[identity(app)].tags == {}


async def test_a_service_account_that_a_neighbour_of_the_workload_made_again_is_proven_by_its_nonce(
    app: LocalApp,
):
    await app.send(create_body("orders-2"), message_id="second")
    await app.settle()
    del objects(app)[key_of(app, "ServiceAccount")]
    await app.send(repair_body("orders-2"), message_id="repair-second")
    await app.settle()
    new = thing(app, "ServiceAccount").uid
    assert await findings(app) == {"service-account-unchanged": "failed"}
    assert (await repaired(app)).state == "succeeded"
    assert thing(app, "ServiceAccount").uid == new
    assert await findings(app) == {}


async def test_a_rebuilt_cluster_of_the_same_id_is_not_repaired_into(app: LocalApp):
    cluster = app.world.clusters[naming.fold_id(CLUSTER)]
    object.__setattr__(cluster.described, "issuer", "https://issuer.example/rebuilt/")
    objects(app).clear()
    operation = await repaired(app)
    assert (operation.state, operation.code) == ("failed", "cluster-replaced")
    assert objects(app) == {}
    assert await app.state(ID) == "configured"


async def test_a_target_that_is_gone_fails_the_repair_and_not_the_connection(app: LocalApp):
    app.world.clusters[naming.fold_id(CLUSTER)].namespaces.remove("shop")
    operation = await repaired(app)
    assert (operation.state, operation.code) == ("failed", "namespace-missing")
    assert await app.state(ID) == "configured"
    stored = await app.services.state.connection(ID)
    assert stored is not None
    assert (stored.value.active, stored.value.last_operation) == ((), operation.operation_id)


async def test_the_label_of_another_connection_is_put_right(app: LocalApp):
    thing(app, "Secret").labels[LABEL_CONNECTION] = "0" * 24
    assert (await repaired(app)).state == "succeeded"
    assert thing(app, "Secret").labels[LABEL_CONNECTION] == ID
