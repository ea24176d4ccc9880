"""What may keep a connection from a service's own roles: how many there are, and one policy a principal."""

from __future__ import annotations

from collections.abc import Sequence

from shared import naming
from shared.errors import PermanentError
from shared.models import Finding
from shared.ports import Identity, RoleAssignment
from shared.steps.base import StepContext, found, role_thing
from shared.steps.granting import port_of
from shared.steps.verdicts import Verdict, unreadable
from shared.target_parts import GrantKind

_ROOM, _ROOM_CODE = "role-assignment-room", "role-assignment-budget"
_POLICY, _POLICY_CODE = "access-policy-free", "access-policy-taken"


async def looked_at(ctx: StepContext, missing: int, *, identity: Identity | None) -> list[Verdict]:
    """Room at the resource, and no other policy of the identity where it can have one only.

    Args:
        ctx: of the run.
        missing: how many of the connection's rights are not there yet.
        identity: the workload's, if there is one yet.
    """
    kind, root = ctx.target.grants, naming.resource_of(ctx.target.scope(ctx.connection.spec.target_id))
    name, code = (_POLICY, _POLICY_CODE) if kind.one_each else (_ROOM, _ROOM_CODE)
    if not missing:
        return [Verdict(code, found(name, ok=True, detail="none is to be made"))]
    try:
        listed = await port_of(ctx.outside, kind).list(root)
    except PermanentError as error:
        return [Verdict(code, unreadable(name, error))]
    if kind.one_each:
        return [Verdict(code, await _policy(ctx, listed, identity))]
    return [Verdict(code, _room(kind, root, there=len(listed), missing=missing))]


def _room(kind: GrantKind, root: str, *, there: int, missing: int) -> Finding:
    return found(
        _ROOM,
        ok=not kind.limit or there + missing <= kind.limit,
        detail=f"{there} of {kind.limit} on {root}, {missing} to be made",
        remedy="remove those that nobody needs: az cosmosdb sql role assignment list --account-name"
        f" {root.rsplit('/', 1)[-1]} --resource-group {root.split('/')[4]}"
        f" --subscription {naming.subscription_of(root)}",
    )


async def _policy(ctx: StepContext, listed: Sequence[RoleAssignment], identity: Identity | None) -> Finding:
    """Whether the identity has another policy than the wanted one, which a create would not take away."""
    spec = ctx.connection.spec
    wanted = {role.id.lower() for role in ctx.target.roles(spec.intent)}
    for one in listed if identity is not None else ():
        policy = one.role_definition_id.rsplit("/", 1)[-1]
        same = identity is not None and one.principal_id.lower() == identity.principal_id.lower()
        if not same or policy.lower() in wanted or await _replaced(ctx, one):
            continue
        remedy = (
            f"az resource delete --ids {naming.resource_of(one.scope)}/accessPolicyAssignments/{one.name}"
        )
        detail = f"the identity has the access policy {policy} already, and can have one only"
        return found(
            _POLICY, ok=False, detail=detail, remedy=f"use the same intent, another identity, or {remedy}"
        )
    return found(_POLICY, ok=True)


async def _replaced(ctx: StepContext, one: RoleAssignment) -> bool:
    """Say whether a policy is what this connection alone was given before: a create replaces it."""
    known = ctx.intents.get("role_assignments")
    items = [
        item for plan in (known.plans() if known else ()) for item in plan.planned.get("assignments", ())
    ]
    for item in items:
        if str(item["name"]).lower() == one.name.lower():
            shared = await ctx.users.get(role_thing(item))
            return shared is None or not set(shared.users) - {ctx.user}
    return False
