"""One identity serves workloads of several clusters: what a linker of another cluster works through stays."""

from typing import Any

import pytest

from shared import naming
from shared.errors import PermanentError
from shared.left_rows import left_id
from shared.models import Connection, ConnectionId, ConnectionState
from shared.ports import Identity, Linker
from shared.records import Dependents
from shared.state import State
from tests.fakes.linker_events import receive, written_event
from tests.fakes.local_app import CLUSTER, GROUP, STORAGE, SUBSCRIPTION, LocalApp, create_body, delete_body
from tests.fakes.sweeps import swept

ELSEWHERE = f"{GROUP}/providers/Microsoft.ContainerService/managedClusters/aks2"
LINKER = f"{ELSEWHERE}/providers/Microsoft.ServiceLinker/linkers/theirs"
TEAM = f"{GROUP}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/id-team"
OURS = naming.connection_id(CLUSTER, "shop", "orders-blob")
POLICY = f"""
version = 1
[[allow]]
clusters = ["{CLUSTER}", "{ELSEWHERE}"]
namespaces = ["*"]
subscriptions = ["{SUBSCRIPTION}"]
target_types = ["storage-blob"]
identities = ["{TEAM}"]
"""


@pytest.fixture(autouse=True)
def two_clusters(app: LocalApp) -> None:
    app.policy_file.write_text(POLICY)
    app.world.add_cluster(ELSEWHERE, namespaces=("shop",))


def team(app: LocalApp) -> Identity:
    """An identity of a team's own."""
    app.world.identities[naming.fold_id(TEAM)] = Identity(
        resource_id=TEAM,
        client_id=app.world.guid(),
        principal_id=app.world.guid(),
        location="westeurope",
        tags={},
    )
    app.world.credentials[naming.fold_id(TEAM)] = {}
    return app.world.identities[naming.fold_id(TEAM)]


async def link_elsewhere(app: LocalApp, client_id: str, *, target: str = STORAGE) -> None:
    """Service Connector ties a workload of the other cluster, and Mooring is told."""
    app.world.add_resource(LINKER)
    app.world.linkers[naming.fold_id(LINKER)] = Linker(
        resource_id=LINKER,
        name="theirs",
        namespace="shop",
        target_id=f"{target}/blobServices/default",
        client_id=client_id,
        client_type="python",
        provisioning_state="Succeeded",
    )
    app.clusters.put_object(ELSEWHERE, "Secret", "shop", naming.secret_name("theirs"))
    app.clusters.put_object(ELSEWHERE, "ServiceAccount", "shop", naming.service_account_name(client_id))
    assert await receive(app, written_event(LINKER)) == ["observed"]


async def connected(app: LocalApp, **changes: Any) -> None:
    await app.send(create_body(**changes), message_id="create")
    await app.settle()
    assert await app.state(OURS) == "configured"


async def deleted(app: LocalApp) -> dict[str, list[dict[str, str]]]:
    """Delete ours; what each step of the removal says it kept."""
    record = await app.send(delete_body(), message_id="delete")
    await app.settle()
    assert await app.state(OURS) == "deleted"
    snapshot = await app.services.state.load(record.operation_id)
    assert snapshot is not None
    steps = {name: stored.value.outputs.get("kept", []) for name, stored in snapshot.steps.items()}
    return {name: kept for name, kept in steps.items() if kept}


async def test_a_role_of_a_teams_identity_stays_for_a_linker_of_another_cluster(app: LocalApp):
    identity = team(app)
    await connected(app, identityId=TEAM)
    await link_elsewhere(app, identity.client_id.upper())
    kept = await deleted(app)
    [role] = kept["role_assignments"]
    assert (role["rule"], role["detail"]) == ("live-linker", f"{LINKER} works through it")
    assert len(app.world.assignments) == 1
    assert app.world.credentials[naming.fold_id(TEAM)] == {}, "it was of our cluster's issuer"


async def test_an_identity_that_mooring_made_stays_for_a_linker_of_another_cluster(app: LocalApp):
    await connected(app)
    [identity] = app.world.identities.values()
    await link_elsewhere(app, identity.client_id)
    kept = await deleted(app)
    assert {name: one["rule"] for name, [one] in kept.items()} == {
        "role_assignments": "live-linker",
        "managed_identity": "live-linker",
    }
    assert [*app.world.identities.values()] == [identity]


async def test_a_linker_that_may_not_be_read_any_more_counts_as_living_and_the_delete_ends(app: LocalApp):
    identity = team(app)
    await connected(app, identityId=TEAM)
    await link_elsewhere(app, identity.client_id)
    app.journal.before = lambda call: (
        PermanentError("access-denied")
        if call.name == "linkers.get" and call.arguments == (LINKER,)
        else None
    )
    [role] = (await deleted(app))["role_assignments"]
    assert (role["rule"], role["detail"]) == (
        "live-linker",
        f"{LINKER} cannot be read and may work through it",
    )


