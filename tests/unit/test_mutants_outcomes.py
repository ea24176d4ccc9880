"""Every field that the outcome of a step changes (docs/reference/mutation.md)."""

import dataclasses
from datetime import timedelta

import pytest

from shared import beginnings, endings, outcomes
from shared.errors import NotYetError, PermanentError, TransientError
from shared.models import (
    Connection,
    ConnectionState,
    Direction,
    Done,
    Kind,
    OperationState,
    Plan,
    PlannedStep,
    StepRecord,
    StepState,
)
from shared.retry import WAITS
from shared.state import Snapshot
from tests.fakes.clock import START
from tests.fakes.snapshots import LATER, OPERATION, intent, running, snapshot

TWO = tuple(PlannedStep(name=name, direction=Direction.APPLY) for name in ("a", "b"))
WAITED = {
    "waiting": "closing",
    "waiting_since": START,
    "due_at": START,
    "code": "busy",
    "detail": "somebody was there",
}


def with_steps(shot: Snapshot, **steps: StepRecord) -> Snapshot:
    stored = {name: dataclasses.replace(shot.steps[name], value=step) for name, step in steps.items()}
    return dataclasses.replace(shot, steps={**shot.steps, **stored})


def with_connection(shot: Snapshot, **changes: object) -> Snapshot:
    value = shot.connection.value.model_copy(update=changes)
    return dataclasses.replace(shot, connection=dataclasses.replace(shot.connection, value=value))


def connection_after(change: endings.Change) -> Connection:
    assert change.connection is not None
    return change.connection


# --- one step ------------------------------------------------------------------------------------


def test_a_step_that_is_done_shows_nothing_of_its_waits_and_errors():
    shot = snapshot(plan=TWO)
    step = running(shot, "a", attempts=3, started_at=START, **WAITED)
    [ended, *_] = outcomes.done(shot, step, Done(), now=LATER).steps
    cleared = {"waiting": "", "waiting_since": None, "due_at": None, "code": "", "detail": "", "holder": ""}
    assert ended == step.model_copy(update={**cleared, "state": StepState.DONE, "ended_at": LATER})


def test_a_step_that_fails_shows_its_error_and_no_wait():
    shot = snapshot(plan=TWO)
    step = running(shot, "a", **WAITED)
    [failed] = outcomes.permanent(shot, step, PermanentError("broken", "why", remedy="mend"), now=LATER).steps
    assert (failed.code, failed.detail, failed.remedy) == ("broken", "why", "mend")
    assert (failed.waiting, failed.waiting_since, failed.due_at) == ("", None, None)


def test_a_wait_after_an_error_shows_the_wait_alone():
    shot = snapshot(plan=TWO)
    step = running(shot, "a", code="busy", detail="an error")
    [waiting] = outcomes.wait(shot, step, NotYetError("closing", "by x"), now=LATER, scale=1.0).steps
    assert (waiting.waiting, waiting.waiting_since, waiting.code, waiting.detail) == (
        "closing",
        LATER,
        "",
        "by x",
    )


def test_a_wait_whose_beginning_was_not_noted_begins_now():
    shot = snapshot(plan=TWO)
    step = running(shot, "a", waiting="closing", waiting_since=None)
    [waiting] = outcomes.wait(shot, step, NotYetError("closing"), now=LATER, scale=1.0).steps
    assert (waiting.state, waiting.waiting_since) == (StepState.READY, LATER)


@pytest.mark.parametrize(("reason", "kept"), [("closing", (5, START)), ("in-use", (0, None))])
def test_only_a_wait_that_may_last_for_days_lets_tries_be_counted_anew(reason: str, kept: tuple[int, object]):
    shot = snapshot(plan=TWO)
    step = running(shot, "a", attempts=5)
    [waiting] = outcomes.wait(shot, step, NotYetError(reason), now=LATER, scale=1.0).steps
    assert WAITS[reason].fresh_start is (reason == "in-use")
    assert (waiting.attempts, waiting.first_run_at) == kept


def test_waits_and_retries_are_scaled():
    shot = snapshot(plan=TWO)
    step = running(shot, "a")
    [waiting] = outcomes.wait(shot, step, NotYetError("closing"), now=LATER, scale=0.5).steps
    assert waiting.due_at == LATER + timedelta(seconds=WAITS["closing"].interval_seconds / 2)
    whole, half = (
        outcomes.transient(shot, step, TransientError("busy"), now=LATER, scale=scale).steps[0].due_at
        for scale in (1.0, 0.5)
    )
    assert whole is not None
    assert half is not None
    assert (whole - LATER) / 2 == half - LATER


def test_an_error_of_a_step_that_never_noted_its_first_run_is_tried_again():
    shot = snapshot(plan=TWO)
    step = running(shot, "a", first_run_at=None)
    [again] = outcomes.transient(shot, step, TransientError("busy"), now=LATER, scale=1.0).steps
    assert again.state is StepState.READY


def test_whatever_a_run_that_died_had_sent_is_in_doubt_from_the_next_look_on():
    shot = snapshot(plan=TWO)
    left = running(shot, "a", unanswered_at=START)
    assert beginnings.left_in_doubt(left, LATER) == left.model_copy(update={"unanswered_at": LATER})
    waiting = left.model_copy(update={"state": StepState.READY})
    assert beginnings.left_in_doubt(waiting, LATER) == waiting


