"""What a removal keeps for a living linker is left to it on record, and goes with it.

Nobody else would ever remove it: the connection has ended, and the linker's own prune knows what Service
Connector made. The row (``shared/left_rows.py``) becomes a user of what it holds: that goes with the last.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from shared.errors import StateConflictError
from shared.models import Plan, Provenance
from shared.ports import Linker
from shared.steps.base import StepContext, identity_thing
from shared.steps.removal import hand_to

IDENTITY = "managed_identity"


async def only_linkers_stay(ctx: StepContext, thing: str) -> bool:
    """Say whether only rows of linkers use a thing: of those none would know it as ours."""
    shared = await ctx.users.get(thing)
    others = [user for user in shared.users if user != ctx.user] if shared else []
    return await ctx.recorder.only_linkers(others)


async def leave_to(
    ctx: StepContext,
    linker: Linker,
    thing: str,
    plan: Plan,
    *,
    identity: Plan,
    details: Mapping[str, Any] | None = None,
) -> None:
    """Leave a thing of this step to a linker, once we use it no more ourselves; twice is fine.

    Args:
        ctx: of the run.
        linker: alive, and it works through the thing.
        thing: name of its users row.
        plan: by which we know it as ours.
        identity: that it belongs to, or that it is.
        details: what whoever leaves last must know.

    Raises:
        NotYetError: ``behind`` or ``closing``: something is being removed that has to be gone first;
            ``settle``: what we have sent may still land.
        StateConflictError: that linker has gone meanwhile (transient).
    """
    user = await ctx.recorder.leave_to(linker.resource_id, {IDENTITY: identity, ctx.step: plan})
    things: dict[str, Mapping[str, Any] | None] = {}
    if identity.planned.get("provenance") in {Provenance.CREATED, Provenance.PROVIDED}:
        made = identity.planned["provenance"] == Provenance.CREATED
        things[identity_thing(str(identity.planned["resourceId"]))] = (
            {"workload": ctx.workload_key} if made else None
        )
    things[thing] = details or things.get(thing)
    await hand_to(ctx, thing, user)
    for name, known in things.items():
        await ctx.users.join(name, user, settled=ctx.recorder.settled, details=known)
    if await ctx.recorder.stands(user):
        return
    # Its prune has gone past what we joined, and a user of nothing would keep that for ever.
    for name in things:
        left = await ctx.users.leave(name, user, operation_id=ctx.operation.operation_id)
        if left.last:
            await ctx.users.forget(name, operation_id=ctx.operation.operation_id)
    raise StateConflictError(f"{linker.resource_id} has gone meanwhile")
