"""What each outcome changes, from one snapshot to the next, without input or output."""

import dataclasses
from datetime import datetime, timedelta

import pytest

from shared import naming, outcomes, plans
from shared.beginnings import begin, crashed, misfit
from shared.errors import NotYetError, Pace, PermanentError, TransientError
from shared.models import (
    Cause,
    Connection,
    ConnectionState,
    Direction,
    Done,
    Intent,
    Kind,
    Operation,
    OperationId,
    OperationState,
    PlannedStep,
    StepRecord,
    StepState,
)
from shared.spec import ConnectionSpec
from shared.state import Snapshot, Stored
from tests.fakes.clock import START
from tests.fakes.local_app import CLUSTER, STORAGE

ID = naming.connection_id(CLUSTER, "shop", "orders-blob")
OPERATION = naming.operation_id(ID, "k")
LATER = START + timedelta(seconds=100)
SPEC = ConnectionSpec(
    name="orders-blob",
    cluster_id=CLUSTER,
    namespace="shop",
    workload="orders",
    target_type="storage-blob",
    target_id=STORAGE,
    client_type="python",
)


def snapshot(
    kind: Kind = Kind.CREATE,
    *,
    plan: tuple[PlannedStep, ...] = (),
    done: tuple[str, ...] = (),
    connection_state: ConnectionState = ConnectionState.CONNECTING,
    intents: dict[str, Intent] | None = None,
    **operation: object,
) -> Snapshot:
    cause = Cause(kind="target", resource_id=STORAGE.lower()) if kind is Kind.PRUNE else None
    connection = Connection(
        connection_id=ID,
        spec=SPEC,
        body_hash=naming.spec_hash(SPEC),
        state=connection_state,
        active=(OperationId("other"), OPERATION),
        created_at=START,
    )
    value = Operation.model_validate(
        {
            "operation_id": OPERATION,
            "connection_id": ID,
            "kind": kind,
            "state": OperationState.RUNNING,
            "generation": 1,
            "plan": plan or plans.plan(kind, connection=connection, cause=cause),
            "spec": SPEC if kind is Kind.CREATE else None,
            "cause": cause,
            "begun": True,
            "opened_at": START,
            **operation,
        }
    )
    steps = {
        planned.name: StepRecord(
            operation_id=OPERATION,
            name=planned.name,
            direction=planned.direction,
            state=StepState.DONE if planned.name in done else StepState.PENDING,
            turn=1 if planned.name in done else 0,
        )
        for planned in value.plan
    }
    return Snapshot(
        connection=Stored(connection, "c", START, START),
        operation=Stored(value, "o", START, START),
        steps={name: Stored(step, name, START, START) for name, step in steps.items()},
        intents=intents or {},
        read_at=START,
    )


def running(shot: Snapshot, name: str, **changes: object) -> StepRecord:
    step = shot.steps[name].value
    return step.model_copy(
        update={"state": StepState.RUNNING, "turn": 1, "holder": "h", "first_run_at": START, **changes}
    )


def intent(step: str, **planned: object) -> Intent:
    return Intent(connection_id=ID, step=step, generation=1, planned=planned)


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


def test_a_step_whose_runs_all_die_ends_with_host_crash_and_one_that_waits_does_not():
    shot = snapshot()
    assert crashed(running(shot, "preflight", attempts=10)) is None
    gone = crashed(running(shot, "preflight", attempts=11))
    assert gone is not None
    assert gone.code == "host-crash"
    ready = running(shot, "preflight", attempts=11, state=StepState.READY)
    assert crashed(ready) is None


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


def test_a_wait_uses_no_attempt_and_shows_its_reason():
    shot = snapshot()
    change = outcomes.wait(
        shot, running(shot, "preflight"), NotYetError("closing", "d"), now=LATER, scale=1.0
    )
    [step] = change.steps
    assert (step.state, step.turn, step.attempts, step.holder) == (StepState.READY, 2, 0, "")
    assert (step.waiting, step.waiting_since, step.announced) == ("closing", LATER, False)
    assert step.due_at == LATER + timedelta(seconds=5)
    assert (change.operation.state, change.operation.waiting) == (OperationState.WAITING, "closing")


def test_a_wait_that_only_a_person_ends_is_held():
    shot = snapshot(Kind.PRUNE)
    change = outcomes.wait(
        shot, running(shot, "confirm_gone"), NotYetError("grace", seconds=60), now=LATER, scale=1.0
    )
    assert change.operation.state is OperationState.HELD
    assert change.steps[0].due_at == LATER + timedelta(seconds=60)


def test_the_same_reason_keeps_its_beginning_and_ends_at_its_deadline():
    shot = snapshot()
    step = running(shot, "preflight", waiting="closing", waiting_since=START)
    change = outcomes.wait(shot, step, NotYetError("closing", "still"), now=LATER, scale=1.0)
    assert change.steps[0].waiting_since == START
    late = START + timedelta(seconds=1800)
    ended = outcomes.wait(shot, step, NotYetError("closing", "still"), now=late, scale=1.0)
    assert (ended.operation.state, ended.operation.code) == (OperationState.FAILED, "closing-never-ended")
    other = outcomes.wait(shot, step, NotYetError("propagation"), now=late, scale=1.0)
    assert other.steps[0].waiting_since == late, "another reason has its own deadline"


