"""What each simulated connection's secret must hold, by hand, from what Service Connector documents.

Nothing here comes from the product: neither the catalogue's rows nor the facts that a run has found.
"""

from __future__ import annotations

from collections.abc import Mapping

from shared.spec import ConnectionSpec
from tests.simulation.world import ACCOUNTS, VAULTS

_SPRING = "springBoot"
_BLOB = {
    "AZURE_STORAGEBLOB_RESOURCEENDPOINT": "https://{name}.blob.core.windows.net/",
    "AZURE_STORAGEBLOB_CLIENTID": "{client}",
}
_BLOB_SPRING = {
    "spring.cloud.azure.storage.blob.credential.managed-identity-enabled": "true",
    "spring.cloud.azure.storage.blob.account-name": "{name}",
    "spring.cloud.azure.storage.blob.endpoint": "https://{name}.blob.core.windows.net/",
    "spring.cloud.azure.storage.blob.credential.client-id": "{client}",
}
_VAULT = {
    "AZURE_KEYVAULT_SCOPE": "https://management.azure.com/.default",
    "AZURE_KEYVAULT_RESOURCEENDPOINT": "https://{name}.vault.azure.net/",
    "AZURE_KEYVAULT_CLIENTID": "{client}",
}
_VAULT_SPRING = {
    "azure.keyvault.uri": "https://{name}.vault.azure.net/",
    "azure.keyvault.client-id": "{client}",
    "azure.keyvault.scope": "https://management.azure.com/.default",
    "spring.cloud.azure.keyvault.secret.credential.managed-identity-enabled": "true",
    "spring.cloud.azure.keyvault.secret.endpoint": "https://{name}.vault.azure.net/",
    "spring.cloud.azure.keyvault.secret.credential.client-id": "{client}",
}
_KEYS: Mapping[tuple[str, str], Mapping[str, str]] = {
    ("storage-blob", "none"): _BLOB,
    ("storage-blob", "python"): _BLOB,
    ("storage-blob", "java"): _BLOB,
    ("storage-blob", _SPRING): _BLOB_SPRING,
    ("keyvault", "none"): _VAULT,
    ("keyvault", "python"): _VAULT,
    ("keyvault", "java"): _VAULT,
    ("keyvault", _SPRING): _VAULT_SPRING,
}
"""Keys and values by target type and client type; a part of an account has those of the account."""

_SECRETS_USER, _CERTIFICATE_USER = (
    "4633458b-17de-408a-b874-0445c86b69e6",
    "db79e9a7-68ee-4b58-9aeb-b90e7c24fcba",
)
ROLES: Mapping[tuple[str, str], frozenset[str]] = {
    ("storage-blob", ""): frozenset({"ba92f5b4-2d11-453d-a403-e96b0029c9fe"}),
    ("storage-blob", "read"): frozenset({"2a2b9908-6ea1-4ae2-8e65-a410df84e7d1"}),
    ("keyvault", ""): frozenset({_SECRETS_USER, _CERTIFICATE_USER}),
    ("keyvault", "read"): frozenset({_SECRETS_USER}),
}
"""The roles of each target type and intent: Azure's built-in roles by their documented GUIDs."""


def settings_of(spec: ConnectionSpec, client_id: str) -> dict[str, str]:
    """Every key and value of a connection's secret.

    Raises:
        KeyError: the workload asks for something that is not in the table yet.
        StopIteration: nor is the target.
    """
    asked = f"{spec.target_id.lower()}/"
    target = next(one for one in (*ACCOUNTS, *VAULTS) if asked.startswith(f"{one.lower()}/"))
    name = target.rsplit("/", 1)[-1]
    table = _KEYS[spec.target_type, spec.client_type]
    return {key: value.format(name=name, client=client_id) for key, value in table.items()}
