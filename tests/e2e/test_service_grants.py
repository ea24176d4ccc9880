"""Rights that services keep themselves go with what they were for, and a cache without Entra gets none."""

from __future__ import annotations

import uuid

import pytest

from tests.e2e.native_rights import kept_by_services, make
from tests.e2e.together import story
from tests.e2e.world import World

pytestmark = [pytest.mark.sandbox, pytest.mark.asyncio(loop_scope="session")]

COSMOS_VERSION, REDIS_VERSION, IDENTITY_VERSION = "2024-05-15", "2023-08-01", "2024-11-30"
READER = "00000000-0000-0000-0000-000000000001"


def new_id(world: World, kind: str) -> str:
    group = world.contract.cluster_id.split("/providers/")[0]
    return f"{group}/providers/{kind}/s{uuid.uuid4().hex[:16]}"


async def new_database(world: World) -> str:
    account = await make(
        world,
        new_id(world, "Microsoft.DocumentDB/databaseAccounts"),
        COSMOS_VERSION,
        kind="GlobalDocumentDB",
    )
    return await make(world, f"{account}/sqlDatabases/orders", COSMOS_VERSION)


@story
async def test_a_deleted_identity_leaves_no_right_in_account_or_cache(world: World):
    database = await new_database(world)
    cache = await make(world, new_id(world, "Microsoft.Cache/redis"), REDIS_VERSION)
    namespace = await world.cluster.new_namespace("story-native")
    made = []
    for kind, target_id in (("cosmos-sql", database), ("redis", cache)):
        target = {"type": kind, "id": target_id}
        spec = world.spec(f"native-{kind}", namespace=namespace, target=target, workload="native")
        made.append(await world.create(spec))
    first, second = made
    assert first["identity"]["principalId"] == second["identity"]["principalId"]
    assert await kept_by_services(world, within=cache.lower()) == {
        (cache.lower(), first["identity"]["principalId"], "Data Contributor")
    }
    await world.delete_resource(first["identity"]["resourceId"], IDENTITY_VERSION)
    for connection in made:
        await world.connection_in(connection["id"], "pruned")
    account = database.partition("/sqlDatabases/")[0].lower()
    assert await kept_by_services(world, within=account) == set()
    assert await kept_by_services(world, within=cache.lower()) == set()
    assert await world.cluster.names(namespace) == ([], [])


@story
async def test_a_deleted_database_leaves_no_right_in_the_account_that_lives_on(world: World):
    database = await new_database(world)
    namespace = await world.cluster.new_namespace("story-native-database")
    container = await make(world, f"{database}/containers/lines", COSMOS_VERSION)
    target = {"type": "cosmos-sql", "id": container}
    connection = await world.create(
        world.spec("native-database", namespace=namespace, target=target, intent="read")
    )
    account = database.partition("/sqlDatabases/")[0].lower()
    principal_id = connection["identity"]["principalId"]
    wanted = {(target["id"].lower(), principal_id, READER)}
    assert await kept_by_services(world, within=account) == wanted
    await world.delete_resource(database, COSMOS_VERSION)
    await world.connection_in(connection["id"], "pruned")
    assert await kept_by_services(world, within=account) == set()
    assert await world.identity(connection["identity"]["resourceId"]) is None


@story
async def test_a_cache_without_entra_is_refused_with_the_command_that_mends_it(world: World):
    cache = await make(
        world,
        new_id(world, "Microsoft.Cache/redis"),
        REDIS_VERSION,
        properties={"redisConfiguration": {"aad-enabled": "False"}},
    )
    namespace = await world.cluster.new_namespace("story-no-entra")
    spec = world.spec("native-off", namespace=namespace, target={"type": "redis", "id": cache})
    ended = await world.request("create", spec)
    assert (ended["state"], ended["code"]) == ("failed", "target-entra-off")
    assert f"az redis update --name {cache.rsplit('/', 1)[-1]}" in str(ended)
    assert await world.cluster.names(namespace) == ([], [])
