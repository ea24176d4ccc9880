"""Cluster objects are removed one at a time: proven ours, not protected, not used, and saved before.

Proof is the recorded uid, or the nonce that was saved before the write. The delete carries uid and
resourceVersion as preconditions.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

from shared import naming
from shared.errors import NotYetError, PermanentError
from shared.models import Plan, Provenance
from shared.ports import KubeObject, Use
from shared.steps import saving
from shared.steps.base import ANNOTATION_KEEP, ANNOTATION_NONCE, LABEL_MANAGED_BY, StepContext
from shared.steps.proof_of_absence import recorded_issuer
from shared.steps.removal import Removal, protects

USE_LISTS = (
    "Pod",
    "Deployment",
    "StatefulSet",
    "DaemonSet",
    "ReplicaSet",
    "Job",
    "CronJob",
    "ServiceAccount",
)
"""What is listed to find users, as ``ports.Use`` says."""
PROTECTED_ACCOUNT = "default"
_USED: Mapping[str, Callable[[Use], Collection[str]]] = {
    "ServiceAccount": lambda use: (use.service_account,),
    "Secret": lambda use: use.secrets,
    "ConfigMap": lambda use: use.config_maps,
    "SecretProviderClass": lambda use: use.provider_classes,
}
"""Names that a use holds of each kind."""


async def hold_if_used(ctx: StepContext, kind: str, plan: Plan, *, lost: bool = False) -> Mapping[str, Any]:
    """Look who uses the object; hold a prune while somebody does.

    ``lost`` is the answer of ``cluster_lost``.

    Returns:
        What the look saw: the lists that were read, how many users, the first of them, and when. Empty where
        nothing is asked: in a delete, and for what is gone or protected anyway.

    Raises:
        NotYetError: ``in-use``, the detail says also whether the object could be put back; ``uses-unknown``:
            who may not list does not know.
    """
    namespace, name = str(plan.planned["namespace"]), str(plan.planned["name"])
    if not ctx.pruning or lost or protects(ctx, namespace):
        return {}
    users = await _users_of(ctx, kind, namespace, name)
    use: dict[str, Any] = {"lists": list(USE_LISTS), "users": len(users), "at": ctx.now.isoformat()}
    if not users:
        return use
    if not ctx.operation.report_only:
        back = await _restorable(ctx, kind, plan)
        detail = f"{kind} {namespace}/{name} is used by {users[0]}; can be restored: {back}"
        raise NotYetError("in-use", detail, seconds=ctx.rules.hold_recheck_seconds)
    return {**use, "by": users[0]}


async def used(ctx: StepContext, kind: str, thing: KubeObject) -> bool:
    """Say whether something uses an object."""
    return bool(await _users_of(ctx, kind, thing.namespace, thing.name))


async def _users_of(ctx: StepContext, kind: str, namespace: str, name: str) -> list[str]:
    try:
        uses = await ctx.outside.clusters.list_uses(ctx.connection.spec.cluster_id, namespace)
    except PermanentError as error:
        if error.code == "kubernetes-access-denied" and ctx.pruning:
            # Who may not look does not know: held, never let through.
            raise NotYetError("uses-unknown", error.detail, seconds=ctx.rules.hold_recheck_seconds) from error
        if error.code != "cluster-gone":
            raise
        return []
    used = _USED[kind]
    return [f"{use.kind} {use.name}" for use in uses if name in used(use)]


async def cluster_lost(
    ctx: StepContext, kind: str, plan: Plan, *, known: Mapping[str, Any] | None = None
) -> bool:
    """Say whether an object went with its cluster: another cluster, with another issuer, stands in its place.

    What bears the object's name there today is not touched, unless it is the recorded object itself: a create
    that was under way while the cluster was replaced wrote it into the new one. A uid is never given twice
    (kubernetes.io/docs/concepts/overview/working-with-objects/names#uids); a nonce proves it only where no
    uid is recorded, because a backup puts annotations back.

    Args:
        ctx: the run.
        kind: ``Secret``, ``ConfigMap`` or ``ServiceAccount``.
        plan: what the record knows.
        known: what the users row says of an account that another connection made anew. What was told of
            another life of the cluster proves nothing: so it stands in a backup.

    Raises:
        TransientError: Azure or the cluster cannot be asked.
    """
    issuer = recorded_issuer(ctx)
    if not ctx.pruning or not issuer:
        return False
    cluster = await ctx.outside.clusters.describe(ctx.connection.spec.cluster_id)
    if cluster is None:
        return True
    if not cluster.issuer or cluster.issuer == issuer:
        return False
    namespace, name = str(plan.planned["namespace"]), str(plan.planned["name"])
    there = await ctx.outside.clusters.get(ctx.connection.spec.cluster_id, kind, namespace, name)
    return there is None or not _written_since(there, plan, _given_in(cluster.issuer, known or {}))


def _written_since(there: KubeObject, plan: Plan, anew: str) -> bool:
    planned, recorded = str(plan.planned.get("nonce", "")), plan.outputs.get("uid")
    nonces = {anew if anew != planned else "", "" if recorded else planned} - {""}
    return recorded == there.uid or there.annotations.get(ANNOTATION_NONCE) in nonces


async def _restorable(ctx: StepContext, kind: str, plan: Plan) -> str:
    planned = plan.planned
    there = await ctx.outside.clusters.get(
        ctx.connection.spec.cluster_id, kind, str(planned["namespace"]), str(planned["name"])
    )
    if there is None:
        return "no, it is gone"
    looked = await saving.look(ctx, there, provenance=str(planned.get("provenance", "")))
    return "yes" if looked.restorable else f"no, {looked.why}"


async def remove_object(
    ctx: StepContext,
    removal: Removal,
    kind: str,
    plan: Plan,
    *,
    thing: str = "",
    known: Mapping[str, Any] | None = None,
    use: Mapping[str, Any] | None = None,
    lost: bool = False,
) -> None:
    """Delete one cluster object, if it is proven to be the one we know.

    In a prune the object is saved first, so that a restore can put it back.

    Args:
        ctx: the run.
        removal: what is said of it.
        kind: ``Secret``, ``ConfigMap`` or ``ServiceAccount``.
        plan: what the record knows: namespace, name, nonce, uid.
        thing: name of its users row, if it has one.
        known: what the users row says of an object that another connection made or re-made.
        use: what ``hold_if_used`` saw.
        lost: what ``cluster_lost`` said.

    Raises:
        NotYetError: ``policy-unreadable``.
        TransientError: the object changed between look and delete.
    """
    cluster_id = ctx.connection.spec.cluster_id
    namespace, name = str(plan.planned["namespace"]), str(plan.planned["name"])
    made = plan.planned.get("provenance") == Provenance.CREATED
    # Our own connections may have made the account of an adopted one again: the users row has their nonce.
    own = {str(plan.planned.get("nonce", ""))} if made else set()
    nonces = (own | nonces_of(known or {})) - {""}
    bare = {"kind": kind, "thing": thing, "namespace": namespace, "name": name}
    item = {**bare, "nonces": sorted(nonces)}
    if protects(ctx, namespace):
        removal.keep(bare, "protected-namespace", f"{namespace} is protected by the policy")
        return
    if ctx.pruning and kind == "ServiceAccount" and name == PROTECTED_ACCOUNT:
        removal.keep(bare, "protected-object", "every namespace needs its account default")
        return
    there = None
    try:
        there = None if lost else await ctx.outside.clusters.get(cluster_id, kind, namespace, name)
    except PermanentError as error:
        if error.code != "cluster-gone":
            raise
        lost = True
    if there is None:
        if lost and ctx.pruning:
            # It went with its cluster, and what bears its nonce in another one a backup has put back there.
            # Or a write of ours has, if no answer is on record: of others none is under way.
            item["nonces"] = [] if plan.outputs.get("uid") else sorted(own - {""})
        removal.remove(item, "cluster-gone" if lost else "already-gone", found=False)
        return
    proof = _proof(there, plan, nonces)
    seen = {**item, "uid": there.uid}
    if not proof:
        recorded = plan.outputs.get("uid")
        rule = "object-changed" if recorded else "not-proven-ours"
        removal.keep(bare, rule, f"recorded uid {recorded}" if recorded else "", uid=there.uid)
        return
    if not _asked_for(ctx, proof) and (made or ANNOTATION_NONCE in there.annotations) and not marked(there):
        # Somebody took our mark off: they may mean it to be theirs. The nonce tells that we made it, also
        # where the record is of a linker that works with our account.
        removal.keep(bare, "mark-removed", uid=there.uid)
        return
    if ANNOTATION_KEEP in there.annotations and ctx.pruning:
        removal.keep(bare, "keep-annotation", uid=there.uid)
        return
    evidence: dict[str, Any] = {"proof": {"by": proof, "uid": plan.outputs.get("uid", "")}}
    if ctx.pruning:
        looked = await saving.look(ctx, there, provenance=str(plan.planned.get("provenance", "")))
        evidence |= {"use": dict(use or {}), **saving.shown(looked)}
        if ctx.operation.report_only:
            held = bool((use or {}).get("users"))
            rule, act = ("in-use", "hold") if held else (f"proven-by-{proof}", "delete")
            removal.say({**bare, "uid": there.uid}, rule, act=act, **evidence)
            return
        await ctx.recorder.save(looked)
    await ctx.outside.clusters.delete(
        cluster_id, kind, namespace, name, uid=there.uid, resource_version=there.resource_version
    )
    removal.remove(seen, f"proven-by-{proof}", found=True, **evidence)


def marked(thing: KubeObject) -> bool:
    """Say whether an object bears the label of what we make."""
    return thing.labels.get(LABEL_MANAGED_BY) == naming.MANAGED_BY


def _asked_for(ctx: StepContext, proof: str) -> bool:
    """Say whether a person asked for the removal: by a delete, or of an orphan that was named by its uid."""
    cause = ctx.operation.cause
    return cause is None or (cause.kind == "orphan" and proof == "uid")


def _proof(there: KubeObject, plan: Plan, nonces: set[str]) -> str:
    if plan.outputs.get("uid") == there.uid:
        return "uid"
    return "nonce" if there.annotations.get(ANNOTATION_NONCE) in nonces else ""


def _given_in(issuer: str, details: Mapping[str, Any]) -> str:
    """The nonce that was told last, unless it was told of another life of the cluster: a backup has it, too.

    A row that does not say of which life (an earlier version wrote it) may mean this one.
    """
    nonce, given = str(details.get("nonce", "")), details.get("given", {})
    return "" if given.get("nonce") == nonce and given.get("issuer") != issuer else nonce


def details_with(nonce: str, issuer: str) -> dict[str, Any]:
    """What the users row of an account is told of a write, and into which life of the cluster it goes.

    Two that make it at once write a nonce each, and what stays on it need not be what was told last.
    """
    return {"nonce": nonce, "nonces": [nonce], "given": {"nonce": nonce, "issuer": issuer}}


def nonces_of(details: Mapping[str, Any]) -> set[str]:
    """Each nonce that an account may bear by what its users row knows."""
    return {str(details.get("nonce", "")), *map(str, details.get("nonces", ()))} - {""}


def account_of(name: str) -> str:
    """Client id in a service account's name."""
    return name.removeprefix(naming.service_account_name(""))
