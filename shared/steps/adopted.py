"""What was adopted: whether its linker and target are there, and who works through it once they are not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from shared import naming
from shared.errors import PermanentError
from shared.models import Finding, Plan
from shared.steps.base import StepContext, credential_thing, found
from shared.steps.verdicts import unreadable


async def look_at_linker(ctx: StepContext) -> list[Finding]:
    """Say whether Service Connector's connection is alive, and how much of it was taken over."""
    linker = await ctx.outside.linkers.get(ctx.connection.linker_id)
    state = linker.provisioning_state if linker else "gone"
    alive = found(
        "linker-alive",
        ok=state.lower() == "succeeded",
        detail=f"{ctx.connection.linker_id} is {state}",
        remedy=f"az aks connection update --id {ctx.connection.linker_id}" if linker else "",
    )
    if not ctx.for_pruning_only:
        return [alive]
    detail = f"for pruning only: its authentication is {linker.auth_type if linker else 'not an identity'}"
    return [alive, Finding(name="adopted-as-a-whole", result="warning", detail=detail)]


async def look_at_target(ctx: StepContext) -> Finding:
    """Say whether the target exists; without a row of the catalogue only a list can tell, which may lag."""
    target_id, row = ctx.connection.spec.target_id, ctx.offered_target
    remedy = f"az aks connection delete --id {ctx.connection.linker_id}"
    if row is not None:
        target_id = row.existence_id(target_id)
        target = await ctx.outside.resources.get(target_id, api_version=row.api_version)
        exists = found("target-exists", ok=target is not None, detail=target_id, remedy=remedy)
        return exists if target is None else await part_found(ctx, remedy=remedy) or exists
    top = naming.ancestors(target_id)[:-1][-1]
    listed = await ctx.outside.resources.list(
        naming.subscription_of(top), resource_type=naming.type_of(top), name=top.rsplit("/", 1)[-1]
    )
    there = top in map(naming.fold_id, listed)
    result = "ok" if there else "unknown"
    return Finding(name="target-exists", result=result, detail=top if there else f"{top} is not listed")


async def part_found(ctx: StepContext, *, remedy: str) -> Finding | None:
    """Say whether the part exists that the target's id names; ``None`` if it names none."""
    part_id = ctx.target.part_id(ctx.connection.spec.target_id)
    if not part_id:
        return None
    try:
        part = await ctx.outside.resources.get(part_id, api_version=ctx.target.api_version)
    except PermanentError as error:
        return unreadable("target-exists", error)  # the whole was read: this right alone is missing
    return found("target-exists", ok=part is not None, detail=part_id, remedy=remedy)


async def still_relied_on(ctx: StepContext, item: Mapping[str, Any]) -> str:
    """Why an adopted role assignment stays, empty if its principal is gone and nobody can need it.

    Service Connector takes back what it granted itself. What it leaves under a living identity may serve a
    virtual machine or another service that works as this identity, and nothing here can see those.

    Args:
        ctx: of the run.
        item: scope, name, principalId and roleDefinitionId as recorded while the linker was alive.
    """
    there = await ctx.outside.roles.get(item["scope"], item["name"])
    if there is not None and _grant(there.principal_id, there.role_definition_id) != _grant(
        item["principalId"], item["roleDefinitionId"]
    ):
        return "another assignment has that name by now"
    plan = identity_of(ctx, str(item["principalId"]))
    if plan is None:
        return "its identity is not on record"
    identity = await ctx.outside.identities.get(str(plan.planned["resourceId"]))
    if there is not None and identity is not None and _same(identity.principal_id, str(item["principalId"])):
        scope, name = item["scope"], item["name"]
        ids = f"{scope}/providers/Microsoft.Authorization/roleAssignments/{name}"
        return f"its identity lives and may serve others; az role assignment delete --ids {ids}"
    return ""


async def still_trusted(ctx: StepContext, planned: Mapping[str, Any]) -> str:
    """Why an adopted credential stays, empty unless it bears a name of ours and is not on record as ours.

    Service Connector names its own otherwise. Nobody gets in by one whose cluster or namespace is gone.

    Args:
        ctx: of the run.
        planned: identityId, name, issuer and subject as recorded while the linker was alive.
    """
    identity_id, name = str(planned["identityId"]), str(planned["name"])
    issuer, subject = str(planned["issuer"]), str(planned["subject"])
    spec, account, cause = ctx.connection.spec, subject.rpartition(":")[-1], ctx.operation.cause
    ours = {
        naming.credential_name(spec.cluster_id, spec.namespace, account, issuer),
        naming.former_credential_name(spec.cluster_id, spec.namespace, account),
    }
    if name not in ours or (cause is not None and cause.kind in {"cluster", "namespace"}):
        return ""
    if await known_as_ours(ctx, credential_thing(identity_id, issuer, subject)):
        return ""
    there = await ctx.outside.identities.get_credential(identity_id, name)
    if there is None or (there.issuer, there.subject) != (issuer, subject):
        return ""
    identity = identity_id.rsplit("/", 1)[-1]
    group = naming.resource_group_of(identity_id).rsplit("/", 1)[-1]
    return (
        "it has a name that Mooring gives, and nothing on record made it: others may work through it;"
        f" az identity federated-credential delete --name {name} --identity-name {identity}"
        f" --resource-group {group}"
    )


async def known_as_ours(ctx: StepContext, thing: str) -> bool:
    """Say whether the record knows a thing that was adopted as made by a connection of ours.

    That it bears a name which we compute proves how it was named, not by whom: the connection may be one that
    a recovery could not put on record, or another installation's, and works through it still.

    Args:
        ctx: of the run.
        thing: name of its users row: who uses it beside the linker, or has left it, may be ours.
    """
    shared = await ctx.users.get(thing)
    return shared is not None and await ctx.recorder.any_of_ours({*shared.users, *shared.left} - {ctx.user})


def identity_of(ctx: StepContext, principal_id: str) -> Plan | None:
    """The plan of the identity that has a principal id, if it is on record."""
    known = ctx.intents.get("managed_identity")
    plans = known.plans() if known else ()
    return next((one for one in plans if _same(one.outputs.get("principalId", ""), principal_id)), None)


def _same(one: object, other: str) -> bool:
    return str(one).lower() == other.lower()


def _grant(principal_id: str, role_definition_id: str) -> tuple[str, str]:
    return principal_id.lower(), naming.fold_id(role_definition_id).rsplit("/", 1)[-1]
