"""A person in front of Azure: the subscription's owner, through Resource Manager and the blob service."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import aiohttp
from azure.identity.aio import ClientSecretCredential
from azure.storage.blob.aio import BlobServiceClient

from sandbox.contract import Contract
from sandbox.owner import ARM_SCOPE, Owner
from sandbox.topology import Topology

Object = dict[str, Any]

IDENTITIES = "Microsoft.ManagedIdentity/userAssignedIdentities"
IDENTITY_VERSION = "2024-11-30"
LINKER_VERSION = "2024-04-01"
STORAGE_VERSION = "2023-05-01"
ROLE_VERSION = "2022-04-01"


class Azure:
    """What the owner does and sees.

    Args:
        contract: The sandbox.
        topology: The same, as the owner's client wants it.
        session: A session that trusts the CA.
        credential: The owner.
        patience: Factor on deadlines, for a sandbox that is slow on purpose.
    """

    def __init__(
        self,
        contract: Contract,
        topology: Topology,
        session: aiohttp.ClientSession,
        credential: ClientSecretCredential,
        *,
        patience: float,
    ) -> None:
        self._contract = contract
        self._owner = Owner(topology, session, patience=patience)
        self._credential = credential
        self._subscription = f"/subscriptions/{contract.subscription_id}"

    async def make_identity(self, name: str) -> Object:
        """Make a user-assigned identity next to the targets."""
        path = f"{self._subscription}/resourceGroups/{self._contract.resource_group}/providers/{IDENTITIES}"
        body = {"location": self._contract.location}
        return await self._owner.put_resource(f"{path}/{name}", IDENTITY_VERSION, body)

    async def identity_exists(self, identity_id: str) -> bool:
        """Whether Azure has the identity."""
        status, _ = await self._get(identity_id, IDENTITY_VERSION)
        return status == 200

    async def make_linker(self, name: str, *, client_id: str, target_id: str, namespace: str) -> str:
        """Make a Service Connector connection of the cluster; returns its id once it is provisioned."""
        path = f"{self._contract.cluster_id}/providers/Microsoft.ServiceLinker/linkers/{name}"
        properties = {
            "targetService": {"type": "AzureResource", "id": target_id},
            "authInfo": {
                "authType": "userAssignedIdentity",
                "clientId": client_id,
                "subscriptionId": self._contract.subscription_id,
            },
            "clientType": "python",
            "scope": namespace,
        }
        made = await self._owner.put_resource(path, LINKER_VERSION, {"properties": properties})
        return str(made["id"])

    async def delete_linker(self, linker_id: str) -> None:
        """Delete a Service Connector connection; returns when it is gone."""
        await self._owner.delete_resource(linker_id, LINKER_VERSION)

    async def delete_storage_account(self, account_id: str) -> None:
        """Delete a storage account; returns when it is gone."""
        await self._owner.delete_resource(account_id, STORAGE_VERSION)

    async def mooring_identities(self) -> list[str]:
        """Names of the identities in the group where Mooring makes them."""
        group = f"{self._subscription}/resourceGroups/{self._contract.identity_resource_group}"
        _, answer = await self._get(f"{group}/providers/{IDENTITIES}", IDENTITY_VERSION)
        return [str(identity["name"]) for identity in answer["value"]]

    async def credentials_of(self, identity_id: str) -> list[str]:
        """Names of an identity's federated credentials; none if it does not exist."""
        _, answer = await self._get(f"{identity_id}/federatedIdentityCredentials", IDENTITY_VERSION)
        return [str(credential["name"]) for credential in answer.get("value", [])]

    async def roles_of(self, principal_id: str) -> list[str]:
        """Scopes at which a principal has a role anywhere in the subscription."""
        wanted = quote(f"principalId eq '{principal_id}'")
        path = f"{self._subscription}/providers/Microsoft.Authorization/roleAssignments"
        _, answer = await self._get(path, f"{ROLE_VERSION}&$filter={wanted}")
        return [str(one["properties"]["scope"]) for one in answer["value"]]

    async def make_container(self, name: str) -> None:
        """Make a container in the seeded storage account."""
        async with BlobServiceClient(
            self._contract.storage_account_url,
            credential=self._credential,
            connection_verify=self._contract.ca_file,
        ) as client:
            await client.create_container(name)

    async def _get(self, path: str, api_version: str) -> tuple[int, Object]:
        url = f"{self._contract.arm_url}{path}?api-version={api_version}"
        headers = {"Authorization": f"Bearer {await self._owner.token(ARM_SCOPE)}"}
        return await self._owner.request("GET", url, headers=headers, accepted=(200, 404))
