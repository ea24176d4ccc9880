"""What may keep the connection from being granted: locks and two limits, looked at before the first write.

Azure allows 4,000 role assignments in a subscription (learn.microsoft.com/azure/role-based-access-control,
"Azure RBAC limits") and 20 federated credentials on an identity. A ReadOnly lock refuses to make role
assignments at its scope and below, a lock of either level to delete them (learn.microsoft.com, "Lock your
resources", considerations). All of it is Azure's own to refuse in the end: what may not be read is no
reason to refuse.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from shared import naming
from shared.errors import PermanentError
from shared.models import Finding
from shared.ports import Identity, Lock
from shared.steps import database_servers, service_limits
from shared.steps.base import StepContext, found
from shared.steps.federated_credential import BUDGET, budget_remedy, holds_room, wanted_credential
from shared.steps.granting import held_by
from shared.steps.managed_identity import identity_id
from shared.steps.verdicts import Verdict, unreadable
from shared.target_parts import AZURE_ROLE, DATABASE_USER

READ_ONLY = "readonly"
_ROLES, _IDENTITIES = "role assignments", "identities and credentials"


async def looked_at(
    ctx: StepContext,
    target: Mapping[str, Any],
    *,
    issuer: str,
    parent: Mapping[str, Any] | None = None,
) -> list[Verdict]:
    """Locks on the target, room for its role assignments, room for the identity's credential.

    The subscription's role assignments are listed only if one of the connection's is not there yet: the
    list has a page for each few hundred of them.

    Args:
        ctx: of the run.
        target: Azure's answer of the target.
        issuer: the cluster's.
        parent: Azure's answer of the resource above the target, where there is one.
    """
    identity = await ctx.outside.identities.get(identity_id(ctx))
    if ctx.target.grants is DATABASE_USER:
        # Neither a lock nor a limit of Azure's keeps a user from being made inside a server.
        verdicts = await database_servers.looked_at(ctx, parent)
    else:
        missing = await _missing(ctx, target, identity)
        verdicts = await _locks(ctx, missing, identity)
        if ctx.target.grants is AZURE_ROLE:
            verdicts.append(await _assignments(ctx, missing))
        else:
            verdicts += await service_limits.looked_at(ctx, missing, identity=identity)
    if ctx.connection.spec.identity_id and identity is not None:
        verdicts.append(await _credentials(ctx, identity, issuer))
    return verdicts


async def _missing(ctx: StepContext, target: Mapping[str, Any], identity: Identity | None) -> int:
    """How many role assignments of the connection are not there yet."""
    spec = ctx.connection.spec
    roles = ctx.target.roles(spec.intent, variant=ctx.target.variant(target))
    if identity is None:
        return len(roles)
    scope, principal_id = ctx.target.scope(spec.target_id), identity.principal_id
    there = await held_by(ctx.outside, ctx.target.grants, scope, principal_id)
    held = {_role(one.role_definition_id) for one in there if _same(one.scope, scope)}
    return sum(role.id.lower() not in held for role in roles)


async def _locks(ctx: StepContext, missing: int, identity: Identity | None) -> list[Verdict]:
    """Locks on the target and, in the subscriptions that are read anyway, on what the identity is made in."""
    spec, name = ctx.connection.spec, "target-unlocked"
    subscription = naming.subscription_of(spec.target_id)
    try:
        locks = await ctx.outside.resources.locks(subscription)
    except PermanentError as error:
        return [Verdict("scope-locked", unreadable(name, error))]
    verdicts = [_locked(name, ctx.target.scope(spec.target_id), locks, refuses=bool(missing), what=_ROLES)]
    own = identity_id(ctx)
    if naming.subscription_of(own) == subscription:
        unmade = identity is None
        verdicts.append(_locked("identity-unlocked", own, locks, refuses=unmade, what=_IDENTITIES))
    return verdicts


def _locked(name: str, scope_id: str, locks: Sequence[Lock], *, refuses: bool, what: str) -> Verdict:
    """The verdict on the locks that hold for a scope; ``refuses``: something is to be made there."""
    scope, subscription = naming.fold_id(scope_id), naming.subscription_of(scope_id)
    held = [one for one in locks if f"{scope}/".startswith(f"{naming.fold_id(one.scope)}/")]
    if not held:
        return Verdict("scope-locked", found(name, ok=True))
    first = min(held, key=lambda one: not _forbids_writes(one))
    refuses = _forbids_writes(first) and refuses
    lost = f"{what} cannot be made there" if refuses else "they cannot be taken away there"
    finding = Finding(
        name=name,
        result="failed" if refuses else "warning",
        detail=f"{first.level} lock {first.name} on {first.scope}: {lost}",
        remedy=f"az lock list --subscription {subscription}; az lock delete --ids {first.resource_id}",
    )
    return Verdict("scope-locked", finding)


async def _assignments(ctx: StepContext, missing: int) -> Verdict:
    code, name = "role-assignment-budget", "role-assignment-room"
    if not missing:
        return Verdict(code, found(name, ok=True, detail="none is to be made"))
    subscription = naming.subscription_of(ctx.connection.spec.target_id)
    limit = ctx.rules.role_assignment_limit
    try:
        there = len(await ctx.outside.roles.list(f"/subscriptions/{subscription}"))
    except PermanentError as error:
        return Verdict(code, unreadable(name, error))
    finding = found(
        name,
        ok=there + missing <= limit,
        detail=f"{there} of {limit} in subscription {subscription}, {missing} to be made",
        remedy="remove role assignments that nobody needs (az role assignment list --all), name an identity"
        " that has the role there already, or raise MOORING_ROLE_ASSIGNMENT_LIMIT",
    )
    return Verdict(code, finding)


async def _credentials(ctx: StepContext, identity: Identity, issuer: str) -> Verdict:
    present = await ctx.outside.identities.list_credentials(identity.resource_id)
    wanted = wanted_credential(ctx, client_id=identity.client_id, issuer=issuer)
    finding = found(
        "credential-room",
        ok=holds_room(present, wanted),
        detail=f"the identity holds {len(present)} of {BUDGET} federated credentials",
        remedy=budget_remedy(identity.resource_id),
    )
    return Verdict("credential-budget", finding)


def _forbids_writes(lock: Lock) -> bool:
    return lock.level.lower() == READ_ONLY


def _role(definition_id: str) -> str:
    return definition_id.rsplit("/", 1)[-1].lower()


def _same(one: str, other: str) -> bool:
    return naming.fold_id(one) == naming.fold_id(other)
