"""A prune is a hint until it has confirmed its cause (docs/reference/mutation.md)."""

import dataclasses
from datetime import timedelta

import pytest

from shared import naming, outcomes, plans
from shared.beginnings import blocked
from shared.errors import NotYetError
from shared.models import (
    Cause,
    Connection,
    ConnectionId,
    ConnectionState,
    Direction,
    Done,
    Kind,
    OperationId,
    OperationState,
    StepMessage,
    StepState,
)
from shared.ports import Credential
from shared.state import Snapshot
from shared.steps import objects, removal
from shared.users import User, Users
from tests.fakes.clock import VirtualClock
from tests.fakes.local_app import CLUSTER, STORAGE, SUBSCRIPTION, LocalApp, create_body, delete_body
from tests.fakes.snapshots import LATER, running, snapshot
from tests.fakes.state_store import InMemoryStateStore
from tests.fakes.step_bench import Bench

ID = naming.connection_id(CLUSTER, "shop", "orders-blob")
CHANGING = {ConnectionState.CONNECTING, ConnectionState.PRUNING}


def connection(shot: Snapshot, state: ConnectionState) -> Connection:
    return shot.connection.value.model_copy(update={"state": state})


# --- one thing at a time -------------------------------------------------------------------------


@pytest.mark.parametrize("state", ConnectionState)
def test_a_prune_that_has_confirmed_nothing_waits_while_something_changes_the_connection(
    state: ConnectionState,
):
    shot = snapshot(Kind.PRUNE)
    waits = blocked(shot.operation.value, connection(shot, state))
    assert (waits is not None) is (state in CHANGING)
    if waits is not None:
        assert (waits.reason, state.value in waits.detail) == ("behind", True)
    confirmed = shot.operation.value.model_copy(update={"confirmed": True})
    assert blocked(confirmed, connection(shot, state)) is None


@pytest.mark.parametrize("state", ConnectionState)
@pytest.mark.parametrize("begun", [True, False])
@pytest.mark.parametrize("kind", [Kind.CREATE, Kind.DELETE, Kind.VALIDATE])
def test_of_the_others_only_a_create_that_has_not_begun_waits_and_only_for_a_prune_that_removes(
    kind: Kind, begun: bool, state: ConnectionState
):
    shot = snapshot(kind, begun=begun)
    waits = blocked(shot.operation.value, connection(shot, state))
    expected = kind is Kind.CREATE and not begun and state is ConnectionState.PRUNING
    assert (waits.reason if waits else "") == ("behind" if expected else "")


async def test_a_create_is_not_begun_while_a_prune_removes(app: LocalApp):
    await app.send(create_body())
    stored = await app.services.state.connection(ID)
    assert stored is not None
    await app.services.state.observe(connection_of(stored.value), [], etag=stored.etag)
    [text] = app.queue.take("connection-steps")
    message = StepMessage.model_validate_json(text)
    assert await app.services.engine.run_one(message) == "waiting"
    [operation] = await app.operations(ID)
    assert (operation.begun, operation.waiting, operation.detail) == (
        False,
        "behind",
        "a prune is under way",
    )


def connection_of(value: Connection) -> Connection:
    return value.model_copy(update={"state": ConnectionState.PRUNING})


async def test_a_create_that_was_overtaken_before_it_began_is_no_refusal(app: LocalApp):
    record = await app.send(create_body())
    [text] = app.queue.take("connection-steps")
    await app.send(delete_body(), message_id="d")
    assert await app.services.engine.run_one(StepMessage.model_validate_json(text)) == "ended"
    shot = await app.services.state.load(OperationId(record.operation_id))
    assert shot is not None
    await app.services.announcer.finish(shot)
    assert app.queue.take("rejected") == []


