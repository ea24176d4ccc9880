"""One run of one step, as the step sees it: save intents, record dependents, ask about other operations.

Every save is a transaction that includes the operation row: a run whose operation was superseded, or
whose lease was taken over, cannot save an intent any more and so makes nothing.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from shared.errors import NotYetError, StateConflictError
from shared.limits import Limits
from shared.models import Dependent, Intent, OperationId, StepState
from shared.records import Dependents
from shared.state import Snapshot, State

_TRIES = 8


@dataclasses.dataclass(slots=True, kw_only=True)
class Run:
    """The engine's side of ``steps.base.Recorder``. Holds the newest snapshot; lives for one run."""

    state: State
    dependents: Dependents
    limits: Limits
    snapshot: Snapshot
    step: str
    holder: str
    subscriptions: tuple[str, ...]
    """Subscriptions that this run may write to."""

    async def intend(self, planned: Mapping[str, Any], *, anew: bool = False) -> Mapping[str, Any]:
        """Save what is about to be made; called before each write to Azure or a cluster.

        Raises:
            NotYetError: ``throttled``: the subscription asked to be left alone.
            StateConflictError: the operation or the lease was lost: make nothing.
        """
        await self._respect_throttle()
        for _ in range(_TRIES):
            operation = self.snapshot.operation.value
            known = self.snapshot.intents.get(self.step)
            if known is not None and known.generation != operation.generation:
                known = None
            earlier = known.planned if known is not None and not anew else {}
            intent = Intent(
                connection_id=operation.connection_id,
                step=self.step,
                generation=operation.generation,
                planned={**planned, **earlier},
                outputs=known.outputs if known is not None and not anew else {},
            )
            if intent == known:
                return intent.planned
            try:
                self.snapshot = await self.state.commit(self.snapshot, operation, intents=[intent])
            except StateConflictError:
                await self._reload()
                continue
            return intent.planned
        raise StateConflictError("intent of a step")

    async def depend(self, kind: str, resource_id: str) -> None:
        """Record that the connection relies on a resource."""
        operation = self.snapshot.operation.value
        await self.dependents.add(
            Dependent(
                resource_id=resource_id,
                kind=kind,
                connection_id=operation.connection_id,
                generation=operation.generation,
            ),
        )

    async def ended(self, operation_id: OperationId) -> bool:
        """Say whether an operation is final; one that does not exist is."""
        other = await self.state.operation(operation_id)
        return other is None or other.value.state.final

    async def lease_left_seconds(self, operation_id: OperationId) -> float:
        """Longest lease that a step of another operation still has."""
        other = await self.state.load(operation_id)
        if other is None:
            return 0.0
        running = [name for name, step in other.steps.items() if step.value.state is StepState.RUNNING]
        return max((other.lease_left_seconds(name) for name in running), default=0.0)

    async def _reload(self) -> None:
        snapshot = await self.state.load(self.snapshot.operation.value.operation_id)
        if snapshot is None or snapshot.operation.value.state.final:
            raise StateConflictError("the operation has ended")
        if snapshot.steps[self.step].value.holder != self.holder:
            raise StateConflictError("another run holds the step")
        self.snapshot = snapshot

    async def _respect_throttle(self) -> None:
        for subscription in self.subscriptions:
            until = await self.limits.throttled_until(subscription)
            left_seconds = (until - self.snapshot.read_at).total_seconds() if until else 0.0
            if left_seconds > 0:
                raise NotYetError("throttled", f"subscription {subscription}", seconds=left_seconds)
