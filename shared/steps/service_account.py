"""The workload's service account exists and names the identity (azure-workload-identity's annotation)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from shared import naming
from shared.errors import PermanentError
from shared.models import Done, Finding, Plan, Provenance
from shared.ports import KubeObject
from shared.steps import provided_account
from shared.steps.base import (
    ANNOTATION_CLIENT_ID,
    ANNOTATION_NONCE,
    ANNOTATION_TENANT_ID,
    LABEL_MANAGED_BY,
    LABEL_WORKLOAD,
    StepContext,
    account_thing,
    found,
    owned,
)
from shared.steps.making import put_object
from shared.steps.objects import (
    account_of,
    cluster_lost,
    details_with,
    hold_if_used,
    nonces_of,
    remove_object,
)
from shared.steps.proof_of_absence import recorded_issuer
from shared.steps.removal import Removal, held_by_others, leave, live_linkers, require_still_gone

KIND = "ServiceAccount"


class ServiceAccount:
    """The service account exists, or is gone with its last user."""

    name = "service_account"

    async def check(self, ctx: StepContext) -> list[Finding]:
        """Say whether the account is there, is the one we made, and names the right identity."""
        if ctx.for_pruning_only:
            return []
        if ctx.intent is None or not ctx.intent.outputs:
            return [found("service-account-exists", ok=False, detail="none recorded")]
        planned = ctx.intent.planned
        if provided_account.is_provided(ctx.plans[0]):
            return await provided_account.check(ctx, ctx.plans[0])
        namespace, name = str(planned["namespace"]), str(planned["name"])
        there = await ctx.outside.clusters.get(ctx.connection.spec.cluster_id, KIND, namespace, name)
        if there is None:
            return [found("service-account-exists", ok=False, detail=f"{namespace}/{name}")]
        client_id = there.annotations.get(ANNOTATION_CLIENT_ID, "")
        return [
            found("service-account-exists", ok=True, detail=f"{namespace}/{name}"),
            found("service-account-unchanged", ok=there.uid == ctx.intent.outputs["uid"]),
            found(
                "service-account-annotation",
                ok=client_id == ctx.output("managed_identity", "clientId"),
                detail=f"{ANNOTATION_CLIENT_ID}={client_id or 'missing'}",
            ),
        ]

    async def apply(self, ctx: StepContext) -> Done:
        """Make sure of the account.

        Raises:
            PermanentError: ``object-not-ours``; ``field-conflict`` if another manager owns a field; of an
                account that the request names, ``service-account-missing`` or ``service-account-taken``.
            NotYetError: ``closing``.
        """
        spec = ctx.connection.spec
        if spec.service_account:
            return await provided_account.apply(ctx)
        client_id = ctx.output("managed_identity", "clientId")
        name = naming.service_account_name(client_id)
        there = await ctx.outside.clusters.get(spec.cluster_id, KIND, spec.namespace, name)
        refusal = foreign_account(spec.namespace, name)

        shared = await ctx.users.get(self._thing(ctx, client_id))
        nonces = nonces_of(shared.details) if shared else set()

        def is_ours(thing: KubeObject) -> bool:
            mark = (LABEL_WORKLOAD, ctx.workload_key)
            return owned(ctx, thing, mark, intent=ctx.intent, nonces=nonces)

        if there is not None and not is_ours(there):
            raise refusal
        planned = await ctx.recorder.intend(
            {
                "namespace": spec.namespace,
                "name": name,
                "provenance": Provenance.CREATED,
                "nonce": there.annotations.get(ANNOTATION_NONCE, ctx.nonce) if there else ctx.nonce,
            },
        )
        # The account keeps the nonce that is on it: by it whoever leaves last proves that it is ours.
        # One that is made again gets a new one: who knows the one before would take it for a backup's.
        known = ctx.intent is not None and bool(ctx.intent.outputs)
        others = shared is not None and bool(shared.others(ctx.user.connection_id))
        again = there is None and (known or others)
        kept = there.annotations.get(ANNOTATION_NONCE) if there else ctx.nonce if again else ""
        nonce = str(kept or planned["nonce"])
        await ctx.users.join(
            self._thing(ctx, client_id),
            ctx.user,
            settled=ctx.recorder.settled,
            details=details_with(nonce, await _issuer(ctx, shared.details if shared else {}, again=again)),
        )
        applied = await put_object(
            ctx,
            there,
            KIND,
            name,
            ours=is_ours,
            refusal=refusal,
            planned=planned,
            labels={LABEL_MANAGED_BY: naming.MANAGED_BY, LABEL_WORKLOAD: ctx.workload_key},
            annotations={
                ANNOTATION_CLIENT_ID: client_id,
                ANNOTATION_TENANT_ID: ctx.rules.tenant_id,
                ANNOTATION_NONCE: nonce,
            },
            force=ctx.repairing,
        )
        return Done(outputs={"name": name, "uid": applied.uid, "clientId": client_id})

    async def revert(self, ctx: StepContext) -> Done:
        """Delete the account with its last user; one that the request named loses our annotation only.

        Raises:
            NotYetError: ``in-use``, ``policy-unreadable`` (prunes only).
        """
        removal = Removal()
        await require_still_gone(ctx)
        for plan in ctx.plans:
            remove = provided_account.remove if provided_account.is_provided(plan) else self._remove
            await remove(ctx, removal, plan)
        return removal.done()

    async def _remove(self, ctx: StepContext, removal: Removal, plan: Plan) -> None:
        name = str(plan.planned["name"])
        client_id = account_of(name)
        thing = self._thing(ctx, client_id)
        item = {"kind": KIND, "namespace": plan.planned["namespace"], "name": name}
        shared = await ctx.users.get(thing)
        last, lost = shared is None or not shared.others(ctx.user.connection_id), False
        use: Mapping[str, Any] = {}
        if last:
            # Held before leaving: a row that is closing makes every newcomer wait.
            lost = await cluster_lost(ctx, KIND, plan, known=shared.details if shared else None)
            use = await hold_if_used(ctx, KIND, plan, lost=lost)
        elif ctx.operation.report_only:
            removal.keep(item, "still-shared", "still used")
            return
        if shared is None and await held_by_others(ctx, thing):
            removal.keep(item, "still-shared", "still used by a connection on record")
            return
        known: Mapping[str, Any] = {}
        if not ctx.operation.report_only:
            # Who leaves last has looked for users; others may have left since.
            leaving = await leave(ctx, thing, among_others=not last)
            if leaving.shared:
                removal.keep(item, "still-shared", "still used")
                return
            known = leaving.details
        # Service Connector shares one account among all linkers of an identity in a namespace.
        if any(one.client_id.lower() == client_id for one in await live_linkers(ctx)):
            removal.keep(item, "live-linker", "a live linker uses it")
        else:
            await remove_object(ctx, removal, KIND, plan, thing=thing, known=known, use=use, lost=lost)
        if not ctx.operation.report_only:
            await ctx.users.forget(thing, operation_id=ctx.operation.operation_id)

    def _thing(self, ctx: StepContext, client_id: str) -> str:
        return account_thing(ctx.connection.spec.cluster_id, ctx.connection.spec.namespace, client_id)


async def _issuer(ctx: StepContext, told: Mapping[str, Any], *, again: bool) -> str:
    """Issuer of the cluster that the account is written into.

    Preflight has recorded it. An account that is missing may have gone with that cluster since, and so it may
    be where the users row tells of another: then Azure is asked.
    """
    recorded = recorded_issuer(ctx)
    if not again and told.get("given", {}).get("issuer", recorded) == recorded:
        return recorded
    cluster = await ctx.outside.clusters.describe(ctx.connection.spec.cluster_id)
    return cluster.issuer if cluster else recorded


def foreign_account(namespace: str, name: str) -> PermanentError:
    """The error of an account of the identity's that somebody else made."""
    return PermanentError(
        "object-not-ours",
        f"service account {namespace}/{name} exists and was not made for this workload",
        remedy="use another identity: each workload's account is named after its identity",
    )
