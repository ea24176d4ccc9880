"""A service account that the request names: its owner's, which gets one annotation and nothing else.

The annotation is written by server-side apply under our own field manager, on the very object that was looked
at (its uid and resourceVersion go with it), and taken back by an apply without it: what others own of the
account is never touched (kubernetes.io, "Server-Side Apply", field management). Which pods may act as the
identity is decided by the annotation's value (azure.github.io/azure-workload-identity, service account
annotations), so an account with another client id is somebody else's.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from shared import naming
from shared.errors import PermanentError
from shared.models import Done, Finding, Plan, Provenance
from shared.ports import KubeObject
from shared.spec import ConnectionSpec
from shared.steps.base import ANNOTATION_CLIENT_ID, LABEL_MANAGED_BY, StepContext, account_thing, found
from shared.steps.managed_identity import identity_id
from shared.steps.objects import cluster_lost
from shared.steps.removal import MADE_AGAIN, Removal, leave, protects

KIND = "ServiceAccount"
ITEM = "annotation"
"""Kind of what is removed: not the account."""
_NOT_BACK = {"restorable": "no", "why": MADE_AGAIN}


def is_provided(plan: Plan) -> bool:
    """Say whether a plan is about an account that the request named."""
    return plan.planned.get("provenance") == Provenance.PROVIDED


def missing(spec: ConnectionSpec) -> PermanentError:
    """The error of an account that is not there."""
    return PermanentError(
        "service-account-missing",
        f"there is no service account {spec.namespace}/{spec.service_account}",
        remedy=f"kubectl create serviceaccount {spec.service_account} --namespace {spec.namespace}",
    )


def refuse_taken(there: KubeObject, client_id: str) -> None:
    """The account is free for the identity, or names it already.

    Args:
        there: the account.
        client_id: of the identity; empty if it is not made yet.

    Raises:
        PermanentError: ``service-account-taken``.
    """
    place = f"{there.namespace}/{there.name}"
    generated = there.name.startswith(naming.service_account_name(""))
    if generated or there.labels.get(LABEL_MANAGED_BY) == naming.MANAGED_BY:
        raise PermanentError(
            "service-account-taken",
            f"service account {place} was made for a connection",
            remedy="leave serviceAccount out, or name one of your own",
        )
    held = there.annotations.get(ANNOTATION_CLIENT_ID, "")
    if held and held.lower() != client_id.lower():
        command = f"kubectl annotate serviceaccount {there.name} {ANNOTATION_CLIENT_ID}-"
        raise PermanentError(
            "service-account-taken",
            f"service account {place} names the client id {held}",
            remedy="connections of one account need the same identity: the same workload, or identityId;"
            f" or, if nothing needs the other: {command} --namespace {there.namespace}",
        )


async def look(ctx: StepContext, client_id: str) -> KubeObject:
    """The account, free for the identity.

    Raises:
        PermanentError: ``service-account-missing`` or ``service-account-taken``.
    """
    spec = ctx.connection.spec
    there = await ctx.outside.clusters.get(spec.cluster_id, KIND, spec.namespace, spec.service_account)
    if there is None:
        raise missing(spec)
    refuse_taken(there, client_id)
    return there


async def require_free(ctx: StepContext) -> None:
    """Look at the account before anything is made; the identity may not be there yet.

    Raises:
        PermanentError: ``service-account-missing`` or ``service-account-taken``.
    """
    identity = await ctx.outside.identities.get(identity_id(ctx))
    await look(ctx, identity.client_id if identity else "")


async def check(ctx: StepContext, plan: Plan) -> list[Finding]:
    """Say whether the account is there and names the identity; whoever owns it may make it anew."""
    spec = ctx.connection.spec
    place = f"{spec.namespace}/{spec.service_account}"
    client_id = ctx.output("managed_identity", "clientId")
    try:
        there = await look(ctx, client_id)
    except PermanentError as error:
        exists = error.code != "service-account-missing"
        findings = [found("service-account-exists", ok=exists, detail=place, remedy=error.remedy)]
        taken = found("service-account-annotation", ok=False, detail=error.detail, remedy=error.remedy)
        return [*findings, taken] if exists else findings
    held = there.annotations.get(ANNOTATION_CLIENT_ID, "")
    return [
        found("service-account-exists", ok=True, detail=place),
        found(
            "service-account-annotation",
            ok=bool(held) and plan.planned.get("clientId") == client_id,
            detail=f"{ANNOTATION_CLIENT_ID}={held or 'missing'}",
        ),
    ]


async def apply(ctx: StepContext) -> Done:
    """Write the annotation.

    Raises:
        PermanentError: ``service-account-missing``, ``service-account-taken``.
        NotYetError: ``closing``.
        TransientError: the account changed since it was read.
    """
    spec, client_id = ctx.connection.spec, ctx.output("managed_identity", "clientId")
    there = await look(ctx, client_id)
    await ctx.recorder.intend(
        {
            "namespace": spec.namespace,
            "name": spec.service_account,
            "provenance": Provenance.PROVIDED,
            "uid": there.uid,
            "clientId": client_id,
        },
    )
    await ctx.users.join(
        _thing(ctx, spec.service_account),
        ctx.user,
        settled=ctx.recorder.settled,
        details={"uid": there.uid},
    )
    applied = await annotate(ctx, there, {ANNOTATION_CLIENT_ID: client_id})
    return Done(outputs={"name": applied.name, "uid": applied.uid, "clientId": client_id})


async def annotate(ctx: StepContext, there: KubeObject, annotations: Mapping[str, str]) -> KubeObject:
    """Own exactly these annotations of an account, as it was read; none gives all of them up."""
    return await ctx.outside.clusters.apply(
        ctx.connection.spec.cluster_id,
        KIND,
        there.namespace,
        there.name,
        labels={},
        annotations=annotations,
        uid=there.uid,
        resource_version=there.resource_version,
    )


async def remove(ctx: StepContext, removal: Removal, plan: Plan) -> None:
    """Take the annotation back with its last user; the account stays.

    A pod that uses the account holds nothing up: it is its owner's, and running pods do not read it again.

    Raises:
        NotYetError: ``settle``, ``policy-unreadable``.
        TransientError: the account changed between look and write.
    """
    namespace, name = str(plan.planned["namespace"]), str(plan.planned["name"])
    thing, item = _thing(ctx, name), {"kind": ITEM, "namespace": namespace, "name": name}
    if ctx.operation.report_only:
        shared = await ctx.users.get(thing)
        if shared is not None and set(shared.users) - {ctx.user}:
            removal.keep(item, "still-shared", "still used")
        else:
            removal.say(item, "last-user", **_NOT_BACK)
        return
    guarded = protects(ctx, namespace)  # before leaving: a row that is closing makes every newcomer wait
    leaving = await leave(ctx, thing)
    if leaving.shared:
        removal.keep(item, "still-shared", "still used")
        return
    # The owner may have made the account anew, and another connection have marked it since.
    uid = leaving.details.get("uid") or plan.planned["uid"]
    known = {**item, "thing": thing, "uid": uid, "clientId": plan.planned["clientId"]}
    if guarded:
        removal.keep(item, "protected-namespace", f"{namespace} is protected by the policy")
    elif leaving.last:
        await _take_back(ctx, removal, plan, known)
    else:
        # Never joined, or taken back by an earlier run: what stands there is its owner's or a newcomer's, who
        # may join at any moment, for no row of ours keeps them out.
        removal.remove(known, "already-gone", found=False, **_NOT_BACK)
    await ctx.users.forget(thing, operation_id=ctx.operation.operation_id)


async def _take_back(ctx: StepContext, removal: Removal, plan: Plan, known: Mapping[str, Any]) -> None:
    lost = await cluster_lost(ctx, KIND, plan)
    there = None
    try:
        there = None if lost else await held(ctx, known)
    except PermanentError as error:
        if error.code != "cluster-gone":
            raise
        lost = True
    if there is None:
        removal.remove(known, "cluster-gone" if lost else "already-gone", found=False, **_NOT_BACK)
        return
    after = await annotate(ctx, there, {})
    if after.annotations.get(ANNOTATION_CLIENT_ID) == known["clientId"]:
        item = {name: known[name] for name in ("kind", "namespace", "name")}
        removal.keep(item, "not-proven-ours", "another field manager wrote the same annotation")
    else:
        removal.remove(known, "last-user", found=True, **_NOT_BACK)


async def held(ctx: StepContext, known: Mapping[str, Any]) -> KubeObject | None:
    """The account, if it is the recorded one and still names the identity."""
    cluster_id, namespace, name = ctx.connection.spec.cluster_id, str(known["namespace"]), str(known["name"])
    there = await ctx.outside.clusters.get(cluster_id, KIND, namespace, name)
    same = there is not None and there.uid == known["uid"]
    named = there is not None and there.annotations.get(ANNOTATION_CLIENT_ID) == known["clientId"]
    return there if same and named else None


async def removed_again(ctx: StepContext, item: Mapping[str, Any], *, remove: bool) -> bool:
    """Say whether a late write of ours brought the annotation back; take it away again if asked to."""
    if item.get("rule") == "cluster-gone":
        return False
    try:
        there = await held(ctx, item)
    except PermanentError as error:
        if error.code != "cluster-gone":
            raise
        return False
    if there is None or not remove:
        return there is not None
    after = await annotate(ctx, there, {})
    return bool(after.annotations.get(ANNOTATION_CLIENT_ID) != item["clientId"])


def _thing(ctx: StepContext, name: str) -> str:
    """Name of the account's users row: where those of generated accounts have the client id, the name."""
    spec = ctx.connection.spec
    return named_thing(spec.cluster_id, spec.namespace, name)


def named_thing(cluster_id: str, namespace: str, name: str) -> str:
    """Name of the users row of an account that requests name."""
    return account_thing(cluster_id, namespace, f"named {name}")
