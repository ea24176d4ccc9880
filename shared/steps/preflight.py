"""Everything that can be known to fail is found before anything is made.

Looks only. The cluster's OIDC issuer and workload identity are checked and never switched on:
that restarts the API server and cannot be undone, so it is the owner's act.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from typing import Any

from shared import cluster_commands, naming, setting_values
from shared.errors import NotYetError, PermanentError
from shared.models import Done, Finding
from shared.ports import Linker, ManagedCluster, without_entra
from shared.spec import ConnectionSpec
from shared.steps import cluster_state, grants, keys, mounts, provided_account
from shared.steps.adopted import look_at_linker, look_at_target, part_found
from shared.steps.base import LABEL_CONNECTION, StepContext, found, owned
from shared.steps.registration import require_part, target_missing
from shared.steps.settings import foreign_settings
from shared.steps.verdicts import obey, of_answer


class Preflight:
    """The cluster, the namespace and the target are fit for the connection."""

    name = "preflight"

    async def check(self, ctx: StepContext) -> list[Finding]:
        """Findings for target, cluster, issuer and namespace."""
        spec = ctx.connection.spec
        cluster = await ctx.outside.clusters.describe(spec.cluster_id)
        findings = await self._beginnings(ctx, issuer=cluster.issuer if cluster else "")
        findings.append(
            found("cluster-exists", ok=cluster is not None, detail=spec.cluster_id, remedy=_deleting(ctx))
        )
        if cluster is None:
            return findings
        closed = _closed(cluster)
        if closed:
            unseen = "not looked at: nothing in the cluster can be"
            return [
                *findings,
                closed,
                Finding(name="namespace-exists", result="unknown", detail=unseen),
            ]
        if ctx.for_pruning_only:
            known = await ctx.outside.clusters.namespace_exists(spec.cluster_id, spec.namespace)
            return [*findings, _namespace(spec.namespace, known=known)]
        recorded = ctx.intents.get(self.name)
        issuer = str(recorded.outputs.get("issuer", "")) if recorded else ""
        known = await ctx.outside.clusters.namespace_exists(spec.cluster_id, spec.namespace)
        findings += [
            cluster_state.running(cluster),
            found("cluster-takes-entra", ok=True),
        ]
        if not spec.by_identity:
            return [*findings, _namespace(spec.namespace, known=known)]
        return [
            *findings,
            found(
                "workload-identity-on",
                ok=cluster.workload_identity,
                remedy=cluster_commands.enable_workload_identity(spec.cluster_id),
            ),
            found(
                "issuer-unchanged",
                ok=bool(cluster.issuer) and cluster.issuer == issuer,
                detail=f"recorded {issuer or 'none'}, now {cluster.issuer or 'none'}",
                remedy=f"{_deleting(ctx)}, and create it again",
            ),
            _namespace(spec.namespace, known=known),
            *(await mounts.looked_at(ctx.outside.clusters, spec) if spec.mounted else []),
        ]

    async def _beginnings(self, ctx: StepContext, *, issuer: str) -> list[Finding]:
        """Findings of the target and of grants there; of an adopted connection, of linker and target."""
        if ctx.adopted:
            return [*await look_at_linker(ctx), await look_at_target(ctx)]
        target_id = ctx.target.existence_id(ctx.connection.spec.target_id)
        target = await ctx.outside.resources.get(target_id, api_version=ctx.target.api_version)
        exists = found("target-exists", ok=target is not None, detail=target_id, remedy=_deleting(ctx))
        if target is None:
            return [exists]
        exists = await part_found(ctx, remedy=_deleting(ctx)) or exists
        if exists.result == "failed":
            return [exists]
        parent = await self._parent(ctx)
        verdicts = of_answer(ctx.target, ctx.connection.spec, target, parent=parent)
        if ctx.connection.spec.by_identity:
            verdicts += await grants.looked_at(ctx, target, issuer=issuer, parent=parent)
        return [exists, *(verdict.finding for verdict in verdicts)]

    async def apply(self, ctx: StepContext) -> Done:
        """Refuse early, with the command that mends it.

        A create that waited for another operation is held to the policy of now, not of then; a repair puts
        back what was allowed when it was made.

        Raises:
            PermanentError: policy-denied, namespace-protected, policy-unreadable,
                cluster-not-found, cluster-stopped, cluster-without-entra, workload-identity-off,
                identity-forbidden, namespace-missing, target-not-found, endpoint-missing, linker-holds-name,
                object-not-ours, scope-locked, keys-not-allowed, key-missing, role-assignment-budget,
                access-policy-taken, credential-budget, secrets-store-off, service-account-missing,
                service-account-taken, the codes of ``database_servers.looked_at`` and of the conditions that
                the target's row requires; cluster-replaced (repairs only).
            NotYetError: ``cluster-updating``, ``target-updating``.
        """
        spec = ctx.connection.spec
        if not ctx.repairing:
            rights = ctx.target.rights(spec.intent) if spec.by_identity else ()
            ctx.rules.load_policy().judge(spec, rights)
        for resource_id in ctx.target.relied_on(spec.target_id):
            await ctx.recorder.depend("target", resource_id)
        await ctx.recorder.depend("cluster", spec.cluster_id)
        target_id, api_version = ctx.target.existence_id(spec.target_id), ctx.target.api_version
        cluster, target, linkers = await asyncio.gather(
            ctx.outside.clusters.describe(spec.cluster_id),
            ctx.outside.resources.get(target_id, api_version=api_version),
            ctx.outside.linkers.list(spec.cluster_id),
        )
        if cluster is None:
            raise PermanentError("cluster-not-found", spec.cluster_id)
        cluster_state.require_running(cluster)
        require_entra(cluster)
        if spec.by_identity:
            require_workload_identity(cluster)
            refuse_cluster_identity(cluster, spec.identity_id)
        _require_incarnation(ctx, cluster)
        if target is None:
            raise target_missing(target_id)
        await require_part(ctx.outside.resources, ctx.target, spec.target_id)
        parent = await self._parent(ctx)
        warnings = obey(cluster_state.said(cluster))
        warnings += obey(of_answer(ctx.target, spec, target, parent=parent))
        refuse_linkers_name(spec, linkers)
        if not await ctx.outside.clusters.namespace_exists(spec.cluster_id, spec.namespace):
            raise namespace_missing(spec.namespace)
        if spec.mounted:
            await mounts.require_driver(ctx.outside.clusters, spec)
        await self._refuse_foreign_settings(ctx)
        if spec.service_account:
            await provided_account.require_free(ctx)
        if spec.by_identity:
            seen = await grants.looked_at(ctx, target, issuer=cluster.issuer, parent=parent)
            warnings += obey(seen)
        else:
            await keys.fetched(ctx)  # only to learn here whether it can be
        for resource_id in ctx.target.relied_on(spec.target_id):
            await ctx.limits.remember_canary(resource_id, api_version=api_version)
        facts = ctx.target.facts(
            spec.target_id, target, client_id="", parent=parent, connection_name=spec.name
        )
        if spec.mounted:
            setting_values.values(ctx.target, spec, facts)  # only to learn here whether they are known
        said = {"warnings": warnings} if warnings else {}
        return Done(outputs={"issuer": cluster.issuer, "location": cluster.location, "facts": facts, **said})

    async def revert(self, ctx: StepContext) -> Done:
        """Nothing was made."""
        return Done()

    async def _parent(self, ctx: StepContext) -> Mapping[str, Any] | None:
        """The resource above the target, where that one knows the endpoints."""
        parent_id = ctx.target.parent_id(ctx.connection.spec.target_id)
        if not parent_id:
            return None
        return await ctx.outside.resources.get(parent_id, api_version=ctx.target.api_version)

    async def _refuse_foreign_settings(self, ctx: StepContext) -> None:
        spec = ctx.connection.spec
        kind, name = naming.settings_object(spec)
        there = await ctx.outside.clusters.get(spec.cluster_id, kind, spec.namespace, name)
        mark = (LABEL_CONNECTION, ctx.connection.connection_id)
        if there is not None and not owned(ctx, there, mark, intent=ctx.intents.get("settings")):
            raise foreign_settings(spec)


def require_entra(cluster: ManagedCluster) -> None:
    """The cluster takes the app's token, so that it may be asked.

    Raises:
        PermanentError: ``cluster-without-entra``.
    """
    if not cluster.entra:
        raise without_entra(cluster.resource_id)


def require_workload_identity(cluster: ManagedCluster) -> None:
    """The cluster issues tokens that Entra trusts, and hands them to pods.

    Raises:
        PermanentError: ``workload-identity-off``.
    """
    if not cluster.issuer or not cluster.workload_identity:
        raise PermanentError(
            "workload-identity-off",
            cluster.resource_id,
            remedy=cluster_commands.enable_workload_identity(cluster.resource_id),
        )


def refuse_cluster_identity(cluster: ManagedCluster, identity_id: str) -> None:
    """The identity that a request names is not the cluster's own.

    Raises:
        PermanentError: ``identity-forbidden``.
    """
    if identity_id and naming.fold_id(identity_id) in cluster.forbidden_identities:
        raise PermanentError(
            "identity-forbidden",
            "the kubelet's and the control plane's identities cannot be a workload's",
            remedy="name another identity, or none",
        )


def refuse_linkers_name(spec: ConnectionSpec, linkers: Iterable[Linker]) -> None:
    """No connection of Service Connector writes the secret that is meant.

    Raises:
        PermanentError: ``linker-holds-name``.
    """
    for linker in linkers:
        same = naming.fold_name(linker.name) == naming.fold_name(spec.name)
        if linker.namespace == spec.namespace and same:
            raise PermanentError(
                "linker-holds-name",
                f"Service Connector's {linker.name} writes the same secret",
                remedy="choose another connection name, or delete the linker first",
            )


def namespace_missing(namespace: str) -> PermanentError:
    """The error of a namespace that is not there."""
    return PermanentError("namespace-missing", namespace, remedy=f"kubectl create namespace {namespace}")


def _require_incarnation(ctx: StepContext, cluster: ManagedCluster) -> None:
    """A repair mends what is in one cluster; another one under the same id is for a person to decide.

    Raises:
        PermanentError: ``cluster-replaced``.
    """
    recorded = ctx.intents.get("preflight")
    issuer = str(recorded.outputs.get("issuer", "")) if recorded else ""
    if ctx.repairing and issuer and cluster.issuer != issuer:
        raise PermanentError(
            "cluster-replaced",
            f"the cluster of this id has another issuer than the one that was connected, {issuer}",
            remedy="delete the connection and create it again",
        )


def _closed(cluster: ManagedCluster) -> Finding | None:
    """What keeps everybody from looking into the cluster."""
    running = (cluster_state.RUNNING, cluster_state.require_running)
    for name, rule in (running, ("cluster-takes-entra", require_entra)):
        try:
            rule(cluster)
        except PermanentError as error:
            return found(name, ok=False, detail=str(error), remedy=error.remedy)
        except NotYetError:
            continue  # a cluster that is updated takes calls
    return None


def _deleting(ctx: StepContext) -> str:
    """What is left to do about a connection that nothing mends."""
    if ctx.connection.linker_id:
        return f"az aks connection delete --id {ctx.connection.linker_id}"
    return f"DELETE /api/connections/{ctx.connection.connection_id}"


def _namespace(name: str, *, known: bool) -> Finding:
    remedy = f"kubectl create namespace {name}, then repair; or delete the connection"
    return found("namespace-exists", ok=known, detail=name, remedy=remedy)
