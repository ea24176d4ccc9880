"""Every field that the end of an operation changes (docs/reference/mutation.md)."""

import pytest

from shared import endings, naming, outcomes, plans
from shared.beginnings import begin
from shared.errors import PermanentError
from shared.models import (
    ConnectionState,
    Direction,
    Done,
    Kind,
    OperationId,
    OperationState,
    PlannedStep,
    Replaced,
    StepState,
)
from tests.fakes.clock import START
from tests.fakes.snapshots import LATER, OPERATION, SPEC, intent, running, snapshot
from tests.unit.test_mutants_outcomes import TWO, WAITED, connection_after, with_connection, with_steps

UNFINISHED = frozenset({ConnectionState.CONNECTING, ConnectionState.PRUNING})


def test_a_failure_puts_a_step_that_waits_for_its_time_to_rest():
    empty = snapshot(plan=TWO)
    shot = with_steps(empty, b=running(empty, "b", state=StepState.READY, holder="", **WAITED))
    change = outcomes.permanent(shot, running(shot, "a"), PermanentError("broken"), now=LATER)
    [rested] = [step for step in change.steps if step.name == "b"]
    assert (rested.state, rested.due_at, rested.waiting) == (StepState.PENDING, None, "")


def test_what_a_step_made_while_another_failed_is_recorded_with_the_connection():
    empty = snapshot(plan=(*TWO, PlannedStep(name="c", direction=Direction.APPLY)), failing=True)
    shot = with_steps(empty, c=running(empty, "c"))
    moved = shot.connection.value.model_copy(update={"last_operation": OperationId("x")})
    change = endings.stop(shot, running(shot, "a"), connection=moved, intents=(intent("a"),), now=LATER)
    assert (change.connection, change.intents) == (moved, (intent("a"),))
    assert not change.operation.state.final


def test_an_operation_that_ends_well_shows_no_wait_no_error_and_when():
    shot = snapshot(plan=TWO, done=("b",), state=OperationState.WAITING, waiting="closing", detail="by x")
    operation = outcomes.done(shot, running(shot, "a"), Done(), now=LATER).operation
    assert (operation.state, operation.ended_at) == (OperationState.SUCCEEDED, LATER)
    assert (operation.waiting, operation.code, operation.detail, operation.remedy) == ("", "", "", "")


def test_a_removal_that_fails_forgets_nothing_and_keeps_its_connection():
    shot = snapshot(Kind.DELETE, intents={"settings": intent("settings")})
    change = outcomes.permanent(shot, running(shot, "settings"), PermanentError(""), now=LATER)
    after = connection_after(change)
    assert (after.state, after.ended_at, change.forget) == (ConnectionState.FAILED, None, ())


def test_a_removal_of_an_earlier_life_ends_nothing_of_the_present_one():
    done = tuple(step.name for step in snapshot(Kind.DELETE).operation.value.plan if step.name != "quiesce")
    shot = with_connection(
        snapshot(Kind.DELETE, done=done, intents={"settings": intent("settings")}), generation=2
    )
    change = outcomes.done(shot, running(shot, "quiesce"), Done(), now=LATER)
    assert (connection_after(change).state, change.forget) == (ConnectionState.CONNECTING, ())


@pytest.mark.parametrize(
    ("kind", "after"),
    [(Kind.CREATE, ConnectionState.FAILED), (Kind.DELETE, ConnectionState.RESTORED)],
)
def test_only_a_failed_prune_leaves_an_observed_connection_observed(kind: Kind, after: ConnectionState):
    shot = with_connection(snapshot(kind), linker_id="/linkers/x")
    change = outcomes.permanent(
        shot, running(shot, shot.operation.value.plan[0].name), PermanentError("x"), now=LATER
    )
    assert connection_after(change).state is after


@pytest.mark.parametrize("changes", [{}, {"linker_id": "/linkers/x"}, {"ended_at": LATER}])
@pytest.mark.parametrize("state", list(ConnectionState))
def test_a_prune_that_has_confirmed_nothing_leaves_what_another_has_begun_or_ended(
    state: ConnectionState, changes: dict[str, object]
):
    shot = with_connection(snapshot(Kind.PRUNE, connection_state=state), **changes)
    change = outcomes.permanent(shot, running(shot, "confirm_gone"), PermanentError("x"), now=LATER)
    assert connection_after(change).state is state


def test_a_prune_that_only_reports_leaves_its_connection_as_it_is_when_it_fails():
    shot = snapshot(Kind.PRUNE, connection_state=ConnectionState.USABLE, confirmed=True, report_only=True)
    change = outcomes.permanent(shot, running(shot, "settings"), PermanentError("x"), now=LATER)
    assert connection_after(change).state is ConnectionState.USABLE


