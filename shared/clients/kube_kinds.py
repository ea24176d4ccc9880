"""Which kinds a cluster serves, beyond those that every API server has."""

from __future__ import annotations

from shared.clients.cluster_reach import ClusterReach
from shared.clients.error_rules import Intent
from shared.clients.kube_objects import ADDED
from shared.errors import PermanentError, TransientError


async def serves(reach: ClusterReach, cluster_id: str, kind: str) -> bool:
    """Say whether a cluster knows a kind; nothing is asked of one that every cluster has.

    A group that nobody brought answers with a plain 404, which may as well come from no API server at all.
    So the list of groups is read: whoever may sign in may read it (kubernetes.io, "RBAC", discovery roles).

    Raises:
        TransientError: ``list-broken`` for an answer that is no list of groups.
    """
    if kind not in ADDED:
        return True
    found = await reach.call(cluster_id, lambda kube: kube.send("GET", "/apis", intent=Intent.READ))
    groups = (found or {}).get("groups")
    if not isinstance(groups, list):
        raise TransientError("list-broken", "/apis")
    versions = (one for group in groups for one in group.get("versions") or [])
    return any(one.get("groupVersion") == ADDED[kind] for one in versions)


async def require_served(reach: ClusterReach, cluster_id: str, kind: str) -> None:
    """Refuse to write a kind that the cluster does not know.

    Raises:
        PermanentError: ``kind-not-served``.
    """
    if not await serves(reach, cluster_id, kind):
        raise PermanentError("kind-not-served", f"the cluster has no {kind} of {ADDED[kind]}")
