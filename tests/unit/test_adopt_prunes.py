"""Once its linker is gone, what an adopted connection left is pruned, also in Azure: only what is proven."""

import dataclasses
from typing import Any

import pytest

from shared import naming
from shared.errors import PermanentError
from shared.models import Operation
from shared.ports import Linker, RoleAssignment
from shared.steps.base import ANNOTATION_KEEP
from tests.fakes.linker_events import receive, written_event
from tests.fakes.local_app import CLUSTER, GROUP, STORAGE, LocalApp, create_body, deletion_event, make_app
from tests.fakes.their_linker import (
    ASSIGNMENT,
    CREDENTIAL,
    IDENTITY,
    LINKER,
    SECRET,
    THEIRS,
    TheirLinker,
    make_linker,
)
from tests.unit.test_adopt_records import adopted

KEY = naming.fold_id(IDENTITY)


@pytest.fixture
async def theirs(app: LocalApp) -> TheirLinker:
    made = make_linker(app)
    assert (await adopted(app)).outcome == "opened"
    return made


async def pruned(app: LocalApp) -> Operation:
    assert await receive(app, deletion_event(LINKER)) == ["prunes:1"]
    await app.settle()
    return (await app.operations(THEIRS))[-1]


async def outputs(app: LocalApp, operation: Operation, name: str) -> dict[str, Any]:
    snapshot = await app.services.state.load(operation.operation_id)
    assert snapshot is not None
    step = {planned: stored.value for planned, stored in snapshot.steps.items()}[name]
    return dict(step.outputs)


def roles(app: LocalApp) -> list[str]:
    return sorted(name for _, name in app.world.assignments)


async def test_what_service_connector_leaves_in_the_cluster_is_pruned(app: LocalApp, theirs: TheirLinker):
    theirs.delete()
    operation = await pruned(app)
    assert (operation.state, operation.code) == ("succeeded", "")
    assert await app.state(THEIRS) == "pruned"
    left = app.leftovers()
    assert (left["assignments"], left["objects"], left["users"]) == ([], [], [])
    assert left["identities"] == [KEY], "it is its owner's"
    assert await app.services.state.intents(THEIRS) == {}


async def test_a_credential_that_azure_left_is_revoked_and_a_role_of_a_living_identity_is_told(
    app: LocalApp, theirs: TheirLinker
):
    """A virtual machine or an app may work as that identity, and nobody here can see it."""
    theirs.delete(credential=False, role=False)
    operation = await pruned(app)
    assert await app.state(THEIRS) == "pruned"
    assert app.world.credentials[KEY] == {}
    assert roles(app) == [ASSIGNMENT]
    [kept] = (await outputs(app, operation, "role_assignments"))["kept"]
    assert kept["rule"] == "still-relied-on"
    assert "az role assignment delete --ids" in kept["detail"]
    assert app.leftovers()["users"] == []


async def test_a_role_whose_identity_is_gone_too_is_revoked(app: LocalApp, theirs: TheirLinker):
    theirs.delete(credential=False, role=False)
    app.world.remove(IDENTITY)
    await pruned(app)
    assert await app.state(THEIRS) == "pruned"
    assert roles(app) == []


async def test_access_goes_before_the_objects(app: LocalApp, theirs: TheirLinker):
    theirs.delete(credential=False, role=False)
    start = len(app.journal.calls)
    await pruned(app)
    names = [name for name in app.journal.names()[start:] if name.endswith((".delete", ".delete_credential"))]
    assert names == ["identities.delete_credential", "clusters.delete", "clusters.delete"]


@pytest.mark.parametrize("part", ["principal_id", "role_definition_id"])
async def test_a_role_assignment_that_is_another_one_by_now_stays(
    app: LocalApp, theirs: TheirLinker, part: str
):
    theirs.delete()
    other = {"principal_id": app.world.guid(), "role_definition_id": "/roleDefinitions/another"}[part]
    known = RoleAssignment(
        scope=STORAGE,
        name=ASSIGNMENT,
        principal_id=theirs.identity.principal_id,
        role_definition_id="/x/ba92f5b4-2d11-453d-a403-e96b0029c9fe",
    )
    key = (naming.fold_id(STORAGE), ASSIGNMENT)
    app.world.assignments[key] = dataclasses.replace(known, **{part: other})
    operation = await pruned(app)
    assert roles(app) == [ASSIGNMENT]
    assert "another assignment" in str((await outputs(app, operation, "role_assignments"))["kept"])
    assert app.leftovers()["users"] == []


