"""Who waits for whom: two prunes, wishes behind wishes, throttled subscriptions."""

import dataclasses
from datetime import timedelta
from pathlib import Path

import pytest

from shared import naming, plans
from shared.errors import PermanentError, TransientError
from shared.limits import Limits
from shared.models import (
    Cause,
    Connection,
    ConnectionState,
    Direction,
    Done,
    Kind,
    Operation,
    OperationId,
    OperationState,
)
from shared.opening import Answer, Asked
from shared.state import Snapshot
from shared.steps.base import StepContext
from shared.throttling import Throttling
from tests.fakes.clock import START, VirtualClock
from tests.fakes.local_app import CLUSTER, STORAGE, LocalApp, create_body, delete_body, make_app
from tests.fakes.scripted_step import script
from tests.fakes.snapshots import SPEC, running, snapshot
from tests.fakes.state_store import InMemoryStateStore

ID = naming.connection_id(CLUSTER, "shop", "orders-blob")
TARGET = Cause(kind="target", resource_id=STORAGE.lower())
CLUSTER_GONE = Cause(kind="cluster", resource_id=CLUSTER)


async def created(app: LocalApp) -> None:
    await app.send(create_body(), message_id="made")
    await app.settle()
    assert await app.state(ID) == "configured"


async def prune(app: LocalApp, key: str, cause: Cause) -> Answer:
    return await app.services.intake.opener.open(
        Asked(kind=Kind.PRUNE, connection_id=ID, key=key, cause=cause)
    )


async def operation(app: LocalApp, answer: Answer) -> Operation:
    stored = await app.services.state.operation(OperationId(answer.operation_id))
    assert stored is not None
    return stored.value


async def connection(app: LocalApp) -> Connection:
    stored = await app.services.state.connection(ID)
    assert stored is not None
    return stored.value


async def rest(app: LocalApp, answer: Answer, state: OperationState) -> None:
    """Let an operation stand as if its first step waited."""
    loaded = await app.services.state.load(OperationId(answer.operation_id))
    assert loaded is not None
    resting = loaded.operation.value.model_copy(update={"state": state, "waiting": "confirm"})
    await app.services.state.commit(loaded, resting)


async def begin_to_remove(app: LocalApp) -> None:
    stored = await app.services.state.connection(ID)
    assert stored is not None
    pruning = stored.value.model_copy(update={"state": ConnectionState.PRUNING})
    await app.services.state.observe(pruning, [], etag=stored.etag)


# --- two prunes ----------------------------------------------------------------------------------


async def test_prunes_with_different_causes_stand_beside_each_other(app: LocalApp):
    await created(app)
    first = await prune(app, "first", TARGET)
    second = await prune(app, "second", CLUSTER_GONE)
    opened = [await operation(app, answer) for answer in (first, second)]
    assert [(one.behind, one.state, one.overtakes) for one in opened] == [
        ("", OperationState.RUNNING, ())
    ] * 2
    assert (await connection(app)).active == (first.operation_id, second.operation_id)
    again = await prune(app, "again", TARGET)
    assert again == Answer("attached", first.operation_id), "though it is not the newest"


async def test_a_prune_that_fails_before_it_confirms_leaves_the_other_one_to_its_end(app: LocalApp):
    await created(app)
    hint = await prune(app, "hint", CLUSTER_GONE)

    async def overtaken_by_events(_: StepContext) -> Done:
        await begin_to_remove(app)
        raise PermanentError("access-denied")

    script(app, plans.CONFIRMED_BY, overtaken_by_events)
    await app.pump()
    assert (await operation(app, hint)).code == "access-denied"
    assert await app.state(ID) == "pruning", "or a create would begin while the other one removes"


async def test_a_prune_that_nobody_requested_bears_no_request_id(app: LocalApp):
    await created(app)
    assert (await operation(app, await prune(app, "p", TARGET))).request_id == ""


async def test_a_prune_with_the_same_cause_in_other_letters_is_the_same(app: LocalApp):
    await created(app)
    first = await prune(app, "first", TARGET)
    again = await prune(app, "again", TARGET.model_copy(update={"resource_id": STORAGE}))
    assert again == Answer("attached", first.operation_id)


# --- wishes behind wishes ------------------------------------------------------------------------


async def test_another_body_waits_behind_a_prune_that_removes_and_is_refused_behind_one_that_only_may(
    app: LocalApp,
):
    await created(app)
    removing = await prune(app, "first", TARGET)
    differs = await app.send(create_body(workload="other"), message_id="c1")
    assert (differs.code, differs.field) == ("body-differs", "connection")
    await begin_to_remove(app)
    waits = await app.send(create_body(workload="other"), message_id="c2")
    assert waits.outcome == "opened"
    stored = await app.services.state.operation(OperationId(waits.operation_id))
    assert stored is not None
    assert stored.value.behind == removing.operation_id


