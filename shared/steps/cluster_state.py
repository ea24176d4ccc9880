"""Whether a cluster takes calls, by what Azure says of it.

A last change that failed or was cancelled says nothing of the API server, which usually works: it is told, as
of a target, and not waited for, since only its owner's next change ends that state (learn.microsoft.com,
rest/api/aks/managed-clusters/abort-latest-operation has ``Canceling`` before ``Canceled``).
"""

from __future__ import annotations

from shared import cluster_commands
from shared.errors import NotYetError, PermanentError
from shared.models import Finding
from shared.ports import ManagedCluster
from shared.steps.base import found
from shared.steps.verdicts import Verdict

RUNNING = "cluster-running"
AT_REST = frozenset({"succeeded", "running"})
UNDONE = frozenset({"failed", "canceled"})
"""The last change has ended, and not well."""


def require_running(cluster: ManagedCluster) -> None:
    """The cluster takes calls.

    Raises:
        NotYetError: ``cluster-updating``.
        PermanentError: ``cluster-stopped``.
    """
    if cluster.provisioning_state.lower() not in AT_REST | UNDONE:
        raise NotYetError("cluster-updating", f"the cluster is {cluster.provisioning_state}")
    if cluster.power_state.lower() == "stopped":
        raise PermanentError(
            "cluster-stopped",
            cluster.resource_id,
            remedy=cluster_commands.start(cluster.resource_id),
        )


def running(cluster: ManagedCluster) -> Finding:
    """What is to be said of a cluster that is not known to be closed."""
    state = cluster.provisioning_state
    if state.lower() not in UNDONE:
        return found(RUNNING, ok=True, detail=state)
    return Finding(
        name=RUNNING,
        result="warning",
        detail=f"Azure's last change of the cluster is {state}; it may work all the same",
        remedy=cluster_commands.show(cluster.resource_id),
    )


def said(cluster: ManagedCluster) -> list[Verdict]:
    """The same, as one that hinders nothing."""
    return [Verdict("", running(cluster))]
