"""What each outcome of a step changes: from one snapshot to the next, without input or output.

The four outcomes of a step are ``done``, ``wait``, ``transient`` and ``permanent``. Times come from the
snapshot (the state store's own clock), never from this machine.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

from shared import beginnings, endings, plans, retry
from shared.endings import Change
from shared.errors import NotYetError, PermanentError, TransientError
from shared.models import (
    Connection,
    ConnectionState,
    Direction,
    Done,
    Intent,
    Kind,
    Operation,
    OperationState,
    StepRecord,
    StepState,
)
from shared.state import Snapshot


def claim(snapshot: Snapshot, step: StepRecord, *, holder: str, lease_seconds: int, now: datetime) -> Change:
    """A run takes the step for itself; the first claim of an operation begins it.

    A step that is taken while it still says ``running`` was left by a run that died: that is an attempt.
    """
    operation, connection = beginnings.begin(snapshot.operation.value, snapshot.connection.value, now)
    taken = step.model_copy(
        update={
            "state": StepState.RUNNING,
            "holder": holder,
            "lease_seconds": lease_seconds,
            "attempts": step.attempts + (step.state is StepState.RUNNING),
            "first_run_at": _first_run_at(step, now),
            "started_at": now,
        },
    )
    return Change(operation=operation, steps=(taken,), connection=connection)


def _first_run_at(step: StepRecord, now: datetime) -> datetime:
    """Since when a step's errors are timed: a wait, and the run that asked for it, are nobody's failure."""
    since = step.first_run_at or now
    if step.state is not StepState.READY or not step.waiting or step.code or step.started_at is None:
        return since
    return min(since + (now - step.started_at), now)


def done(snapshot: Snapshot, step: StepRecord, result: Done, *, now: datetime) -> Change:
    """The step has succeeded: record it, ready what waited for it, end the operation if it was the last."""
    operation, connection = snapshot.operation.value, snapshot.connection.value
    finished = _rest(step, now, StepState.DONE).model_copy(update={"outputs": result.outputs})
    intents = _intents(snapshot, step, result)
    if operation.kind is Kind.PRUNE and step.name == plans.CONFIRMED_BY and not result.ends_operation:
        waits = beginnings.blocked(operation, connection)
        if waits is not None:
            # Somebody else has begun to change the connection since this run looked.
            return wait(snapshot, step, waits, now=now, scale=1.0)
        operation = operation.model_copy(update={"confirmed": True})
        if not operation.report_only:
            connection = connection.model_copy(update={"state": ConnectionState.PRUNING})
    states = {name: stored.value.state for name, stored in snapshot.steps.items()}
    states[step.name] = StepState.DONE
    if operation.kind is Kind.CREATE:
        connection = _milestones(
            operation,
            connection,
            step=step.name,
            result=result,
            states=states,
            now=now,
        )
    if operation.failing:
        return endings.stop(snapshot, finished, connection=connection, intents=intents, now=now)
    steps = [finished]
    for planned in operation.plan:
        if states[planned.name] is StepState.PENDING and all(
            states[need] is StepState.DONE for need in planned.needs
        ):
            ready = snapshot.steps[planned.name].value.model_copy(
                update={"state": StepState.READY, "turn": 1},
            )
            steps.append(ready)
    if result.ends_operation:
        # What the rest of the plan would have done is not needed; its steps stay pending.
        return endings.end(
            snapshot,
            connection=snapshot.connection.value,
            steps=(finished,),
            state=OperationState.SUCCEEDED,
            code=result.ends_operation,
            detail=result.detail,
            remedy=result.remedy,
            now=now,
        )
    if all(state is StepState.DONE for state in states.values()):
        if operation.kind is Kind.REPAIR:
            connection = _repaired(connection, result, now)
        return endings.end(
            snapshot,
            connection=connection,
            steps=tuple(steps),
            intents=intents,
            state=OperationState.SUCCEEDED,
            now=now,
        )
    shown = endings.shown(snapshot, tuple(steps), operation=operation)
    return Change(operation=shown, steps=tuple(steps), connection=connection, intents=intents)


def _intents(snapshot: Snapshot, step: StepRecord, result: Done) -> tuple[Intent, ...]:
    """What the step's intent says from now on, if it says anything else."""
    operation, known = snapshot.operation.value, snapshot.intents.get(step.name)
    makes = operation.kind in {Kind.CREATE, Kind.REPAIR, Kind.RESTORE}
    if makes and step.direction is Direction.APPLY and result.outputs:
        made = Intent(
            connection_id=operation.connection_id,
            step=step.name,
            generation=operation.generation,
            planned=known.planned if known else {},
            outputs=result.outputs,
            previous=known.previous[: result.earlier_plans] if known else (),
        )
        return (made,)
    if step.direction is not Direction.REVERT or operation.report_only or known is None:
        return ()
    if known.generation != operation.generation or known.left:
        return ()
    # A users row that says who has left goes with its last user; an intent may outlive its removal.
    return (known.model_copy(update={"left": True}),)


def pointless(snapshot: Snapshot, step: StepRecord, code: str, *, now: datetime) -> Change:
    """The operation has nothing left to do and ends well, with that result."""
    return done(snapshot, step, Done(ends_operation=code), now=now)


