"""Azure itself says that the resource is gone, twice, while a witness of its kind still answers.

An event is a hint, never an order. Only a definite not-found counts (``Resources.get`` returns
``None`` for nothing else), asked for twice with a pause, and only if this identity can demonstrably
still read such resources: a 404 to everything is how a lost permission or a disabled subscription
can look. Targets that Azure can give back (soft delete) wait a grace period.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import datetime, timedelta

from shared import limits, naming
from shared.errors import NotYetError, PermanentError
from shared.models import Cause, ConnectionState, Done, Finding
from shared.steps.base import StepContext
from shared.steps.removal import cause_alive

API_VERSIONS = {
    "identity": "2024-11-30",
    "credential": "2024-11-30",
    "cluster": "2024-09-01",
    "linker": "2024-04-01",
    "group": "2021-04-01",
}
"""Versions for a plain GET of each kind of thing that a connection may rely on, besides its target."""

LOOK_AGAIN_SECONDS = 3600.0
CANARIES = 3
FIRST_GONE_AT = "firstGoneAt"


class ConfirmGone:
    """The cause of a prune is a fact."""

    name = "confirm_gone"

    async def check(self, ctx: StepContext) -> list[Finding]:
        """Nothing to look at."""
        return []

    async def apply(self, ctx: StepContext) -> Done:
        """Ask Azure; end the operation if the resource is alive.

        Raises:
            NotYetError: ``confirm``, ``grace``, ``no-canary`` or ``cap``.
            TransientError: whatever kept Azure from a definite answer: nothing is pruned on doubt.
        """
        cause = ctx.operation.cause
        if cause is None:
            raise PermanentError("missing-cause", "a prune names what is gone")
        # An orphan's credential went by our own hand: Azure's event of that says nothing new.
        if ctx.connection.state is ConnectionState.ORPHANED and cause.kind in {"cluster", "credential"}:
            return Done(ends_operation="already-orphaned")
        api_version = self._api_version(ctx, cause)
        if await cause_alive(ctx, cause, api_version=api_version):
            return Done(outputs={"fact": "alive"}, ends_operation="resource-alive")
        first_gone_at = datetime.fromisoformat(ctx.noted.get(FIRST_GONE_AT, ctx.now.isoformat()))
        note = {FIRST_GONE_AT: first_gone_at.isoformat()}
        self._require_age(ctx, "confirm", first_gone_at, ctx.rules.prune_confirm_seconds)
        witness = await self._witness(ctx, cause, api_version, note)
        if cause.kind == "target" and ctx.target.soft_delete and not ctx.operation.report_only:
            grace_seconds = ctx.rules.prune_confirm_seconds + ctx.rules.prune_grace_seconds
            self._require_age(ctx, "grace", first_gone_at, grace_seconds)
        taken = ctx.operation.report_only or await ctx.limits.take_cap(
            ctx.connection.spec.cluster_id,
            ctx.operation.operation_id,
            limit=ctx.rules.prune_cap_per_hour,
            now=ctx.now,
        )
        if not taken:
            left_seconds = (limits.hour_end(ctx.now) - ctx.now).total_seconds()
            limit = ctx.rules.prune_cap_per_hour
            detail = f"{limit} prunes of this cluster in this hour"
            raise NotYetError("cap", detail, seconds=left_seconds, note=note)
        return Done(
            outputs={
                "fact": "gone",
                "resourceId": cause.resource_id,
                "apiVersion": api_version,
                "firstGoneAt": first_gone_at.isoformat(),
                "confirmedAt": ctx.now.isoformat(),
                "witness": witness,
            },
        )

    async def revert(self, ctx: StepContext) -> Done:
        """Nothing was made."""
        return Done()

    def _api_version(self, ctx: StepContext, cause: Cause) -> str:
        return ctx.target.api_version if cause.kind == "target" else API_VERSIONS[cause.kind]

    def _require_age(self, ctx: StepContext, reason: str, since: datetime, seconds: float) -> None:
        until = since + timedelta(seconds=seconds)
        left_seconds = (until - ctx.now).total_seconds()
        if left_seconds > 0:
            # A long wait looks in between whether the resource has come back.
            seconds = min(left_seconds, LOOK_AGAIN_SECONDS)
            note = {FIRST_GONE_AT: since.isoformat()}
            raise NotYetError(
                reason, f"until {until.isoformat(timespec='seconds')}", seconds=seconds, note=note
            )

    async def _witness(
        self,
        ctx: StepContext,
        cause: Cause,
        api_version: str,
        note: Mapping[str, str],
    ) -> str:
        """A resource that this identity can read right now, so that not-found means not found.

        Best is one of the same subscription and type that answered before. Failing that, the nearest
        thing above the resource: the parent of a linker or credential, else the resource group; if the
        group is gone itself, the cluster or target of the same connection in the same subscription.
        """
        for canary in await ctx.limits.canaries(cause.resource_id, limit=CANARIES):
            if await _answers(ctx, canary.resource_id, canary.api_version):
                return canary.resource_id
            await ctx.limits.forget_canary(canary)
        spec = ctx.connection.spec
        candidates = [
            (above, self._version_of(above, api_version)) for above in naming.ancestors(cause.resource_id)[1:]
        ]
        candidates += [(spec.cluster_id, API_VERSIONS["cluster"])]
        if cause.kind != "target" and ctx.connection.linker_id == "":
            candidates += [(ctx.target.existence_id(spec.target_id), ctx.target.api_version)]
        subscription = naming.subscription_of(cause.resource_id)
        usable = [
            (resource_id, version)
            for resource_id, version in candidates
            if naming.subscription_of(resource_id) == subscription and version
        ]
        answers = await asyncio.gather(
            *(_answers(ctx, resource_id, version) for resource_id, version in usable),
        )
        for (resource_id, _), answer in zip(usable, answers, strict=True):
            if answer:
                return resource_id
        raise NotYetError(
            "no-canary",
            f"nothing else of subscription {subscription} could be read",
            seconds=ctx.rules.hold_recheck_seconds,
            note=note,
        )

    def _version_of(self, resource_id: str, fallback: str) -> str:
        kinds = {
            "microsoft.managedidentity/userassignedidentities": API_VERSIONS["identity"],
            "microsoft.containerservice/managedclusters": API_VERSIONS["cluster"],
            "microsoft.resources/resourcegroups": API_VERSIONS["group"],
        }
        return kinds.get(naming.type_of(resource_id), fallback)


async def _answers(ctx: StepContext, resource_id: str, api_version: str) -> bool:
    """Say whether a resource can be read now; one that we may not read is no witness."""
    try:
        return await ctx.outside.resources.get(resource_id, api_version=api_version) is not None
    except PermanentError:
        return False
