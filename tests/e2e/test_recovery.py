"""The tables of a running app are lost: a dry run, a recovery, and life goes on as if nothing had been."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from azure.data.tables.aio import TableServiceClient

from tests.e2e.sandbox_process import SETTINGS, running_sandbox
from tests.e2e.test_sweeps import swept
from tests.e2e.world import Json, World, eventually

pytestmark = [pytest.mark.sandbox, pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(900)]


async def lose_tables(world: World) -> int:
    """Empty every table of the app's account, as its owner; returns how many rows that were."""
    contract, lost = world.contract, 0
    service = TableServiceClient(
        contract.table_url, credential=world.credential, connection_verify=contract.ca_file
    )
    async with service:
        async for table in service.list_tables():
            client = service.get_table_client(table.name)
            async for row in client.list_entities(select=["PartitionKey", "RowKey"]):
                await client.delete_entity(row["PartitionKey"], row["RowKey"])
                lost += 1
    return lost


async def recovered(world: World, **body: bool) -> Json:
    """Begin a recovery and wait for its end."""
    opened = await world.api("POST", "recoveries", body or None)
    assert (opened.status, opened.body["outcome"]) == (202, "opened"), opened.body

    async def look() -> Json | None:
        found = await world.api("GET", opened.headers["location"])
        return found.body if found.body["state"] == "done" else None

    return await eventually(look)


async def validated(world: World, connection_id: str) -> list[Json]:
    """Findings of a validation that are not fine."""
    asked = await world.api("POST", f"connections/{connection_id}/validate")

    async def look() -> Json | None:
        found = await world.api("GET", asked.headers["location"])
        return found.body if found.body["state"] == "succeeded" else None

    found = (await eventually(look))["findings"]
    assert len(found) > 10
    return [one for one in found if one["result"] != "ok" and one["name"] != "access-proved"]


async def test_lost_tables_are_rebuilt_and_life_goes_on(tmp_path: Path):
    settings = {**SETTINGS, "MOORING_PRUNE_GRACE_SECONDS": "1"}
    with running_sandbox(tmp_path, settings=settings) as contract:
        async with World.opened(contract) as world:
            account_id = await world.new_account()
            shop, away = [await world.cluster.new_namespace(name) for name in ("shop", "away")]
            vault = {"type": "keyvault", "id": contract.vault_id}
            specs = [
                world.spec("orders", namespace=shop, workload="orders"),
                world.spec("orders-keys", namespace=shop, workload="orders", target=vault),
                world.spec("reports", namespace=away, target={"type": "storage-blob", "id": account_id}),
            ]
            before = [await world.create(spec) for spec in specs]
            ids = [one["id"] for one in before]
            stays = (await world.api("GET", "remains")).body
            assert sorted(len(one["remains"]) for one in stays["connections"]) == [5, 5, 6], stays

            assert await lose_tables(world) > 50
            assert (await world.api("GET", "connections")).body["connections"] == []
            marked = (len(await writes(world)), await objects(world))

            planned = await recovered(world)
            assert [one["outcome"] for one in planned["connections"]] == ["would-recover"] * 3, planned
            assert (await world.api("GET", "connections")).body["connections"] == []
            done = await recovered(world, write=True)
            print(json.dumps({"planned": planned, "done": done}, indent=1))
            assert [one["outcome"] for one in done["connections"]] == ["recovered"] * 3, done
            assert sorted(one["connectionId"] for one in done["connections"]) == sorted(ids)
            now = (len(await writes(world)), await objects(world))
            assert now == marked, "nothing was changed in Azure or the cluster"

            for one in before:
                found = await world.connection(one["id"])
                for part in ("identity", "roleAssignments", "federatedCredential", "kubernetes", "target"):
                    assert found[part] == one[part], part
                assert await validated(world, one["id"]) == []
            assert (await world.api("GET", "remains")).body == stays
            again = await recovered(world, write=True)
            assert {one["outcome"] for one in again["connections"]} == {"on-record"}
            looked = await swept(world)
            assert not {"drift", "prunes", "orphans"} & set(looked["totals"]), looked["totals"]

            await world.delete(specs[0])
            assert await validated(world, ids[1]) == [], "it shares the identity, and works on"
            await world.delete_account(account_id)
            await world.connection_in(ids[2], "pruned")
            await world.delete(specs[1])
            for place in (shop, away):
                assert await world.cluster.names(place) == ([], [])
            for one in before:
                assert await world.identity(one["identity"]["resourceId"]) is None


async def writes(world: World) -> list[Json]:
    """What Resource Manager was asked to change by now, by anybody."""
    return [one for method in ("PUT", "PATCH", "DELETE") for one in await world.calls("arm", method, "/")]


async def objects(world: World) -> list[tuple[str, str, str, str]]:
    """Every secret and service account with its version: any write of it gives it another."""
    core = world.cluster.core
    lists = [
        await core.list_secret_for_all_namespaces(),
        await core.list_service_account_for_all_namespaces(),
    ]
    found = [one.metadata for listed in lists for one in listed.items]
    return sorted((one.namespace, one.name, one.uid, one.resource_version) for one in found)
