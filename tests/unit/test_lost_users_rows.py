"""A table of users that was lost takes nothing from a connection that is alive, whoever else goes."""

import json
from pathlib import Path
from typing import Any

import pytest

from shared import naming
from shared.errors import PermanentError
from shared.models import ConnectionState
from shared.recording import Run
from shared.rows import key_hash
from tests.fakes.given_account import ACCOUNT, allow, client_id, make_account, named
from tests.fakes.journal import Call
from tests.fakes.local_app import (
    CLUSTER,
    STORAGE,
    LocalApp,
    create_body,
    delete_body,
    deletion_event,
    make_app,
)
from tests.fakes.recoveries import recovered
from tests.fakes.sweeps import connected, swept

KEPT = naming.connection_id(CLUSTER, "shop", "orders-blob")
GONE = naming.connection_id(CLUSTER, "shop", "orders-more")


@pytest.fixture
def app(tmp_path: Path) -> LocalApp:
    return make_app(tmp_path, MOORING_PRUNE_CONFIRM_SECONDS="1", MOORING_PRUNE_GRACE_SECONDS="0")


def things(app: LocalApp) -> dict[str, Any]:
    """What a workload's connections share."""
    objects = app.world.clusters[naming.fold_id(CLUSTER)].objects
    return {
        "identities": set(app.world.identities),
        "credentials": {name for names in app.world.credentials.values() for name in names},
        "roles": set(app.world.assignments),
        "accounts": {key for key in objects if key[0] == "ServiceAccount"},
    }


def users_of(app: LocalApp) -> list[dict[str, Any]]:
    """Every users row."""
    return [json.loads(str(row.columns["body"])) for row in app.store.rows("users")]


async def pruned_with(app: LocalApp, target_id: str) -> None:
    """The other connection's target is deleted, and a sweep finds it."""
    app.world.remove(target_id)
    await swept(app)
    await app.settle()
    assert await app.state(GONE) == "pruned"


async def lose_users(app: LocalApp) -> None:
    app.store._tables["users"].clear()
    assert app.store.rows("users") == []


async def connected_elsewhere(app: LocalApp) -> str:
    """Another connection of the workload, to a target of its own; returns the target's id."""
    other = f"{STORAGE}2"
    endpoints = {"blob": "https://orders2.blob.core.windows.net/"}
    app.world.add_resource(other, {"properties": {"primaryEndpoints": endpoints}})
    await connected(app, "orders-more", target={"type": "storage-blob", "id": other})
    return other


async def test_a_delete_of_one_leaves_what_another_of_the_workload_holds(app: LocalApp):
    await connected(app)
    before = things(app)
    await connected(app, "orders-more")
    await lose_users(app)
    await app.send(delete_body("orders-more"), message_id="delete")
    await app.settle()
    assert await app.state(GONE) == "deleted"
    assert things(app) == before
    assert await app.state(KEPT) == "configured"


async def test_a_prune_of_one_leaves_what_another_of_the_workload_holds(app: LocalApp):
    await connected(app)
    before = things(app)
    other = await connected_elsewhere(app)
    await lose_users(app)
    await pruned_with(app, other)
    assert things(app) == before


async def test_a_named_account_goes_on_naming_the_identity_of_another_of_the_workload(app: LocalApp):
    allow(app)
    make_account(app)
    await connected(app, serviceAccount=ACCOUNT)
    own = await client_id(app)
    await connected(app, "orders-more", serviceAccount=ACCOUNT)
    await lose_users(app)
    await app.send(delete_body("orders-more"), message_id="delete")
    await app.settle()
    assert await app.state(GONE) == "deleted"
    assert await named(app) == own


@pytest.mark.parametrize("one_by_one", [True, False])
async def test_the_last_of_them_leaves_nothing_all_the_same(app: LocalApp, one_by_one: bool):
    for name in ("orders-blob", "orders-more"):
        await app.send(create_body(name), message_id=name)
        await app.settle()
    await lose_users(app)
    for name in ("orders-blob", "orders-more"):
        await app.send(delete_body(name), message_id=f"delete-{name}")
        if one_by_one:
            await app.settle()
    await app.settle()
    assert {await app.state(KEPT), await app.state(GONE)} == {"deleted"}
    assert {name: len(found) for name, found in things(app).items() if found} == {}


async def joined_anew(app: LocalApp, how: str) -> str:
    """After the loss one connection joins, alone: of two that are there, or a third. Returns its name."""
    await connected(app)
    await connected(app, "orders-more")
    await lose_users(app)
    if how == "a newcomer":
        await connected(app, "orders-third")
        return "orders-third"
    if how == "a repair after a recovery":
        await recovered(app)
    await app.send({**delete_body("orders-more"), "action": "repair"}, message_id="repair")
    await app.settle()
    return "orders-more"


WAYS = ["a repair", "a newcomer", "a repair after a recovery"]


@pytest.mark.parametrize("how", WAYS)
async def test_who_joined_after_the_loss_takes_nothing_along_that_another_holds(app: LocalApp, how: str):
    going = await joined_anew(app, how)
    before = things(app)
    await app.send(delete_body(going), message_id="delete")
    await app.settle()
    assert await app.state(naming.connection_id(CLUSTER, "shop", going)) == "deleted"
    assert await app.state(KEPT) == "configured"
    assert things(app) == before