@pytest.mark.parametrize(
    ("code", "since"), [("kubernetes-timeout", LATER), ("state-conflict", START), ("came-back", START)]
)
def test_an_error_leaves_in_doubt_what_was_sent_unless_all_of_it_was_answered(code: str, since: object):
    shot = snapshot(plan=TWO)
    step = running(shot, "a", unanswered_at=START)
    [again] = outcomes.transient(shot, step, TransientError(code), now=LATER, scale=1.0).steps
    assert again.unanswered_at == since


def test_what_was_planned_before_stays_known_when_a_step_is_done_again():
    earlier = Plan(planned={"name": "earlier"})
    known = intent("a", name="now").model_copy(update={"previous": (earlier,)})
    shot = snapshot(plan=TWO, intents={"a": known})
    [recorded] = outcomes.done(shot, running(shot, "a"), Done(outputs={"x": 1}), now=LATER).intents
    assert recorded == known.model_copy(update={"outputs": {"x": 1}})


def test_only_the_confirmation_of_a_prune_makes_it_one():
    shot = snapshot(Kind.PRUNE, connection_state=ConnectionState.CONFIGURED)
    other = outcomes.done(shot, running(shot, "settings"), Done(), now=LATER)
    assert connection_after(other).state is ConnectionState.CONFIGURED
    confirmed = outcomes.done(shot, running(shot, "confirm_gone"), Done(), now=LATER)
    assert connection_after(confirmed).state is ConnectionState.PRUNING


def test_a_connection_is_configured_once_and_only_its_proof_makes_it_usable():
    names = ("preflight", "settings", "prove")
    plan = tuple(PlannedStep(name=name, direction=Direction.APPLY) for name in names)
    shot = snapshot(plan=plan, done=("preflight",))
    first = outcomes.done(shot, running(shot, "settings"), Done(outputs={"result": "proved"}), now=LATER)
    made = connection_after(first)
    assert (made.state, made.configured_at, made.usable_at) == (ConnectionState.CONFIGURED, LATER, None)
    shot = with_connection(
        snapshot(plan=plan, done=("preflight", "settings")),
        configured_at=START,
        state=ConnectionState.CONFIGURED,
    )
    proved = connection_after(
        outcomes.done(shot, running(shot, "prove"), Done(outputs={"result": "proved"}), now=LATER)
    )
    assert (proved.state, proved.configured_at, proved.usable_at) == (ConnectionState.USABLE, START, LATER)
    refused = connection_after(
        outcomes.done(shot, running(shot, "prove"), Done(outputs={"result": "refused"}), now=LATER)
    )
    assert (refused.state, refused.usable_at) == (ConnectionState.CONFIGURED, None)


def test_a_connection_is_not_configured_while_anything_is_unwritten():
    shot = snapshot(plan=TWO)
    change = outcomes.done(shot, running(shot, "a"), Done(), now=LATER)
    assert connection_after(change).configured_at is None


# --- what is shown -------------------------------------------------------------------------------


def test_an_operation_whose_step_goes_on_shows_neither_wait_nor_detail():
    shot = snapshot(plan=TWO, state=OperationState.WAITING, waiting="closing", detail="by x")
    operation = outcomes.done(shot, running(shot, "a"), Done(), now=LATER).operation
    assert (operation.state, operation.waiting, operation.detail) == (OperationState.RUNNING, "", "")


def test_an_operation_shows_the_detail_of_its_wait_and_of_its_retry():
    shot = snapshot(plan=TWO)
    waits = outcomes.wait(shot, running(shot, "a"), NotYetError("closing", "by x"), now=LATER, scale=1.0)
    assert (waits.operation.waiting, waits.operation.detail) == ("closing", "by x")
    again = outcomes.transient(
        shot, running(shot, "a"), TransientError("busy", "try later"), now=LATER, scale=1.0
    )
    assert (again.operation.waiting, again.operation.detail) == ("retry", "busy: try later")


def test_a_step_that_runs_again_or_is_ready_at_once_is_no_wait():
    empty = snapshot(plan=TWO)
    runs = running(empty, "b", waiting="closing", due_at=START)
    shot = with_steps(empty, b=runs)
    assert outcomes.done(shot, running(shot, "a"), Done(), now=LATER).operation.waiting == ""
    ready = StepRecord(
        operation_id=OPERATION, name="b", direction=Direction.APPLY, state=StepState.READY, turn=1
    )
    shot = with_steps(empty, b=ready)
    assert outcomes.done(shot, running(shot, "a"), Done(), now=LATER).operation.waiting == ""


def test_a_connection_that_is_repaired_has_not_ended():
    shot = with_connection(
        snapshot(Kind.REPAIR, plan=TWO, done=("b",), connection_state=ConnectionState.FAILED), ended_at=START
    )
    after = connection_after(outcomes.done(shot, running(shot, "a"), Done(), now=LATER))
    assert (after.state, after.ended_at) == (ConnectionState.CONFIGURED, None)