async def test_a_delete_that_takes_a_waiting_create_along_waits_for_the_delete_before_it(app: LocalApp):
    await created(app)
    await app.send(delete_body(), message_id="d1")
    await app.send(create_body(), message_id="c1")
    await app.send(delete_body(), message_id="d2")
    _, first, create, second = await app.operations(ID)
    assert (create.state, create.waiting, create.ended_at) == (OperationState.SUPERSEDED, "", app.clock.now())
    assert (second.behind, second.overtakes) == (first.operation_id, (create.operation_id,))


async def test_what_was_overtaken_while_it_waited_waits_no_more(app: LocalApp):
    record = await app.send(create_body())
    await rest(app, Answer("opened", record.operation_id), OperationState.WAITING)
    await app.send(delete_body(), message_id="d")
    overtaken = (await app.operations(ID))[0]
    assert (overtaken.state, overtaken.waiting) == (OperationState.SUPERSEDED, "")


async def test_an_operation_with_nothing_in_its_way_is_behind_nobody_and_its_later_steps_have_no_turn(
    app: LocalApp,
):
    record = await app.send(create_body())
    loaded = await app.services.state.load(OperationId(record.operation_id))
    assert loaded is not None
    assert (loaded.operation.value.behind, loaded.operation.value.state) == ("", OperationState.RUNNING)
    turns = {name: stored.value.turn for name, stored in loaded.steps.items()}
    assert {name for name, turn in turns.items() if turn} == {"preflight"}
    assert set(turns.values()) == {0, 1}


async def test_only_prunes_are_reports_where_prunes_only_report(tmp_path: Path):
    app = make_app(tmp_path, MOORING_PRUNE_MODE="report")
    await created(app)
    answer = await prune(app, "p", TARGET)
    reports = {one.kind: one.report_only for one in await app.operations(ID)}
    assert reports == {Kind.CREATE: False, Kind.PRUNE: True}
    assert answer.outcome == "opened"


# --- throttled subscriptions ---------------------------------------------------------------------


def subscription(digit: int) -> str:
    return "-".join(str(digit) * length for length in (8, 4, 4, 4, 12))


def in_subscription(resource_id: str, digit: int) -> str:
    return "/".join(
        subscription(digit) if index == 2 else part for index, part in enumerate(resource_id.split("/"))
    )


def throttling(limits: Limits) -> Throttling:
    return Throttling(
        limits=limits, identity_resource_group_id=f"/subscriptions/{subscription(4)}/resourceGroups/rg"
    )


def spread(**changes: str) -> Snapshot:
    """A create whose target, cluster and identities are in subscriptions 2, 3 and 4."""
    shot = snapshot()
    spec = SPEC.model_copy(
        update={
            "target_id": in_subscription(STORAGE, 2),
            "cluster_id": in_subscription(CLUSTER, 3),
            **changes,
        }
    )
    value = shot.connection.value.model_copy(update={"spec": spec})
    return dataclasses.replace(shot, connection=dataclasses.replace(shot.connection, value=value))


@pytest.fixture
def limits() -> Limits:
    return Limits(InMemoryStateStore(VirtualClock()))


IDENTITY = (
    f"/subscriptions/{subscription(5)}/resourceGroups/x/providers/"
    "Microsoft.ManagedIdentity/userAssignedIdentities/y"
)


@pytest.mark.parametrize(("identity_id", "spared"), [("", {2, 3, 4}), (IDENTITY, {2, 3, 5})])
async def test_every_subscription_that_an_operation_writes_to_is_left_alone(
    limits: Limits, identity_id: str, spared: set[int]
):
    error = TransientError("throttled", "by ARM", retry_after_seconds=40)
    waits = await throttling(limits).note(spread(identity_id=identity_id), error, took=timedelta(seconds=5))
    assert (waits.reason, waits.detail, waits.retry_after_seconds) == ("throttled", "by ARM", 40)
    untils = {digit: await limits.throttled_until(subscription(digit)) for digit in range(1, 7)}
    assert {digit for digit, until in untils.items() if until} == spared
    assert untils[2] == START + timedelta(seconds=45)


@pytest.mark.parametrize("digit", [2, 3, 4])
async def test_a_step_that_may_write_waits_for_each_of_its_subscriptions(limits: Limits, digit: int):
    shot = spread()
    step = running(shot, "preflight")
    await limits.throttle(subscription(digit), not_before=START + timedelta(seconds=7))
    waits = await throttling(limits).wait(shot, step)
    assert waits is not None
    assert (waits.reason, waits.detail, waits.retry_after_seconds) == (
        "throttled",
        f"subscription {subscription(digit)}",
        7,
    )
    looks = step.model_copy(update={"direction": Direction.CHECK})
    assert await throttling(limits).wait(shot, looks) is None, "a look writes nothing"


async def test_a_throttle_that_is_over_to_the_second_is_over(limits: Limits):
    shot = spread()
    await limits.throttle(subscription(2), not_before=START)
    assert await throttling(limits).wait(shot, running(shot, "preflight")) is None
