"""A workload and its database: refused with the command, let in as far as asked, shut out in the end."""

from __future__ import annotations

import uuid

import asyncpg
import pytest

from sandbox.dataplane.postgres import RealServer
from tests.e2e import databases
from tests.e2e.together import story
from tests.e2e.world import World

pytestmark = [pytest.mark.sandbox, pytest.mark.asyncio(loop_scope="session")]

NEEDED = "*** TIER NOT RUN: POSTGRES_URL of a real PostgreSQL is not set (.ci/postgres starts one) ***"


@story
async def test_a_database_that_cannot_be_used_is_refused_with_the_command(world: World):
    namespace = await world.cluster.new_namespace("story-no-database")
    off = {"activeDirectoryAuth": "Disabled", "passwordAuth": "Enabled"}
    server_id = await databases.new_server(world, authConfig=off)
    database_id = await databases.new_database(world, server_id)
    target = {"type": "postgres-flexible", "id": database_id}
    spec = world.spec("no-database", namespace=namespace, target=target, intent="read")

    refused = await world.request("create", spec)
    assert (refused["code"], "--microsoft-entra-auth Enabled" in refused["remedy"]) == (
        "target-entra-off",
        True,
    )
    on = {"activeDirectoryAuth": "Enabled", "passwordAuth": "Disabled"}
    await databases.put(world, server_id, authConfig=on)
    refused = await world.request("create", spec)
    assert refused["code"] == "database-admin-missing"
    assert "microsoft-entra-admin create" in refused["remedy"]
    assert world.contract.app_principal_id in refused["remedy"]
    if RealServer.of_environment() is None:
        await databases.admit(world, server_id)
        refused = await world.request("create", spec)
        assert (refused["code"], "firewall-rule create" in refused["remedy"]) == (
            "database-unreachable",
            True,
        )
    assert await world.cluster.names(namespace) == ([], [])
    await world.delete(spec)


@story
async def test_a_workload_may_do_in_its_database_what_was_asked_for_and_nothing_later(world: World):
    real = RealServer.of_environment()
    if real is None:
        pytest.skip(NEEDED)
    namespace = await world.cluster.new_namespace("story-database")
    tag, server_id = uuid.uuid4().hex[:8], await databases.new_server(world)
    database_id = await databases.new_database(world, server_id)
    await databases.admit(world, server_id)
    target = {"type": "postgres-flexible", "id": database_id}
    spec = world.spec(
        f"reader-{tag}", namespace=namespace, workload="r", target=target, intent="read", clientType="none"
    )
    connection = await world.create(spec)
    user = connection["databaseUser"]
    assert (user["name"], user["objectId"]) == (f"aad_reader-{tag}", connection["identity"]["principalId"])
    assert connection["roleAssignments"] == []
    settings = await world.cluster.secret(namespace, connection["kubernetes"]["secret"])
    assert settings is not None

    token = await databases.password(world, connection)
    assert await databases.run(world, settings, token, "SELECT * FROM orders") == "SELECT 1"
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await databases.run(world, settings, token, "INSERT INTO orders VALUES (2)")
    writes = world.spec(
        f"writer-{tag}", namespace=namespace, workload="w", target=target, intent="write", clientType="none"
    )
    writer = await world.create(writes)
    theirs = await world.cluster.secret(namespace, writer["kubernetes"]["secret"])
    assert theirs is not None
    written = await databases.run(
        world, theirs, await databases.password(world, writer), "INSERT INTO orders VALUES (2)"
    )
    assert written == "INSERT 0 1"
    validation = await world.request("validate", spec)
    found = {one["name"]: one["result"] for one in validation["findings"]}
    assert {found[name] for name in ("database-user", "database-privileges", "database-reachable")} == {"ok"}
    assert "failed" not in found.values()

    await world.delete(spec)
    with pytest.raises(asyncpg.InvalidAuthorizationSpecificationError):
        await databases.run(world, settings, token, "SELECT 1")
    async with real.session() as session:
        assert not await session.fetch("SELECT 1 FROM pg_roles WHERE rolname = $1", user["name"])
    await world.delete(writes)
    async with real.session(database_id.rsplit("/", 1)[-1]) as session:
        assert await session.fetchval("SELECT count(*) FROM orders") == 2, "no data goes with a user"
