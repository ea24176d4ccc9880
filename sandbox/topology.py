"""Where everything of one running sandbox lives.

``python -m sandbox up`` chooses free loopback ports once, writes the topology to a file and
starts each part with the path of that file, so that every part knows every other part's URL
before any of them answers. The keys printed for people and programs outside are a contract of
their own (``sandbox/contract.py``); this file is private to the sandbox.
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

DEAD_LETTER_CONTAINER = "dead-letters"
"""Container of the app's storage into which Event Grid writes what it could not deliver."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Topology:
    """Ports, files and names of one sandbox. All URLs are ``https`` on 127.0.0.1, no trailing slash."""

    state_dir: str
    """Folder that holds every file of this sandbox: keys, logs, databases."""
    ca_file: str
    """The throw-away CA (PEM) that signed ``cert_file``."""
    cert_file: str
    key_file: str
    tenant_id: str
    subscription_id: str
    location: str
    arm_url: str
    entra_url: str
    kubernetes_url: str
    """The Kubernetes emulator's root: cluster ``NAME`` answers below ``/clusters/NAME``."""
    dataplane_url: str
    """Blob accounts below ``/blob/ACCOUNT``, vaults below ``/vault/NAME``."""
    queue_url: str
    """Azurite's queue endpoint with the account in its path, as are the next two."""
    table_url: str
    blob_url: str
    functions_url: str
    resource_group: str
    cluster_name: str
    storage_account: str
    vault_name: str
    app_client_id: str
    """Client id of the app's own user-assigned identity (what AZURE_CLIENT_ID is in Azure)."""
    app_principal_id: str
    owner_client_id: str
    """A service principal with Owner on the subscription, for people and tests."""
    owner_client_secret: str
    owner_principal_id: str
    msi_header: str
    """The secret of the managed-identity endpoint (IDENTITY_HEADER)."""
    kubernetes_admin_token: str
    azurite_account: str
    azurite_key: str
    azurite_pool: tuple[str, ...] = ()
    """Spare Azurite accounts; the blob data plane gives one to each emulated storage account."""
    function_keys: dict[str, str] = dataclasses.field(default_factory=dict)
    """``default`` (host key), ``master``, ``eventgrid_extension`` (system key)."""
    kubebuilder_assets: str = ""
    """Folder with a real kube-apiserver and etcd, or empty for the emulator."""
    clock_scale: float = 1.0

    @property
    def resource_group_id(self) -> str:
        """ARM id of the group that holds the seeded resources."""
        return f"/subscriptions/{self.subscription_id}/resourceGroups/{self.resource_group}"

    @property
    def cluster_id(self) -> str:
        """ARM id of the seeded cluster."""
        provider = "Microsoft.ContainerService/managedClusters"
        return f"{self.resource_group_id}/providers/{provider}/{self.cluster_name}"

    @property
    def identity_resource_group(self) -> str:
        """Name of the group in which Mooring makes its identities."""
        return f"{self.resource_group}-identities"

    def save(self, path: Path) -> None:
        """Write the topology as JSON, readable by the owner only."""
        path.write_text(json.dumps(dataclasses.asdict(self), indent=1))
        path.chmod(0o600)

    @classmethod
    def load(cls, path: Path) -> Topology:
        """Read what ``save`` wrote."""
        raw: dict[str, Any] = json.loads(path.read_text())
        raw["azurite_pool"] = tuple(raw["azurite_pool"])
        return cls(**raw)
