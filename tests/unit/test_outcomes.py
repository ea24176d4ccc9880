"""What each outcome changes, from one snapshot to the next, without input or output."""

import dataclasses

import pytest

from shared import outcomes, plans
from shared.models import (
    Cause,
    ConnectionState,
    Direction,
    Done,
    Kind,
    OperationState,
    PlannedStep,
    StepState,
)
from tests.fakes.clock import START
from tests.fakes.local_app import CLUSTER
from tests.fakes.snapshots import LATER, OPERATION, intent, running, snapshot


def test_a_claim_takes_the_step_and_begins_the_operation():
    shot = snapshot(begun=False, state=OperationState.WAITING, behind="x", waiting="behind")
    step = shot.steps["preflight"].value
    change = outcomes.claim(shot, step, holder="h", lease_seconds=150, now=LATER)
    [taken] = change.steps
    assert (taken.state, taken.holder, taken.lease_seconds) == (StepState.RUNNING, "h", 150)
    assert (taken.first_run_at, taken.started_at, taken.attempts) == (LATER, LATER, 0)
    assert (change.operation.begun, change.operation.behind, change.operation.waiting) == (True, "", "")
    assert change.operation.state is OperationState.RUNNING


def test_a_second_claim_keeps_when_the_step_first_ran_and_begins_nothing_again():
    shot = snapshot()
    step = shot.steps["preflight"].value.model_copy(update={"first_run_at": START})
    change = outcomes.claim(shot, step, holder="h", lease_seconds=150, now=LATER)
    assert change.steps[0].first_run_at == START
    assert change.steps[0].started_at == LATER
    assert change.connection == shot.connection.value


def test_a_claim_of_a_step_whose_run_died_counts_as_an_attempt():
    shot = snapshot()
    change = outcomes.claim(
        shot, running(shot, "preflight", attempts=2), holder="h2", lease_seconds=1, now=LATER
    )
    assert change.steps[0].attempts == 3


def test_done_readies_what_waited_for_it_and_records_the_outputs_as_intent():
    shot = snapshot(intents={"preflight": intent("preflight", a=1)})
    change = outcomes.done(shot, running(shot, "preflight"), Done(outputs={"issuer": "i"}), now=LATER)
    finished, ready = change.steps
    assert (finished.state, finished.holder, finished.ended_at) == (StepState.DONE, "", LATER)
    assert (ready.name, ready.state, ready.turn, ready.due_at) == (
        "managed_identity",
        StepState.READY,
        1,
        None,
    ), "no time of its own: at once"
    [recorded] = change.intents
    assert (recorded.planned, recorded.outputs) == ({"a": 1}, {"issuer": "i"})
    assert change.operation.state is OperationState.RUNNING


def test_a_step_without_outputs_records_no_intent():
    shot = snapshot()
    assert outcomes.done(shot, running(shot, "preflight"), Done(), now=LATER).intents == ()


@pytest.mark.parametrize("kind", [Kind.DELETE, Kind.PRUNE, Kind.VALIDATE])
def test_only_a_create_records_outputs_as_intents(kind: Kind):
    shot = snapshot(kind)
    first = shot.operation.value.plan[0].name
    assert outcomes.done(shot, running(shot, first), Done(outputs={"a": 1}), now=LATER).intents == ()


def test_a_join_is_ready_only_when_all_it_needs_is_done():
    plan = (
        PlannedStep(name="a", direction=Direction.APPLY),
        PlannedStep(name="b", direction=Direction.APPLY),
        PlannedStep(name="c", direction=Direction.APPLY, needs=("a", "b")),
    )
    shot = snapshot(plan=plan)
    both = {name: dataclasses.replace(shot.steps[name], value=running(shot, name)) for name in ("a", "b")}
    shot = dataclasses.replace(shot, steps={**shot.steps, **both})
    first = outcomes.done(shot, shot.steps["a"].value, Done(), now=LATER)
    assert [step.name for step in first.steps] == ["a"]
    shot = snapshot(plan=plan, done=("a",))
    second = outcomes.done(shot, running(shot, "b"), Done(), now=LATER)
    assert [step.name for step in second.steps] == ["b", "c"]


