"""The Kubernetes secret with the settings that a program needs; it holds no credential.

Names and keys equal Service Connector's. Endpoints come from the target's own GET (preflight).
"""

from __future__ import annotations

from shared import naming
from shared.errors import PermanentError
from shared.models import Done, Finding, Provenance
from shared.ports import KubeObject
from shared.steps.base import (
    ANNOTATION_NONCE,
    LABEL_CONNECTION,
    LABEL_MANAGED_BY,
    StepContext,
    found,
    ours,
)
from shared.steps.making import put_object
from shared.steps.objects import cluster_lost, hold_if_used, remove_object
from shared.steps.removal import Removal, live_linkers, require_still_gone, same_secret

KIND = "Secret"


class Settings:
    """The settings secret exists, or is gone."""

    name = "settings"

    async def check(self, ctx: StepContext) -> list[Finding]:
        """Say whether the secret is there, is the one we made, and holds the right keys and values."""
        if ctx.intent is None or not ctx.intent.outputs:
            return [found("settings-exist", ok=False, detail="none recorded")]
        planned = ctx.intent.planned
        namespace, name = str(planned["namespace"]), str(planned["name"])
        there = await ctx.outside.clusters.get(
            ctx.connection.spec.cluster_id, KIND, namespace, name, values=True
        )
        if there is None:
            return [found("settings-exist", ok=False, detail=f"{namespace}/{name}")]
        wanted = self._values(ctx)
        wrong = sorted(key for key, value in wanted.items() if there.data.get(key) != value)
        return [
            found("settings-exist", ok=True, detail=f"{namespace}/{name}"),
            found("settings-unchanged", ok=there.uid == ctx.intent.outputs["uid"]),
            found(
                "settings-keys", ok=not wrong, detail=f"wrong: {', '.join(wrong)}" if wrong else "all right"
            ),
        ]

    async def apply(self, ctx: StepContext) -> Done:
        """Make sure of the secret.

        Raises:
            PermanentError: ``object-not-ours``; ``field-conflict`` if another manager owns a field.
        """
        spec = ctx.connection.spec
        name = naming.secret_name(spec.name)
        there = await ctx.outside.clusters.get(spec.cluster_id, KIND, spec.namespace, name)
        refusal = PermanentError(
            "object-not-ours",
            f"secret {spec.namespace}/{name} exists and was not made by this connection",
            remedy=f"kubectl delete secret {name} --namespace {spec.namespace}, if nothing needs it",
        )

        def is_ours(thing: KubeObject) -> bool:
            return ours(thing, LABEL_CONNECTION, ctx.connection.connection_id)

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
        values = self._values(ctx)
        applied = await put_object(
            ctx,
            there,
            KIND,
            name,
            ours=is_ours,
            refusal=refusal,
            labels={
                LABEL_MANAGED_BY: naming.MANAGED_BY,
                LABEL_CONNECTION: ctx.connection.connection_id,
            },
            annotations={ANNOTATION_NONCE: str(planned["nonce"])},
            data=values,
        )
        version = f"{applied.uid} {applied.resource_version}"
        return Done(outputs={"name": name, "uid": applied.uid, "keys": sorted(values), "version": version})

    async def revert(self, ctx: StepContext) -> Done:
        """Delete the secret.

        Raises:
            NotYetError: ``in-use``, ``policy-unreadable`` (prunes only).
        """
        removal = Removal()
        await require_still_gone(ctx)
        linked = same_secret(await live_linkers(ctx), ctx.connection.spec.name) if ctx.plans else False
        lost = await cluster_lost(ctx) if ctx.plans else False
        for plan in ctx.plans:
            if linked:
                item = {"kind": KIND, "namespace": plan.planned["namespace"], "name": plan.planned["name"]}
                removal.keep(item, "live-linker", "a live linker writes it")
                continue
            use = await hold_if_used(ctx, KIND, plan, lost=lost)
            await remove_object(ctx, removal, KIND, plan, use=use, lost=lost)
        return removal.done()

    def _values(self, ctx: StepContext) -> dict[str, str]:
        return ctx.target.settings(ctx.connection.spec.client_type, ctx.facts)
