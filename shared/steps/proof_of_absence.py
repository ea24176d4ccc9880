"""What it means that something is gone, for each kind of cause.

Only a definite not-found counts (``Resources.get`` returns ``None`` for nothing else). What stands under the
same id but is another one, a cluster with another issuer or an identity with another client id, is not what
the connection relied on: that is gone. So is a linker to which something was left, once it works through
another identity.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import StrEnum

from shared import naming
from shared.errors import NotYetError, PermanentError
from shared.models import Cause, Connection, ConnectionState
from shared.steps.base import StepContext

NAMESPACES = "/namespaces/"
TERMINATING = "Terminating"


class Incarnation(StrEnum):
    """Whether the cluster of today is the one that a connection was made in."""

    SAME = "same"
    ANOTHER = "another"
    GONE = "gone"
    UNKNOWN = "unknown"
    """Nobody has recorded the issuer, or the cluster has none now."""


async def incarnation(ctx: StepContext) -> Incarnation:
    """Compare the cluster's issuer with the recorded one: each cluster that is made has a new one.

    AKS makes the issuer's URL with a GUID of its own for each cluster (learn.microsoft.com/azure/aks,
    use-oidc-issuer), and nothing else tells a rebuilt cluster of the same id from the old one.
    """
    cluster = await ctx.outside.clusters.describe(ctx.connection.spec.cluster_id)
    if cluster is None:
        return Incarnation.GONE
    issuer = recorded_issuer(ctx)
    if not issuer or not cluster.issuer:
        return Incarnation.UNKNOWN
    return Incarnation.SAME if cluster.issuer == issuer else Incarnation.ANOTHER


def recorded_issuer(ctx: StepContext) -> str:
    """The issuer that the cluster had when the connection was made or observed, empty if unknown."""
    recorded = ctx.intents.get("preflight")
    return str(recorded.outputs.get("issuer") or "") if recorded else ""


async def cause_alive(ctx: StepContext, cause: Cause, *, api_version: str) -> bool:
    """Say whether what the connection relied on is there, under this id or as good as there.

    Raises:
        NotYetError: ``confirm``: a namespace is on its way out.
        PermanentError: ``cause-mismatch``: the cause is about another connection's namespace.
    """
    if cause.kind == "namespace":
        return await _namespace_there(ctx, cause)
    if cause.kind == "expiry":
        return not expired(ctx.connection, ctx.now, ctx.rules.orphan_retention_seconds)
    looked_at = present_instead(ctx, cause) or cause.resource_id
    there = await ctx.outside.resources.get(looked_at, api_version=api_version) is not None
    if cause.kind == "cluster" and there:
        return await incarnation(ctx) is not Incarnation.ANOTHER
    if cause.kind == "identity" and there:
        made = ctx.intents.get("managed_identity")
        client_id = str(made.outputs.get("clientId") or "") if made else ""
        identity = await ctx.outside.identities.get(looked_at) if client_id else None
        return identity is None or identity.client_id.lower() == client_id.lower()
    if cause.kind == "linker" and there and ctx.connection.left_by:
        return await _works_through(ctx, cause)
    credential = ctx.intents.get("federated_credential")
    if cause.kind == "credential" and not there and credential is not None:
        planned = credential.planned
        others = await ctx.outside.identities.list_credentials(str(planned["identityId"]))
        wanted = (planned["issuer"], planned["subject"])
        return any((other.issuer, other.subject) == wanted for other in others)
    return there


async def _works_through(ctx: StepContext, cause: Cause) -> bool:
    """Say whether a living linker works through the identity for which something was left to it."""
    linker, left = await ctx.outside.linkers.get(cause.resource_id), ctx.intents.get("managed_identity")
    client_id = str(left.outputs.get("clientId") or "") if left else ""
    return linker is None or not client_id or linker.client_id.lower() == client_id.lower()


def present_instead(ctx: StepContext, cause: Cause) -> str:
    """What the connection relies on now, where the cause is something else; empty if it relies on the cause.

    Rows that lead from a resource to its connections outlive what an update takes away. They outlive the
    record of their own life, too: generations begin anew when table ``connections`` is lost. What Service
    Connector's own connections work with is its to change: of their targets only parts are told apart.
    """
    gone_id, theirs = naming.fold_id(cause.resource_id), bool(ctx.connection.linker_id)
    if cause.kind == "identity" and not theirs:
        made = ctx.intents.get("managed_identity")
        identities = [str(plan.planned["resourceId"]) for plan in made.plans()] if made else []
        return "" if gone_id in map(naming.fold_id, identities) else next(iter(identities), "")
    target_id = ctx.connection.spec.target_id
    if cause.kind != "target" or gone_id in naming.ancestors(target_id):
        return ""
    relied_on = ctx.target.relied_on(target_id)
    part = gone_id.startswith(f"{naming.fold_id(relied_on[0])}/")
    return relied_on[-1] if part or not theirs else ""


async def _namespace_there(ctx: StepContext, cause: Cause) -> bool:
    cluster_id, _, name = naming.fold_id(cause.resource_id).rpartition(NAMESPACES)
    spec = ctx.connection.spec
    if (cluster_id, name) != (naming.fold_id(spec.cluster_id), spec.namespace):
        raise PermanentError("cause-mismatch", f"{cause.resource_id} is not this connection's namespace")
    if await incarnation(ctx) is not Incarnation.SAME:
        # What another cluster says proves nothing about the one that the connection was in.
        return True
    phase = await ctx.outside.clusters.namespace_phase(spec.cluster_id, spec.namespace)
    if phase == TERMINATING:
        raise NotYetError("confirm", f"namespace {spec.namespace} is being removed")
    return bool(phase)


def expired(connection: Connection, now: datetime, retention_seconds: float) -> bool:
    """Say whether what was kept of a connection for a rebuild has been kept for long enough."""
    if connection.ended_at is None:
        return False
    kept = connection.state in {ConnectionState.ORPHANED, ConnectionState.PRUNING}
    return kept and now - connection.ended_at >= timedelta(seconds=retention_seconds)


def newer_than_event(cause: Cause, made_at: datetime | None) -> bool:
    """Say whether something was made after the event that called it an orphan; False without both times."""
    if made_at is None or not cause.event_time:
        return False
    try:
        told_at = datetime.fromisoformat(cause.event_time)
    except ValueError:
        return False
    return told_at.tzinfo is not None and made_at > told_at
