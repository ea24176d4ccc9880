"""What Azure's answers say of a cluster: its description, and where its API server is."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from typing import Any

from shared.naming import fold_id
from shared.ports import ManagedCluster


def address_of(kubeconfigs: Iterable[bytes]) -> tuple[str, str] | None:
    """URL and CA (PEM text) of the first API server that a kubeconfig names."""
    import yaml

    for kubeconfig in kubeconfigs:
        config = yaml.safe_load(kubeconfig) or {}
        for entry in config.get("clusters") or []:
            cluster = entry.get("cluster") or {}
            server, ca_data = cluster.get("server") or "", cluster.get("certificate-authority-data") or ""
            if server.startswith("https://"):
                return server, base64.b64decode(ca_data).decode()
    return None


def cluster_of(found: Any, asked_id: str) -> ManagedCluster:
    """Read what the SDK answered."""
    issuer = found.oidc_issuer_profile
    security = found.security_profile
    workload_identity = security.workload_identity if security else None
    power = found.power_state
    # Azure leaves the profile out of a cluster with local accounts only; the legacy integration, which has an
    # application of its own and takes no token for AKS's, is not managed.
    entra = found.aad_profile
    return ManagedCluster(
        resource_id=asked_id,
        location=found.location or "",
        provisioning_state=found.provisioning_state or "",
        power_state=str(getattr(power.code, "value", power.code) or "") if power else "",
        issuer=(issuer.issuer_url or "") if issuer and issuer.enabled else "",
        workload_identity=bool(workload_identity and workload_identity.enabled),
        entra=bool(entra and entra.managed),
        forbidden_identities=tuple(sorted(_own_identities(found))),
    )


def _own_identities(found: Any) -> set[str]:
    """Folded ids and client ids of the identities that the cluster itself runs as."""
    own: set[str] = set()
    for profile in (found.identity_profile or {}).values():
        own |= {fold_id(profile.resource_id or ""), (profile.client_id or "").lower()}
    for addon in (found.addon_profiles or {}).values():
        if addon.identity:
            own |= {fold_id(addon.identity.resource_id or ""), (addon.identity.client_id or "").lower()}
    for resource_id, assigned in ((found.identity and found.identity.user_assigned_identities) or {}).items():
        own |= {fold_id(resource_id), (assigned.client_id or "").lower()}
    if found.service_principal_profile:
        own.add((found.service_principal_profile.client_id or "").lower())
    return own - {"", "/", "msi"}
