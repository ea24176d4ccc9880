"""The hops from a workload to its target, one finding each: what works after a restore, and what cannot.

Looks only. A hop that nothing on record leads to is unknown; what cannot be read is unknown too.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from shared import naming
from shared.errors import PermanentError
from shared.models import Finding
from shared.ports import Identity
from shared.prunes import SavedObject
from shared.steps.base import ANNOTATION_CLIENT_ID, StepContext
from shared.steps.granting import held_by
from shared.steps.objects import account_of
from shared.target_parts import AZURE_ROLE, DATABASE_USER

_GONE = "send a create request: it makes what is missing anew"
_LINKER = "az aks connection create, or send a create request: Mooring takes the connection over"
_TARGET = "recover or make the target in Azure"


async def of(ctx: StepContext, saved: Sequence[SavedObject]) -> list[Finding]:
    """Linker (of Service Connector's), target, identity, credential and role, in that order."""
    account = next((one for one in saved if one.kind == "ServiceAccount"), None)
    findings = []
    if ctx.connection.linker_id:
        findings.append(await _looked("linker-exists", lambda: _linker(ctx), remedy=_LINKER))
    findings.append(await _looked("target-exists", lambda: _target(ctx), remedy=_TARGET))
    identity: Identity | None = None
    fault = ""
    try:
        identity = await _identity(ctx, account)
    except PermanentError as error:
        fault = str(error)
    if identity is None:
        result = "unknown" if fault or not _client_id(account) else "failed"
        detail = fault or _client_id(account) or "no identity is on record"
        missing = Finding(name="identity-exists", result=result, detail=detail, remedy=_GONE)
        hops = ("credential-exists", "role-assigned")
        return [*findings, missing, *(Finding(name=hop, result=result, remedy=_GONE) for hop in hops)]
    principal = identity
    findings.append(Finding(name="identity-exists", result="ok", detail=identity.resource_id))
    findings.append(await _looked("credential-exists", lambda: _credential(ctx, principal), remedy=_GONE))
    if not ctx.connection.linker_id and ctx.target.grants is DATABASE_USER:
        # Whether a server lets its user in, only a validation asks: it signs in there.
        return [*findings, Finding(name="role-assigned", result="unknown", detail="a user of the server")]
    return [*findings, await _looked("role-assigned", lambda: _role(ctx, principal), remedy=_GONE)]


async def _looked(name: str, look: Callable[[], Awaitable[tuple[bool, str]]], *, remedy: str) -> Finding:
    try:
        ok, detail = await look()
    except PermanentError as error:
        return Finding(name=name, result="unknown", detail=str(error))
    return Finding(name=name, result="ok" if ok else "failed", detail=detail, remedy="" if ok else remedy)


async def _linker(ctx: StepContext) -> tuple[bool, str]:
    linker_id = ctx.connection.linker_id
    return await ctx.outside.linkers.get(linker_id) is not None, linker_id


async def _target(ctx: StepContext) -> tuple[bool, str]:
    ids = ctx.target.relied_on(ctx.connection.spec.target_id)
    for resource_id in ids:
        if await ctx.outside.resources.get(resource_id, api_version=ctx.target.api_version) is None:
            return False, resource_id
    return True, ids[-1]


async def _identity(ctx: StepContext, account: SavedObject | None) -> Identity | None:
    """The identity that the account names: ours by its name, Service Connector's by its client id."""
    spec, client_id = ctx.connection.spec, _client_id(account)
    if not client_id:
        return None
    if not ctx.connection.linker_id:
        group = ctx.rules.identity_resource_group_id.rstrip("/")
        name = naming.identity_name(spec.cluster_id, spec.namespace, spec.workload)
        own = f"{group}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/{name}"
        found = await ctx.outside.identities.get(spec.identity_id or own)
        same = found is not None and found.client_id.lower() == client_id
        return found if same else None
    subscription = f"/subscriptions/{naming.subscription_of(spec.cluster_id)}"
    listed = await ctx.outside.identities.list(subscription)
    return next((one for one in listed if one.client_id.lower() == client_id), None)


def _client_id(account: SavedObject | None) -> str:
    if account is None:
        return ""
    return account.annotations.get(ANNOTATION_CLIENT_ID, account_of(account.name)).lower()


async def _credential(ctx: StepContext, identity: Identity) -> tuple[bool, str]:
    spec = ctx.connection.spec
    cluster = await ctx.outside.clusters.describe(spec.cluster_id)
    account = naming.account_name(spec, identity.client_id)
    wanted = (cluster.issuer if cluster else "", naming.subject(spec.namespace, account))
    present = await ctx.outside.identities.list_credentials(identity.resource_id)
    return any((one.issuer, one.subject) == wanted for one in present), wanted[1]


async def _role(ctx: StepContext, identity: Identity) -> tuple[bool, str]:
    scope = ctx.target.scope(ctx.connection.spec.target_id)
    # Service Connector gives Azure's roles, also where we have the service's own granted.
    kind = AZURE_ROLE if ctx.connection.linker_id else ctx.target.grants
    granted = await held_by(ctx.outside, kind, scope, identity.principal_id)
    return bool(granted), f"{len(granted)} at or above {scope}"
