"""What is told of an operation as a whole: its trace's first span, and the metrics of its end."""

from __future__ import annotations

from contextlib import AbstractContextManager
from datetime import datetime
from typing import Protocol

from shared import event_time, naming
from shared.models import Cause, Connection, Kind, Operation, OperationState
from shared.ports import Span, Telemetry

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
