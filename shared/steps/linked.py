"""What a living Service Connector connection works through stays, whoever made it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from shared import naming
from shared.errors import PermanentError
from shared.ports import Linker
from shared.steps.adopted import identity_of
from shared.steps.base import StepContext
from shared.steps.objects import account_of
from shared.steps.removal import live_linkers, same_secret

UNREADABLE = "unreadable"
"""State of a linker that Azure does not let us read."""


async def linker_of(ctx: StepContext, item: Mapping[str, Any]) -> Linker | None:
    """A living linker that works through a thing that a removal names, ``None`` if none does.

    Raises:
        TransientError: the linkers cannot be listed.
    """
    match item["kind"]:
        case "role":
            return await linker_of_role(ctx, item)
        case "identity":
            plans = ctx.intents["managed_identity"].plans() if "managed_identity" in ctx.intents else ()
            clients = [
                one.outputs.get("clientId") for one in plans if one.outputs.get("resourceId") == item["id"]
            ]
            found = [await linkers_through(ctx, item["id"], str(client)) for client in clients if client]
            return next((one for linkers in found for one in linkers), None)
        case "credential":
            client_id = account_of(str(item["subject"]).rpartition(":")[-1])
        case "ServiceAccount":
            client_id = account_of(str(item["name"]))
        case "Secret":
            name = ctx.connection.spec.name
            return next((one for one in await live_linkers(ctx) if same_secret([one], name)), None)
        case _:
            return None
    return next((one for one in await live_linkers(ctx) if one.client_id.lower() == client_id), None)


async def linker_of_role(ctx: StepContext, item: Mapping[str, Any]) -> Linker | None:
    """The linker for which a role that we gave stays, ``None`` if nothing speaks for it.

    Azure assigns a role once to a principal at a scope (``RoleAssignmentExists``), so a linker that was made
    for the same identity and target goes by ours. Nobody goes by the role of an identity that is gone.
    """
    cause = ctx.operation.cause
    identity = identity_of(ctx, str(item["principalId"]))
    client_id = str(identity.outputs.get("clientId", "")) if identity else ""
    if identity is None or not client_id or (cause is not None and cause.kind == "identity"):
        return None
    for linker in await linkers_through(ctx, str(identity.planned["resourceId"]), client_id):
        if _related(str(item["scope"]), linker.target_id):
            return linker
    return None


def reason_of(linker: Linker) -> str:
    """Why something stays for a linker."""
    unread = linker.provisioning_state == UNREADABLE
    return f"{linker.resource_id} {'cannot be read and may work' if unread else 'works'} through it"


async def linkers_through(ctx: StepContext, identity_id: str, client_id: str) -> list[Linker]:
    """Living linkers that work through an identity, in whatever namespace.

    Of the connection's cluster those that Azure lists. One identity may serve many clusters: of the others
    those that were seen alive once, each asked for by its id. One that may not be read counts as living.

    Raises:
        TransientError: the linkers cannot be listed, or one of them not be read for now.
    """
    cluster_id = ctx.connection.spec.cluster_id
    found = [*await ctx.outside.linkers.list(cluster_id)] if cluster_id else []
    for linker_id, target_id in (await ctx.recorder.linkers_of(identity_id, client_id)).items():
        if cluster_id and naming.fold_id(linker_id).startswith(f"{naming.fold_id(cluster_id)}/"):
            continue
        try:
            there = await ctx.outside.linkers.get(linker_id)
        except PermanentError:
            there = _unreadable(linker_id, target_id, client_id)
        found += [there] if there is not None else []
    return [linker for linker in found if linker.client_id.lower() == client_id.lower()]


def _unreadable(linker_id: str, target_id: str, client_id: str) -> Linker:
    """A linker as it is on record: of a subscription that is out of reach, or gone."""
    return Linker(
        resource_id=linker_id,
        name="",
        namespace="",
        target_id=target_id,
        client_id=client_id,
        client_type="",
        provisioning_state=UNREADABLE,
    )


def _related(scope: str, target_id: str) -> bool:
    """Say whether a role at a scope matters to a target, known or not: one is the other, or a part of it."""
    if not target_id:
        return True
    one, other = f"{naming.fold_id(scope)}/", f"{naming.fold_id(target_id)}/"
    return one.startswith(other) or other.startswith(one)
