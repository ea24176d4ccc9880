"""Races that the simulation found, each in its smallest form."""

import json
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from shared import naming
from shared.errors import NotYetError, StateConflictError
from shared.models import ConnectionId, Kind, OperationId
from shared.ports import Credential, Insert, Remove
from shared.records import RequestRecord
from shared.steps.base import account_thing
from shared.steps.objects import account_of
from shared.users import User
from tests.fakes.journal import Call
from tests.fakes.local_app import CLUSTER, LocalApp, create_body, delete_body
from tests.fakes.step_bench import Bench

OTHER = User(connection_id=ConnectionId("other"), generation=1)


@pytest.fixture
async def bench(app: LocalApp) -> Bench:
    made = Bench(app)
    await made.up_to("settings")
    return made


def at_once(work: Coroutine[Any, Any, Any]) -> None:
    """Run what the in-memory ports never suspend."""
    with pytest.raises(StopIteration):
        work.send(None)


def once(name: str, act: Callable[[Call], BaseException | None]) -> Callable[[Call], BaseException | None]:
    """A rule for the first call of that name."""
    left = [True]

    def rule(call: Call) -> BaseException | None:
        if call.name != name or not left[0]:
            return None
        left[0] = False
        return act(call)

    return rule


async def test_who_joins_while_a_removal_is_verified_keeps_what_it_makes(app: LocalApp, bench: Bench):
    shared = bench.intents["role_assignments"].planned["assignments"][0]
    bench.become(Kind.DELETE)
    await bench.revert("role_assignments")
    newcomer = Bench(app, "orders-blob-2")
    newcomer.intents = {name: bench.intents[name] for name in ("preflight", "managed_identity")}

    def comes(call: Call) -> None:
        at_once(newcomer.apply("role_assignments"))

    app.journal.before = once("roles.get", comes)
    await bench.apply("verify_gone")
    assert (naming.fold_id(shared["scope"]), shared["name"]) in app.world.assignments


async def test_an_identity_that_goes_between_look_and_join_is_made_anew(app: LocalApp, bench: Bench):
    identity_id = str(bench.intents["managed_identity"].outputs["resourceId"])
    newcomer = Bench(app, "orders-blob-2")
    await newcomer.apply("preflight")

    def last_user_goes(call: Call) -> None:
        bench.become(Kind.DELETE)
        at_once(bench.revert("managed_identity"))

    app.journal.after = once("identities.get", last_user_goes)
    done = await newcomer.apply("managed_identity")
    assert app.world.identities[naming.fold_id(identity_id)].client_id == done.outputs["clientId"]


async def test_a_credential_that_a_rebuilt_clusters_issuer_took_over_stays(app: LocalApp, bench: Bench):
    planned = bench.intents["federated_credential"].planned
    key, name = naming.fold_id(str(planned["identityId"])), str(planned["name"])
    rebuilt = Credential(
        name=name,
        issuer="https://issuer.example/rebuilt/",
        subject=str(planned["subject"]),
        audiences=(naming.AUDIENCE,),
    )
    app.world.credentials[key][name] = rebuilt
    bench.become(Kind.DELETE)
    await bench.revert("federated_credential")
    await bench.apply("verify_gone")
    assert app.world.credentials[key] == {name: rebuilt}


async def test_who_becomes_the_last_user_of_an_account_unawares_looks_for_its_pods_first(
    app: LocalApp, bench: Bench
):
    name = str(bench.intents["service_account"].planned["name"])
    thing = account_thing(CLUSTER, "shop", account_of(name))
    users = app.services.engine.users
    await users.join(thing, OTHER, settled=bench.context("service_account").recorder.settled)
    app.clusters.put_pod(CLUSTER, "shop", "orders-1", {"serviceAccountName": name})

    def other_goes(call: Call) -> None:
        at_once(users.leave(thing, OTHER, operation_id=OperationId("o")))

    bench.become(Kind.PRUNE)
    app.journal.after = once("state.get", other_goes)
    with pytest.raises(StateConflictError, match="have gone"):
        await bench.revert("service_account")
    row = await users.get(thing)
    assert row is not None
    assert not row.closing, "newcomers are not kept out"
    with pytest.raises(NotYetError) as held:
        await bench.revert("service_account")
    assert held.value.reason == "in-use"


async def test_an_account_that_two_made_at_once_goes_with_the_last_of_them(app: LocalApp):
    first, second = Bench(app), Bench(app, "orders-blob-2")
    for one in (first, second):
        await one.up_to("federated_credential")

    def comes(call: Call) -> None:
        at_once(second.apply("service_account"))

    app.journal.before = once("clusters.create", comes)
    await first.apply("service_account")
    intent = second.intents["service_account"]
    second.intents["service_account"] = intent.model_copy(update={"outputs": {}})
    for one in (first, second):
        one.become(Kind.DELETE)
        await one.revert("service_account")
    accounts = [key for key in app.world.clusters[naming.fold_id(CLUSTER)].objects if key[0] != "Secret"]
    assert accounts == []


