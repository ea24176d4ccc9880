"""The Secrets Store CSI Driver, without which nothing mounts a vault.

Looked for and never switched on, as the cluster's issuer is: it is its owner's act.
"""

from __future__ import annotations

from shared import cluster_commands, naming
from shared.errors import PermanentError
from shared.models import Finding
from shared.ports import Clusters
from shared.spec import ConnectionSpec
from shared.steps.base import found

FINDING = "secrets-store-on"


async def require_driver(clusters: Clusters, spec: ConnectionSpec) -> None:
    """The cluster knows the kind that says what is mounted.

    Raises:
        PermanentError: ``secrets-store-off``.
    """
    kind, _ = naming.settings_object(spec)
    if not await clusters.serves(spec.cluster_id, kind):
        raise PermanentError(
            "secrets-store-off",
            f"the cluster knows no {kind}: it has no Secrets Store CSI Driver",
            remedy=cluster_commands.enable_secrets_store(spec.cluster_id),
        )


async def looked_at(clusters: Clusters, spec: ConnectionSpec) -> list[Finding]:
    """The same as a finding."""
    kind, _ = naming.settings_object(spec)
    served = await clusters.serves(spec.cluster_id, kind)
    remedy = cluster_commands.enable_secrets_store(spec.cluster_id)
    return [found(FINDING, ok=served, detail=kind, remedy=remedy)]
