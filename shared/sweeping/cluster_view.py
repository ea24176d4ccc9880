"""One cluster as it is now: a handful of lists, whatever hangs on it.

What cannot be listed is left out and said: a cluster that does not answer, or that does not let us list, is
no reason not to look at the rest, and says nothing about what is in it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Awaitable, Mapping

from shared import naming
from shared.errors import PermanentError, TransientError
from shared.policy import Policy
from shared.ports import KubeObject, Linker, ManagedCluster
from shared.steps.surroundings import Outside
from shared.sweeping import scope
from shared.sweeping.ledger import Ledger
from shared.throttling import THROTTLED

SECRET, CONFIG_MAP, ACCOUNT = "Secret", "ConfigMap", "ServiceAccount"
PROVIDER_CLASS = "SecretProviderClass"
"""Nothing is listed, and nothing missing, where a cluster does not know it."""
UNREACHABLE = "unreachable"
WITHOUT_ENTRA = "cluster-without-entra"
"""Nothing in such a cluster is asked for."""
_DENIED = {ACCOUNT: "accounts-not-listed"}
"""``role.yaml`` itself has the list of accounts; those of the others are roles that may be left out."""
Objects = Mapping[tuple[str, str], KubeObject]


@dataclasses.dataclass(slots=True, kw_only=True)
class ClusterView:
    """What a cluster looks like; ``None`` is what could not be listed."""

    cluster: ManagedCluster
    policy: Policy
    linkers: Mapping[str, Linker] | None = None
    """By folded id."""
    namespaces: Mapping[str, bool] | None = None
    """``False`` for one that is being removed."""
    observed: set[str] = dataclasses.field(default_factory=set)
    """Folded ids of linkers that this run has had recorded."""
    objects: dict[str, Objects] = dataclasses.field(default_factory=dict)
    """By kind, then by namespace and name; a kind that may not be listed is absent."""

    @property
    def cluster_id(self) -> str:
        """The cluster's id."""
        return self.cluster.resource_id

    def lists(self, kind: str, namespace: str) -> bool:
        """Say whether an object of that kind and namespace would have been seen if it were there."""
        there = self.namespaces is None or self.namespaces.get(namespace, False)
        return kind in self.objects and there and self.policy.watches(self.cluster_id, namespace)


async def look(outside: Outside, ledger: Ledger, cluster: ManagedCluster, policy: Policy) -> ClusterView:
    """List what there is.

    Raises:
        TransientError: Azure itself could not be asked, or asks for patience.
    """
    view = ClusterView(cluster=cluster, policy=policy)
    await _look_inside(outside, ledger, view)
    # Linkers last: what was made for one that is younger than the lists before would look like nobody's.
    try:
        linkers = await ledger.arm(outside.linkers.list(cluster.resource_id))
        view.linkers = {naming.fold_id(one.resource_id): one for one in linkers}
    except PermanentError:
        ledger.note("linkers-not-listed")
    return view


async def _look_inside(outside: Outside, ledger: Ledger, view: ClusterView) -> None:
    cluster = view.cluster
    if cluster.power_state.lower() == "stopped":
        ledger.note("stopped")
        ledger.count_once("clustersUnreachable")
        return
    if not cluster.entra:
        ledger.note(WITHOUT_ENTRA)
        ledger.count_once("clustersUnreachable")
        return
    listing = outside.clusters.list_namespaces(cluster.resource_id)
    view.namespaces = await _of_the_cluster(ledger, listing, "namespaces-not-listed")
    if UNREACHABLE in ledger.details:
        return
    if view.namespaces is None:
        ledger.count_once("namespacesNotListed")
    for kind in (SECRET, CONFIG_MAP, PROVIDER_CLASS, ACCOUNT):
        await _list_objects(outside, ledger, view, kind)
        if UNREACHABLE in ledger.details:
            view.objects.clear()
            return


async def _list_objects(outside: Outside, ledger: Ledger, view: ClusterView, kind: str) -> None:
    found: dict[tuple[str, str], KubeObject] = {}
    for namespace in scope.namespaces(view.policy, view.cluster_id, view.namespaces):
        listing = outside.clusters.list_objects(view.cluster_id, kind, namespace)
        objects = await _of_the_cluster(ledger, listing, _DENIED.get(kind, "objects-not-listed"))
        if objects is None:
            return
        for one in objects:
            if view.policy.watches(view.cluster_id, one.namespace):
                found[one.namespace, one.name] = one
    view.objects[kind] = found
    ledger.count_once("objects", len(found))


async def _of_the_cluster[T](ledger: Ledger, listing: Awaitable[T], denied: str) -> T | None:
    """What the cluster answers; ``None`` if it does not, or may not be asked, which is noted."""
    try:
        return await ledger.kubernetes(listing)
    except PermanentError:
        ledger.note(denied)
    except TransientError as error:
        if error.code == THROTTLED:
            raise
        if UNREACHABLE not in ledger.details:
            ledger.count_once("clustersUnreachable")
        ledger.note(UNREACHABLE)
    return None