@pytest.mark.parametrize("seen", ["refused", "stale"])
async def test_a_linker_that_was_seen_while_its_identity_could_not_be_found_keeps_that_identity(
    app: LocalApp, seen: str
):
    await connected(app)
    [identity] = app.world.identities.values()
    if seen == "stale":
        app.world.identities.clear()
    else:
        app.journal.before = lambda call: (
            PermanentError("access-denied") if call.name == "identities.list" else None
        )
    await link_elsewhere(app, identity.client_id.upper())
    app.journal.before = lambda call: None
    app.world.identities[naming.fold_id(identity.resource_id)] = identity
    kept = await deleted(app)
    assert kept["managed_identity"][0]["rule"] == "live-linker"
    assert [*app.world.identities.values()] == [identity]
    assert len(app.world.assignments) == 1


@pytest.mark.parametrize("gone", ["linker", "record", "other target", "other identity"])
async def test_nothing_stays_for_a_linker_that_is_gone_or_works_through_something_else(
    app: LocalApp, gone: str
):
    identity = team(app)
    other = f"{STORAGE}2"
    app.world.add_resource(other)
    await connected(app, identityId=TEAM)
    client_id = app.world.guid() if gone == "other identity" else identity.client_id
    await link_elsewhere(app, client_id, target=other if gone == "other target" else STORAGE)
    if gone == "linker":
        app.world.remove(LINKER)
    if gone == "record":
        theirs = ConnectionId(naming.connection_id(ELSEWHERE, "shop", "theirs"))
        stored = await app.services.state.connection(theirs)
        assert stored is not None
        ended = stored.value.model_copy(update={"state": ConnectionState.DELETED})
        await app.services.state.observe(ended, [], etag=stored.etag)
    assert "role_assignments" not in await deleted(app)
    assert app.world.assignments == {}


@pytest.mark.parametrize("record", ["own row", "left row alone"])
async def test_what_was_left_to_a_linker_that_cannot_be_read_does_not_hide_what_it_works_for(
    app: LocalApp, record: str
):
    identity = team(app)
    containers = [f"{STORAGE}/blobServices/default/containers/{name}" for name in ("one", "two")]
    for name, container in zip(("one", "two"), containers, strict=True):
        app.world.add_resource(container)
        target = {"type": "storage-blob", "id": container}
        await app.send(create_body(name, identityId=TEAM, target=target), message_id=name)
        await app.settle()
    roles = dict(app.world.assignments)
    await link_elsewhere(app, identity.client_id)  # of the account as a whole
    await app.send(delete_body("one"), message_id="delete-one")
    await app.settle()
    assert app.world.assignments == roles
    if record == "left row alone":
        theirs = naming.connection_id(ELSEWHERE, "shop", "theirs")
        stored = await app.services.state.connection(theirs)
        assert stored is not None
        gone = stored.value.model_copy(update={"state": ConnectionState.PRUNED})
        await app.services.state.observe(gone, [], etag=stored.etag)
    app.journal.before = lambda call: (
        PermanentError("access-denied")
        if call.name == "linkers.get" and call.arguments == (LINKER,)
        else None
    )
    await app.send(delete_body("two"), message_id="delete-two")
    await app.settle()
    assert app.world.assignments == roles


async def test_a_sweep_between_the_trail_to_what_is_left_again_and_its_row_keeps_that_trail(
    app: LocalApp, monkeypatch: pytest.MonkeyPatch
):
    identity = team(app)
    await connected(app, identityId=TEAM)
    await link_elsewhere(app, identity.client_id)
    await deleted(app)
    app.world.remove(LINKER)
    await swept(app)
    await app.settle(seconds=3600)
    assert app.world.assignments == {}
    await app.send(create_body(identityId=TEAM), message_id="again")
    await app.settle()
    await link_elsewhere(app, identity.client_id)
    real = State.observe

    async def late(self: State, connection: Connection, *args: Any, **options: Any) -> None:
        if connection.left_by:
            listed = app.world.identities.pop(naming.fold_id(TEAM))  # the list is older than it
            await swept(app)
            app.world.identities[naming.fold_id(TEAM)] = listed
        await real(self, connection, *args, **options)

    monkeypatch.setattr(State, "observe", late)
    await app.send(delete_body(), message_id="delete-again")
    await app.settle(seconds=3600)
    monkeypatch.undo()
    ours = await app.services.state.connection(OURS)
    assert ours is not None
    left = await app.services.state.connection(left_id(ours.value, LINKER))
    assert left is not None
    assert (left.value.state, left.value.generation) == (ConnectionState.OBSERVED, 2)
    for place in (LINKER, TEAM):
        found = await Dependents(app.store).of(place)
        assert left.value.connection_id in {one.connection_id for one in found}