def test_a_transient_error_counts_and_is_tried_again():
    shot = snapshot()
    step = running(shot, "preflight", attempts=1, waiting="closing", waiting_since=START)
    error = TransientError("busy", "d", pace=Pace.FAST)
    change = outcomes.transient(shot, step, error, now=LATER, scale=1.0)
    [again] = change.steps
    assert (again.attempts, again.turn, again.code) == (2, 2, "busy")
    assert (again.waiting, again.waiting_since) == ("closing", START), "the wait's deadline goes on"
    assert again.due_at is not None
    assert again.due_at >= LATER + timedelta(seconds=4)
    assert (change.operation.state, change.operation.waiting) == (OperationState.RUNNING, "retry")


@pytest.mark.parametrize(
    ("attempts", "now", "code"),
    [
        (11, LATER, "attempts-exhausted"),
        (1, START + timedelta(seconds=3600), "time-exhausted"),
    ],
)
def test_a_transient_error_that_never_ends_fails_with_what_it_was_and_what_to_do(
    attempts: int, now: datetime, code: str
):
    shot = snapshot()
    step = running(shot, "preflight", attempts=attempts)
    change = outcomes.transient(shot, step, TransientError("busy", "the disk"), now=now, scale=1.0)
    assert (change.operation.state, change.operation.code) == (OperationState.FAILED, code)
    assert "busy: the disk" in change.operation.detail
    assert change.operation.remedy
    assert change.steps[0].attempts == attempts + 1


def test_a_permanent_error_fails_step_and_operation_and_connection():
    shot = snapshot()
    error = PermanentError("broken", "why", remedy="do this")
    change = outcomes.permanent(shot, running(shot, "preflight"), error, now=LATER)
    [failed] = change.steps
    assert (failed.state, failed.code, failed.detail, failed.remedy) == (
        StepState.FAILED,
        "broken",
        "why",
        "do this",
    )
    assert (change.operation.detail, change.operation.remedy) == ("preflight: why", "do this")
    assert change.connection is not None
    assert change.connection.state is ConnectionState.FAILED
    assert change.connection.active == ("other",)


def test_a_create_that_fails_after_its_settings_is_still_configured_and_a_delete_that_fails_is_failed():
    error = PermanentError("broken")
    for kind, state in ((Kind.CREATE, ConnectionState.CONFIGURED), (Kind.DELETE, ConnectionState.FAILED)):
        shot = snapshot(kind, connection_state=ConnectionState.CONFIGURED)
        configured = shot.connection.value.model_copy(update={"configured_at": START})
        shot = Snapshot(
            connection=Stored(configured, "c", START, START),
            operation=shot.operation,
            steps=shot.steps,
            intents={},
            read_at=START,
        )
        first = shot.operation.value.plan[-1].name
        change = outcomes.permanent(shot, running(shot, first), error, now=LATER)
        assert change.connection is not None
        assert change.connection.state is state


def test_a_validation_that_fails_leaves_the_connection_alone():
    shot = snapshot(Kind.VALIDATE, connection_state=ConnectionState.CONFIGURED)
    change = outcomes.permanent(shot, running(shot, "preflight"), PermanentError("broken"), now=LATER)
    assert change.connection == shot.connection.value


def test_a_create_of_something_gone_begins_a_new_life_and_of_something_alive_goes_on():
    shot = snapshot(begun=False)
    gone = shot.connection.value.model_copy(
        update={"state": ConnectionState.DELETED, "generation": 3, "ended_at": START}
    )
    operation, reborn = begin(shot.operation.value, gone, LATER)
    assert (reborn.generation, reborn.created_at, reborn.ended_at) == (4, LATER, None)
    assert operation.generation == 4
    _, same = begin(shot.operation.value, shot.connection.value, LATER)
    assert (same.generation, same.created_at) == (1, START)


def test_a_delete_shows_as_deleting_and_a_prune_changes_nothing_when_it_begins():
    for kind, state in ((Kind.DELETE, ConnectionState.DELETING), (Kind.PRUNE, ConnectionState.CONFIGURED)):
        shot = snapshot(kind, begun=False, state=OperationState.RUNNING)
        configured = shot.connection.value.model_copy(update={"state": ConnectionState.CONFIGURED})
        assert begin(shot.operation.value, configured, LATER)[1].state is state


@pytest.mark.parametrize(
    ("change", "state", "code"),
    [
        ({"client_type": "java"}, ConnectionState.CONFIGURED, "body-differs"),
        ({"name": "Orders.Blob"}, ConnectionState.CONFIGURED, "body-differs"),
        ({"client_type": "java"}, ConnectionState.DELETED, ""),
        ({"cluster_id": CLUSTER.upper()}, ConnectionState.CONFIGURED, ""),
    ],
)
def test_a_create_that_waited_goes_on_only_if_it_still_fits(
    change: dict[str, str], state: ConnectionState, code: str
):
    shot = snapshot(begun=False, spec=SPEC.model_copy(update=change))
    there = shot.connection.value.model_copy(update={"state": state})
    fault = misfit(
        Snapshot(
            connection=Stored(there, "c", START, START),
            operation=shot.operation,
            steps=shot.steps,
            intents={},
            read_at=START,
        )
    )
    assert (fault.code if fault else "") == code


def test_what_has_begun_always_fits():
    assert misfit(snapshot(spec=SPEC.model_copy(update={"client_type": "java"}))) is None
