"""Tells the queue what is to be done next, and the world what has ended.

A step's row is written first and announced after, so a crash between the two leaves a row that says
``ready`` and was not announced: a redelivered message or the timer announces it then.
"""

from __future__ import annotations

import dataclasses
import logging
from datetime import timedelta

from shared import naming, retry, traces
from shared.errors import PermanentError, StateConflictError, TransientError
from shared.logs import bind
from shared.models import Kind, Operation, OperationId, OperationState, StepMessage, StepRecord, StepState
from shared.ports import SILENCE, OutcomeTopic, StepQueue, Telemetry
from shared.state import Snapshot, State

OVERDUE_SECONDS = 120.0
"""An announced step that nobody took after so long is announced again; its message may be in dead hands."""
UNWRITTEN_SECONDS = 600.0
"""An operation that was noted as open and still has no row after so long never gets one: twice the time that
a function may run. Forgotten before it is written, it would stand still if its message were lost."""

UNTOLD_SECONDS = 3600.0
"""The topic is tried for so long, once a minute by the timer. Event Grid says 401 of a right that was lost as
of one that is some minutes old: nothing but time tells them apart."""


@dataclasses.dataclass(frozen=True, slots=True)
class Nudge:
    """What the timer found of one open operation."""

    said: str
    late_seconds: float = 0.0
    """How long its oldest step that is due has not been taken."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Announcer:
    """Announces steps, and ended operations."""

    state: State
    queue: StepQueue
    topic: OutcomeTopic
    overdue_seconds: float = OVERDUE_SECONDS
    telemetry: Telemetry = SILENCE

    async def start(self, operation_id: OperationId) -> None:
        """Announce the first steps of an operation that was just opened, or that may not have been."""
        snapshot = await self.state.load(operation_id)
        if snapshot is not None and not snapshot.operation.value.state.final:
            await self.announce_ready(snapshot)

    async def finish(self, snapshot: Snapshot) -> None:
        """Wake what waited behind an ended operation, tell of it, and stop looking at it.

        One that the topic does not take stays noted as open, and the timer tells of it later. The line comes
        first and may be written again: alerts read it, and must miss no end for a topic or a crash.
        """
        traces.write_end(snapshot)
        operation = snapshot.operation.value
        for other in snapshot.connection.value.active:
            await self._wake(other, operation.operation_id)
        ended_at = operation.ended_at or snapshot.read_at
        if not await self._told(operation, late_seconds=(snapshot.read_at - ended_at).total_seconds()):
            return
        if operation.state is OperationState.FAILED and operation.kind is Kind.CREATE:
            # After the topic, or each of its tries would refuse once more.
            await self._refuse_unbegun(snapshot)
        await self.state.close(operation.operation_id)
        traces.ended(self.telemetry, operation, snapshot.connection.value)

    async def _told(self, operation: Operation, *, late_seconds: float) -> bool:
        """Tell of an operation; false if that is to be tried again."""
        log = bind(logging.getLogger("mooring"), operation_id=operation.operation_id)
        try:
            await self.topic.publish(
                event_type=f"Mooring.Operation.{operation.state.value.capitalize()}",
                subject=f"/connections/{operation.connection_id}",
                data={
                    "operationId": operation.operation_id,
                    "connectionId": operation.connection_id,
                    "kind": operation.kind.value,
                    "state": operation.state.value,
                    "code": operation.code,
                    "requestId": operation.request_id,
                },
                event_id=operation.operation_id,
            )
        except (TransientError, PermanentError) as error:
            said = {"code": error.code, "detail": error.detail}
            if isinstance(error, TransientError) and late_seconds < UNTOLD_SECONDS:
                log.info("outcome-waits", extra=said)
                return False
            # A topic that refuses for good must not keep an operation open for ever.
            log.warning("outcome-not-told", extra=said)
        return True

    async def _refuse_unbegun(self, snapshot: Snapshot) -> None:
        """A create that failed before it made anything is a refusal, found where refusals are found."""
        operation = snapshot.operation.value
        if any(stored.value.state is StepState.DONE for stored in snapshot.steps.values()):
            return
        await self.queue.reject(
            {
                "kind": "request-rejected",
                "operation_id": operation.operation_id,
                "connection_id": operation.connection_id,
                "request_id": operation.request_id,
                "action": operation.kind.value,
                "code": operation.code,
                "detail": operation.detail,
                "remedy": operation.remedy,
            },
        )

    async def _wake(self, waiting: OperationId, ended: OperationId) -> None:
        follower = await self.state.load(waiting)
        if follower is None or follower.operation.value.behind != ended:
            return
        for stored in follower.steps.values():
            step = stored.value
            if step.state is not StepState.READY:
                continue
            now = step.model_copy(
                update={"due_at": follower.read_at, "turn": step.turn + 1, "announced": False}
            )
            try:
                await self.state.save_step(follower, now)
            except StateConflictError:
                return
            await self.queue.announce(_message(now))

    async def nudge(self, operation_id: OperationId, *, noted_seconds: float) -> Nudge:
        """Announce again what an open operation should be doing and is not; called by the timer."""
        snapshot = await self.state.load(operation_id)
        if snapshot is None:
            if noted_seconds > UNWRITTEN_SECONDS:
                await self.state.close(operation_id)
            return Nudge("unknown")
        if snapshot.operation.value.state.final:
            await self.finish(snapshot)
            return Nudge("ended")
        nudged = False
        for name, stored in snapshot.steps.items():
            step = stored.value
            stuck = step.state is StepState.RUNNING and snapshot.lease_left_seconds(name) <= 0
            due_at = step.due_at or stored.written_at
            due = step.state is StepState.READY and due_at <= snapshot.read_at
            overdue_at = max(due_at, stored.written_at) + timedelta(seconds=self.overdue_seconds)
            if stuck or (due and (not step.announced or overdue_at <= snapshot.read_at)):
                await self._announce(snapshot, step)
                nudged = True
        return Nudge("nudged" if nudged else "quiet", late_seconds(snapshot))

    async def announce_ready(self, snapshot: Snapshot) -> None:
        """Announce every step that is ready and was not announced."""
        for stored in snapshot.steps.values():
            if stored.value.state is StepState.READY and not stored.value.announced:
                await self._announce(snapshot, stored.value)

    async def _announce(self, snapshot: Snapshot, step: StepRecord) -> None:
        """Send the step's message, then mark it; a wait beyond the queue's limit is left to the timer."""
        delay_seconds = (step.due_at - snapshot.read_at).total_seconds() if step.due_at else 0.0
        if delay_seconds > retry.QUEUE_DELAY_LIMIT_SECONDS:
            return
        await self.queue.announce(_message(step), delay_seconds=_queue_delay(delay_seconds))
        if step.state is not StepState.READY:
            # A running step's lease counts from its row's last write: a mark would renew a dead run's lease.
            return
        try:
            await self.state.save_step(snapshot, step.model_copy(update={"announced": True}))
        except StateConflictError:
            # Somebody has taken the step already: the mark has done its work.
            return

    async def delay(self, message: StepMessage, *, seconds: float) -> None:
        """Put a message that came too early back for the rest of its time."""
        await self.queue.announce(message, delay_seconds=_queue_delay(seconds))


def late_seconds(snapshot: Snapshot) -> float:
    """How long the oldest step of an operation that could be taken has not been; 0 if there is none.

    A mark writes a step's row too: what is due at once counts from the row that only progress writes.
    """
    late = [0.0]
    for stored in snapshot.steps.values():
        step = stored.value
        if step.state is StepState.READY:
            since = step.due_at or snapshot.operation.written_at
            late.append((snapshot.read_at - since).total_seconds())
        elif step.state is StepState.RUNNING:
            lease_seconds = step.lease_seconds if step.holder else 0
            late.append((stored.read_at - stored.written_at).total_seconds() - lease_seconds)
    return max(late)


def _message(step: StepRecord) -> StepMessage:
    return StepMessage(
        connection=naming.connection_of(step.operation_id),
        operation=step.operation_id,
        step=step.name,
        turn=step.turn,
    )


def _queue_delay(seconds: float) -> float:
    return min(max(seconds, 0.0), retry.QUEUE_DELAY_LIMIT_SECONDS)
