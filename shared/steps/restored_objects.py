"""What a prune removed from a cluster is put back, by request, and is kept from then on.

Made with POST, so that nothing is overwritten, with the keep annotation, so that no prune takes it again.
What Azure has lost (identity, credential, role, target) is not made: each hop is looked at, and it is said
which works.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from shared import naming
from shared.errors import PermanentError
from shared.models import Done, Finding, Plan, Provenance
from shared.ports import KubeObject
from shared.prunes import SavedObject
from shared.steps import hops
from shared.steps.base import (
    ANNOTATION_KEEP,
    ANNOTATION_NONCE,
    LABEL_CONNECTION,
    LABEL_MANAGED_BY,
    LABEL_WORKLOAD,
    StepContext,
    account_thing,
    found,
)
from shared.steps.making import SECRET
from shared.steps.objects import account_of, details_with, remove_object
from shared.steps.removal import Removal, leave, live_linkers, same_secret

KEPT_BY = "restore"
"""Value of the keep annotation."""


class RestoredObjects:
    """The objects that a prune removed are there again, or are gone with the connection."""

    name = "restored_objects"

    async def check(self, ctx: StepContext) -> list[Finding]:
        """Say of each restored object whether it is there and the one that was put back."""
        if ctx.intent is None:
            return [found("restored-objects", ok=False, detail="none recorded")]
        findings = []
        for item in ctx.intent.outputs.get("restored", ()):
            there = await _get(ctx, item["kind"], item["namespace"], item["name"])
            detail = f"{item['kind']} {item['namespace']}/{item['name']}"
            ok = there is not None and there.uid == item["uid"]
            findings.append(found("restored-object", ok=ok, detail=detail))
        return findings

    async def apply(self, ctx: StepContext) -> Done:
        """Put back what was saved and can be restored; then look at every hop.

        Raises:
            PermanentError: ``cluster-not-found``, ``not-restorable`` (another life of the cluster),
                ``namespace-missing``.
            NotYetError: ``closing``: the account's last user is removing it.
        """
        saved = await ctx.recorder.saved(ctx.operation.restores)
        issuer = await self._require_same_cluster(ctx, saved)
        wanted = [one for one in saved if one.restorable]
        planned = await ctx.recorder.intend(
            {
                "restores": ctx.operation.restores,
                "objects": [
                    {"kind": one.kind, "namespace": one.namespace, "name": one.name} for one in wanted
                ],
                "provenance": Provenance.CREATED,
                "nonce": ctx.nonce,
            },
        )
        restored: list[Mapping[str, Any]] = []
        kept: list[Mapping[str, Any]] = []
        for one in wanted:
            item, back = await self._put_back(ctx, one, str(planned["nonce"]), issuer)
            (restored if back else kept).append(item)
        kept += [
            {**_item(one), "rule": "not-restorable", "detail": one.why, "restorable": "no", "why": one.why}
            for one in saved
            if not one.restorable
        ]
        findings = await hops.of(ctx, saved)
        outputs = {
            "restored": restored,
            "kept": kept,
            "findings": [finding.model_dump() for finding in findings],
        }
        return Done(outputs={name: value for name, value in outputs.items() if value})

    async def revert(self, ctx: StepContext) -> Done:
        """Delete what was put back, if it is still that: a person has asked for it."""
        removal = Removal()
        linkers = await live_linkers(ctx) if ctx.plans else []
        for plan in ctx.plans:
            uids = {_key(item): item["uid"] for item in plan.outputs.get("restored", ())}
            for item in plan.planned.get("objects", ()):
                outputs = {"uid": uids[_key(item)]} if _key(item) in uids else {}
                one = Plan(planned={**plan.planned, **item}, outputs=outputs)
                if item["kind"] == "ServiceAccount":
                    await self._remove_account(ctx, removal, one)
                elif item["kind"] == SECRET and same_secret(linkers, ctx.connection.spec.name):
                    removal.keep(item, "live-linker", "a live linker writes it")
                else:
                    await remove_object(ctx, removal, item["kind"], one)
        return removal.done()

    async def _require_same_cluster(self, ctx: StepContext, saved: list[SavedObject]) -> str:
        """The cluster that they were removed from is there; returns its issuer."""
        spec = ctx.connection.spec
        cluster = await ctx.outside.clusters.describe(spec.cluster_id)
        if cluster is None:
            raise PermanentError("cluster-not-found", spec.cluster_id)
        issuers = {one.issuer for one in saved} - {""}
        if cluster.issuer and issuers - {cluster.issuer}:
            raise PermanentError(
                "not-restorable",
                "the cluster has another issuer than when the objects were removed: it is another cluster",
                remedy="send a create request",
            )
        for namespace in sorted({one.namespace for one in saved}):
            if not await ctx.outside.clusters.namespace_exists(spec.cluster_id, namespace):
                raise PermanentError(
                    "namespace-missing", namespace, remedy=f"kubectl create namespace {namespace}"
                )
        return cluster.issuer

    async def _put_back(
        self, ctx: StepContext, one: SavedObject, nonce: str, issuer: str
    ) -> tuple[Mapping[str, Any], bool]:
        cluster_id = ctx.connection.spec.cluster_id
        labels = {**one.labels, LABEL_MANAGED_BY: naming.MANAGED_BY}
        annotations = {**one.annotations, ANNOTATION_KEEP: KEPT_BY, ANNOTATION_NONCE: nonce}
        if one.kind == "ServiceAccount":
            labels[LABEL_WORKLOAD] = ctx.workload_key
            await ctx.users.join(
                self._thing(ctx, one.name),
                ctx.user,
                settled=ctx.recorder.settled,
                details=details_with(nonce, issuer),
            )
        else:
            labels[LABEL_CONNECTION] = ctx.connection.connection_id
        try:
            made = await ctx.outside.clusters.create(
                cluster_id,
                one.kind,
                one.namespace,
                one.name,
                labels=labels,
                annotations=annotations,
                data=None if one.kind == "ServiceAccount" else dict(one.data),
            )
        except PermanentError as error:
            if error.code != "object-exists":
                raise
            there = await _get(ctx, one.kind, one.namespace, one.name)
            if there is None or there.annotations.get(ANNOTATION_NONCE) != nonce:
                return {**_item(one), "rule": "object-exists", "detail": "one of that name is there"}, False
            made = there  # an earlier run of this step made it and did not live to say so
        return {**_item(one), "uid": made.uid, "rule": "restored"}, True

    async def _remove_account(self, ctx: StepContext, removal: Removal, plan: Plan) -> None:
        name = str(plan.planned["name"])
        item = {"kind": "ServiceAccount", "namespace": plan.planned["namespace"], "name": name}
        thing = self._thing(ctx, name)
        leaving = await leave(ctx, thing)
        if leaving.shared:
            removal.keep(item, "still-shared", "still used")
            return
        if any(one.client_id.lower() == account_of(name) for one in await live_linkers(ctx)):
            removal.keep(item, "live-linker", "a live linker uses it")
        else:
            await remove_object(ctx, removal, "ServiceAccount", plan, thing=thing, known=leaving.details)
        await ctx.users.forget(thing, operation_id=ctx.operation.operation_id)

    def _thing(self, ctx: StepContext, name: str) -> str:
        spec = ctx.connection.spec
        return account_thing(spec.cluster_id, spec.namespace, account_of(name))


def _item(one: SavedObject) -> dict[str, Any]:
    return {"kind": one.kind, "namespace": one.namespace, "name": one.name}


def _key(item: Mapping[str, Any]) -> tuple[str, str, str]:
    return (item["kind"], item["namespace"], item["name"])


async def _get(ctx: StepContext, kind: str, namespace: str, name: str) -> KubeObject | None:
    return await ctx.outside.clusters.get(ctx.connection.spec.cluster_id, kind, namespace, name)
