"""Who has left a thing does not inherit what was made anew, whatever its intents plan; who holds it does.

The users row says who has left, and goes with its last user. From then on the intent alone can say so.
"""

import json
from pathlib import Path

import pytest

from shared import naming, outcomes
from shared.errors import NotYetError
from shared.models import Connection, ConnectionId, Done, Intent, Kind, Provenance
from shared.steps.base import StepContext
from shared.steps.shared_things import held_things_of
from tests.fakes.linker_events import receive, written_event
from tests.fakes.local_app import (
    CLUSTER,
    STORAGE,
    LocalApp,
    create_body,
    delete_body,
    deletion_event,
    make_app,
)
from tests.fakes.scripted_step import script
from tests.fakes.snapshots import intent, running, snapshot
from tests.fakes.sweeps import connected
from tests.fakes.their_linker import IDENTITY, LINKER, POLICY, THEIRS, make_linker
from tests.unit.test_adopt_records import adopted
from tests.unit.test_engine import first_message

ONE = naming.connection_id(CLUSTER, "shop", "one")
TWO = naming.connection_id(CLUSTER, "shop", "two")
OURS = naming.connection_id(CLUSTER, "shop", "orders-blob")
ACCESS = ("federated_credential", "role_assignments")


@pytest.fixture
def app(tmp_path: Path) -> LocalApp:
    return make_app(tmp_path, MOORING_PRUNE_CONFIRM_SECONDS="1", MOORING_PRUNE_GRACE_SECONDS="0")


def credentials(app: LocalApp) -> list[str]:
    return [name for names in app.world.credentials.values() for name in names]


def used(app: LocalApp) -> dict[str, set[str]]:
    """Who uses what, by its kind."""
    found: dict[str, set[str]] = {}
    for row in app.store.rows("users"):
        body = json.loads(str(row.columns["body"]))
        users = {user["connection_id"] for user in body["users"]}
        found.setdefault(body["thing"].partition("|")[0], set()).update(users)
    return found


async def left(app: LocalApp, connection_id: ConnectionId) -> list[str]:
    """Steps whose things a connection has left."""
    intents = await app.services.state.intents(connection_id)
    return sorted(step for step, one in intents.items() if one.left)


async def deleted(app: LocalApp, name: str) -> None:
    await app.send(delete_body(name), message_id=f"delete-{name}")
    await app.settle(seconds=7200)
    assert await app.state(naming.connection_id(CLUSTER, "shop", name)) == "deleted"


async def fails_half_way(app: LocalApp, name: str) -> None:
    """A prune takes the access, is held by a pod, and then finds its target there again."""
    connection_id = await connected(app, name)
    secret = naming.secret_name(name)
    spec = {"containers": [{"name": "c", "envFrom": [{"secretRef": {"name": secret}}]}]}
    app.clusters.put_pod(CLUSTER, "shop", "reader", spec)
    lost = app.world.resources.pop(naming.fold_id(STORAGE))
    await receive(app, deletion_event(STORAGE))
    await app.settle(seconds=300)
    prune = (await app.operations(connection_id))[-1]
    assert (prune.state, prune.waiting) == ("held", "in-use")
    app.world.resources[naming.fold_id(STORAGE)] = lost
    app.clusters.remove_pod(CLUSTER, "shop", "reader")
    await app.settle(seconds=7200)
    prune = (await app.operations(connection_id))[-1]
    assert (prune.state, prune.code) == ("failed", "resource-returned")
    assert await app.state(connection_id) == "failed"


# --- who has left ---------------------------------------------------------------------------------


async def test_an_adoption_that_has_lapsed_inherits_nothing_that_is_made_anew(app: LocalApp):
    app.policy_file.write_text(POLICY)
    made = make_linker(app)
    await adopted(app)
    # Its owner gives it another identity, and Service Connector takes back what it gave to the first.
    app.world.assignments.clear()
    app.world.credentials[naming.fold_id(IDENTITY)].clear()
    client_id = app.world.guid()
    app.clusters.put_object(CLUSTER, "ServiceAccount", "shop", f"sc-account-{client_id}")
    made.change(client_id=client_id)
    del app.world.clusters[naming.fold_id(CLUSTER)].objects["ServiceAccount", "shop", made.account]
    assert await receive(app, written_event(LINKER)) == ["observed"]
    assert await left(app, THEIRS) == ["federated_credential", "managed_identity", "role_assignments"]
    await connected(app, identityId=IDENTITY)
    await deleted(app, "orders-blob")
    assert await app.state(THEIRS) == "observed"
    assert (list(app.world.assignments), credentials(app)) == ([], [])
    assert used(app) == {"account": {THEIRS}}


async def test_an_orphan_inherits_no_credential_that_it_had_left_to_another(app: LocalApp):
    """Else its workload could get tokens again until nobody keeps the orphan any more."""
    for name in ("one", "two"):
        await connected(app, name)
    [(identity_id, held)] = app.world.credentials.items()
    [name] = held
    held.clear()
    real = app.world.identities[identity_id].resource_id
    lost = f"{real}/federatedIdentityCredentials/{name}"
    assert await receive(app, deletion_event(lost)) == ["prunes:2"]
    await app.settle(seconds=7200)
    assert {await app.state(ONE), await app.state(TWO)} == {"orphaned"}
    [orphan] = [one for one in (ONE, TWO) if "federated_credential" in await app.services.state.intents(one)]
    again = "two" if orphan == ONE else "one"
    await app.send(create_body(again), message_id="again")
    await app.settle()
    assert credentials(app) == [name]
    await deleted(app, again)
    assert (credentials(app), await app.state(orphan)) == ([], "orphaned")
    assert used(app) == {"identity": {orphan}, "role": {orphan}}, "those it keeps for a rebuild"