@pytest.mark.parametrize(
    ("cause", "names"),
    [
        ("target", plans.REVERT),
        ("identity", plans.REVERT),
        ("credential", ("federated_credential", "settings", "service_account")),
        ("linker", ("settings", "service_account")),
        ("cluster", ("federated_credential",)),
    ],
)
def test_a_prune_removes_what_its_cause_orphans(cause: str, names: tuple[str, ...]):
    shot = snapshot(Kind.PRUNE)
    plan = plans.plan(
        Kind.PRUNE, connection=shot.connection.value, cause=Cause(kind=cause, resource_id=STORAGE)
    )
    assert tuple(step.name for step in plan if step.direction is Direction.REVERT) == names


def test_a_confirmation_that_comes_after_somebody_else_began_waits_and_confirms_nothing():
    shot = snapshot(Kind.PRUNE, connection_state=ConnectionState.CONNECTING)
    change = outcomes.done(shot, running(shot, "confirm_gone"), Done(), now=LATER)
    [waiting] = change.steps
    assert (waiting.waiting, waiting.state) == ("behind", StepState.READY)
    assert waiting.due_at is not None
    assert (waiting.due_at - LATER).total_seconds() == 15
    assert not change.operation.confirmed


def test_a_hint_that_turns_out_wrong_does_not_wait_to_say_so():
    shot = snapshot(Kind.PRUNE, connection_state=ConnectionState.CONNECTING)
    change = outcomes.done(
        shot, running(shot, "confirm_gone"), Done(ends_operation="resource-exists"), now=LATER
    )
    assert (change.operation.state, change.operation.code) == (OperationState.SUCCEEDED, "resource-exists")


def test_what_a_step_noted_in_one_wait_is_there_after_the_next():
    shot = snapshot(Kind.DELETE)
    step = running(shot, "quiesce", noted={"first": "1"})
    [waiting] = outcomes.wait(shot, step, NotYetError("closing"), now=LATER, scale=1.0).steps
    assert waiting.noted == {"first": "1"}


def test_a_step_that_starts_again_after_a_crash_is_no_wait():
    shot = snapshot(Kind.DELETE)
    again = running(shot, "settings", state=StepState.READY, holder="", due_at=LATER)
    stored = dataclasses.replace(shot.steps["settings"], value=again)
    shot = dataclasses.replace(shot, steps={**shot.steps, "settings": stored})
    operation = outcomes.done(shot, running(shot, "quiesce"), Done(), now=LATER).operation
    assert (operation.state, operation.waiting) == (OperationState.RUNNING, "retry")


# --- is the cause still a fact -------------------------------------------------------------------


@pytest.fixture
async def bench(app: LocalApp) -> Bench:
    made = Bench(app)
    await made.up_to("settings")
    return made


async def alive(bench: Bench, kind: str, resource_id: str) -> bool:
    bench.become(Kind.PRUNE, cause=kind, resource_id=resource_id)
    cause = Cause(kind=kind, resource_id=resource_id)
    return await removal.cause_alive(bench.context("confirm_gone"), cause, api_version="2024-01-01")


async def test_a_resource_is_alive_as_long_as_it_is_there(bench: Bench):
    assert await alive(bench, "target", STORAGE) is True
    assert await alive(bench, "cluster", f"{CLUSTER}x") is False
    bench.app.world.remove(STORAGE)
    assert await alive(bench, "target", STORAGE) is False


async def test_a_target_that_is_there_is_asked_nothing_else(bench: Bench):
    before = len(bench.app.journal.calls)
    assert await alive(bench, "target", STORAGE)
    assert bench.app.journal.names()[before:] == ["resources.get"]


async def test_a_cluster_with_another_issuer_is_another_cluster(bench: Bench):
    bench.app.world.add_resource(CLUSTER)
    assert await alive(bench, "cluster", CLUSTER) is True
    recorded = bench.intents["preflight"]
    other = {**recorded.outputs, "issuer": "https://issuer.example/another/"}
    bench.intents["preflight"] = recorded.model_copy(update={"outputs": other})
    assert await alive(bench, "cluster", CLUSTER) is False
    bench.intents["preflight"] = recorded.model_copy(update={"outputs": {}})
    assert await alive(bench, "cluster", CLUSTER) is True, "an issuer that nobody noted proves nothing"
    del bench.intents["preflight"]
    assert await alive(bench, "cluster", CLUSTER) is True


