"""The access works, tried as the workload would use it: token, exchange, one read.

Off unless ``MOORING_PROVE=on``, because minting a workload's tokens is a strong right. What cannot be
reached from here is no failure of the connection (private endpoints).
"""

from __future__ import annotations

from http import HTTPStatus

from shared import naming
from shared.errors import NotYetError, PermanentError
from shared.models import Done, Finding
from shared.steps.base import StepContext

PROVED = "proved"
NOT_REACHABLE = "not-reachable-from-here"
NOT_PROVABLE = "not-provable"
"""The roles allow no read that is harmless, or the target's kind has none."""
OFF = "off"


class Prove:
    """Access is proved, or it is said why not."""

    name = "prove"

    async def check(self, ctx: StepContext) -> list[Finding]:
        """One finding: proved, refused, or not known from here."""
        if ctx.for_pruning_only:
            return []
        if not ctx.rules.prove:
            return [Finding(name="access-proved", result="unknown", detail="MOORING_PROVE is off")]
        recorded = ctx.intents.get("preflight")
        if ctx.adopted and (recorded is None or not recorded.outputs.get("facts")):
            detail = "the catalogue does not say how to read such a target"
            return [Finding(name="access-proved", result="unknown", detail=detail)]
        try:
            result = await self._try(ctx)
        except NotYetError as refused:
            listing = (
                f"az role assignment list --all --assignee {ctx.output('managed_identity', 'principalId')}"
            )
            remedy = f"a new role takes up to ten minutes; then look at roles and network: {listing}"
            return [Finding(name="access-proved", result="failed", detail=refused.detail, remedy=remedy)]
        proved = result == PROVED
        return [Finding(name="access-proved", result="ok" if proved else "unknown", detail=result)]

    async def apply(self, ctx: StepContext) -> Done:
        """Try until access works or the propagation deadline passes.

        Raises:
            NotYetError: ``propagation``: refused so far (credentials take seconds, roles up to 10 minutes).
        """
        return Done(outputs={"result": await self._try(ctx) if ctx.rules.prove else OFF})

    async def revert(self, ctx: StepContext) -> Done:
        """Nothing was made."""
        return Done()

    async def _try(self, ctx: StepContext) -> str:
        spec = ctx.connection.spec
        read = ctx.target.read(spec.target_id, ctx.facts, intent=spec.intent)
        if read is None:
            return NOT_PROVABLE
        client_id = ctx.output("managed_identity", "clientId")
        assertion = await ctx.outside.clusters.request_token(
            spec.cluster_id,
            spec.namespace,
            naming.account_name(spec, client_id),
            audience=naming.AUDIENCE,
        )
        try:
            token = await ctx.outside.prover.exchange(
                client_id=client_id,
                assertion=assertion,
                scope=read.token_scope,
            )
        except PermanentError as refused:
            raise NotYetError("propagation", refused.detail) from refused
        status = await ctx.outside.prover.read(read.url, token=token)
        if status is None:
            return NOT_REACHABLE
        if status >= HTTPStatus.BAD_REQUEST:
            raise NotYetError("propagation", f"the target answered {status}")
        return PROVED