@pytest.mark.parametrize("part", ["issuer", "subject"])
async def test_a_credential_that_is_another_one_by_now_stays(app: LocalApp, theirs: TheirLinker, part: str):
    [known] = app.world.credentials[KEY].values()
    theirs.delete()
    app.world.credentials[KEY][CREDENTIAL] = dataclasses.replace(known, **{part: "https://other.example/"})
    await pruned(app)
    assert list(app.world.credentials[KEY]) == [CREDENTIAL]


async def test_a_role_stays_while_another_linker_works_through_the_identity(
    app: LocalApp, theirs: TheirLinker
):
    other = f"{CLUSTER}/providers/Microsoft.ServiceLinker/linkers/second"
    app.world.linkers[naming.fold_id(other)] = Linker(
        resource_id=other,
        name="second",
        namespace="shop",
        target_id=STORAGE,
        client_id=theirs.identity.client_id,
        client_type="none",
        provisioning_state="Succeeded",
        auth_type="userAssignedIdentity",
    )
    theirs.delete(credential=False, role=False)
    operation = await pruned(app)
    assert roles(app) == [ASSIGNMENT]
    assert list(app.world.credentials[KEY]) == [CREDENTIAL]
    assert "identity lives" in str((await outputs(app, operation, "role_assignments"))["kept"])
    names = [key[2] for key in app.world.clusters[naming.fold_id(CLUSTER)].objects]
    assert names == [theirs.account], "the secret is the dead one's alone"


async def test_a_role_whose_identity_is_not_on_record_stays(app: LocalApp, theirs: TheirLinker):
    stored = await app.services.state.connection(THEIRS)
    assert stored is not None
    intent = (await app.services.state.intents(THEIRS))["managed_identity"]
    await app.services.state.observe(
        stored.value, [intent.model_copy(update={"outputs": {}})], etag=stored.etag
    )
    theirs.delete(role=False)
    operation = await pruned(app)
    assert roles(app) == [ASSIGNMENT]
    assert "not on record" in str((await outputs(app, operation, "role_assignments"))["kept"])


async def test_a_living_linker_ends_the_prune_and_the_connection_stays_adopted(
    app: LocalApp, theirs: TheirLinker
):
    operation = await pruned(app)
    assert (operation.state, operation.code) == ("succeeded", "resource-alive")
    assert await app.state(THEIRS) == "adopted"
    assert roles(app) == [ASSIGNMENT]


async def test_a_prune_that_fails_leaves_the_connection_adopted(app: LocalApp, theirs: TheirLinker):
    theirs.delete()
    app.journal.before = lambda call: PermanentError("denied") if call.name == "clusters.delete" else None
    operation = await pruned(app)
    assert operation.state == "failed"
    assert await app.state(THEIRS) == "adopted"


async def test_what_a_pod_uses_is_held_and_access_has_gone_already(app: LocalApp, theirs: TheirLinker):
    spec = {"containers": [{"name": "c", "envFrom": [{"secretRef": {"name": SECRET}}]}]}
    app.clusters.put_pod(CLUSTER, "shop", "reader", spec)
    theirs.delete(credential=False, role=False)
    operation = await pruned(app)
    assert (operation.state, operation.waiting) == ("held", "in-use")
    assert app.world.credentials[KEY] == {}
    app.clusters.remove_pod(CLUSTER, "shop", "reader")
    await app.settle(seconds=4000)
    assert await app.state(THEIRS) == "pruned"


async def test_a_kept_object_and_one_that_was_made_anew_stay(app: LocalApp, theirs: TheirLinker):
    objects = app.world.clusters[naming.fold_id(CLUSTER)].objects
    objects["Secret", "shop", SECRET].uid = "made-anew"
    objects["ServiceAccount", "shop", theirs.account].annotations[ANNOTATION_KEEP] = "true"
    theirs.delete()
    await pruned(app)
    assert {key[0] for key in objects} == {"Secret", "ServiceAccount"}
    assert await app.state(THEIRS) == "pruned"


