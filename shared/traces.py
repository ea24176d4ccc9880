"""What is told of an operation as a whole: its trace's first span, and the line and metrics of its end."""

from __future__ import annotations

import logging
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Protocol

from shared import event_time, naming
from shared.logs import bind
from shared.models import Cause, Connection, Kind, Operation, OperationState, StepState
from shared.ports import Span, Telemetry
from shared.state import Snapshot

PRUNED = "pruned"


class Wish(Protocol):
    """What asks for an operation (``shared/opening.py``)."""

    @property
    def kind(self) -> Kind:
        """What is to be done."""
        ...

    @property
    def request_id(self) -> str:
        """Empty if no request asks."""
        ...

    @property
    def cause(self) -> Cause | None:
        """Of a prune."""
        ...

    @property
    def caller(self) -> str:
        """W3C ``traceparent``, may be empty."""
        ...


def opening(telemetry: Telemetry, operation_id: str, wish: Wish) -> AbstractContextManager[Span]:
    """A span of one wish for an operation, in the trace that the operation has if this wish opens it."""
    told = {
        "connection_id": naming.connection_of(operation_id),
        "operation_id": operation_id,
        "request_id": wish.request_id,
        "source": wish.cause.source if wish.cause else "request",
    }
    return telemetry.span(f"open {wish.kind.value}", of=operation_id, caller=wish.caller, fields=told)


def write_end(snapshot: Snapshot) -> None:
    """Write the line of an operation that is final, whatever decided its end; alerts read it.

    It needs a person if it failed, or ended well with something left to do: then it has a remedy. One that
    was overtaken needs nobody, though a step of it may have failed before.
    """
    operation = snapshot.operation.value
    failed = operation.state is OperationState.FAILED
    left = operation.state is OperationState.SUCCEEDED and bool(operation.remedy)
    level = logging.ERROR if failed else logging.WARNING if left else logging.INFO
    log = bind(
        logging.getLogger("mooring"),
        connection_id=operation.connection_id,
        operation_id=operation.operation_id,
        step=_failed_step(snapshot) if failed else "",
    )
    fields = {
        "kind": operation.kind.value,
        "state": operation.state.value,
        "needs_person": failed or left,
        "code": operation.code,
        "detail": operation.detail,
        "remedy": operation.remedy,
    }
    log.log(level, "operation-ended", extra=fields)


def _failed_step(snapshot: Snapshot) -> str:
    """The step whose code the operation has: others may have failed after it."""
    failed = {name: one.value for name, one in snapshot.steps.items() if one.value.state is StepState.FAILED}
    return next((name for name, step in failed.items() if step.code == snapshot.operation.value.code), "")


def ended(telemetry: Telemetry, operation: Operation, connection: Connection) -> None:
    """Tell of an operation that is final. Told again after a crash: the span's ids are the same then."""
    if operation.ended_at is None:
        return
    spec = operation.spec or connection.spec
    telemetry.whole(
        operation.kind.value,
        of=operation.operation_id,
        began_at=operation.opened_at,
        ended_at=operation.ended_at,
        code=operation.code or "failed" if operation.state is OperationState.FAILED else "",
        fields={
            "connection_id": operation.connection_id,
            "operation_id": operation.operation_id,
            "request_id": operation.request_id,
            "connection": spec.name,
            "cluster": spec.cluster_id.rsplit("/", 1)[-1],
            "namespace": spec.namespace,
            "target_type": spec.target_type,
            "state": operation.state.value,
            "code": operation.code,
        },
    )
    succeeded = operation.state is OperationState.SUCCEEDED
    if operation.kind is Kind.CREATE and succeeded and not operation.code:
        seconds = (operation.ended_at - operation.opened_at).total_seconds()
        telemetry.measure("time_to_usable_seconds", seconds)
    if operation.kind is Kind.PRUNE:
        result = _result(operation)
        telemetry.measure("prune_total", result=result)
        if result == PRUNED:
            telemetry.measure("time_to_pruned_seconds", _since_deletion(operation, operation.ended_at))


def _result(operation: Operation) -> str:
    if operation.state is OperationState.SUCCEEDED and not operation.code:
        return "reported" if operation.report_only else PRUNED
    return operation.code or operation.state.value


def _since_deletion(operation: Operation, ended_at: datetime) -> float:
    """Seconds from when Azure says it was deleted; where nobody has said when, from when we heard of it."""
    since = event_time.age(operation.cause.event_time, ended_at) if operation.cause else None
    return max(0.0, (since or ended_at - operation.opened_at).total_seconds())
