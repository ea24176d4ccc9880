"""What a removal keeps for a living linker is left to it on record, and goes with it.

Nobody else would ever remove it: the connection has ended, and the linker's own prune knows what Service
Connector made. The row (``shared/left_rows.py``) becomes a user of what it holds: that goes with the last.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from shared import naming
from shared.errors import StateConflictError
from shared.models import Plan, Provenance
from shared.ports import Linker
from shared.steps.adopted import identity_of
from shared.steps.base import StepContext, identity_thing, role_thing
from shared.steps.removal import hand_to

IDENTITY, ROLES, CREDENTIAL = "managed_identity", "role_assignments", "federated_credential"


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
    step: str,
    identity: Plan,
    details: Mapping[str, Any] | None = None,
) -> None:
    """Leave a thing to a linker, once we use it no more ourselves; twice is fine.

    Args:
        ctx: of the run.
        linker: alive, and it works through the thing.
        thing: name of its users row.
        plan: by which we know it as ours.
        step: that looks after such things.
        identity: that it belongs to, or that it is.
        details: what whoever leaves last must know.

    Raises:
        NotYetError: ``behind`` or ``closing``: something is being removed that has to be gone first;
            ``settle``: what we have sent may still land.
        StateConflictError: that linker has gone meanwhile (transient).
    """
    user = await ctx.recorder.leave_to(linker.resource_id, {IDENTITY: identity, step: plan})
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


async def leave_role_to(ctx: StepContext, linker: Linker, item: Mapping[str, Any]) -> None:
    """Leave a role that we gave to the linker that works through it."""
    identity = identity_of(ctx, str(item["principalId"]))
    if identity is None:
        return
    known = {name: value for name, value in item.items() if name != "provenance"}
    plan = Plan(planned={"assignments": [known], "provenance": Provenance.CREATED})
    await leave_to(ctx, linker, role_thing(item), plan, step=ROLES, identity=identity)


async def leave_credential_to(
    ctx: StepContext, linker: Linker, thing: str, planned: Mapping[str, Any]
) -> None:
    """Leave a credential that we made to the linker that works through it."""
    where = naming.fold_id(str(planned["identityId"]))
    known = [one for one in _plans(ctx, IDENTITY) if naming.fold_id(str(one.planned["resourceId"])) == where]
    if known:
        await leave_to(ctx, linker, thing, Plan(planned=planned), step=CREDENTIAL, identity=known[0])


async def leave_late_to(ctx: StepContext, linker: Linker, item: Mapping[str, Any]) -> None:
    """Leave to a linker what has come back since this operation removed it: its own prune knows of none.

    Args:
        ctx: of the run.
        linker: alive, and it works through the thing.
        item: of a step's outputs; a cluster's objects are the linker's own.
    """
    match item["kind"]:
        case "role":
            roles = [role for plan in _plans(ctx, ROLES) for role in plan.planned.get("assignments", ())]
            for role in [one for one in roles if role_thing(one) == item["thing"]][:1]:
                await leave_role_to(ctx, linker, role)
        case "credential":
            names = ("identityId", "issuer", "subject")
            credentials = [plan.planned for plan in _plans(ctx, CREDENTIAL)]
            for one in [one for one in credentials if all(one[name] == item[name] for name in names)][:1]:
                await leave_credential_to(ctx, linker, item["thing"], one)


def _plans(ctx: StepContext, step: str) -> tuple[Plan, ...]:
    return ctx.intents[step].plans() if step in ctx.intents else ()
