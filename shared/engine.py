"""Runs one step once: load, claim, run, save, announce. It knows no step by name.

The message is a nudge and the table is the truth: a duplicate finds the step taken or done, a stale
one another turn, a late one the operation ended. A crash between saving and announcing is healed by
the redelivered message or by the timer. Here and in ``sweeping/slices.py`` every exception is caught.
"""

from __future__ import annotations

import asyncio
import dataclasses
import uuid
from collections.abc import Mapping
from datetime import timedelta

from shared import beginnings, outcomes
from shared.announcer import Announcer
from shared.catalogue import Catalogue
from shared.endings import Change
from shared.errors import MooringError, NotYetError, PermanentError, StateConflictError, TransientError
from shared.limits import Limits
from shared.models import Direction, Done, StepMessage, StepRecord, StepState
from shared.ports import Clock
from shared.recording import SIBLING_COMMITS, Run
from shared.records import Dependents
from shared.state import Snapshot, State
from shared.step_log import StepLog
from shared.steps.base import Step, StepContext
from shared.steps.findings import checked
from shared.steps.surroundings import Outside, Rules
from shared.throttling import THROTTLED, Throttling
from shared.users import Users

CLAIM_TRIES = 8
EARLY_SECONDS = 1.5
"""A message more than this ahead of its time is put back; the service tells its time in whole seconds."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """Times of the engine, in seconds."""

    step_deadline_seconds: float = 90.0
    step_lease_seconds: int = 150
    retry_scale: float = 1.0


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """Carries out operations, step by step."""

    state: State
    dependents: Dependents
    users: Users
    limits: Limits
    throttling: Throttling
    announcer: Announcer
    outside: Outside
    rules: Rules
    catalogue: Catalogue
    steps: Mapping[str, Step]
    timing: Timing
    clock: Clock
    log: StepLog

    async def run_one(self, message: StepMessage) -> str:
        """Carry out what one message asks for, if it still stands; returns what became of it.

        Raises:
            TransientError: the state store or the queue failed: the host delivers the message again.
        """
        for _ in range(CLAIM_TRIES):
            snapshot = await self.state.load(message.operation)
            if snapshot is None or message.step not in snapshot.steps:
                return "unknown"
            dropped = await self._dropped(snapshot, message)
            if dropped:
                return dropped
            holder = uuid.uuid4().hex
            change = await self._beginning(snapshot, snapshot.steps[message.step].value, holder)
            try:
                snapshot = await self._commit(snapshot, change)
            except StateConflictError:
                continue
            if snapshot.steps[message.step].value.holder == holder:
                return await self._run(snapshot, message.step, holder)
            await self._after(snapshot)
            return snapshot.operation.value.state.value
        # Steps of one operation that run side by side all write its row: come again in a moment.
        await self.announcer.delay(message, seconds=1)
        return "contended"

    async def _dropped(self, snapshot: Snapshot, message: StepMessage) -> str:
        """Why a message is not to be acted on, empty if it is; what it was meant to heal is healed."""
        if snapshot.operation.value.state.final:
            # Told already, unless whoever ended it died before it could.
            if await self.state.is_open(snapshot.operation.value.operation_id):
                await self.announcer.finish(snapshot)
            return "ended"
        step = snapshot.steps[message.step].value
        if step.state not in {StepState.READY, StepState.RUNNING}:
            await self.announcer.announce_ready(snapshot)
            return "finished-already"
        if step.turn != message.turn:
            return "stale"
        if snapshot.lease_left_seconds(step.name) > 0:
            return "taken"
        early_seconds = (step.due_at - snapshot.read_at).total_seconds() if step.due_at else 0.0
        if early_seconds > EARLY_SECONDS:
            await self.announcer.delay(message, seconds=early_seconds)
            return "early"
        return ""

    async def _beginning(self, snapshot: Snapshot, step: StepRecord, holder: str) -> Change:
        """Wait for the operation ahead, fail what no longer fits, or claim the step."""
        now = snapshot.read_at
        step = beginnings.left_in_doubt(step, now)
        if snapshot.operation.value.failing:
            return outcomes.stopped(snapshot, step, now=now)
        blocked = await self._blocked(snapshot) or await self.throttling.wait(snapshot, step)
        if blocked is not None:
            return outcomes.wait(snapshot, step, blocked, now=now, scale=self.timing.retry_scale)
        pointless = beginnings.pointless(snapshot)
        if pointless:
            return outcomes.pointless(snapshot, step, pointless, now=now)
        misfit = beginnings.misfit(snapshot) or beginnings.crashed(step)
        if misfit is not None:
            return outcomes.permanent(snapshot, step, misfit, now=now)
        lease_seconds = self.timing.step_lease_seconds
        return outcomes.claim(snapshot, step, holder=holder, lease_seconds=lease_seconds, now=now)

    async def poisoned(self, message: StepMessage) -> str:
        """A step's message failed over and over: once more, then fail, unless the step has waited since."""
        snapshot = await self.state.load(message.operation)
        if snapshot is None or message.step not in snapshot.steps or snapshot.operation.value.state.final:
            return "ended"
        step = snapshot.steps[message.step].value
        current = step.state in {StepState.READY, StepState.RUNNING} and step.turn == message.turn
        if not current or snapshot.lease_left_seconds(step.name) > 0:
            return "stale"
        now = snapshot.read_at
        step = beginnings.left_in_doubt(step, now)
        if step.crashes == 0:
            again = step.model_copy(
                update={
                    "state": StepState.READY,
                    "crashes": 1,
                    "turn": step.turn + 1,
                    "holder": "",
                    "announced": False,
                    "due_at": now,
                },
            )
            change = Change(operation=snapshot.operation.value, steps=(again,))
        else:
            crash = PermanentError("host-crash", "the host died in this step again and again")
            change = outcomes.permanent(snapshot, step, crash, now=now)
        snapshot = await self._commit(snapshot, change)
        await self._after(snapshot)
        return "again" if step.crashes == 0 else "failed"

    async def _blocked(self, snapshot: Snapshot) -> NotYetError | None:
        behind = snapshot.operation.value.behind
        other = await self.state.operation(behind) if behind else None
        if other is not None and not other.value.state.final:
            return NotYetError("behind", f"{other.value.kind.value} {behind} is under way")
        return beginnings.blocked(snapshot.operation.value, snapshot.connection.value)

    async def _run(self, snapshot: Snapshot, name: str, holder: str) -> str:
        run = Run(
            state=self.state,
            dependents=self.dependents,
            snapshot=snapshot,
            step=name,
            holder=holder,
        )
        record = snapshot.steps[name].value
        started_at, deadline_seconds = self.clock.now(), self.timing.step_deadline_seconds
        self.log.started(record)
        try:
            result: Done | MooringError
            async with self.log.span(run.snapshot, record), asyncio.timeout(deadline_seconds):
                result = await self._call(run, record)
        except MooringError as error:
            result = error
        except TimeoutError:
            result = TransientError("step-deadline", f"no end after {deadline_seconds:g} s")
        except Exception as error:  # noqa: BLE001 - the one place: whatever a step did not foresee is retried, capped
            self.log.unexpected(record, error)
            result = TransientError("unexpected", type(error).__name__)
        if isinstance(result, TransientError) and result.code == THROTTLED:
            result = await self.throttling.note(run.snapshot, result, took=self.clock.now() - started_at)
        took = self.clock.now() - started_at
        ended = await self._record(run, name, holder, result, took=took)
        self.log.ended(record, result, seconds=took.total_seconds(), recorded=ended is not None)
        if ended is None:
            return "lost"
        await self._after(ended)
        return ended.steps[name].value.state.value

    async def _call(self, run: Run, record: StepRecord) -> Done:
        snapshot = run.snapshot
        connection = snapshot.connection.value
        context = StepContext(
            connection=connection,
            operation=snapshot.operation.value,
            step=record.name,
            intents={
                step: intent
                for step, intent in snapshot.intents.items()
                if intent.generation == snapshot.operation.value.generation
            },
            done={
                step: stored.value.outputs
                for step, stored in snapshot.steps.items()
                if stored.value.state is StepState.DONE
            },
            noted=record.noted,
            now=snapshot.read_at,
            nonce=run.holder[:12],
            outside=self.outside,
            rules=self.rules,
            catalogue=self.catalogue,
            users=self.users,
            limits=self.limits,
            recorder=run,
        )
        step = self.steps.get(record.name)
        if step is None:
            raise PermanentError("plan-mismatch", f"this version knows no step {record.name}")
        if record.direction is Direction.APPLY:
            return await step.apply(context)
        if record.direction is Direction.REVERT:
            return await step.revert(context)
        findings = await checked(step, context)
        return Done(outputs={"findings": [finding.model_dump() for finding in findings]})

    async def _record(
        self,
        run: Run,
        name: str,
        holder: str,
        result: Done | MooringError,
        *,
        took: timedelta,
    ) -> Snapshot | None:
        """Save the outcome; ``None`` if the lease or the operation was lost meanwhile."""
        snapshot: Snapshot | None = run.snapshot
        for _ in range(SIBLING_COMMITS):
            if snapshot is None or snapshot.operation.value.state.final:
                await run.let_go(snapshot)
                return None
            record = snapshot.steps[name].value
            if record.holder != holder:
                return None
            try:
                return await self._commit(snapshot, self._change(snapshot, record, result, took))
            except StateConflictError:
                snapshot = await self.state.load(snapshot.operation.value.operation_id)
        # The message comes again: without a lease in its way it need not wait for that to run out.
        await run.let_go(snapshot)
        raise StateConflictError("outcome of a step")

    def _change(
        self,
        snapshot: Snapshot,
        record: StepRecord,
        result: Done | MooringError,
        took: timedelta,
    ) -> Change:
        # The snapshot was read when the run began: the store's time then, and how long the run took.
        now, scale = (record.started_at or snapshot.read_at) + took, self.timing.retry_scale
        if isinstance(result, Done):
            return outcomes.done(snapshot, record, result, now=now)
        if isinstance(result, NotYetError):
            return outcomes.wait(snapshot, record, result, now=now, scale=scale)
        if isinstance(result, TransientError):
            return outcomes.transient(snapshot, record, result, now=now, scale=scale)
        if isinstance(result, PermanentError):
            return outcomes.permanent(snapshot, record, result, now=now)
        return outcomes.permanent(snapshot, record, PermanentError(result.code, result.detail), now=now)

    async def _after(self, snapshot: Snapshot) -> None:
        if snapshot.operation.value.state.final:
            await self.announcer.finish(snapshot)
        else:
            await self.announcer.announce_ready(snapshot)

    async def _commit(self, snapshot: Snapshot, change: Change) -> Snapshot:
        return await self.state.commit(
            snapshot,
            change.operation,
            steps=change.steps,
            connection=change.connection,
            intents=change.intents,
            forget=change.forget,
        )
