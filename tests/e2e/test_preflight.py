"""What is known to fail is refused before anything is made, and works once its command was carried out."""

from __future__ import annotations

import re
import uuid
from typing import Any

import pytest
from azure.mgmt.containerservice.aio import ContainerServiceClient
from azure.mgmt.resource.resources.aio import ResourceManagementClient

from tests.e2e.cluster import Cluster
from tests.e2e.together import story
from tests.e2e.world import Json, World

pytestmark = [pytest.mark.sandbox, pytest.mark.asyncio(loop_scope="session")]

VAULT_API, LOCK_API = "2023-07-01", "2020-05-01"


async def put(world: World, resource_id: str, body: dict[str, Any], api_version: str) -> None:
    """Make or change a resource as its owner does."""
    async with world.azure(ResourceManagementClient) as client:
        poller = await client.resources.begin_create_or_update_by_id(
            resource_id, parameters=body, api_version=api_version
        )
        await poller.result()


async def vault_in_mode(world: World, vault_id: str, *, roles: bool, **properties: Any) -> None:
    """Put a vault into the mode that goes by roles, or by access policies."""
    base = {"tenantId": world.contract.tenant_id, "sku": {"family": "A", "name": "standard"}}
    changed = {**base, "accessPolicies": [], "enableRbacAuthorization": roles, **properties}
    await put(world, vault_id, {"location": "westeurope", "properties": changed}, VAULT_API)


def findings(validation: Json) -> dict[str, str]:
    return {one["name"]: one["result"] for one in validation["findings"]}


async def assert_nothing_made(world: World, connection_id: str, namespace: str) -> None:
    assert await world.cluster.names(namespace) == ([], [])
    connection = (await world.api("GET", f"connections/{connection_id}")).body
    assert not (connection["identity"] or {}).get("clientId")


@story
async def test_a_vault_in_access_policy_mode_is_refused_with_its_command_and_connected_after_it(world: World):
    namespace = await world.cluster.new_namespace("story-policies")
    name = f"kv{uuid.uuid4().hex[:16]}"
    group = world.contract.vault_id.rpartition("/")[0]
    vault_id = f"{group}/{name}"
    await vault_in_mode(world, vault_id, roles=False)
    target = {"type": "keyvault", "id": vault_id}
    spec = world.spec("policies", namespace=namespace, target=target, clientType="none")

    refused = await world.request("create", spec)
    assert (refused["state"], refused["code"]) == ("failed", "target-rbac-off")
    command = re.search(
        r"az keyvault update --name (\S+) .*--enable-rbac-authorization true", refused["remedy"]
    )
    assert command is not None
    assert command[1] == name
    await assert_nothing_made(world, refused["connectionId"], namespace)

    await vault_in_mode(world, vault_id, roles=True, publicNetworkAccess="Disabled")
    connection = await world.create(spec)
    operation = await world.request("validate", spec)
    found = findings(operation)
    # Closed to everybody: the connection is made all the same, and the validation says it.
    assert {one for one, result in found.items() if result == "failed"} == {"network"}

    await vault_in_mode(world, vault_id, roles=False)
    found = findings(await world.request("validate", spec))
    assert {one for one, result in found.items() if result == "failed"} - {"network"} == {
        "target-takes-roles"
    }
    assert connection["state"] == "configured"
    await world.delete(spec)


@story
async def test_a_locked_target_is_refused_with_its_command_and_connected_after_it(world: World):
    namespace = await world.cluster.new_namespace("story-locked")
    account_id = await world.new_account()
    lock_id = f"{account_id}/providers/Microsoft.Authorization/locks/keep-out"
    await put(world, lock_id, {"properties": {"level": "ReadOnly"}}, LOCK_API)
    spec = world.spec("locked", namespace=namespace, target={"type": "storage-blob", "id": account_id})

    refused = await world.request("create", spec)
    assert (refused["state"], refused["code"]) == ("failed", "scope-locked")
    assert refused["detail"].startswith("preflight: ")
    assert "az lock list" in refused["remedy"]
    await assert_nothing_made(world, refused["connectionId"], namespace)

    await world.delete_resource(lock_id, LOCK_API)
    await world.create(spec)
    found = findings(await world.request("validate", spec))
    assert {found[one] for one in ("target-unlocked", "role-assignment-room", "network")} == {"ok"}
    await world.delete(spec)


@story
async def test_a_cluster_without_entra_is_refused_with_its_command_and_connected_after_it(world: World):
    contract, name = world.contract, "aks-local-accounts"
    properties: dict[str, Any] = {
        "dnsPrefix": name,
        "oidcIssuerProfile": {"enabled": True},
        "securityProfile": {"workloadIdentity": {"enabled": True}},
    }
    body = {"location": "westeurope", "identity": {"type": "SystemAssigned"}, "properties": properties}
    async with world.azure(ContainerServiceClient) as client:
        clusters, place = client.managed_clusters, (contract.resource_group, name)
        made = await (await clusters.begin_create_or_update(*place, body)).result()
        spec = world.spec("local", clusterId=made.id, namespace="shop")
        refused = await world.request("create", spec)
        assert (refused["state"], refused["code"]) == ("failed", "cluster-without-entra")
        assert re.fullmatch(
            r"az aks update --enable-aad --subscription \S+ -g \S+ -n (\S+)", refused["remedy"]
        )

        properties["aadProfile"] = {"managed": True}
        await (await clusters.begin_create_or_update(*place, body)).result()
        async with Cluster.opened(contract, f"{contract.kubernetes_url}/clusters/{name}") as cluster:
            await cluster.grant_app()
            await cluster.new_namespace("shop")
            await world.create(spec)
            assert (await cluster.names("shop"))[0] == ["sc-local-secret"]
            await world.delete(spec)
        await (await clusters.begin_delete(*place)).result()
