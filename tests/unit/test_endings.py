"""How an operation with parallel steps ends: nothing new starts, what runs ends, the first fault is told."""

import dataclasses
from datetime import timedelta

import pytest

from shared import endings, outcomes
from shared.errors import NotYetError, PermanentError, TransientError
from shared.models import Direction, Done, OperationState, PlannedStep, StepRecord, StepState
from shared.state import Snapshot
from tests.fakes.snapshots import LATER, running, snapshot

PLAN = tuple(PlannedStep(name=name, direction=Direction.APPLY) for name in ("a", "b", "c"))


def shot_of(**steps: StepRecord) -> Snapshot:
    shot = snapshot(plan=PLAN)
    stored = {name: dataclasses.replace(shot.steps[name], value=step) for name, step in steps.items()}
    return dataclasses.replace(shot, steps={**shot.steps, **stored})


def apply(shot: Snapshot, change: endings.Change) -> Snapshot:
    """The snapshot after a change."""
    steps = {step.name: dataclasses.replace(shot.steps[step.name], value=step) for step in change.steps}
    return dataclasses.replace(
        shot,
        steps={**shot.steps, **steps},
        operation=dataclasses.replace(shot.operation, value=change.operation),
    )


def all_running() -> Snapshot:
    empty = snapshot(plan=PLAN)
    return shot_of(**{name: running(empty, name) for name in "abc"})


def step(shot: Snapshot, name: str) -> StepRecord:
    return shot.steps[name].value


@pytest.mark.parametrize(
    "last",
    [Done(outputs={"made": 1}), NotYetError("closing"), TransientError("busy"), PermanentError("another")],
)
def test_a_fault_waits_for_what_still_runs_and_is_the_one_that_is_told(
    last: Done | NotYetError | TransientError | PermanentError,
):
    shot = all_running()
    shot = apply(shot, outcomes.permanent(shot, step(shot, "a"), PermanentError("first", "why"), now=LATER))
    assert (shot.operation.value.failing, shot.operation.value.state.final) == (True, False)
    shot = apply(shot, outcomes.done(shot, step(shot, "b"), Done(), now=LATER))
    assert not shot.operation.value.state.final
    if isinstance(last, Done):
        change = outcomes.done(shot, step(shot, "c"), last, now=LATER)
        assert [one.outputs for one in change.intents] == [{"made": 1}], "what was made is known to a delete"
    elif isinstance(last, NotYetError):
        change = outcomes.wait(shot, step(shot, "c"), last, now=LATER, scale=1.0)
    elif isinstance(last, TransientError):
        change = outcomes.transient(shot, step(shot, "c"), last, now=LATER, scale=1.0)
    else:
        change = outcomes.permanent(shot, step(shot, "c"), last, now=LATER)
    ended = change.operation
    assert (ended.state, ended.code, ended.detail) == (OperationState.FAILED, "first", "a: why")
    assert [one.state for one in change.steps if one.state is StepState.READY] == []


def test_a_fault_with_nothing_else_running_puts_ready_steps_to_rest_and_ends_at_once():
    empty = snapshot(plan=PLAN)
    ready = running(empty, "b", state=StepState.READY, waiting="closing", holder="")
    shot = shot_of(a=running(empty, "a"), b=ready)
    change = outcomes.permanent(shot, step(shot, "a"), PermanentError("first"), now=LATER)
    assert change.operation.state is OperationState.FAILED
    states = {one.name: (one.state, one.waiting) for one in change.steps}
    assert states == {"a": (StepState.FAILED, ""), "b": (StepState.PENDING, "")}


def test_a_step_of_a_failing_operation_is_not_begun():
    shot = all_running()
    shot = apply(shot, outcomes.permanent(shot, step(shot, "a"), PermanentError("first"), now=LATER))
    change = outcomes.stopped(shot, step(shot, "b"), now=LATER)
    [stopped] = change.steps
    assert (stopped.state, stopped.holder, stopped.ended_at) == (StepState.PENDING, "", None)
    assert not change.operation.state.final, "c still runs"


def test_an_operation_shows_a_held_step_before_one_that_waits_and_that_before_a_retry():
    shot = all_running()
    shot = apply(
        shot, outcomes.transient(shot, step(shot, "a"), TransientError("busy"), now=LATER, scale=1.0)
    )
    assert (shot.operation.value.state, shot.operation.value.waiting) == (OperationState.RUNNING, "retry")
    shot = apply(shot, outcomes.wait(shot, step(shot, "b"), NotYetError("closing"), now=LATER, scale=1.0))
    assert (shot.operation.value.state, shot.operation.value.waiting) == (OperationState.WAITING, "closing")
    shot = apply(shot, outcomes.wait(shot, step(shot, "c"), NotYetError("in-use"), now=LATER, scale=1.0))
    assert (shot.operation.value.state, shot.operation.value.waiting) == (OperationState.HELD, "in-use")
    assert step(shot, "c").due_at == LATER + timedelta(seconds=300)