def test_the_settings_step_makes_the_connection_configured_and_a_proof_makes_it_usable():
    shot = snapshot(done=plans.CREATE[:5])
    change = outcomes.done(shot, running(shot, "settings"), Done(outputs={"name": "n"}), now=LATER)
    assert change.connection is not None
    assert (change.connection.state, change.connection.configured_at) == (ConnectionState.CONFIGURED, LATER)
    shot = snapshot(done=plans.CREATE[:6], connection_state=ConnectionState.CONFIGURED)
    proved = outcomes.done(shot, running(shot, "prove"), Done(outputs={"result": "proved"}), now=LATER)
    assert proved.connection is not None
    assert (proved.connection.state, proved.connection.usable_at) == (ConnectionState.USABLE, LATER)
    off = outcomes.done(shot, running(shot, "prove"), Done(outputs={"result": "off"}), now=LATER)
    assert off.connection is not None
    assert off.connection.state is ConnectionState.CONFIGURED


def test_the_last_step_ends_the_operation_and_leaves_the_others_active():
    shot = snapshot(done=plans.CREATE[:6], connection_state=ConnectionState.CONFIGURED)
    change = outcomes.done(shot, running(shot, "prove"), Done(outputs={"result": "off"}), now=LATER)
    assert (change.operation.state, change.operation.ended_at) == (OperationState.SUCCEEDED, LATER)
    assert change.connection is not None
    assert change.connection.active == ("other",)
    assert change.connection.last_operation == OPERATION
    assert [one.step for one in change.intents] == ["prove"]


@pytest.mark.parametrize(
    ("kind", "state"), [(Kind.DELETE, ConnectionState.DELETED), (Kind.PRUNE, ConnectionState.PRUNED)]
)
def test_the_end_of_a_removal_forgets_every_intent(kind: Kind, state: ConnectionState):
    intents = {name: intent(name) for name in ("settings", "preflight", "confirm_gone")}
    names = tuple(planned.name for planned in snapshot(kind).operation.value.plan)
    shot = snapshot(kind, done=names[:-1], intents=intents)
    change = outcomes.done(shot, running(shot, names[-1]), Done(), now=LATER)
    assert change.connection is not None
    assert (change.connection.state, change.connection.ended_at) == (state, LATER)
    assert change.forget == ("confirm_gone", "preflight", "settings")


def test_an_orphaned_connection_forgets_only_what_was_reverted():
    cause = Cause(kind="cluster", resource_id=CLUSTER.lower())
    plan = plans.plan(Kind.PRUNE, connection=snapshot().connection.value, cause=cause)
    names = tuple(planned.name for planned in plan)
    intents = {name: intent(name) for name in ("federated_credential", "managed_identity")}
    shot = snapshot(Kind.PRUNE, plan=plan, cause=cause, done=names[:-1], intents=intents)
    change = outcomes.done(shot, running(shot, names[-1]), Done(), now=LATER)
    assert change.connection is not None
    assert change.connection.state is ConnectionState.ORPHANED
    assert change.forget == ("federated_credential",)


def test_a_report_leaves_connection_and_intents_as_they_are():
    names = tuple(planned.name for planned in snapshot(Kind.PRUNE).operation.value.plan)
    shot = snapshot(
        Kind.PRUNE,
        report_only=True,
        done=names[:-1],
        intents={"settings": intent("settings")},
        connection_state=ConnectionState.CONFIGURED,
    )
    change = outcomes.done(shot, running(shot, names[-1]), Done(), now=LATER)
    assert change.operation.state is OperationState.SUCCEEDED
    assert change.connection is not None
    assert (change.connection.state, change.forget) == (ConnectionState.CONFIGURED, ())
    shot = snapshot(Kind.PRUNE, report_only=True, connection_state=ConnectionState.CONFIGURED)
    confirmed = outcomes.done(shot, running(shot, "confirm_gone"), Done(), now=LATER)
    assert confirmed.connection is not None
    assert confirmed.connection.state is ConnectionState.CONFIGURED


def test_a_confirmed_prune_shows_as_pruning():
    shot = snapshot(Kind.PRUNE, connection_state=ConnectionState.CONFIGURED)
    change = outcomes.done(shot, running(shot, "confirm_gone"), Done(), now=LATER)
    assert change.connection is not None
    assert change.connection.state is ConnectionState.PRUNING


def test_an_early_end_leaves_the_rest_of_the_plan_pending_and_the_connection_as_it_was():
    shot = snapshot(Kind.PRUNE, connection_state=ConnectionState.CONFIGURED)
    result = Done(outputs={"fact": "alive"}, ends_operation="resource-alive")
    change = outcomes.done(shot, running(shot, "confirm_gone"), result, now=LATER)
    assert [step.name for step in change.steps] == ["confirm_gone"]
    assert (change.operation.state, change.operation.code) == (OperationState.SUCCEEDED, "resource-alive")
    assert change.connection is not None
    assert (change.connection.state, change.connection.active) == (ConnectionState.CONFIGURED, ("other",))