async def test_what_a_prune_has_left_that_fails_half_way_is_inherited_by_nobody(app: LocalApp):
    await fails_half_way(app, "one")
    assert (await left(app, ONE), credentials(app)) == (
        ["federated_credential", "role_assignments", "service_account"],
        [],
    )
    await connected(app, "two")
    assert len(app.world.assignments) == len(credentials(app)) == 1
    await deleted(app, "two")
    assert (list(app.world.assignments), credentials(app)) == ([], [])
    assert used(app) == {"identity": {ONE}}
    await deleted(app, "one")
    assert app.leftovers()["users"] == []


# --- who holds it ---------------------------------------------------------------------------------


async def test_who_was_made_again_after_a_prune_that_failed_is_an_heir_again(app: LocalApp):
    await fails_half_way(app, "one")
    await app.send(create_body("one"), message_id="again")
    await app.settle()
    assert (await app.state(ONE), await left(app, ONE)) == ("configured", [])
    roles, held = dict(app.world.assignments), credentials(app)
    app.store._tables["users"].clear()
    await connected(app, "two")
    await deleted(app, "two")
    assert (app.world.assignments, credentials(app)) == (roles, held)
    assert used(app) == {kind: {ONE} for kind in ("account", "credential", "identity", "role")}


async def mark(app: LocalApp, connection_id: ConnectionId, *steps: str) -> None:
    stored = await app.services.state.connection(connection_id)
    assert stored is not None
    intents = await app.services.state.intents(connection_id)
    marked = [intents[step].model_copy(update={"left": True}) for step in steps]
    await app.services.state.observe(stored.value, marked, etag=stored.etag)


@pytest.mark.parametrize("how", ["seen", "adopted again"])
async def test_a_linker_that_is_found_alive_as_it_was_adopted_holds_all_of_it_again(app: LocalApp, how: str):
    """Its prune had begun, and failed: the linker was there again."""
    app.policy_file.write_text(POLICY)
    make_linker(app)
    await adopted(app)
    await mark(app, THEIRS, *ACCESS)
    if how == "seen":
        assert await receive(app, written_event(LINKER)) == ["observed"]
    else:
        assert (await adopted(app, "again")).outcome == "opened"
    assert (await app.state(THEIRS), await left(app, THEIRS)) == ("adopted", [])


async def test_a_lapsed_adoption_that_is_seen_again_has_still_left_what_it_shared(app: LocalApp):
    app.policy_file.write_text(POLICY)
    made = make_linker(app)
    await adopted(app)
    client_id = app.world.guid()
    app.clusters.put_object(CLUSTER, "ServiceAccount", "shop", f"sc-account-{client_id}")
    made.change(client_id=client_id)
    for _ in range(2):
        assert await receive(app, written_event(LINKER)) == ["observed"]
        assert await left(app, THEIRS) == ["federated_credential", "managed_identity", "role_assignments"]


def restored_account(*, restored: bool) -> tuple[Connection, dict[str, Intent]]:
    planned = {"namespace": "shop", "name": "sc-account-1", "provenance": Provenance.CREATED}
    account = intent("service_account", **planned).model_copy(update={"left": True})
    identity = intent("managed_identity", resourceId="/x", provenance=Provenance.CREATED)
    gone = identity.model_copy(update={"left": True})
    connection = snapshot().connection.value.model_copy(update={"restored": restored})
    return connection, {"service_account": account, "managed_identity": gone}


def test_an_account_that_a_restore_may_have_put_back_is_held_and_nothing_else_that_was_left():
    held = held_things_of(*restored_account(restored=True))
    assert {thing.partition("|")[0] for thing in held} == {"account"}
    assert held_things_of(*restored_account(restored=False)) == set()


# --- what says so ---------------------------------------------------------------------------------


def reverted(known: Intent | None, **operation: object) -> tuple[Intent, ...]:
    shot = snapshot(Kind.DELETE, intents={"role_assignments": known} if known else {}, **operation)
    return outcomes.done(shot, running(shot, "role_assignments"), Done(), now=shot.read_at).intents


MADE = intent("role_assignments", name="r")
LEFT = MADE.model_copy(update={"left": True})


def test_a_revert_that_is_done_has_left_what_its_step_shares_and_forgets_nothing_of_it():
    assert reverted(MADE) == (LEFT,)


def test_what_only_reports_or_is_of_another_life_leaves_nothing():
    assert reverted(MADE, report_only=True) == ()
    assert reverted(MADE.model_copy(update={"generation": 2})) == ()
    assert reverted(None) == reverted(LEFT) == ()


def test_a_step_that_makes_and_has_nothing_to_tell_leaves_nothing():
    shot = snapshot(Kind.CREATE, intents={"role_assignments": MADE})
    done = outcomes.done(shot, running(shot, "role_assignments"), Done(), now=shot.read_at)
    assert done.intents == ()


@pytest.mark.parametrize("names", ["a", "ab", "aba"])
async def test_who_means_to_make_a_thing_holds_it_again_whatever_was_meant_before(app: LocalApp, names: str):
    async def first(ctx: StepContext) -> Done:
        for name in names:
            await ctx.recorder.intend({"name": name})
        raise NotYetError("closing", "x")

    async def second(ctx: StepContext) -> Done:
        assert await left(app, OURS) == ["preflight"]
        await ctx.recorder.intend({"name": "a"})
        assert await left(app, OURS) == []
        return Done()

    script(app, "preflight", first, second)
    message = await first_message(app)
    assert await app.services.engine.run_one(message) == "ready"
    await mark(app, OURS, "preflight")
    app.clock.advance(600)
    again = message.model_copy(update={"turn": 2})
    assert await app.services.engine.run_one(again) == "done"
