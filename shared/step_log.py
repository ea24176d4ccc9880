"""What the engine says of each run of a step: one line at its start, one at its end."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from shared import naming
from shared.errors import MooringError, NotYetError, PermanentError
from shared.logs import BoundLogger, bind
from shared.models import Done, StepRecord
from shared.ports import SILENCE, Telemetry
from shared.state import Snapshot


class StepLog:
    """Log lines, spans and metrics of steps, bound to connection, operation, step and attempt."""

    def __init__(self, logger: logging.Logger, telemetry: Telemetry = SILENCE) -> None:
        self._logger = logger
        self._telemetry = telemetry

    def started(self, step: StepRecord) -> None:
        """A run has taken the step."""
        self._bound(step).debug("step-started", extra={"direction": step.direction.value})

    @asynccontextmanager
    async def span(self, snapshot: Snapshot, step: StepRecord) -> AsyncIterator[None]:
        """A run's span in its operation's trace; calls to Azure and clusters become parts of it."""
        spec = snapshot.connection.value.spec
        fields = {
            "connection_id": snapshot.operation.value.connection_id,
            "operation_id": step.operation_id,
            "step": step.name,
            "direction": step.direction.value,
            "attempt": step.attempts + 1,
            "turn": step.turn,
            "cluster": spec.cluster_id.rsplit("/", 1)[-1],
            "namespace": spec.namespace,
            "target_type": spec.target_type,
        }
        with self._telemetry.span(f"step {step.name}", of=step.operation_id, fields=fields) as span:
            try:
                yield
            except MooringError as error:
                span.note({"outcome": _outcome(error), "code": error.code})
                raise
            span.note({"outcome": "done"})

    def ended(self, step: StepRecord, result: Done | MooringError, *, seconds: float, recorded: bool) -> None:
        """A run is over; ``recorded`` is false if its lease or its operation was lost meanwhile."""
        self._telemetry.measure("step_seconds", seconds, step=step.name)
        self._waited(step, result)
        log = self._bound(step)
        fields = {
            "direction": step.direction.value,
            "outcome": _outcome(result),
            "seconds": round(seconds, 3),
            "recorded": recorded,
        }
        if isinstance(result, MooringError):
            fields |= {"code": result.code, "detail": result.detail}
        if isinstance(result, PermanentError):
            log.error("step-ended", extra=fields)
        elif isinstance(result, Done | NotYetError):
            log.info("step-ended", extra=fields)
        else:
            log.warning("step-ended", extra=fields)

    def unexpected(self, step: StepRecord, error: Exception) -> None:
        """A step raised what no client should let out: its traceback is worth having."""
        self._bound(step).error("step-unexpected", exc_info=error, extra={"error": type(error).__name__})

    def _waited(self, step: StepRecord, result: Done | MooringError) -> None:
        """Measure a wait that is over, by the state store's clock. An error interrupts it only."""
        over = isinstance(result, Done) or (isinstance(result, NotYetError) and result.reason != step.waiting)
        if over and step.waiting_since and step.started_at:
            seconds = (step.started_at - step.waiting_since).total_seconds()
            self._telemetry.measure("propagation_wait_seconds", seconds, kind=step.waiting)

    def _bound(self, step: StepRecord) -> BoundLogger:
        return bind(
            self._logger,
            connection_id=naming.connection_of(step.operation_id),
            operation_id=step.operation_id,
            step=step.name,
            attempt=step.attempts + 1,
        )


def _outcome(result: Done | MooringError) -> str:
    if isinstance(result, Done):
        return "done"
    if isinstance(result, NotYetError):
        return "wait"
    return "permanent" if isinstance(result, PermanentError) else "transient"
