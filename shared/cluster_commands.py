"""What the owner of a cluster types to set it up; Mooring itself changes none: that is its act.

``az aks`` takes a cluster by group and name alone: it has no ``--ids`` (azure-cli, ``acs/_params.py``).
"""

from __future__ import annotations


def start(cluster_id: str) -> str:
    """Start a cluster that is stopped."""
    return _aks("start", cluster_id)


def show(cluster_id: str) -> str:
    """Look at a cluster, and at how its last change ended."""
    return _aks("show", cluster_id)


def enable_workload_identity(cluster_id: str) -> str:
    """Switch the issuer and workload identity on."""
    return _aks("update --enable-oidc-issuer --enable-workload-identity", cluster_id)


def enable_entra(cluster_id: str) -> str:
    """Let the cluster take Entra's tokens, for good (learn.microsoft.com/azure/aks/managed-azure-ad)."""
    return _aks("update --enable-aad", cluster_id)


def enable_secrets_store(cluster_id: str) -> str:
    """Bring the Secrets Store CSI Driver (learn.microsoft.com/azure/aks/csi-secrets-store-driver)."""
    return _aks("enable-addons --addons azure-keyvault-secrets-provider", cluster_id)


def _aks(verb: str, cluster_id: str) -> str:
    parts = [part for part in cluster_id.split("/") if part]
    return f"az aks {verb} --subscription {parts[1]} -g {parts[3]} -n {parts[-1]}"
