"""What Service Connector leaves behind when one of its connections is deleted, and who clears it up."""

from __future__ import annotations

from typing import Any

import pytest
from azure.mgmt.resource.resources.aio import ResourceManagementClient

from tests.e2e.cluster import pod
from tests.e2e.together import story
from tests.e2e.world import World, eventually

pytestmark = [pytest.mark.sandbox, pytest.mark.asyncio(loop_scope="session")]

LINKER_VERSION = "2024-04-01"


async def make_linker(world: World, name: str, namespace: str) -> tuple[str, Any]:
    """Make a connection in Azure, as ``az aks connection create`` does; returns its id and the identity."""
    contract = world.contract
    identity = await world.new_identity(f"id-{name}", contract.resource_group)
    linker_id = f"{contract.cluster_id}/providers/Microsoft.ServiceLinker/linkers/{name}"
    body = {
        "properties": {
            "targetService": {
                "type": "AzureResource",
                "id": f"{contract.storage_account_id}/blobServices/default",
            },
            "authInfo": {
                "authType": "userAssignedIdentity",
                "clientId": identity.client_id,
                "subscriptionId": contract.subscription_id,
            },
            "clientType": "python",
            "scope": namespace,
        },
    }
    async with world.azure(ResourceManagementClient) as client:
        poller = await client.resources.begin_create_or_update_by_id(
            linker_id, parameters=body, api_version=LINKER_VERSION
        )
        await poller.result()
    return linker_id, identity


async def observed(world: World, namespace: str) -> dict[str, Any]:
    """Wait until Mooring knows the linker of a namespace."""

    async def look() -> dict[str, Any] | None:
        found = (await world.api("GET", f"connections?namespace={namespace}&state=observed")).body
        return await world.connection(found["connections"][0]["id"]) if found["connections"] else None

    return await eventually(look)


@story
async def test_what_service_connector_leaves_behind_is_held_while_used_and_then_pruned(world: World):
    namespace = await world.cluster.new_namespace("story-linker")
    linker_id, identity = await make_linker(world, "their_blob", namespace)
    secret, account = "sc-theirblob-secret", f"sc-account-{identity.client_id}"
    seen = await observed(world, namespace)
    assert seen["linkerId"].lower() == linker_id.lower()
    objects = {kind: name for kind, name in seen["kubernetes"].items() if name is not None}
    assert objects == {"secret": secret, "serviceAccount": account}

    refused = await world.api(
        "POST", "connections", {"connection": world.spec("TheirBlob", namespace=namespace)}
    )
    assert (refused.status, refused.body["code"]) == (409, "linker-holds-name")
    refused = await world.api("DELETE", f"connections/{seen['id']}")
    assert (refused.status, refused.body["code"]) == (409, "observed-connection")
    assert "az aks connection delete" in refused.body["remedy"]

    user = pod(seen, ["sleep", "600"])
    await world.cluster.core.create_namespaced_pod(namespace, user)
    await world.delete_resource(linker_id, LINKER_VERSION)
    held = await world.held(seen["id"], "in-use")
    assert user["metadata"]["name"] in held["detail"]
    assert await world.cluster.names(namespace) == ([secret], [account])

    await world.cluster.core.delete_namespaced_pod(
        user["metadata"]["name"], namespace, body={"gracePeriodSeconds": 0}
    )
    await world.connection_in(seen["id"], "pruned")
    assert await world.cluster.names(namespace) == ([], [])
    assert await world.identity(identity.id) is not None


@story
async def test_a_service_account_that_another_linker_uses_stays(world: World):
    namespace = await world.cluster.new_namespace("story-linkers")
    linker_id, identity = await make_linker(world, "one_of_two", namespace)
    seen = await observed(world, namespace)
    other_id = linker_id.replace("one_of_two", "two_of_two")
    async with world.azure(ResourceManagementClient) as client:
        linker = await client.resources.get_by_id(linker_id, api_version=LINKER_VERSION)
        body = {"properties": {name: linker.properties[name] for name in ("targetService", "authInfo")}}
        body["properties"] |= {"clientType": "python", "scope": namespace}
        poller = await client.resources.begin_create_or_update_by_id(
            other_id, parameters=body, api_version=LINKER_VERSION
        )
        await poller.result()

    await world.delete_resource(linker_id, LINKER_VERSION)
    await world.connection_in(seen["id"], "pruned")
    account = f"sc-account-{identity.client_id}"
    assert await world.cluster.names(namespace) == (["sc-twooftwo-secret"], [account])

    other = await observed(world, namespace)
    await world.delete_resource(other_id, LINKER_VERSION)
    await world.connection_in(other["id"], "pruned")
    assert await world.cluster.names(namespace) == ([], [])


@story
async def test_an_object_that_replaced_theirs_is_not_touched(world: World):
    namespace = await world.cluster.new_namespace("story-replaced")
    linker_id, _ = await make_linker(world, "replaced", namespace)
    seen = await observed(world, namespace)
    core, name = world.cluster.core, "sc-replaced-secret"
    await core.delete_namespaced_secret(name, namespace)
    await core.create_namespaced_secret(namespace, {"metadata": {"name": name}, "stringData": {"mine": "1"}})
    await world.delete_resource(linker_id, LINKER_VERSION)
    await world.connection_in(seen["id"], "pruned")
    assert await world.cluster.secret(namespace, name) == {"mine": "1"}
    assert (await world.cluster.names(namespace))[1] == []
