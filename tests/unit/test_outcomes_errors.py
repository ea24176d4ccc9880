"""What a wait or an error of a step changes: when it is tried again, and what fails with it."""

from datetime import datetime, timedelta

import pytest

from shared import outcomes
from shared.errors import NotYetError, Pace, PermanentError, TransientError
from shared.models import ConnectionState, Kind, OperationState, StepState
from shared.state import Snapshot, Stored
from tests.fakes.clock import START
from tests.fakes.snapshots import LATER, running, snapshot


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
