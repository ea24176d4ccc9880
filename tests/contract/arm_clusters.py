"""A cluster and a linker in Resource Manager's emulator."""

from __future__ import annotations

from typing import Any

from azure.mgmt.containerservice.aio import ContainerServiceClient

LINKER_VERSION = "2024-04-01"
CLUSTER = {
    "location": "eastus",
    "identity": {"type": "SystemAssigned"},
    "properties": {
        "oidcIssuerProfile": {"enabled": True},
        "securityProfile": {"workloadIdentity": {"enabled": True}},
        "aadProfile": {"managed": True},
    },
}


async def make_cluster(cloud: Any) -> Any:
    """The sandbox's cluster, made anew."""
    async with cloud.client(ContainerServiceClient) as client:
        poller = await client.managed_clusters.begin_create_or_update(
            cloud.group, cloud.topology.cluster_name, CLUSTER
        )
        return await poller.result()


async def kubernetes(cloud: Any, path: str) -> tuple[int, Any]:
    """Read from the cluster as its administrator."""
    headers = {"Authorization": f"Bearer {cloud.topology.kubernetes_admin_token}"}
    server = f"{cloud.topology.kubernetes_url}/clusters/{cloud.topology.cluster_name}"
    url = f"{server}/api/v1/namespaces/default/{path}"
    async with cloud.session.get(url, headers=headers) as answer:
        return answer.status, await answer.json()


async def linker(cloud: Any) -> tuple[str, dict[str, Any]]:
    """A cluster and an account; returns the linker's id and its body."""
    await make_cluster(cloud)
    account = f"{cloud.topology.resource_group_id}/providers/Microsoft.Storage/storageAccounts/acc"
    await cloud.finished(account, {"location": "eastus"}, version="2023-01-01")
    body = {
        "properties": {
            "targetService": {"type": "AzureResource", "id": f"{account}/blobServices/default"},
            "authInfo": {
                "authType": "userAssignedIdentity",
                "clientId": cloud.topology.app_client_id,
                "subscriptionId": cloud.topology.subscription_id,
            },
            "clientType": "python",
            "scope": "default",
        },
    }
    return f"{cloud.topology.cluster_id}/providers/Microsoft.ServiceLinker/linkers/my_Conn", body
