"""A PostgreSQL server in the sandbox as its owner makes it, and what a workload can do in it."""

from __future__ import annotations

import ssl
import uuid
from typing import Any

import asyncpg
from azure.identity.aio import ClientAssertionCredential
from azure.mgmt.resource.resources.aio import ResourceManagementClient

from sandbox.dataplane.postgres import RealServer
from tests.e2e.world import World

API_VERSION = "2022-12-01"
SCOPE = "https://ossrdbms-aad.database.windows.net/.default"
TABLE = """
CREATE TABLE orders (id int); INSERT INTO orders VALUES (1); ALTER TABLE orders OWNER TO azure_pg_admin;
"""


async def put(world: World, resource_id: str, **properties: Any) -> None:
    """Make or change a resource as its owner does."""
    async with world.azure(ResourceManagementClient) as client:
        poller = await client.resources.begin_create_or_update_by_id(
            resource_id,
            parameters={"location": "westeurope", "properties": properties},
            api_version=API_VERSION,
        )
        await poller.result()


async def new_server(world: World, **properties: Any) -> str:
    """Make a server; returns its id."""
    group = world.contract.cluster_id.split("/providers/")[0]
    name = f"pg{uuid.uuid4().hex[:12]}"
    server_id = f"{group}/providers/Microsoft.DBforPostgreSQL/flexibleServers/{name}"
    await put(world, server_id, **properties)
    return server_id


async def new_database(world: World, server_id: str) -> str:
    """Make a database, with a table of one row if a real server stands behind it; returns its id."""
    name = f"shop{uuid.uuid4().hex[:12]}"
    await put(world, f"{server_id}/databases/{name}")
    real = RealServer.of_environment()
    if real is not None:
        async with real.session(name) as session:
            await session.execute(TABLE)
    return f"{server_id}/databases/{name}"


async def admit(world: World, server_id: str) -> None:
    """Make the app an Entra administrator of a server."""
    object_id = world.contract.app_principal_id
    admin_id, name = f"{server_id}/administrators/{object_id}", f"id-mooring-{object_id[:8]}"
    await put(world, admin_id, principalName=name, principalType="ServicePrincipal")


async def password(world: World, connection: dict[str, Any]) -> str:
    """A token of the workload's identity, had as in a pod."""
    contract, account = world.contract, connection["kubernetes"]["serviceAccount"]
    assertion = await world.cluster.account_token(connection["namespace"], account)
    credential = ClientAssertionCredential(
        contract.tenant_id,
        connection["identity"]["clientId"],
        lambda: assertion,
        authority=contract.entra_url,
        disable_instance_discovery=True,
        connection_verify=contract.ca_file,
    )
    async with credential:
        return (await credential.get_token(SCOPE)).token


async def run(world: World, settings: dict[str, str], token: str, query: str) -> str:
    """Run a statement as the workload does, with its settings."""
    real = RealServer.of_environment()
    assert real is not None
    session = await asyncpg.connect(
        host=settings["AZURE_POSTGRESQL_HOST"],
        port=real.port,
        user=settings["AZURE_POSTGRESQL_USERNAME"],
        password=token,
        database=settings["AZURE_POSTGRESQL_DATABASE"],
        ssl=ssl.create_default_context(cafile=world.contract.ca_file),
    )
    try:
        return str(await session.execute(query))
    finally:
        await session.close()
