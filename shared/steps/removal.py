"""What every removal asks before it removes: is it ours, is it used, is the cause still a fact.

Used by the steps' ``revert``. In a delete somebody asked for the removal; in a prune nobody did, so
there the cause is looked at again whenever the confirmation has grown old, and an object that a pod
uses or that bears the keep annotation stays.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import AsyncIterator, Mapping
from datetime import datetime
from typing import Any

from shared import naming
from shared.errors import NotYetError, PermanentError
from shared.models import Done, Plan, Provenance
from shared.ports import KubeObject, Linker
from shared.steps.base import ANNOTATION_KEEP, ANNOTATION_NONCE, StepContext
from shared.steps.proof_of_absence import cause_alive

CREDENTIAL_LEASE_SECONDS = 60.0
CONFIRMATION_SECONDS = 30.0
"""A confirmation older than this is asked for again before something is removed."""


@dataclasses.dataclass(slots=True)
class Removal:
    """What one revert did. Mutable: it is filled while the step goes through its plans."""

    removed: list[Mapping[str, Any]] = dataclasses.field(default_factory=list)
    """Things that must be absent from now on, whether found or not; ``verify_gone`` looks again."""
    kept: list[str] = dataclasses.field(default_factory=list)
    would: list[str] = dataclasses.field(default_factory=list)

    def done(self) -> Done:
        """The step's outputs."""
        return Done(outputs={name: value for name, value in dataclasses.asdict(self).items() if value})


async def require_still_gone(ctx: StepContext) -> None:
    """Ask Azure once more about a prune's cause, if the last answer is not fresh.

    Raises:
        PermanentError: ``resource-returned``: nothing more is removed.
    """
    cause = ctx.operation.cause
    confirmation = ctx.done.get("confirm_gone", {})
    if cause is None or "apiVersion" not in confirmation:
        return
    age_seconds = (ctx.now - datetime.fromisoformat(confirmation["confirmedAt"])).total_seconds()
    if age_seconds < CONFIRMATION_SECONDS:
        return
    if await cause_alive(ctx, cause, api_version=confirmation["apiVersion"]):
        raise PermanentError(
            "resource-returned",
            f"{cause.resource_id} exists again",
            remedy="send the create request again: it makes anew what was removed before this was noticed",
        )


async def live_linkers(ctx: StepContext) -> list[Linker]:
    """Service Connector's connections of the cluster, in the connection's namespace."""
    found = await ctx.outside.linkers.list(ctx.connection.spec.cluster_id)
    return [linker for linker in found if linker.namespace == ctx.connection.spec.namespace]


async def identity_linked(ctx: StepContext, client_id: str) -> bool:
    """Say whether a live linker of the cluster, in any namespace, works through an identity."""
    found = await ctx.outside.linkers.list(ctx.connection.spec.cluster_id)
    return any(linker.client_id.lower() == client_id.lower() for linker in found)


async def hold_if_used(ctx: StepContext, kind: str, plan: Plan) -> None:
    """Hold a prune while a pod uses the object.

    Raises:
        NotYetError: ``in-use``.
    """
    if not ctx.pruning or ctx.operation.report_only:
        return
    namespace, name = str(plan.planned["namespace"]), str(plan.planned["name"])
    user = await _user_of(ctx, kind, namespace, name)
    if user:
        raise NotYetError(
            "in-use",
            f"{kind} {namespace}/{name} is used by {user}",
            seconds=ctx.rules.hold_recheck_seconds,
        )


async def used(ctx: StepContext, kind: str, thing: KubeObject) -> bool:
    """Say whether a pod uses an object."""
    return bool(await _user_of(ctx, kind, thing.namespace, thing.name))


async def _user_of(ctx: StepContext, kind: str, namespace: str, name: str) -> str:
    try:
        uses = await ctx.outside.clusters.list_uses(ctx.connection.spec.cluster_id, namespace)
    except PermanentError as error:
        if error.code == "kubernetes-access-denied" and ctx.pruning:
            # Who may not look does not know: held, never let through.
            raise NotYetError("uses-unknown", error.detail, seconds=ctx.rules.hold_recheck_seconds) from error
        if error.code != "cluster-gone":
            raise
        return ""
    for use in uses:
        if use.service_account == name if kind == "ServiceAccount" else name in use.secrets:
            return f"{use.kind} {use.name}"
    return ""


