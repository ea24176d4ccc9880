"""Something that can be read right now, so that not-found means not found.

A not-found for everything is how a lost permission, a disabled subscription or a wrong endpoint can look
(decision record 6, proof of absence).
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from shared import naming
from shared.errors import NotYetError, PermanentError
from shared.models import Cause
from shared.steps.base import StepContext

API_VERSIONS = {
    "identity": "2024-11-30",
    "credential": "2024-11-30",
    "cluster": "2024-09-01",
    "linker": "2024-04-01",
    "group": "2021-04-01",
    "namespace": "v1",
}
"""Versions for a plain GET of each kind of thing that a connection may rely on, besides its target."""

CANARIES = 3
LASTING_NAMESPACES = ("default", "kube-system")
"""Namespaces that the API server lets nobody delete (kubernetes.io, "Namespaces", initial namespaces)."""

_VERSION_BY_TYPE = {
    "microsoft.managedidentity/userassignedidentities": API_VERSIONS["identity"],
    "microsoft.containerservice/managedclusters": API_VERSIONS["cluster"],
    "microsoft.resources/resourcegroups": API_VERSIONS["group"],
}


async def find_witness(ctx: StepContext, cause: Cause, api_version: str, note: Mapping[str, str]) -> str:
    """A resource that this identity can read right now, of the place where something is said to be missing.

    Best is one of the same subscription and type that answered before. Failing that, the nearest thing above
    the resource: the parent of a linker or credential, else the resource group; if the group is gone itself,
    the cluster or target of the same connection in the same subscription. For a namespace it is another one
    of the same cluster.

    Raises:
        NotYetError: ``no-canary``.
    """
    if cause.kind == "namespace":
        return await _namespace(ctx, note)
    for canary in await ctx.limits.canaries(cause.resource_id, limit=CANARIES):
        if await answers(ctx, canary.resource_id, canary.api_version):
            return canary.resource_id
        await ctx.limits.forget_canary(canary)
    spec = ctx.connection.spec
    candidates = [
        (above, _VERSION_BY_TYPE.get(naming.type_of(above), api_version)) for above in _above(ctx, cause)
    ]
    candidates += [(spec.cluster_id, API_VERSIONS["cluster"])]
    if cause.kind != "target" and ctx.connection.linker_id == "":
        candidates += [(ctx.target.existence_id(spec.target_id), ctx.target.api_version)]
    subscription = naming.subscription_of(cause.resource_id)
    usable = [
        (resource_id, version)
        for resource_id, version in candidates
        if naming.subscription_of(resource_id) == subscription and version
    ]
    found = await asyncio.gather(*(answers(ctx, resource_id, version) for resource_id, version in usable))
    for (resource_id, _), answer in zip(usable, found, strict=True):
        if answer:
            return resource_id
    raise _nobody(ctx, f"nothing else of subscription {subscription} could be read", note)


def _above(ctx: StepContext, cause: Cause) -> Sequence[str]:
    """Ids above the cause, the nearest first; of a part those of the whole, which is what we may read."""
    above = naming.ancestors(cause.resource_id)[1:]
    if cause.kind == "target" and not ctx.connection.linker_id:
        whole = naming.fold_id(ctx.target.existence_id(ctx.connection.spec.target_id))
        return above[above.index(whole) :] if whole in above else above
    return above


async def answers(ctx: StepContext, resource_id: str, api_version: str) -> bool:
    """Say whether a resource can be read now; one that we may not read is no witness."""
    try:
        return await ctx.outside.resources.get(resource_id, api_version=api_version) is not None
    except PermanentError:
        return False


async def _namespace(ctx: StepContext, note: Mapping[str, str]) -> str:
    cluster_id = ctx.connection.spec.cluster_id
    for name in LASTING_NAMESPACES:
        try:
            phase = await ctx.outside.clusters.namespace_phase(cluster_id, name)
        except PermanentError:
            continue
        if phase:
            return f"{cluster_id}/namespaces/{name}"
    raise _nobody(ctx, "no other namespace of the cluster could be read", note)


def _nobody(ctx: StepContext, detail: str, note: Mapping[str, str]) -> NotYetError:
    return NotYetError("no-canary", detail, seconds=ctx.rules.hold_recheck_seconds, note=note)
