"""What a running sandbox tells people and programs outside: one JSON object.

``python -m sandbox up`` prints it as one line when everything answers. The keys are a contract:
a key is never renamed or given another meaning within one ``schema_version``, and
``docs/reference/sandbox.md`` describes each of them (a test compares the two).
"""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sandbox.azurite import connection_string
from sandbox.topology import DEAD_LETTER_CONTAINER, Topology

SCHEMA_VERSION = 1


class ContractError(ValueError):
    """The text is not a contract of this version."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Contract:
    """URLs, names and keys of one running sandbox; URLs have no trailing slash."""

    schema_version: int
    state_dir: str
    topology_file: str
    ca_file: str
    kubeconfig: str
    """Path of a kubeconfig with administrator rights on the cluster."""
    arm_url: str
    entra_url: str
    """Base of the authority: what AZURE_AUTHORITY_HOST is."""
    kubernetes_url: str
    """Root of the Kubernetes emulator, where its control endpoints are."""
    cluster_server: str
    """API server of the seeded cluster."""
    dataplane_url: str
    queue_url: str
    table_url: str
    blob_url: str
    """The app's own storage, as are the two above."""
    dead_letter_container: str
    """Container below ``blob_url`` into which Event Grid writes what it could not deliver."""
    storage_account_url: str
    """Blob endpoint of the seeded storage account, behind access checks."""
    vault_url: str
    functions_url: str
    functions_urls: list[str]
    """Every Functions host, the first one first; empty without the app."""
    event_grid_webhook_url: str
    """Where an Event Grid trigger is called; ``functionName`` and ``code`` are appended by the caller."""
    tenant_id: str
    subscription_id: str
    location: str
    resource_group: str
    identity_resource_group: str
    cluster_id: str
    storage_account_id: str
    second_storage_account_id: str
    vault_id: str
    app_client_id: str
    app_principal_id: str
    owner_client_id: str
    owner_client_secret: str
    owner_principal_id: str
    kubernetes_admin_token: str
    function_keys: dict[str, str]
    azurite_connection_string: str
    env: dict[str, str]
    """Variables under which an unmodified client program talks to this sandbox."""
    pids: dict[str, int]
    """Process ids by part."""

    @property
    def framed_parts(self) -> dict[str, str]:
        """URL of each part that understands faults, latency and the call journal, by its name."""
        parts = {
            "arm": self.arm_url,
            "entra": self.entra_url,
            "kubernetes": self.kubernetes_url,
            "dataplane": self.dataplane_url,
        }
        for index, url in enumerate(self.functions_urls, 1):
            parts["functions" if index == 1 else f"functions-{index}"] = url
        return parts

    def unanswered(self, error: Exception) -> str:
        """What to tell somebody whose sandbox does not answer."""
        return (
            f"the sandbox of this contract does not answer: {error}\n"
            f"its process was {self.pids.get('up', 'unknown')}; `make up > sandbox.json` starts another"
        )

    def to_json(self) -> str:
        """The contract as one line."""
        return json.dumps(dataclasses.asdict(self), separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> Contract:
        """Read a contract.

        Raises:
            ContractError: Not JSON, another schema version, or keys missing or unknown.
        """
        try:
            raw: Any = json.loads(text)
        except json.JSONDecodeError as error:
            raise ContractError(f"not JSON: {error}") from error
        if not isinstance(raw, dict) or raw.get("schema_version") != SCHEMA_VERSION:
            raise ContractError(f"not a sandbox contract of schema version {SCHEMA_VERSION}")
        names = {field.name for field in dataclasses.fields(cls)}
        if names != set(raw):
            raise ContractError(
                f"missing keys {sorted(names - set(raw))}, unknown {sorted(set(raw) - names)}"
            )
        return cls(**raw)

    @classmethod
    def load(cls, source: str) -> Contract:
        """Read a contract from a file, or from standard input when ``source`` is ``-``.

        Raises:
            ContractError: There is none; the message says which argument and how to get one.
        """
        try:
            text = sys.stdin.readline() if source == "-" else Path(source).read_text()
            if not text.strip():
                raise ContractError("it is empty: the sandbox is not up yet, or did not start")
            return cls.from_json(text)
        except (ContractError, OSError) as error:
            cause = error.strerror if isinstance(error, OSError) else error
            raise ContractError(
                f"--contract {source}: {cause}\n`make up > sandbox.json` starts a sandbox and writes one; "
                "a running sandbox's is STATE_DIR/contract.json",
            ) from error


def make_contract(
    topology: Topology,
    *,
    topology_file: Path,
    functions_urls: Sequence[str],
    pids: dict[str, int],
    cluster_server: str = "",
) -> Contract:
    """Describe a sandbox that is up; ``cluster_server`` is where an emulated cluster answers by default."""
    providers = f"{topology.resource_group_id}/providers"
    storage = f"{providers}/Microsoft.Storage/storageAccounts/{topology.storage_account}"
    kubeconfig = str(Path(topology.state_dir) / "kubeconfig")
    return Contract(
        schema_version=SCHEMA_VERSION,
        state_dir=topology.state_dir,
        topology_file=str(topology_file),
        ca_file=topology.ca_file,
        kubeconfig=kubeconfig,
        arm_url=topology.arm_url,
        entra_url=topology.entra_url,
        kubernetes_url=topology.kubernetes_url,
        cluster_server=cluster_server or f"{topology.kubernetes_url}/clusters/{topology.cluster_name}",
        dataplane_url=topology.dataplane_url,
        queue_url=topology.queue_url,
        table_url=topology.table_url,
        blob_url=topology.blob_url,
        dead_letter_container=DEAD_LETTER_CONTAINER,
        storage_account_url=f"{topology.dataplane_url}/blob/{topology.storage_account}",
        vault_url=f"{topology.dataplane_url}/vault/{topology.vault_name}",
        functions_url=topology.functions_url,
        functions_urls=list(functions_urls),
        event_grid_webhook_url=f"{topology.functions_url}/runtime/webhooks/EventGrid",
        tenant_id=topology.tenant_id,
        subscription_id=topology.subscription_id,
        location=topology.location,
        resource_group=topology.resource_group,
        identity_resource_group=topology.identity_resource_group,
        cluster_id=topology.cluster_id,
        storage_account_id=storage,
        second_storage_account_id=f"{storage}2",
        vault_id=f"{providers}/Microsoft.KeyVault/vaults/{topology.vault_name}",
        app_client_id=topology.app_client_id,
        app_principal_id=topology.app_principal_id,
        owner_client_id=topology.owner_client_id,
        owner_client_secret=topology.owner_client_secret,
        owner_principal_id=topology.owner_principal_id,
        kubernetes_admin_token=topology.kubernetes_admin_token,
        function_keys=topology.function_keys,
        azurite_connection_string=connection_string(topology),
        env={
            "SSL_CERT_FILE": topology.ca_file,
            "REQUESTS_CA_BUNDLE": topology.ca_file,
            "NODE_EXTRA_CA_CERTS": topology.ca_file,
            "AZURE_AUTHORITY_HOST": topology.entra_url,
            "AZURE_TENANT_ID": topology.tenant_id,
            "AZURE_SUBSCRIPTION_ID": topology.subscription_id,
            "AZURE_CLIENT_ID": topology.owner_client_id,
            "AZURE_CLIENT_SECRET": topology.owner_client_secret,
            "KUBECONFIG": kubeconfig,
        },
        pids=pids,
    )
