"""The Azure ports' fakes as one value."""

from __future__ import annotations

from shared.naming import fold_id
from shared.target_parts import COSMOS_ROLE, REDIS_POLICY
from tests.contract.ports_azure import NAMESPACE, SUBSCRIPTION, Azure
from tests.fakes.azure_world import AzureWorld
from tests.fakes.clusters import InMemoryClusters
from tests.fakes.grants import InMemoryGrants
from tests.fakes.identities import InMemoryIdentities
from tests.fakes.prover import InMemoryProver
from tests.fakes.resources import InMemoryLinkers, InMemoryResources
from tests.fakes.roles import InMemoryRoles


def fake_azure() -> Azure:
    """Fakes on one world, with a cluster, an account and a group for identities."""
    world = AzureWorld()
    base = f"/subscriptions/{SUBSCRIPTION}/resourceGroups"
    cluster_id = f"{base}/rg-shop/providers/Microsoft.ContainerService/managedClusters/aks-shop"
    storage_id = f"{base}/rg-shop/providers/Microsoft.Storage/storageAccounts/stshop"
    world.add_group(f"{base}/rg-shop-identities")
    world.add_cluster(cluster_id, namespaces=(NAMESPACE,))
    world.add_resource(storage_id, {"properties": {"primaryEndpoints": {"blob": "https://blob.example/"}}})
    world.data_planes["https://blob.example/?comp=list"] = storage_id
    keys = [{"keyName": f"key{number}", "value": f"value-of-{number}"} for number in (1, 2)]
    world.keys[fold_id(storage_id)] = {"keys": keys}
    clusters = InMemoryClusters(world)
    return Azure(
        identities=InMemoryIdentities(world),
        roles=InMemoryRoles(world),
        cosmos=InMemoryGrants(world, COSMOS_ROLE),
        redis=InMemoryGrants(world, REDIS_POLICY),
        resources=InMemoryResources(world),
        linkers=InMemoryLinkers(world),
        clusters=clusters,
        prover=InMemoryProver(world),
        subscription=SUBSCRIPTION,
        identity_group=f"{base}/rg-shop-identities",
        cluster_id=cluster_id,
        storage_id=storage_id,
        blob_url="https://blob.example/?comp=list",
        fake_clusters=clusters,
        fake_world=world,
    )
