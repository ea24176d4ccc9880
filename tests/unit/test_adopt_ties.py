"""What an adoption shares with others is left again, whatever comes between: a prune, or other adoptions."""

import dataclasses
import json

import pytest

from shared import naming
from shared.ports import Identity
from tests.fakes.http_app import HttpApp
from tests.fakes.linker_events import receive, written_event
from tests.fakes.local_app import CLUSTER, GROUP, STORAGE, LocalApp, create_body, deletion_event
from tests.fakes.their_linker import (
    IDENTITY,
    LINKER,
    THEIRS,
    TheirLinker,
    make_linker,
)
from tests.unit.test_adopt_records import adopt_body, adopted

OURS = naming.connection_id(CLUSTER, "pay", "orders-blob")
SECOND = f"{GROUP}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/id-second"
READER = "2a2b9908-6ea1-4ae2-8e65-a410df84e7d1"
"""Storage Blob Data Reader."""
MORE = "66666666-6666-4666-8666-666666666666"


@pytest.fixture
async def theirs(app: LocalApp) -> TheirLinker:
    """A linker that is observed, and a connection of ours whose role it works through, too."""
    made = make_linker(app)
    policy = app.policy_file.read_text().replace('["shop"]', '["*"]')
    policy = policy.replace(f'["{IDENTITY}"]', f'["{IDENTITY}", "{SECOND}"]')
    app.policy_file.write_text(
        policy + 'roles = ["Storage Blob Data Contributor", "Storage Blob Data Reader"]\n'
    )
    app.world.clusters[naming.fold_id(CLUSTER)].namespaces.add("pay")
    linker = app.world.linkers.pop(naming.fold_id(LINKER))
    app.world.assignments.clear()  # Azure assigns a role once: ours was there first
    await app.send(create_body(identityId=IDENTITY, namespace="pay"), message_id="ours")
    await app.settle()
    assert await app.state(OURS) == "configured"
    app.world.linkers[naming.fold_id(LINKER)] = linker
    assert await receive(app, written_event(LINKER)) == ["observed"]
    return made


def joined(app: LocalApp) -> set[str]:
    """Kinds of things that the connection of Service Connector is on record as a user of."""
    rows = [json.loads(str(row.columns["body"])) for row in app.store.rows("users")]
    held = [row["thing"] for row in rows if THEIRS in {user["connection_id"] for user in row["users"]}]
    return {thing.partition("|")[0] for thing in held}


def second_identity(app: LocalApp, theirs: TheirLinker) -> None:
    """The linker works through another identity from now on."""
    made = Identity(
        resource_id=SECOND, client_id=app.world.guid(), principal_id=app.world.guid(), location="x", tags={}
    )
    app.world.identities[naming.fold_id(SECOND)] = made
    app.world.credentials[naming.fold_id(SECOND)] = {}
    app.clusters.put_object(CLUSTER, "ServiceAccount", "shop", f"sc-account-{made.client_id}")
    theirs.change(client_id=made.client_id)
    dataclasses.replace(theirs, identity=made).grant(STORAGE, MORE)


async def nothing_of_ours_is_left(app: LocalApp) -> None:
    await app.send({"action": "delete", "connectionId": OURS}, message_id="delete")
    await app.settle(seconds=3600.0)
    assert await app.state(OURS) == "deleted"
    left = app.leftovers()
    assert (left["assignments"], left["users"]) == ([], [])


async def target_lost(app: LocalApp) -> dict[str, object]:
    """A prune of the observed connection waits for its second look; returns the lost resource."""
    lost = app.world.resources.pop(naming.fold_id(STORAGE))
    await receive(app, deletion_event(STORAGE))
    await app.pump()
    assert [(one.kind, one.state) for one in await app.operations(THEIRS)] == [("prune", "waiting")]
    return lost


# --- a prune that waits -------------------------------------------------------------------------------


async def test_what_a_prune_works_on_is_not_adopted_before_that_has_ended(app: LocalApp, theirs: TheirLinker):
    lost = await target_lost(app)
    [prune] = await app.operations(THEIRS)
    body = {**adopt_body(), "requestId": "r-1"}
    status, answer, _ = await HttpApp(app).call("adopt_linker", body=body)
    assert (status, answer["code"]) == (409, "operation-under-way")
    assert f"/api/operations/{prune.operation_id} " in answer["remedy"]
    assert (await app.state(THEIRS), joined(app)) == ("observed", {"account"})
    app.world.resources[naming.fold_id(STORAGE)] = lost
    await app.settle(seconds=4000)
    status, _, _ = await HttpApp(app).call("adopt_linker", body=body)
    assert (status, await app.state(THEIRS)) == (202, "adopted"), "the linker was alive"


async def test_a_prune_with_the_plan_of_an_observed_connection_leaves_no_user_behind(
    app: LocalApp, theirs: TheirLinker
):
    """It takes the cluster objects alone: a role and a credential that were adopted meanwhile would stay."""
    lost = await target_lost(app)
    assert (await app.send(adopt_body(), message_id="adopt")).code == "operation-under-way"
    theirs.delete()
    await app.settle(seconds=120)
    assert (await app.state(THEIRS), joined(app)) == ("pruned", set())
    app.world.resources[naming.fold_id(STORAGE)] = lost
    await app.settle(seconds=8000)
    assert await app.state(OURS) == "configured"
    await nothing_of_ours_is_left(app)


async def test_an_adoption_that_is_on_record_is_told_so_whatever_is_under_way(
    app: LocalApp, theirs: TheirLinker
):
    """Also to the message of one that died between its row and its users: it goes on and joins them."""
    await adopted(app)
    app.store._tables["users"].clear()
    app.world.resources.pop(naming.fold_id(STORAGE))
    await receive(app, deletion_event(STORAGE))
    assert (await app.send(adopt_body(), message_id="again")).outcome == "unchanged"
    assert joined(app) == {"account", "credential", "role"}


# --- an adoption that lapses --------------------------------------------------------------------------


@pytest.mark.parametrize("what", ["identity", "roles"])
async def test_an_adoption_that_lapses_leaves_what_an_earlier_one_shared(
    app: LocalApp, theirs: TheirLinker, what: str
):
    """The event between the two was lost, so nothing has lapsed there."""
    if what == "roles":
        theirs.grant(STORAGE, MORE, READER)
    assert (await adopted(app)).outcome == "opened"
    if what == "roles":
        app.world.assignments.pop((naming.fold_id(STORAGE), MORE))
    else:
        second_identity(app, theirs)
    assert (await adopted(app, "again")).outcome == "opened"
    client_id = app.world.guid()
    app.clusters.put_object(CLUSTER, "ServiceAccount", "shop", f"sc-account-{client_id}")
    theirs.change(client_id=client_id)
    assert await receive(app, written_event(LINKER)) == ["observed"]
    assert (await app.state(THEIRS), joined(app)) == ("observed", {"account"})
    theirs.delete()
    app.world.assignments.pop((naming.fold_id(STORAGE), MORE), None)
    await receive(app, deletion_event(LINKER))
    await app.settle(seconds=3600.0)
    assert (await app.state(THEIRS), joined(app)) == ("pruned", set())
    await nothing_of_ours_is_left(app)
