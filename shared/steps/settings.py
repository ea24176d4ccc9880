"""The Kubernetes secret or config map with the settings that a program needs, or what mounts a vault.

They hold no credential, but where a connection by a key of the target was asked for: then it is fetched anew
each time, and kept nowhere else.

The secret's name and the keys equal Service Connector's; it makes no config maps, and leaves the
SecretProviderClass of a mounted vault to its users. Endpoints come from the target's own GET (preflight).
"""

from __future__ import annotations

from collections.abc import Mapping

from shared import naming, setting_values
from shared.errors import NotYetError, PermanentError
from shared.inscription import ANNOTATION_REQUEST, text_of
from shared.models import Done, Finding, Provenance
from shared.ports import KubeObject
from shared.spec import ConnectionSpec
from shared.steps import keys
from shared.steps.base import (
    ANNOTATION_NONCE,
    LABEL_CONNECTION,
    LABEL_MANAGED_BY,
    StepContext,
    found,
    owned,
)
from shared.steps.making import SECRET, kind_of, put_object
from shared.steps.objects import cluster_lost, hold_if_used, remove_object
from shared.steps.orphan_claims import computed
from shared.steps.removal import Removal, live_linkers, require_still_gone, same_secret


class Settings:
    """The object with the settings exists, or is gone."""

    name = "settings"

    async def check(self, ctx: StepContext) -> list[Finding]:
        """Say whether the object is there, is the one we made, and holds the right keys and values."""
        if ctx.intent is None or not ctx.intent.outputs:
            return [found("settings-exist", ok=False, detail="none recorded")]
        planned = ctx.intent.planned
        namespace, name = str(planned["namespace"]), str(planned["name"])
        there = await ctx.outside.clusters.get(
            ctx.connection.spec.cluster_id, kind_of(planned), namespace, name, values=not ctx.for_pruning_only
        )
        if there is None:
            return [found("settings-exist", ok=False, detail=f"{namespace}/{name}")]
        findings = [
            found("settings-exist", ok=True, detail=f"{namespace}/{name}"),
            found("settings-unchanged", ok=there.uid == ctx.intent.outputs["uid"]),
        ]
        if ctx.for_pruning_only:
            detail = "not looked at: they may hold a credential"
            return [*findings, Finding(name="settings-keys", result="unknown", detail=detail)]
        try:
            wrong = await (self._wrong_if_adopted if ctx.adopted else self._wrong)(ctx, there.data)
        except PermanentError as error:
            finding = found("settings-keys", ok=False, detail=str(error), remedy=error.remedy)
            return [*findings, finding]
        return [
            *findings,
            found(
                "settings-keys", ok=not wrong, detail=f"wrong: {', '.join(wrong)}" if wrong else "all right"
            ),
        ]

    async def apply(self, ctx: StepContext) -> Done:
        """Make sure of the object.

        Raises:
            PermanentError: ``object-not-ours``; ``field-conflict`` if another manager owns a field.
            NotYetError: ``settle``.
            TransientError: the object changed since it was read.
        """
        spec = ctx.connection.spec
        kind, name = naming.settings_object(spec)
        there = await ctx.outside.clusters.get(spec.cluster_id, kind, spec.namespace, name)
        refusal = foreign_settings(spec)

        def is_ours(thing: KubeObject) -> bool:
            mark = (LABEL_CONNECTION, ctx.connection.connection_id)
            return owned(ctx, thing, mark, intent=ctx.intent)

        if there is not None and not is_ours(there):
            raise refusal
        planned = await ctx.recorder.intend(
            {
                # Only where it is another: what was planned before there were others is the same thing.
                **({} if kind == SECRET else {"kind": kind}),
                "namespace": spec.namespace,
                "name": name,
                "provenance": Provenance.CREATED,
                "nonce": there.annotations.get(ANNOTATION_NONCE, ctx.nonce) if there else ctx.nonce,
            },
        )
        values = await self._values(ctx)
        told = setting_values.known(ctx.target, spec, ctx.facts)
        with keys.untold(value for key, value in values.items() if key not in told):
            applied = await put_object(
                ctx,
                there,
                kind,
                name,
                ours=is_ours,
                refusal=refusal,
                planned=planned,
                labels={
                    LABEL_MANAGED_BY: naming.MANAGED_BY,
                    LABEL_CONNECTION: ctx.connection.connection_id,
                },
                annotations={ANNOTATION_NONCE: str(planned["nonce"]), ANNOTATION_REQUEST: text_of(spec)},
                data=values,
                force=ctx.repairing,
            )
        if there is not None and there.resource_version == applied.resource_version:
            await self._require_landed(ctx)
        version = f"{applied.uid} {applied.resource_version}"
        return Done(
            outputs={
                "name": name,
                "uid": applied.uid,
                "keys": sorted(values),
                "version": version,
                "clientId": str(ctx.facts.get("clientId") or ""),
            }
        )

    async def revert(self, ctx: StepContext) -> Done:
        """Delete the object.

        Raises:
            NotYetError: ``in-use``, ``policy-unreadable`` (prunes only).
        """
        removal = Removal()
        await require_still_gone(ctx)
        linked = same_secret(await live_linkers(ctx), ctx.connection.spec.name) if ctx.plans else False
        for plan in ctx.plans:
            kind = kind_of(plan.planned)
            item = {"kind": kind, "namespace": plan.planned["namespace"], "name": plan.planned["name"]}
            if linked and kind == SECRET:
                removal.keep(item, "live-linker", "a live linker writes it")
                continue
            cause = ctx.operation.cause
            if cause is not None and cause.kind == "orphan":
                namespace, name = str(plan.planned["namespace"]), str(plan.planned["name"])
                # It was nobody's when that was confirmed, and has been held for days since, perhaps.
                if await computed(ctx, namespace, name):
                    removal.keep(item, "still-shared", "a connection on record writes it")
                    continue
            lost = await cluster_lost(ctx, kind, plan)
            use = await hold_if_used(ctx, kind, plan, lost=lost)
            await remove_object(ctx, removal, kind, plan, use=use, lost=lost)
        return removal.done()

    async def _require_landed(self, ctx: StepContext) -> None:
        """Nothing had to be changed: a late write of an earlier operation still finds the version it read."""
        seconds = await ctx.recorder.in_doubt_seconds(removals=False, of=self.name)
        if seconds > 0:
            raise NotYetError("settle", "earlier settings may still land", seconds=seconds)

    async def _wrong(self, ctx: StepContext, data: Mapping[str, str]) -> list[str]:
        return sorted(key for key, value in (await self._values(ctx)).items() if data.get(key) != value)

    async def _wrong_if_adopted(self, ctx: StepContext, data: Mapping[str, str]) -> list[str]:
        """Service Connector lets its users rename keys, so the recorded ones count.

        Values are compared where a key is the catalogue's, without regard to a slash at the end.
        """
        recorded = ctx.intent.outputs.get("keys", ()) if ctx.intent else ()
        missing = {str(key) for key in recorded if not data.get(key)}
        try:
            wanted = await self._values(ctx)
        except PermanentError:
            wanted = {}  # a target or a client type that the catalogue does not offer
        different = {
            key for key, value in wanted.items() if key in data and data[key].rstrip("/") != value.rstrip("/")
        }
        return sorted(missing | different)

    async def _values(self, ctx: StepContext) -> dict[str, str]:
        facts = {**ctx.facts, **await keys.fetched(ctx)}
        return setting_values.values(ctx.target, ctx.connection.spec, facts)


def foreign_settings(spec: ConnectionSpec) -> PermanentError:
    """The error of an object of the settings' name that somebody else made."""
    kind, name = naming.settings_object(spec)
    return PermanentError(
        "object-not-ours",
        f"{kind.lower()} {spec.namespace}/{name} exists and was not made by this connection",
        remedy=f"kubectl delete {kind.lower()} {name} --namespace {spec.namespace}, if nothing needs it",
    )