@pytest.mark.parametrize("how", WAYS)
@pytest.mark.parametrize("one_by_one", [True, False])
async def test_the_last_of_all_leaves_nothing_whoever_joined_after_the_loss(
    app: LocalApp, how: str, one_by_one: bool
):
    going = await joined_anew(app, how)
    names = [going, *({"orders-blob", "orders-more"} - {going})]
    for name in names:
        await app.send(delete_body(name), message_id=f"delete-{name}")
        if one_by_one:
            await app.settle()
    await app.settle()
    for name in names:
        assert await app.state(naming.connection_id(CLUSTER, "shop", name)) == "deleted"
    assert {name: len(found) for name, found in things(app).items() if found} == {}
    assert app.store.rows("users") == []


async def test_what_was_handed_over_keeps_what_its_makers_knew(app: LocalApp):
    allow(app)
    make_account(app)
    await connected(app, serviceAccount=ACCOUNT)
    own = await client_id(app)
    await connected(app, "orders-more", serviceAccount=ACCOUNT)
    await lose_users(app)
    await app.send({**delete_body("orders-more"), "action": "repair"}, message_id="repair")
    await app.settle()
    await app.send(delete_body("orders-more"), message_id="delete")
    await app.settle()
    assert await named(app) == own
    await app.send(delete_body(), message_id="delete-last")
    await app.settle()
    assert await named(app) == ""
    assert {name: len(found) for name, found in things(app).items() if found} == {"accounts": 1}


async def test_a_prune_of_who_joined_after_the_loss_leaves_what_another_holds(app: LocalApp):
    await connected(app)
    before = things(app)
    other = await connected_elsewhere(app)
    await lose_users(app)
    await app.send({**delete_body("orders-more"), "action": "repair"}, message_id="repair")
    await app.settle()
    await pruned_with(app, other)
    assert things(app) == before


async def test_an_update_of_who_joined_after_the_loss_leaves_the_role_that_another_holds(app: LocalApp):
    going = await joined_anew(app, "a repair")
    before = things(app)["roles"]
    await app.send({**create_body(going, intent="read"), "action": "update"}, message_id="update")
    await app.settle()
    assert things(app)["roles"] > before


async def test_what_only_one_that_is_being_pruned_holds_stays_without_a_users_row(app: LocalApp):
    going = await joined_anew(app, "a repair")
    before = things(app)
    stored = await app.services.state.connection(KEPT)
    assert stored is not None
    pruning = stored.value.model_copy(update={"state": ConnectionState.PRUNING})
    await app.services.state.observe(pruning, [], etag=stored.etag)
    await app.send(delete_body(going), message_id="delete")
    await app.settle()
    assert await app.state(GONE) == "deleted"
    assert things(app) == before
    assert app.store.rows("users") == []


async def test_what_one_has_yet_to_leave_is_handed_to_it_while_both_are_pruned(app: LocalApp):
    other = await connected_elsewhere(app)
    account = key_hash(next(row["thing"] for row in users_of(app) if row["thing"].startswith("account|")))

    def joins(call: Call) -> BaseException | None:
        found = call.name == "state.transact" and call.arguments[:2] == ("users", account)
        return PermanentError("table-missing", "simulated") if found else None

    app.journal.before = joins
    await app.send(create_body(), message_id="create")
    await app.settle()
    app.journal.before = None
    assert await app.state(KEPT) == "failed", "it means to have the account, and is not on its row"
    app.world.remove(STORAGE)
    app.queue.put("resource-events", deletion_event(STORAGE))
    while await app.state(KEPT) != "pruning":
        if not await app.pump():
            app.clock.advance(1)
    app.queue.take("connection-steps")  # lost, until the timer announces them again
    app.world.remove(other)
    app.queue.put("resource-events", deletion_event(other, "e-2"))
    await app.settle(timer=False)
    assert await app.state(GONE) == "pruned"
    [row] = [one for one in users_of(app) if one["thing"].startswith("account|")]
    assert [user["connection_id"] for user in row["users"]] == [KEPT]
    await app.settle()
    assert await app.state(KEPT) == "pruned"
    assert {name: len(found) for name, found in things(app).items() if found} == {}
    assert app.store.rows("users") == []


async def test_who_is_pruned_holds_a_thing_for_sure_until_the_step_that_leaves_it_is_done(app: LocalApp):
    await connected(app)
    await connected_elsewhere(app)
    [create] = await app.operations(GONE)
    shot = await app.services.state.load(create.operation_id)
    assert shot is not None
    identity_id = str(shot.intents["managed_identity"].outputs["resourceId"])
    dependents = app.services.engine.dependents
    run = Run(state=app.services.state, dependents=dependents, snapshot=shot, step="settings", holder="h")
    app.world.remove(STORAGE)
    app.queue.put("resource-events", deletion_event(STORAGE))
    seen = []
    for _ in range(1000):
        if await app.state(KEPT) == "pruning":
            held = await run.held_by_others(identity_id)
            seen.append({thing.partition("|")[0] for thing, users in held.items() if all(users.values())})
        if not await app.pump():
            app.clock.advance(1)
    assert await app.state(KEPT) == "pruned"
    assert seen[0] == {"identity", "role", "credential", "account"}
    assert {"identity", "account"} in seen
    assert seen[-1] == set()