async def test_a_cluster_that_goes_between_two_looks_is_asked_about_again_later(bench: Bench):
    bench.app.world.add_resource(CLUSTER)
    del bench.app.world.clusters[naming.fold_id(CLUSTER)]
    assert await alive(bench, "cluster", CLUSTER) is True


async def test_a_pod_uses_the_account_that_it_runs_under(bench: Bench):
    context = bench.context("service_account")
    account = bench.app.clusters.put_object(CLUSTER, "ServiceAccount", "shop", "theirs")
    assert await objects.used(context, "ServiceAccount", account) is False
    bench.app.clusters.put_pod(CLUSTER, "shop", "pod", {"serviceAccountName": "theirs"})
    assert await objects.used(context, "ServiceAccount", account) is True


async def test_the_right_to_write_credentials_ends_with_its_holder_or_after_a_minute(bench: Bench):
    identity_id = str(bench.intents["managed_identity"].planned["resourceId"])
    first = bench.context("federated_credential")
    bench.become(Kind.DELETE)
    second = bench.context("federated_credential")
    async with removal.credential_lease(first, identity_id):
        bench.app.clock.advance(59.5)
        with pytest.raises(NotYetError, match="lease-busy"):
            async with removal.credential_lease(second, identity_id):
                pass
        bench.app.clock.advance(0.5)
        async with removal.credential_lease(second, identity_id):
            pass
    async with removal.credential_lease(first, identity_id):
        pass
    async with removal.credential_lease(second, identity_id.upper()):
        pass


async def test_a_throttle_that_is_nearly_over_is_waited_for(app: LocalApp):
    shot = snapshot()
    throttling = app.services.engine.throttling
    await throttling.limits.throttle(SUBSCRIPTION, not_before=shot.read_at + timedelta(seconds=0.5))
    waits = await throttling.wait(shot, running(shot, "preflight"))
    assert waits is not None
    assert waits.retry_after_seconds == 0.5


async def test_a_credential_is_alive_under_any_name_that_says_the_same(bench: Bench):
    planned = bench.intents["federated_credential"].planned
    gone = f"{planned['identityId']}/federatedIdentityCredentials/gone"
    assert await alive(bench, "credential", gone) is True
    credentials = bench.app.world.credentials[naming.fold_id(str(planned["identityId"]))]
    [(name, same)] = credentials.items()
    credentials[name] = Credential(**{**dataclasses.asdict(same), "subject": "system:serviceaccount:shop:x"})
    assert await alive(bench, "credential", gone) is False
    bench.app.world.remove(STORAGE)
    assert await alive(bench, "target", STORAGE) is False, "nobody asks for credentials"
    del bench.intents["federated_credential"]
    assert await alive(bench, "credential", gone) is False


async def test_a_credential_that_is_there_by_its_own_id_is_alive_whatever_it_says_by_now(bench: Bench):
    planned = bench.intents["federated_credential"].planned
    identity_id = str(planned["identityId"])
    credentials = bench.app.world.credentials[naming.fold_id(identity_id)]
    [(name, same)] = credentials.items()
    credentials[name] = Credential(**{**dataclasses.asdict(same), "subject": "system:serviceaccount:shop:x"})
    own = f"{identity_id}/federatedIdentityCredentials/{name}"
    bench.app.world.add_resource(own)
    assert await alive(bench, "credential", own) is True


async def test_whoever_seizes_a_thing_says_what_it_knows_of_it():
    users = Users(InMemoryStateStore(VirtualClock()), lease_seconds=150)
    user = User(connection_id=ConnectionId("one"), generation=1)
    await users.seize("thing", user, operation_id=OperationId("one-aa"), details={"nonce": "n"})
    row = await users.get("thing")
    assert row is not None
    assert row.details == {"nonce": "n"}
