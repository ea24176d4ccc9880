"""Access that stands on something else than the target on record, because an update never came to change it.

An update changes what the connection relies on before it changes its roles, or the settings with a key.
Where it broke off between the two, the target that it asked for proves nothing about the one that the
workload still works with. By an identity the roles are the access: settings of before, without them, reach
nothing. A user inside a database server needs no such look: its target is the database whole, and no update
leads to another.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from shared import naming
from shared.errors import PermanentError
from shared.inscription import ANNOTATION_REQUEST, spec_of
from shared.models import Cause, Plan
from shared.ports import KubeObject
from shared.steps.base import ANNOTATION_NONCE, StepContext, role_thing
from shared.steps.granting import kind_of, port_of
from shared.steps.linked import linker_of_role
from shared.steps.making import kind_of as kind_of_object
from shared.steps.proof_of_absence import present_instead


async def held_elsewhere(ctx: StepContext, cause: Cause) -> str:
    """Something that is there and that the connection has access to still, though its target is gone.

    Returns:
        An id; empty if all that may stand is on what is gone, or not the connection's.

    Raises:
        TransientError: the cluster or Azure cannot be asked.
        PermanentError: the cluster does not let the settings be looked at.
    """
    if cause.kind != "target" or ctx.connection.linker_id:
        return ""
    gone_id = naming.fold_id(present_instead(ctx, cause) or cause.resource_id)
    by_identity = ctx.connection.spec.by_identity
    return await (_by_a_role(ctx, gone_id) if by_identity else _by_a_key(ctx, gone_id))


async def _by_a_role(ctx: StepContext, gone_id: str) -> str:
    """What a role of the connection stands on.

    What was planned says little: an update plans its roles before it makes them, and what it takes away stays
    on record. So the users rows are asked whose a role is, and Azure whether it stands.
    """
    made = ctx.intents.get("role_assignments")
    if made is None:
        return ""
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


async def _by_a_key(ctx: StepContext, gone_id: str) -> str:
    """What the settings with a key are for.

    Of a connection that is configured they are for its target: nothing is asked. Of another they say it
    themselves, in what was written together with the key: the record knows of no write whose answer was lost.
    Whoever else may write the object can only hold a prune by that.
    """
    made = ctx.intents.get("settings")
    if made is None or ctx.connection.configured_at is not None:
        return ""
    for plan in made.plans():
        target_id = await _told(ctx, plan)
        if not target_id or gone_id in naming.ancestors(target_id):
            continue
        on = ctx.target.relied_on(target_id)[-1]
        if await ctx.outside.resources.get(on, api_version=ctx.target.api_version) is not None:
            return on
    return ""


async def _told(ctx: StepContext, plan: Plan) -> str:
    """The target that an object of ours is for, by its own word; empty if it is not there, or tells none.

    No update leads to another resource: nobody can have any other one asked for by writing it there.
    """
    spec = ctx.connection.spec
    kind, namespace, name = kind_of_object(plan.planned), str(plan.planned["namespace"]), plan.planned["name"]
    try:
        there = await ctx.outside.clusters.get(spec.cluster_id, kind, namespace, str(name), values=False)
    except PermanentError as error:
        if error.code != "cluster-gone":
            raise
        return ""
    if there is None or not _written_by_us(there, plan):
        return ""
    text = there.annotations.get(ANNOTATION_REQUEST, "")
    told = spec_of(text, cluster_id=spec.cluster_id, namespace=namespace)
    if told is None or told.target_type != spec.target_type or naming.id_fault(told.target_id):
        return ""
    if ctx.target.names(told.target_id) is None:
        return ""
    wanted, found = (naming.fold_id(ctx.target.existence_id(one.target_id)) for one in (spec, told))
    return told.target_id if wanted == found else ""


def _written_by_us(there: KubeObject, plan: Plan) -> bool:
    """What a backup has put back in another life of the cluster has another uid: a prune leaves it anyway."""
    recorded = str(plan.outputs.get("uid", ""))
    if recorded:
        return there.uid == recorded
    return there.annotations.get(ANNOTATION_NONCE, "") == str(plan.planned["nonce"])


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