def wait(snapshot: Snapshot, step: StepRecord, error: NotYetError, *, now: datetime, scale: float) -> Change:
    """The step waits for a named reason; no attempt is used.

    What made its message poison before is over, and counts no more: a minute without the tables is enough for
    that, and a step that is held for weeks meets more than one.
    """
    same = step.waiting == error.reason
    since = step.waiting_since if same and step.waiting_since else now
    decision = retry.after_wait(
        error.reason,
        waiting_since=since,
        now=now,
        asked_seconds=error.seconds,
        retry_after_seconds=error.retry_after_seconds,
        scale=scale,
    )
    if isinstance(decision, retry.GiveUp):
        return permanent(snapshot, step, PermanentError(decision.code, error.detail), now=now)
    if snapshot.operation.value.failing:
        return stopped(snapshot, step, now=now)
    if retry.WAITS[error.reason].fresh_start:
        step = step.model_copy(update={"attempts": 0, "first_run_at": None})
    waiting = _again(step, now, decision.seconds).model_copy(
        update={
            "waiting": error.reason,
            "waiting_since": since,
            "crashes": 0,
            "noted": {**step.noted, **error.note},
            "detail": error.detail,
            "code": "",
        },
    )
    return Change(operation=endings.shown(snapshot, (waiting,)), steps=(waiting,))


def stopped(snapshot: Snapshot, step: StepRecord, *, now: datetime) -> Change:
    """Another step of the operation has failed: this one is not tried again."""
    idle = _rest(step, now, StepState.PENDING).model_copy(update={"ended_at": None})
    return endings.stop(snapshot, idle, connection=snapshot.connection.value, now=now)


def transient(
    snapshot: Snapshot,
    step: StepRecord,
    error: TransientError,
    *,
    now: datetime,
    scale: float,
) -> Change:
    """The step is tried again later, unless its attempts or its time are used up."""
    attempts = step.attempts + 1
    decision = retry.after_error(
        error,
        attempts=attempts,
        first_run_at=step.first_run_at or now,
        now=now,
        seed=f"{step.operation_id}|{step.name}",
        scale=scale,
    )
    unanswered_at = step.unanswered_at if error.code in retry.ANSWERED else now
    counted = step.model_copy(update={"attempts": attempts, "unanswered_at": unanswered_at})
    if isinstance(decision, retry.GiveUp):
        exhausted = PermanentError(
            decision.code,
            f"after {attempts} tries, the last: {error}",
            remedy="mend the cause, then send the same request again, or delete the connection",
        )
        return permanent(snapshot, counted, exhausted, now=now)
    if snapshot.operation.value.failing:
        return stopped(snapshot, counted, now=now)
    again = _again(counted, now, decision.seconds).model_copy(
        # A wait that an error interrupts goes on: its deadline counts from its own beginning.
        update={"code": error.code, "detail": error.detail},
    )
    return Change(operation=endings.shown(snapshot, (again,)), steps=(again,))


def permanent(snapshot: Snapshot, step: StepRecord, error: PermanentError, *, now: datetime) -> Change:
    """The step and with it the operation have failed; what was made stays and a delete removes it."""
    failed = _rest(step, now, StepState.FAILED).model_copy(
        update={"code": error.code, "detail": error.detail, "remedy": error.remedy},
    )
    return endings.fail(snapshot, failed, error, now=now)


def _milestones(
    operation: Operation,
    connection: Connection,
    *,
    step: str,
    result: Done,
    states: Mapping[str, StepState],
    now: datetime,
) -> Connection:
    """Configured once everything is written, whatever its order was; usable once it is proved."""
    writing = (planned.name for planned in operation.plan if planned.name != plans.PROVED_BY)
    if connection.configured_at is None and all(states[name] is StepState.DONE for name in writing):
        update = {"state": ConnectionState.CONFIGURED, "configured_at": now}
        connection = connection.model_copy(update=update)
    if step == plans.PROVED_BY and result.outputs.get("result") == "proved":
        return connection.model_copy(update={"state": ConnectionState.USABLE, "usable_at": now})
    return connection


def _repaired(connection: Connection, last: Done, now: datetime) -> Connection:
    """A repair says what the connection is once all of it is done; one that failed says nothing."""
    proved = last.outputs.get("result") == "proved"
    return connection.model_copy(
        update={
            "state": ConnectionState.USABLE if proved else ConnectionState.CONFIGURED,
            "configured_at": connection.configured_at or now,
            "usable_at": now if proved else None,
            "ended_at": None,
        },
    )


def _rest(step: StepRecord, now: datetime, state: StepState) -> StepRecord:
    return step.model_copy(
        update={
            "state": state,
            "holder": "",
            "waiting": "",
            "waiting_since": None,
            "due_at": None,
            "ended_at": now,
            "code": "",
            "detail": "",
        },
    )


def _again(step: StepRecord, now: datetime, seconds: float) -> StepRecord:
    return step.model_copy(
        update={
            "state": StepState.READY,
            "turn": step.turn + 1,
            "holder": "",
            "announced": False,
            "due_at": now + timedelta(seconds=seconds),
        },
    )
