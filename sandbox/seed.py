"""What a sandbox holds when it comes up: the resources that a person has before Mooring arrives.

Everything goes through the emulators' public interfaces as the subscription's owner, so seeding is
also the first proof that they work. It may run again on a sandbox that was seeded before.
"""

from __future__ import annotations

import asyncio
import json
import ssl
import uuid
from pathlib import Path

import aiohttp

from sandbox.cluster_seed import CLUSTER_VERSION, ClusterSeed
from sandbox.owner import STORAGE_SCOPE, Owner
from sandbox.role_files import role_properties
from sandbox.topology import DEAD_LETTER_CONTAINER, Topology

REPOSITORY = Path(__file__).resolve().parent.parent
WORK_QUEUES = ("connection-requests", "connection-steps", "resource-events", "sweep-slices")
QUEUES = (*WORK_QUEUES, *(f"{queue}-poison" for queue in WORK_QUEUES), "rejected")
TABLES = (
    "connections",
    "requests",
    "openoperations",
    "dependents",
    "users",
    "linkers",
    "subscriptions",
    "prunes",
    "orphans",
    "sweeps",
)

CONTRIBUTOR = "b24988ac-6180-42a0-ab88-20f7382dd24c"
USER_ACCESS_ADMINISTRATOR = "18d7d88d-d35e-4fb5-a5c3-7773c20a72d9"
STORAGE_VERSION = "2025-11-05"


