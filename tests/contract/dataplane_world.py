"""The owner's clients of a running sandbox, and grants that end with the test."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
from azure.identity.aio import ClientSecretCredential
from azure.keyvault.secrets.aio import SecretClient
from azure.storage.blob.aio import BlobServiceClient

from sandbox.contract import Contract
from sandbox.owner import Owner


class World:
    """The owner's clients, and grants that end with the test."""

    def __init__(self, contract: Contract, owner: Owner, http: aiohttp.ClientSession) -> None:
        self.contract = contract
        self.owner = owner
        self.http = http
        self.trust: dict[str, Any] = {"connection_verify": contract.ca_file, "retry_total": 0}
        self.credential = ClientSecretCredential(
            contract.tenant_id,
            contract.owner_client_id,
            contract.owner_client_secret,
            authority=contract.entra_url,
            disable_instance_discovery=True,
            connection_verify=contract.ca_file,
        )

    def blobs(self, account_id: str) -> BlobServiceClient:
        url = f"{self.contract.dataplane_url}/blob/{account_id.rpartition('/')[2]}"
        return BlobServiceClient(url, credential=self.credential, **self.trust)

    def secrets(self, url: str) -> SecretClient:
        return SecretClient(url, self.credential, verify_challenge_resource=False, **self.trust)

    async def make_account(self) -> str:
        name = f"st{uuid.uuid4().hex[:16]}"
        path = f"{self.contract.storage_account_id.rpartition('/')[0]}/{name}"
        body = {"location": "westeurope", "kind": "StorageV2", "sku": {"name": "Standard_LRS"}}
        await self.owner.put_resource(path, "2023-05-01", body)
        return path

    async def assign(self, role: str, scope: str, principal_id: str) -> str:
        path = f"{scope}/providers/Microsoft.Authorization/roleAssignments/{uuid.uuid4()}"
        definitions = f"/subscriptions/{self.contract.subscription_id}/providers/Microsoft.Authorization"
        properties = {
            "roleDefinitionId": f"{definitions}/roleDefinitions/{role}",
            "principalId": principal_id,
            "principalType": "ServicePrincipal",
        }
        await self.owner.put_resource(path, "2022-04-01", {"properties": properties})
        return path

    @contextlib.asynccontextmanager
    async def granted(self, role: str, scope: str) -> AsyncIterator[None]:
        path = await self.assign(role, scope, self.contract.owner_principal_id)
        try:
            yield
        finally:
            await self.owner.delete_resource(path, "2022-04-01")
