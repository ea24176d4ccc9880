"""What the engine says of each run of a step: one line at its start, one at its end."""

from __future__ import annotations

import logging

from shared import naming
from shared.errors import MooringError, NotYetError, PermanentError
from shared.logs import BoundLogger, bind
from shared.models import Done, StepRecord


class StepLog:
    """Log lines of steps, bound to connection, operation, step and attempt."""

    def __init__(self, logger: logging.Logger) -> None:
        self._logger = logger

    def started(self, step: StepRecord) -> None:
        """A run has taken the step."""
        self._bound(step).debug("step-started", extra={"direction": step.direction.value})

    def ended(self, step: StepRecord, result: Done | MooringError, *, seconds: float, recorded: bool) -> None:
        """A run is over; ``recorded`` is false if its lease or its operation was lost meanwhile."""
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