class Seeder:
    """One seeding, with the owner's tokens."""

    def __init__(self, topology: Topology, session: aiohttp.ClientSession) -> None:
        self._topology = topology
        self._owner = Owner(topology, session)

    @classmethod
    async def run(cls, topology: Topology) -> str:
        """Seed a sandbox whose parts all answer.

        Returns:
            URL of the seeded cluster's API server.

        Raises:
            RefusedError: A part refused something.
        """
        tls = ssl.create_default_context(cafile=topology.ca_file)
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=tls, limit=8)) as session:
            seeder = cls(topology, session)
            server, _ = await asyncio.gather(seeder._azure_and_cluster(), seeder._storage())
        return server

    async def _azure_and_cluster(self) -> str:
        await self._groups()
        await asyncio.gather(self._targets(), self._cluster(), self._app_roles(), self._event_subscriptions())
        return await ClusterSeed(self._topology, self._owner).run()

    # Resource Manager

    async def _groups(self) -> None:
        topology = self._topology
        body = {"location": topology.location}
        for name in (topology.resource_group, topology.identity_resource_group):
            path = f"/subscriptions/{topology.subscription_id}/resourcegroups/{name}"
            await self._owner.put_resource(path, "2021-04-01", body)

    async def _targets(self) -> None:
        topology = self._topology
        providers = f"{topology.resource_group_id}/providers"
        account = {
            "location": topology.location,
            "kind": "StorageV2",
            "sku": {"name": "Standard_LRS"},
            "properties": {"allowSharedKeyAccess": False, "minimumTlsVersion": "TLS1_2"},
        }
        vault = {
            "location": topology.location,
            "properties": {
                "tenantId": topology.tenant_id,
                "sku": {"family": "A", "name": "standard"},
                "enableRbacAuthorization": True,
                "accessPolicies": [],
            },
        }
        for name in (topology.storage_account, f"{topology.storage_account}2"):
            path = f"{providers}/Microsoft.Storage/storageAccounts/{name}"
            await self._owner.put_resource(path, "2023-05-01", account)
        await self._owner.put_resource(
            f"{providers}/Microsoft.KeyVault/vaults/{topology.vault_name}",
            "2023-07-01",
            vault,
        )

    async def _cluster(self) -> None:
        topology = self._topology
        kubelet = await self._owner.put_resource(
            f"{topology.resource_group_id}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/"
            f"{topology.cluster_name}-agentpool",
            "2024-11-30",
            {"location": topology.location},
        )
        await self._owner.put_resource(
            topology.cluster_id,
            CLUSTER_VERSION,
            {
                "location": topology.location,
                "identity": {"type": "SystemAssigned"},
                "properties": {
                    "dnsPrefix": topology.cluster_name,
                    "aadProfile": {"managed": True, "enableAzureRBAC": False},
                    "disableLocalAccounts": True,
                    "oidcIssuerProfile": {"enabled": True},
                    "securityProfile": {"workloadIdentity": {"enabled": True}},
                    "identityProfile": {
                        "kubeletidentity": {
                            "resourceId": kubelet["id"],
                            "clientId": kubelet["properties"]["clientId"],
                            "objectId": kubelet["properties"]["principalId"],
                        },
                    },
                    "agentPoolProfiles": [
                        {"name": "nodepool1", "count": 1, "vmSize": "Standard_D2s_v5", "mode": "System"},
                    ],
                },
            },
        )

    async def _app_roles(self) -> None:
        """Grant the app the roles of ``infra/roles``, or the built-in pair where there are none."""
        topology = self._topology
        subscription = f"/subscriptions/{topology.subscription_id}"
        files = sorted((REPOSITORY / "infra" / "roles").glob("*.json"))
        granted = 0
        for file in files:
            properties = role_properties(json.loads(file.read_text()), subscription)
            if properties is None:
                continue
            guid = str(uuid.uuid5(uuid.NAMESPACE_URL, f"{subscription}/{file.stem}"))
            path = f"{subscription}/providers/Microsoft.Authorization/roleDefinitions/{guid}"
            await self._owner.put_resource(path, "2022-04-01", {"properties": properties})
            await self._grant(guid, self._role_scope(file.stem))
            granted += 1
        if not granted:
            for guid in (CONTRIBUTOR, USER_ACCESS_ADMINISTRATOR):
                await self._grant(guid, subscription)

    def _role_scope(self, role: str) -> str:
        """Scope a role of ``infra/roles`` is for: identities are managed in their own group only."""
        topology = self._topology
        subscription = f"/subscriptions/{topology.subscription_id}"
        if "identity" in role or "identities" in role:
            return f"{subscription}/resourceGroups/{topology.identity_resource_group}"
        return subscription

    async def _grant(self, role_guid: str, scope: str) -> None:
        topology = self._topology
        definitions = f"/subscriptions/{topology.subscription_id}/providers/Microsoft.Authorization"
        name = uuid.uuid5(uuid.NAMESPACE_URL, f"{scope}|{topology.app_principal_id}|{role_guid}".lower())
        await self._owner.put_resource(
            f"{scope}/providers/Microsoft.Authorization/roleAssignments/{name}",
            "2022-04-01",
            {
                "properties": {
                    "roleDefinitionId": f"{definitions}/roleDefinitions/{role_guid}",
                    "principalId": topology.app_principal_id,
                    "principalType": "ServicePrincipal",
                },
            },
        )

    async def _event_subscriptions(self) -> None:
        """Deliver to ``resource-events`` what the filter that ``infra/`` ships lets through."""
        shipped = json.loads((REPOSITORY / "infra" / "event-filter.json").read_text())
        subscriptions = [
            {
                "name": row["name"],
                "destination": {"queue": "resource-events"},
                "deadLetter": {"container": DEAD_LETTER_CONTAINER},
                "schema": "EventGridSchema",
                "filter": row["filter"],
            }
            for row in shipped["eventSubscriptions"]
        ]
        url = f"{self._topology.arm_url}/sandbox/event-subscriptions"
        await self._owner.request("PUT", url, body=subscriptions)

    # the app's storage

    async def _storage(self) -> None:
        topology = self._topology
        token = await self._owner.token(STORAGE_SCOPE)
        headers = {"Authorization": f"Bearer {token}", "x-ms-version": STORAGE_VERSION}
        for queue in QUEUES:
            url = f"{topology.queue_url}/{queue}"
            await self._owner.request("PUT", url, headers=headers, accepted=(201, 204, 409))
        url = f"{topology.blob_url}/{DEAD_LETTER_CONTAINER}?restype=container"
        await self._owner.request("PUT", url, headers=headers, accepted=(201, 409))
        table_headers = {**headers, "Accept": "application/json;odata=nometadata"}
        for table in TABLES:
            await self._owner.request(
                "POST",
                f"{topology.table_url}/Tables",
                body={"TableName": table},
                headers=table_headers,
                accepted=(201, 204, 409),
            )