async def test_a_users_row_is_dropped_even_if_the_first_try_meets_a_conflict(app: LocalApp):
    users, user = (
        app.services.engine.users,
        User(connection_id=naming.connection_id(CLUSTER, "n", "c"), generation=1),
    )
    operation_id = OperationId("o")

    async def ended(_: OperationId) -> bool:
        return True

    await users.join("thing", user, settled=ended)
    assert (await users.leave("thing", user, operation_id=operation_id)).last
    app.journal.before = once("state.transact", lambda _: StateConflictError("somebody was faster"))
    await users.forget("thing", operation_id=operation_id)
    assert await users.get("thing") is None


async def test_a_request_is_not_taken_for_recorded_when_nothing_was_written(app: LocalApp):
    record = RequestRecord(key="id:r", outcome="opened", received_at=app.clock.now())

    def moves(call: Call) -> BaseException | None:
        return StateConflictError("simulated") if call.name == "state.transact" else None

    app.journal.before = moves
    with pytest.raises(StateConflictError):
        await app.services.requests.remember(record)
    app.journal.before = None
    assert await app.services.requests.remember(record) == record


async def test_a_credential_that_only_an_old_list_still_shows_is_made_anew(app: LocalApp, bench: Bench):
    planned = bench.intents["federated_credential"].planned
    key, name = naming.fold_id(str(planned["identityId"])), str(planned["name"])

    def goes(call: Call) -> None:
        app.world.credentials[key].clear()

    app.journal.after = once("identities.list_credentials", goes)
    await bench.apply("federated_credential")
    assert name in app.world.credentials[key]


async def test_a_delete_waits_until_no_lost_write_of_an_ended_create_can_land(app: LocalApp, bench: Bench):
    bench.become(Kind.DELETE)
    bench.in_doubt_seconds = 90.0
    with pytest.raises(NotYetError) as caught:
        await bench.apply("verify_gone")
    assert (caught.value.reason, caught.value.seconds) == ("settle", 90.0)
    bench.in_doubt_seconds = 0.0
    await bench.apply("verify_gone")


@pytest.mark.parametrize("step", ["role_assignments", "federated_credential", "managed_identity"])
async def test_a_name_is_not_given_free_while_a_lost_delete_of_it_may_land(
    app: LocalApp, bench: Bench, step: str
):
    bench.become(Kind.DELETE)
    bench.removals_in_doubt, bench.in_doubt_seconds = True, 90.0
    joined = {row.partition for row in app.store.rows("users")}
    with pytest.raises(NotYetError) as caught:
        await bench.revert(step)
    assert (caught.value.reason, caught.value.seconds) == ("settle", 90.0)
    assert {row.partition for row in app.store.rows("users")} == joined
    bench.in_doubt_seconds = 0.0
    await bench.revert(step)
    assert {row.partition for row in app.store.rows("users")} < joined


@pytest.mark.parametrize(
    "step", ["role_assignments", "federated_credential", "service_account", "managed_identity"]
)
async def test_a_delete_goes_on_when_a_lost_joining_of_what_it_removes_has_landed(
    app: LocalApp, bench: Bench, step: str
):
    bench.become(Kind.DELETE)
    bench.in_doubt_seconds = 90.0
    things = {row.partition: row for row in app.store.rows("users")}
    for partition in things:
        await app.store.transact("users", partition, [Remove(key="thing")])
    with pytest.raises(NotYetError, match="settle"):
        await bench.revert(step)
    for partition, row in things.items():
        await app.store.transact("users", partition, [Insert(key="thing", columns=row.columns)])
    bench.in_doubt_seconds = 0.0
    await bench.revert(step)
    assert {row.partition for row in app.store.rows("users")} < set(things)


@pytest.mark.parametrize("step", ["role_assignments", "federated_credential", "service_account"])
@pytest.mark.parametrize("shared", [False, True])
async def test_a_lost_joining_that_lands_after_the_removal_leaves_no_user(
    app: LocalApp, bench: Bench, step: str, shared: bool
):
    rows = {row.partition: row for row in app.store.rows("users")}
    bench.become(Kind.DELETE)
    await bench.revert(step)
    (gone,) = set(rows) - {row.partition for row in app.store.rows("users")}
    await app.store.transact("users", gone, [Insert(key="thing", columns=rows[gone].columns)])
    users, thing = app.services.engine.users, json.loads(str(rows[gone].columns["body"]))["thing"]
    if shared:
        await users.join(thing, OTHER, settled=bench.context(step).recorder.settled)
    await bench.apply("verify_gone")
    left = await users.get(thing)
    assert (left.users if left else ()) == ((OTHER,) if shared else ())


async def test_the_mark_of_a_delete_that_failed_stands_until_nothing_of_it_can_land(app: LocalApp):
    opened = await app.send(create_body())
    state, operation_id = app.services.state, OperationId(opened.operation_id)
    assert await state.settled(OperationId(f"{operation_id}-nobody"), lease_seconds=150)
    assert not await state.settled(operation_id, lease_seconds=150)
    await app.send(delete_body(), message_id="d")
    for age_seconds, settled in ((299.0, False), (1.0, True)):
        app.clock.advance(age_seconds)
        assert await state.settled(operation_id, lease_seconds=150) is settled
