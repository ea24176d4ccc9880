"""How an operation ends, and how a failure lets its running steps come to rest first.

Steps of one operation may run side by side. When one fails, the others are not started any more, and
those under way finish and record what they made: only then is the operation final, so that a delete
that follows meets nothing in flight.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from shared import plans, retry
from shared.errors import PermanentError
from shared.models import (
    Connection,
    ConnectionState,
    Direction,
    Intent,
    Kind,
    Operation,
    OperationState,
    StepRecord,
    StepState,
)
from shared.state import Snapshot, Stored


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """New values of what an outcome touches, and which steps are to be announced after it is saved."""

    operation: Operation
    steps: tuple[StepRecord, ...] = ()
    connection: Connection | None = None
    intents: tuple[Intent, ...] = ()
    forget: tuple[str, ...] = ()


def fail(snapshot: Snapshot, failed: StepRecord, error: PermanentError, *, now: datetime) -> Change:
    """A step has failed for good: nothing new starts, and the operation fails once nothing runs."""
    operation = snapshot.operation.value
    if not operation.failing:
        operation = operation.model_copy(
            update={
                "failing": True,
                "code": error.code,
                "detail": f"{failed.name}: {error.detail}",
                "remedy": error.remedy,
            },
        )
    ready = [
        stored.value.model_copy(update={"state": StepState.PENDING, "due_at": None, "waiting": ""})
        for name, stored in snapshot.steps.items()
        if name != failed.name and stored.value.state is StepState.READY
    ]
    return _settle(snapshot, operation, (failed, *ready), connection=snapshot.connection.value, now=now)


def stop(
    snapshot: Snapshot,
    step: StepRecord,
    *,
    connection: Connection,
    now: datetime,
    intents: tuple[Intent, ...] = (),
) -> Change:
    """A step of a failing operation has come to rest."""
    operation = snapshot.operation.value
    return _settle(snapshot, operation, (step,), connection=connection, intents=intents, now=now)


def shown(
    snapshot: Snapshot,
    steps: tuple[StepRecord, ...],
    *,
    operation: Operation | None = None,
) -> Operation:
    """The operation as its steps show it: the first that waits names the wait, a held one before others."""
    now = {name: stored.value for name, stored in snapshot.steps.items()}
    now |= {step.name: step for step in steps}
    idle = [step for step in now.values() if step.state is StepState.READY and step.due_at is not None]
    waiting = [step for step in idle if step.waiting and not step.code]
    held = [step for step in waiting if retry.WAITS[step.waiting].held]
    update: dict[str, object] = {"state": OperationState.RUNNING, "waiting": "", "detail": ""}
    if waiting:
        first = (held or waiting)[0]
        state = OperationState.HELD if held else OperationState.WAITING
        update = {"state": state, "waiting": first.waiting, "detail": first.detail}
    elif idle:
        update |= {"waiting": "retry", "detail": f"{idle[0].code}: {idle[0].detail}"}
    return (operation or snapshot.operation.value).model_copy(update=update)


def _settle(
    snapshot: Snapshot,
    operation: Operation,
    steps: tuple[StepRecord, ...],
    *,
    connection: Connection,
    now: datetime,
    intents: tuple[Intent, ...] = (),
) -> Change:
    moved = {step.name for step in steps}
    others = [stored.value for name, stored in snapshot.steps.items() if name not in moved]
    if any(other.state is StepState.RUNNING for other in others):
        return Change(operation=operation, steps=steps, connection=connection, intents=intents)
    return end(
        snapshot,
        connection=connection,
        steps=steps,
        intents=intents,
        state=OperationState.FAILED,
        code=operation.code,
        detail=operation.detail,
        remedy=operation.remedy,
        now=now,
    )


def end(
    snapshot: Snapshot,
    *,
    connection: Connection,
    steps: tuple[StepRecord, ...],
    state: OperationState,
    now: datetime,
    intents: tuple[Intent, ...] = (),
    code: str = "",
    detail: str = "",
    remedy: str = "",
) -> Change:
    """The operation is final: its connection becomes what the operation was for, or falls.

    Args:
        snapshot: before the outcome.
        connection: with what the outcome has changed of it so far.
        steps: new values of steps.
        state: succeeded or failed.
        now: the store's time.
        intents: new values of intents; those of a connection that has ended are forgotten.
        code: error code, or the result of an early end.
        detail: of the error.
        remedy: of the error.
    """
    operation = snapshot.operation.value.model_copy(
        update={
            "state": state,
            "waiting": "",
            "code": code,
            "detail": detail,
            "remedy": remedy,
            "ended_at": now,
        },
    )
    forget: tuple[str, ...] = ()
    update: dict[str, object] = {}
    if operation.kind is not Kind.VALIDATE:
        update["active"] = tuple(other for other in connection.active if other != operation.operation_id)
        update["last_operation"] = operation.operation_id
    if state is OperationState.FAILED:
        done = [name for name in snapshot.steps if _state(snapshot, steps, name) is StepState.DONE]
        refused = _refused(operation) if not done else {}
        update |= refused or _fallen(operation, connection, snapshot.intents)
    end = plans.end_state(operation.kind, operation.cause, connection=connection)
    if end is ConnectionState.RESTORED and connection.state is not ConnectionState.PRUNED:
        end = None  # an orphan stays one
    if end is ConnectionState.PRUNED and plans.RESTORED_BY in snapshot.intents:
        end = ConnectionState.RESTORED  # what a person has put back stays, and stays on record
    own = operation.generation == connection.generation
    if (
        state is OperationState.SUCCEEDED
        and not code
        and end is not None
        and own
        and not operation.report_only
    ):
        update |= {"state": end, "ended_at": None if end is ConnectionState.RESTORED else now}
        reverted = {planned.name for planned in operation.plan if planned.direction is Direction.REVERT}
        # What a step kept (a live linker uses it, a person marked it) stays known to an orphan.
        kept = {name for name in reverted if _outputs(snapshot, steps, name).get("kept")}
        known = set(snapshot.intents)
        if operation.kind is Kind.PRUNE and end is ConnectionState.RESTORED:
            gone = known - {plans.RESTORED_BY}
        else:
            gone = known if not end.live else reverted - kept
        forget = tuple(sorted(gone & set(snapshot.intents)))
    return Change(
        operation=operation,
        steps=steps,
        connection=connection.model_copy(update=update),
        intents=tuple(intent for intent in intents if intent.step not in forget),
        forget=forget,
    )


def _outputs(snapshot: Snapshot, steps: tuple[StepRecord, ...], name: str) -> Mapping[str, Any]:
    now = {step.name: step for step in steps}
    return (now.get(name) or snapshot.steps[name].value).outputs


def _state(snapshot: Snapshot, steps: tuple[StepRecord, ...], name: str) -> StepState:
    now = {step.name: step for step in steps}
    return (now.get(name) or snapshot.steps[name].value).state


def _refused(operation: Operation) -> dict[str, object]:
    """What an update leaves that has made nothing: the connection as it was.

    Its wish must not stay on record: what it names may not be there, and a sweep takes what a connection
    relies on and does not find for deleted.
    """
    before = operation.replaced
    if before is None:
        return {}
    # Nothing is under way that would end such a state.
    unfinished = before.state is ConnectionState.CONNECTING
    return {
        "spec": before.spec,
        "body_hash": operation.changes,
        "state": ConnectionState.FAILED if unfinished else before.state,
        "configured_at": before.configured_at,
        "usable_at": before.usable_at,
    }


def _fallen(operation: Operation, connection: Connection, intents: Mapping[str, Intent]) -> dict[str, object]:
    """What a failed operation makes of its connection."""
    if operation.kind is Kind.PRUNE:
        # A hint that could not be checked breaks nothing, and another prune may remove beside it.
        removed = operation.confirmed and connection.state is ConnectionState.PRUNING
        return _unpruned(connection) if removed else {}
    if operation.kind is Kind.DELETE and not operation.begun:
        return _unended(connection)
    if operation.kind is Kind.DELETE and connection.linker_id:
        # It was put back of a connection that Service Connector has no more: a delete must reach it again.
        return {"state": ConnectionState.RESTORED}
    if operation.kind is Kind.CREATE and connection.configured_at is not None:
        # What failed after the settings were written (the proof) leaves the connection configured.
        return {}
    if operation.kind is Kind.RESTORE and connection.state is ConnectionState.PRUNED:
        # Something may stand there again: it must be found, and a delete request must reach it.
        begun = operation.begun and plans.RESTORED_BY in intents
        return {"state": ConnectionState.RESTORED, "ended_at": None} if begun else {}
    failing = operation.kind in {Kind.CREATE, Kind.DELETE} and operation.begun
    return {"state": ConnectionState.FAILED} if failing else {}


def _unended(connection: Connection) -> dict[str, object]:
    """What a delete leaves that fails before it begins: it has overtaken whatever would end such a state."""
    if connection.state is ConnectionState.PRUNING:
        return _unpruned(connection)
    return {"state": ConnectionState.FAILED} if connection.state is ConnectionState.CONNECTING else {}


def _unpruned(connection: Connection) -> dict[str, object]:
    """What a prune leaves that had begun to remove and did not come to its end."""
    if connection.linker_id:
        # Service Connector's, and not deleted by us: we go on watching it.
        adopted = connection.adopted_at is not None
        return {"state": ConnectionState.ADOPTED if adopted else ConnectionState.OBSERVED}
    # An orphan stays one: a rebuild still finds what is left, and the next sweep tries again.
    orphaned = connection.ended_at is not None
    return {"state": ConnectionState.ORPHANED if orphaned else ConnectionState.FAILED}


def left_by_restore(connection: Connection, intents: Mapping[str, Intent]) -> Connection:
    """The connection as an overtaken restore leaves it: what was put back, or may be, stays on record.

    Another life would know nothing of it: whoever comes goes on with this one.
    """
    known = intents.get(plans.RESTORED_BY)
    if connection.state is not ConnectionState.PRUNED or known is None:
        return connection
    return connection.model_copy(update={"state": ConnectionState.RESTORED, "ended_at": None})


def superseded(other: Stored[Operation], by: Kind, now: datetime) -> Stored[Operation]:
    """An operation that another one overtakes, as it ends."""
    ended = {
        "state": OperationState.SUPERSEDED,
        "waiting": "",
        "code": f"superseded-by-{by.value}",
        "ended_at": now,
    }
    return dataclasses.replace(other, value=other.value.model_copy(update=ended))
