"""Access that stands on something else than the target on record, because an update never came to its roles.

An update changes what the connection relies on before it changes its roles. Where it broke off between the
two, the target that it asked for proves nothing about the one that the workload still works with. A user
inside a database server needs no such look: its target is the database whole, and no update leads to another.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from shared import naming
from shared.models import Cause
from shared.steps.base import StepContext, role_thing
from shared.steps.granting import kind_of, port_of
from shared.steps.linked import linker_of_role
from shared.steps.proof_of_absence import present_instead


async def held_elsewhere(ctx: StepContext, cause: Cause) -> str:
    """Something that is there and that a role of the connection stands on, though its target is gone.

    What was planned says little: an update plans its roles before it makes them, and what it takes away stays
    on record. So the users rows are asked whose a role is, and Azure whether it stands.

    Returns:
        An id; empty if all that may stand is on what is gone, or not the connection's.
    """
    made = ctx.intents.get("role_assignments")
    if cause.kind != "target" or made is None or ctx.connection.linker_id:
        return ""
    gone_id = naming.fold_id(present_instead(ctx, cause) or cause.resource_id)
    # Once all roles of the present plan were made, those of before were taken away, but for what others need.
    arrived = bool(made.outputs.get("assignments"))
    for plan in made.plans():
        for item in {**plan.planned, **plan.outputs}.get("assignments", ()):
            if gone_id in naming.ancestors(item["scope"]):
                continue
            on = ctx.target.relied_on(item["scope"])[-1]
            if await _ours(ctx, item, arrived=arrived) and await _stands(ctx, item, on):
                return on
    return ""


async def _ours(ctx: StepContext, item: Mapping[str, Any], *, arrived: bool) -> bool:
    """Say whether the connection goes by a role still.

    Without a row the role may be one whose row was lost, unless an update had the time to take it away. One
    that such an update left to a living linker stays whatever becomes of the connection: that holds nothing.
    """
    shared = await ctx.users.get(role_thing(item))
    if shared is None:
        return not arrived
    return ctx.user in shared.users and not (arrived and await linker_of_role(ctx, item))


async def _stands(ctx: StepContext, item: Mapping[str, Any], on: str) -> bool:
    """Say whether a role is there, for our principal, on something that is there."""
    if await ctx.outside.resources.get(on, api_version=ctx.target.api_version) is None:
        return False
    there = await port_of(ctx.outside, kind_of(item)).get(item["scope"], item["name"])
    return there is not None and there.principal_id.lower() == str(item["principalId"]).lower()