async def remove_object(
    ctx: StepContext,
    removal: Removal,
    kind: str,
    plan: Plan,
    *,
    thing: str = "",
    known: Mapping[str, Any] | None = None,
) -> None:
    """Delete one cluster object, if it is proven to be the one we know.

    Proof is the recorded uid, or the nonce that was saved before the write; ``known`` is what the users
    row says of an object that another connection made or re-made. The delete carries uid and
    resourceVersion as preconditions.

    Raises:
        TransientError: the object changed between look and delete.
    """
    cluster_id = ctx.connection.spec.cluster_id
    namespace, name = str(plan.planned["namespace"]), str(plan.planned["name"])
    shown = f"{kind} {namespace}/{name}"
    nonces = {str(plan.planned.get("nonce", "")), str((known or {}).get("nonce", ""))} - {""}
    item = {"kind": kind, "thing": thing, "namespace": namespace, "name": name, "nonces": sorted(nonces)}
    try:
        there = await ctx.outside.clusters.get(cluster_id, kind, namespace, name)
    except PermanentError as error:
        if error.code != "cluster-gone":
            raise
        there = None
    if there is None:
        removal.removed.append({**item, "found": False})
        return
    proof = _proof(there, plan, nonces)
    if not proof:
        removal.kept.append(f"{shown}: not proven ours")
    elif ANNOTATION_KEEP in there.annotations and ctx.pruning:
        removal.kept.append(f"{shown}: bears the keep annotation")
    elif ctx.operation.report_only:
        removal.would.append(f"delete {shown} (uid {there.uid}, proven by {proof})")
    else:
        await ctx.outside.clusters.delete(
            cluster_id,
            kind,
            namespace,
            name,
            uid=there.uid,
            resource_version=there.resource_version,
        )
        removal.removed.append({**item, "found": True, "uid": there.uid, "proof": proof})


async def forget(ctx: StepContext, thing: str, *, by_creates: bool = False) -> None:
    """Give the name of a removed thing free, once no delete of it can land any more.

    Azure's deletes go by name: one whose answer was lost would take what a newcomer has made by then.
    (Kubernetes' deletes name the uid, and do not.)

    Args:
        ctx: the run's context.
        thing: name of the users row.
        by_creates: creates of this life may have sent such deletes too.

    Raises:
        NotYetError: ``settle``.
    """
    left_seconds = await ctx.recorder.in_doubt_seconds(removals=True)
    if by_creates:
        left_seconds = max(left_seconds, await ctx.recorder.in_doubt_seconds(removals=False))
    if left_seconds > 0:
        raise NotYetError("settle", "a delete whose answer was lost may still land", seconds=left_seconds)
    await ctx.users.forget(thing, operation_id=ctx.operation.operation_id)


def same_secret(linkers: list[Linker], connection_name: str) -> bool:
    """Say whether a live linker writes the connection's secret."""
    return any(naming.fold_name(one.name) == naming.fold_name(connection_name) for one in linkers)


def _proof(there: KubeObject, plan: Plan, nonces: set[str]) -> str:
    if plan.outputs.get("uid") == there.uid:
        return "uid"
    made = plan.planned.get("provenance") == Provenance.CREATED
    return "nonce" if made and there.annotations.get(ANNOTATION_NONCE) in nonces else ""


@contextlib.asynccontextmanager
async def credential_lease(ctx: StepContext, identity_id: str) -> AsyncIterator[None]:
    """The right to write one identity's credentials.

    Raises:
        NotYetError: ``lease-busy``: another operation is writing one.
    """
    lease = f"credentials|{naming.fold_id(identity_id)}"
    holder = ctx.operation.operation_id
    if not await ctx.limits.acquire(lease, holder=holder, seconds=CREDENTIAL_LEASE_SECONDS):
        raise NotYetError("lease-busy", "another credential of this identity is being written")
    try:
        yield
    finally:
        await ctx.limits.release(lease, holder=holder)
