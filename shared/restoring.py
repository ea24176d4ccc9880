"""Undoes a prune by request: what it removed from the cluster is put back, as far as it was saved.

What stands against it is said before anything is opened.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from shared.errors import PermanentError, RefusedError
from shared.models import Kind, Operation, OperationId
from shared.opening import Answer, Asked, Opener
from shared.policy import Policy
from shared.prunes import Prunes
from shared.state import State


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Restorer:
    """Opens restores."""

    state: State
    prunes: Prunes
    opener: Opener
    load_policy: Callable[[], Policy]

    async def restore(self, prune_id: OperationId, *, key: str) -> Answer:
        """Open the restore of one prune.

        Args:
            prune_id: an operation of kind prune.
            key: makes a repeat of the same request recognisable.

        Raises:
            RefusedError: ``not-found``; ``not-restorable`` with the reason; ``policy-denied`` or
                ``policy-unreadable``.
        """
        stored = await self.state.operation(prune_id)
        prune = stored.value if stored else None
        if prune is None or prune.kind is not Kind.PRUNE:
            raise RefusedError("not-found", f"there is no prune {prune_id}")
        await self._require_saved(prune)
        await self._require_allowed(prune)
        answer = await self.opener.open(
            Asked(
                kind=Kind.RESTORE,
                connection_id=prune.connection_id,
                key=f"restore|{prune_id}|{key}",
                generation=prune.generation,
                restores=prune_id,
            ),
        )
        if answer.outcome == "nothing-to-do":
            raise RefusedError(
                "not-restorable",
                f"operation {answer.operation_id} of the same connection is under way",
                remedy="ask again when it has ended",
            )
        return answer

    async def _require_saved(self, prune: Operation) -> None:
        if not prune.state.final:
            raise RefusedError(
                "not-restorable", "the prune has not ended", remedy="delete the connection, or wait"
            )
        if prune.report_only:
            raise RefusedError("not-restorable", "the prune only reported and removed nothing")
        saved = await self.prunes.saved(prune.operation_id)
        if not saved:
            raise RefusedError(
                "not-restorable",
                "the prune removed nothing from the cluster, or so long ago that it is not saved any more",
            )
        if not any(one.restorable for one in saved):
            reasons = "; ".join(f"{one.kind} {one.name}: {one.why}" for one in saved)
            raise RefusedError(
                "not-restorable", reasons, remedy="send a create request: it makes a connection anew"
            )

    async def _require_allowed(self, prune: Operation) -> None:
        stored = await self.state.connection(prune.connection_id)
        if stored is None:
            return
        spec = stored.value.spec
        try:
            policy = self.load_policy()
        except PermanentError as error:
            raise RefusedError(error.code, error.detail, remedy=error.remedy) from error
        if not policy.watches(spec.cluster_id, spec.namespace):
            raise RefusedError(
                "policy-denied",
                f"the policy does not list namespace {spec.namespace} of {spec.cluster_id}, or protects it",
                remedy="add the namespace to the policy, or put the objects back by hand",
            )