def test_a_prune_that_had_begun_to_remove_leaves_its_connection_failed():
    shot = snapshot(Kind.PRUNE, connection_state=ConnectionState.PRUNING, confirmed=True)
    change = outcomes.permanent(shot, running(shot, "settings"), PermanentError("x"), now=LATER)
    assert connection_after(change).state is ConnectionState.FAILED


@pytest.mark.parametrize(
    ("before", "after", "changes"),
    [
        (ConnectionState.CONNECTING, ConnectionState.FAILED, {}),
        (ConnectionState.PRUNING, ConnectionState.FAILED, {}),
        (ConnectionState.PRUNING, ConnectionState.ORPHANED, {"ended_at": LATER}),
        *((state, state, {}) for state in ConnectionState if state not in UNFINISHED),
    ],
)
def test_a_delete_that_fails_before_it_has_begun_ends_what_it_has_overtaken_and_breaks_nothing_else(
    before: ConnectionState, after: ConnectionState, changes: dict[str, object]
):
    shot = with_connection(snapshot(Kind.DELETE, connection_state=before, begun=False), **changes)
    change = outcomes.permanent(shot, running(shot, "quiesce"), PermanentError("x"), now=LATER)
    assert connection_after(change).state is after


@pytest.mark.parametrize("kind", [kind for kind in Kind if kind is not Kind.DELETE])
@pytest.mark.parametrize("state", sorted(UNFINISHED))
def test_any_other_operation_that_fails_before_it_has_begun_leaves_the_one_under_way_to_its_end(
    kind: Kind, state: ConnectionState
):
    shot = snapshot(kind, connection_state=state, begun=False)
    step = running(shot, shot.operation.value.plan[0].name)
    change = outcomes.permanent(shot, step, PermanentError("x"), now=LATER)
    assert connection_after(change).state is state


RESTORED = {plans.RESTORED_BY: intent(plans.RESTORED_BY)}


@pytest.mark.parametrize(
    ("kind", "before", "after"),
    [
        (Kind.RESTORE, ConnectionState.PRUNED, ConnectionState.RESTORED),
        (Kind.RESTORE, ConnectionState.ORPHANED, ConnectionState.ORPHANED),
        (Kind.VALIDATE, ConnectionState.PRUNED, ConnectionState.PRUNED),
    ],
)
def test_only_a_restore_of_what_was_pruned_may_have_put_something_back_when_it_fails(
    kind: Kind, before: ConnectionState, after: ConnectionState
):
    shot = with_connection(
        snapshot(kind, connection_state=before, intents=RESTORED, plan=TWO), ended_at=LATER
    )
    change = outcomes.permanent(shot, running(shot, "a"), PermanentError("x"), now=LATER)
    assert connection_after(change).state is after
    assert (connection_after(change).ended_at is None) is (after is ConnectionState.RESTORED)


def test_a_restore_that_never_began_has_put_nothing_back():
    shot = snapshot(
        Kind.RESTORE, connection_state=ConnectionState.PRUNED, intents=RESTORED, plan=TWO, begun=False
    )
    change = outcomes.permanent(shot, running(shot, "a"), PermanentError("x"), now=LATER)
    assert connection_after(change).state is ConnectionState.PRUNED


@pytest.mark.parametrize("state", [one for one in ConnectionState if one is not ConnectionState.PRUNED])
def test_an_overtaken_restore_leaves_what_was_not_pruned_as_it_is(state: ConnectionState):
    connection = with_connection(snapshot(connection_state=state), ended_at=LATER).connection.value
    assert endings.left_by_restore(connection, RESTORED) == connection


UPDATE = {"changes": naming.spec_hash(SPEC)}


def test_an_update_that_could_make_nothing_leaves_a_connection_usable_and_says_since_when():
    shot = snapshot(begun=False, connection_state=ConnectionState.USABLE, plan=TWO, **UPDATE)
    before = with_connection(shot, configured_at=START, usable_at=START).connection.value
    operation, connection = begin(shot.operation.value, before, LATER)
    assert connection.usable_at is None
    shot = with_connection(snapshot(plan=TWO, replaced=operation.replaced, **UPDATE), **dict(connection))
    change = outcomes.permanent(shot, running(shot, "a"), PermanentError("x"), now=LATER)
    ended = {"active": (OperationId("other"),), "last_operation": OPERATION}
    assert connection_after(change) == before.model_copy(update=ended)


def test_an_update_of_which_a_step_is_done_as_the_last_after_the_failure_has_made_something():
    wish = SPEC.model_copy(update={"workload": "another"})
    before = Replaced(spec=SPEC, state=ConnectionState.USABLE)
    shot = with_connection(snapshot(plan=TWO, failing=True, replaced=before, **UPDATE), spec=wish)
    ended = running(shot, "a", state=StepState.DONE)
    change = endings.stop(shot, ended, connection=shot.connection.value, now=LATER)
    assert change.operation.state is OperationState.FAILED
    after = connection_after(change)
    assert (after.spec, after.state) == (wish, ConnectionState.FAILED)