async def test_what_its_owner_makes_anew_after_the_prune_is_not_removed_again(
    app: LocalApp, theirs: TheirLinker
):
    """No write of ours can land late on what we never wrote: there is nothing to look at again."""
    [known] = app.world.credentials[KEY].values()
    theirs.delete(credential=False, role=False)

    def make_anew(call: Any) -> None:
        if call.name == "clusters.delete":
            app.world.credentials[KEY][CREDENTIAL] = known
            theirs.grant(STORAGE, ASSIGNMENT)

    app.journal.after = make_anew
    await pruned(app)
    assert roles(app) == [ASSIGNMENT]
    assert list(app.world.credentials[KEY]) == [CREDENTIAL]
    assert await app.state(THEIRS) == "pruned"


async def test_a_cluster_that_is_gone_takes_the_linker_with_it_and_what_trusts_it_is_revoked(
    app: LocalApp, theirs: TheirLinker
):
    other = f"{GROUP}/providers/Microsoft.ContainerService/managedClusters/aks2"
    app.world.add_cluster(other)
    app.world.remove(CLUSTER)
    assert await receive(app, deletion_event(CLUSTER)) == ["prunes:1"]
    await app.settle(seconds=4000)
    assert await app.state(THEIRS) == "pruned", "nothing of it is kept for a rebuild"
    assert app.world.credentials[KEY] == {}


async def test_a_target_that_is_gone_is_said_and_the_living_linker_keeps_all(
    app: LocalApp, theirs: TheirLinker
):
    app.world.remove(STORAGE)
    assert await receive(app, deletion_event(STORAGE)) == ["prunes:1"]
    await app.settle(seconds=4000)
    assert await app.state(THEIRS) == "adopted"
    operation = (await app.operations(THEIRS))[-1]
    assert (operation.kind, operation.state, operation.code) == ("prune", "succeeded", "linker-alive")
    assert STORAGE in operation.detail
    assert len(app.leftovers()["objects"]) == 2


async def test_a_second_life_of_the_linker_is_observed_and_adopted_anew(app: LocalApp, theirs: TheirLinker):
    theirs.delete()
    await pruned(app)
    make_linker(app)
    assert await receive(app, written_event(LINKER)) == ["observed"]
    assert await app.state(THEIRS) == "observed"
    assert (await adopted(app, "second life")).outcome == "opened"
    found = await app.services.state.connection(THEIRS)
    assert found is not None
    assert (found.value.state, found.value.generation) == ("adopted", 2)


async def test_a_connection_of_ours_under_the_name_of_a_pruned_one_is_ours_alone(
    app: LocalApp, theirs: TheirLinker
):
    theirs.delete()
    await pruned(app)
    record = await app.send(create_body("their_blob"), message_id="ours")
    assert record.connection_id == THEIRS
    await app.settle()
    found = await app.services.state.connection(THEIRS)
    assert found is not None
    assert (found.value.state, found.value.adopted_at, found.value.linker_id) == ("configured", None, "")
    await app.send({"action": "delete", "connectionId": THEIRS}, message_id="d")
    await app.settle()
    assert await app.state(THEIRS) == "deleted"
    assert app.leftovers() == {"identities": [KEY], "assignments": [], "objects": [], "users": []}


async def test_an_adoption_for_pruning_only_prunes_its_secret(app: LocalApp):
    made = make_linker(app)
    made.change(auth_type="secret", client_id="")
    await adopted(app)
    app.world.remove(LINKER)
    await pruned(app)
    objects = app.world.clusters[naming.fold_id(CLUSTER)].objects
    assert [key[0] for key in objects] == ["ServiceAccount"], "of which nothing was recorded"
    assert roles(app) == [ASSIGNMENT]
    assert await app.state(THEIRS) == "pruned"


async def test_in_report_mode_all_is_said_and_nothing_done(tmp_path: Any):
    app = make_app(tmp_path, MOORING_PRUNE_MODE="report")
    made = make_linker(app)
    await adopted(app)
    made.delete(credential=False, role=False)
    operation = await pruned(app)
    assert operation.report_only
    assert (await outputs(app, operation, "federated_credential"))["would"]
    assert (await outputs(app, operation, "role_assignments"))["kept"]
    assert (roles(app), list(app.world.credentials[KEY])) == ([ASSIGNMENT], [CREDENTIAL])
    assert await app.state(THEIRS) == "adopted"
