"""Azure through its management SDKs, as the subscription's owner."""

from __future__ import annotations

import contextlib
import dataclasses
import uuid
from typing import Any

from azure.core.exceptions import ResourceNotFoundError
from azure.identity.aio import ClientSecretCredential
from azure.mgmt.authorization.aio import AuthorizationManagementClient
from azure.mgmt.containerservice.aio import ContainerServiceClient
from azure.mgmt.msi.aio import ManagedServiceIdentityClient
from azure.mgmt.resource.resources.aio import ResourceManagementClient
from azure.mgmt.storage.aio import StorageManagementClient

from sandbox.contract import Contract


@dataclasses.dataclass(slots=True)
class AzureOwner:
    """What the owner of the subscription can do."""

    contract: Contract
    credential: ClientSecretCredential

    def azure(self, kind: Any, **arguments: Any) -> Any:
        """An ``azure-mgmt-*`` client of the owner."""
        return kind(
            self.credential,
            self.contract.subscription_id,
            base_url=self.contract.arm_url,
            credential_scopes=["https://management.azure.com/.default"],
            connection_verify=self.contract.ca_file,
            polling_interval=0.2,
            **arguments,
        )

    async def new_account(self, group: str = "") -> str:
        """Make a storage account; returns its ARM id."""
        name = f"st{uuid.uuid4().hex[:20]}"
        parameters = {"location": "westeurope", "kind": "StorageV2", "sku": {"name": "Standard_LRS"}}
        async with self.azure(StorageManagementClient) as client:
            group = group or self.contract.resource_group
            account = await (await client.storage_accounts.begin_create(group, name, parameters)).result()
        return str(account.id)

    async def new_identity(self, name: str, group: str) -> Any:
        parameters = {"location": "westeurope"}
        async with self.azure(ManagedServiceIdentityClient) as client:
            return await client.user_assigned_identities.create_or_update(group, name, parameters)

    async def delete_account(self, account_id: str) -> None:
        parts = account_id.split("/")
        async with self.azure(StorageManagementClient) as client:
            await client.storage_accounts.delete(parts[4], parts[-1])

    async def delete_resource(self, resource_id: str, api_version: str) -> None:
        async with self.azure(ResourceManagementClient) as client:
            await (await client.resources.begin_delete_by_id(resource_id, api_version=api_version)).result()

    async def identity(self, resource_id: str) -> Any:
        """The user-assigned identity of that id, or ``None``."""
        parts = resource_id.split("/")
        async with self.azure(ManagedServiceIdentityClient) as client:
            with contextlib.suppress(ResourceNotFoundError):
                return await client.user_assigned_identities.get(parts[4], parts[-1])
        return None

    async def credentials(self, identity_id: str) -> list[Any]:
        """Federated credentials of an identity."""
        parts = identity_id.split("/")
        async with self.azure(ManagedServiceIdentityClient) as client:
            return [one async for one in client.federated_identity_credentials.list(parts[4], parts[-1])]

    async def assignments(self, scope: str, principal_id: str) -> list[Any]:
        """Role assignments of a principal at exactly this scope."""
        async with self.azure(AuthorizationManagementClient) as client:
            found = client.role_assignments.list_for_scope(scope, filter=f"principalId eq '{principal_id}'")
            return [one async for one in found if one.scope.lower() == scope.lower()]

    async def issuer(self, cluster_id: str = "") -> str:
        """OIDC issuer of a cluster."""
        parts = (cluster_id or self.contract.cluster_id).split("/")
        async with self.azure(ContainerServiceClient) as client:
            cluster = await client.managed_clusters.get(parts[4], parts[-1])
        return str(cluster.oidc_issuer_profile.issuer_url)
