"""Lets prunes go that the cap of their cluster holds, when a person has looked at them."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from shared import naming
from shared.announcer import Announcer
from shared.errors import StateConflictError
from shared.models import Kind, OperationId
from shared.state import Snapshot, State

WAIT = "cap"
TRIES = 4
LIMIT = 100
"""Prunes that one call releases at most."""


@dataclasses.dataclass(frozen=True, slots=True)
class Released:
    """What became of one prune: ``released``, ``not-held``, ``ended`` or ``not-found``."""

    operation_id: OperationId
    outcome: str


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Releases:
    """What became of the prunes of one call; ``truncated`` if there may be more that the cap holds."""

    prunes: Sequence[Released]
    truncated: bool = False


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Releaser:
    """Releases held prunes."""

    state: State
    announcer: Announcer

    async def of_cluster(self, cluster_id: str) -> Releases:
        """Release the prunes of a cluster that its cap holds now, at most 100; only those are answered."""
        wanted = naming.fold_id(cluster_id)
        released: list[Released] = []
        for operation_id, _ in await self.state.open_operations():
            snapshot = await self.state.load(operation_id)
            if snapshot is None or not _held(snapshot) or snapshot.operation.value.released:
                continue
            if naming.fold_id(snapshot.connection.value.spec.cluster_id) != wanted:
                continue
            if len(released) == LIMIT:
                return Releases(prunes=released, truncated=True)
            released.append(await self._release(operation_id))
        return Releases(prunes=released)

    async def these(self, operation_ids: Sequence[OperationId]) -> Releases:
        """Release the prunes that are named; each is answered."""
        return Releases(prunes=[await self._release(operation_id) for operation_id in operation_ids])

    async def _release(self, operation_id: OperationId) -> Released:
        """Mark the operation and wake the step that the cap holds, in one transaction.

        Raises:
            StateConflictError: it moved again and again meanwhile (transient).
        """
        for _ in range(TRIES):
            snapshot = await self.state.load(operation_id)
            if snapshot is None or snapshot.operation.value.kind is not Kind.PRUNE:
                return Released(operation_id, "not-found")
            if snapshot.operation.value.state.final:
                return Released(operation_id, "ended")
            if not _held(snapshot):
                return Released(operation_id, "not-held")
            operation = snapshot.operation.value.model_copy(update={"released": True})
            woken = [
                stored.value.model_copy(
                    update={
                        "due_at": snapshot.read_at,
                        "turn": stored.value.turn + 1,
                        "announced": False,
                    },
                )
                for stored in snapshot.steps.values()
                if stored.value.waiting == WAIT
            ]
            try:
                snapshot = await self.state.commit(snapshot, operation, steps=woken)
            except StateConflictError:
                continue
            await self.announcer.announce_ready(snapshot)
            return Released(operation_id, "released")
        raise StateConflictError("releasing a prune")


def _held(snapshot: Snapshot) -> bool:
    return snapshot.operation.value.kind is Kind.PRUNE and any(
        stored.value.waiting == WAIT for stored in snapshot.steps.values()
    )
