"""What accounts of Cosmos DB and caches say of the rights that they keep themselves, asked by their owner."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from azure.mgmt.resource.resources.aio import ResourceManagementClient

from tests.e2e.world import World

Right = tuple[str, str, str]
"""Folded scope, principal and role."""


async def kept_by_services(world: World, *, within: str = "") -> set[Right]:
    """Every right, or those at a folded scope and below it."""
    rights: set[Right] = set()
    async with world.azure(ResourceManagementClient) as client:
        for kind, (collection, version, read) in _KEPT.items():
            listed = client.resources.list(filter=f"resourceType eq '{kind}'")
            for resource_id in [one.id async for one in listed]:
                # The body of a list, as the generic client takes any body for a resource.
                body = await client.resources.get_by_id(f"{resource_id}/{collection}", api_version=version)
                rights |= {read(resource_id, one["properties"]) for one in body["value"]}
    return {right for right in rights if right[0].startswith(within)}


async def make(world: World, resource_id: str, api_version: str, **body: Any) -> str:
    """Make a resource as its owner does; returns its id."""
    parameters = {"location": "westeurope", "properties": {}, **body}
    async with world.azure(ResourceManagementClient) as client:
        poller = await client.resources.begin_create_or_update_by_id(
            resource_id, parameters=parameters, api_version=api_version
        )
        await poller.result()
    return resource_id


def _native_role(_: str, properties: dict[str, Any]) -> Right:
    scope = properties["scope"].replace("/dbs/", "/sqlDatabases/").replace("/colls/", "/containers/")
    return scope.lower(), properties["principalId"], properties["roleDefinitionId"].rsplit("/", 1)[-1]


def _access_policy(resource_id: str, properties: dict[str, Any]) -> Right:
    return resource_id.lower(), properties["objectId"], properties["accessPolicyName"]


_KEPT: dict[str, tuple[str, str, Callable[[str, dict[str, Any]], Right]]] = {
    "Microsoft.DocumentDB/databaseAccounts": ("sqlRoleAssignments", "2024-05-15", _native_role),
    "Microsoft.Cache/redis": ("accessPolicyAssignments", "2023-08-01", _access_policy),
}
