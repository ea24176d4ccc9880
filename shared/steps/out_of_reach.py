"""Roles that a delete cannot ask for, since Azure does not find the subscription that they are in.

Azure says ``SubscriptionNotFound`` of a subscription that is gone, and also where the caller has no rights in
it (learn.microsoft.com, "Resolve errors for subscription not found"): it proves no absence. But a role gives
nothing to a principal that is gone. So a delete, which somebody asked for, keeps such a role on its record
and goes on. It is done if the identity goes too; if that stays, it fails at its end, and the connection stays
on record with the role. Nobody asked for a prune: that fails at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from shared import naming
from shared.errors import PermanentError
from shared.steps.base import StepContext
from shared.steps.granting import kind_of, port_of
from shared.steps.removal import Removal, forget, leave

RULE = "out-of-reach"
CODE = "subscription-not-found"


async def keep_out_of_reach(
    ctx: StepContext,
    removal: Removal,
    item: Mapping[str, Any],
    shown: Mapping[str, Any],
    error: PermanentError,
    *,
    thing: str,
) -> None:
    """Leave a role whose subscription is not found, and say that it may be there.

    Args:
        ctx: of the run.
        removal: what is said of the step.
        item: the role as it was planned.
        shown: the role as it is said.
        error: what the removal of the role ended with.
        thing: name of its users row.

    Raises:
        PermanentError: ``error``, if it is another one, came from elsewhere, or nobody asked for the removal.
    """
    if ctx.pruning or error.code != CODE or not await _not_found(ctx, item):
        raise error
    leaving = await leave(ctx, thing)
    if leaving.shared:
        removal.keep(shown, "still-shared", "still used")
        return
    if leaving.last:
        await forget(ctx, thing, by_creates=len(ctx.plans) > 1)
    removal.keep(
        shown,
        RULE,
        "its subscription is not found: if it is there, it serves nobody once its identity is gone",
    )


async def require_no_principal(ctx: StepContext, removal: Removal) -> None:
    """No role that could not be asked for has a principal that lives.

    Args:
        ctx: of the run of the step that removes identities.
        removal: what that step has removed.

    Raises:
        PermanentError: ``subscription-not-found``.
    """
    kept = [one for one in ctx.done.get("role_assignments", {}).get("kept", ()) if one["rule"] == RULE]
    gone = {naming.fold_id(one["id"]) for one in removal.removed}
    ids = {str(plan.planned["resourceId"]) for plan in ctx.plans} if kept else set()
    for resource_id in sorted(one for one in ids if naming.fold_id(one) not in gone):
        identity = await ctx.outside.identities.get(resource_id)
        for one in kept:
            if identity is None or str(one["principalId"]).lower() != identity.principal_id.lower():
                continue
            raise PermanentError(
                CODE,
                f"{one['role']} on {one['scope']} may be there, and {resource_id}, which has it, stays:"
                " its subscription is not found; what else was this connection's alone is removed",
                remedy=f"give the app its roles in {naming.subscription_of(one['scope'])} again, or, if that"
                " subscription is gone for good, delete the identity once nothing else needs it"
                f" (az identity delete --ids {resource_id}); then send the delete again",
            )


async def _not_found(ctx: StepContext, item: Mapping[str, Any]) -> bool:
    """Say whether it is the role itself that cannot be asked for, and not something else of its removal."""
    try:
        await port_of(ctx.outside, kind_of(item)).get(item["scope"], item["name"])
    except PermanentError as error:
        return error.code == CODE
    return False
