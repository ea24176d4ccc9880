"""Two Functions hosts on one storage: the work is shared, and one of them may die."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import pytest

from tests.e2e.sandbox_process import SETTINGS, running_sandbox
from tests.e2e.world import Json, World, eventually

pytestmark = [pytest.mark.sandbox, pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(900)]

MANY = 10
PATIENCE_SECONDS = 240
"""Nearly always a tenth of it. A message that the dead host had received and not begun is announced again
two minutes later."""
SHORT = {"MOORING_STEP_LEASE_SECONDS": "13", "MOORING_STEP_DEADLINE_SECONDS": "10"}
REVOKING_SECONDS = 7.0
"""How slowly Azure revokes roles while a host is to die in the middle of it."""


async def carried_out_by(world: World) -> list[int]:
    """How many steps each host has carried out."""
    counts = []
    for url in world.contract.functions_urls:
        invocations = await world.control("GET", "invocations", url=url)
        counts.append(sum(one["function"] == "connection_steps" for one in invocations))
    return counts


async def states(world: World, namespace: str) -> list[str]:
    listed = (await world.api("GET", f"connections?namespace={namespace}")).body["connections"]
    return [one["state"] for one in listed]


async def test_two_hosts_share_the_work_and_one_finishes_what_the_other_died_in(tmp_path: Path):
    with running_sandbox(tmp_path, "--hosts", "2", settings={**SETTINGS, **SHORT}) as contract:
        async with World.opened(contract) as world:
            namespace = await world.cluster.new_namespace("many")
            specs = [world.spec(f"c{number}", namespace=namespace) for number in range(MANY)]
            connections = await asyncio.gather(*(world.create(spec) for spec in specs))
            assert all(count >= MANY for count in await carried_out_by(world))
            secrets, accounts = await world.cluster.names(namespace)
            assert (len(secrets), len(accounts)) == (MANY, MANY)

            await kill_the_second_during_deletes(world, connections)
            await all_deleted(world, namespace)
            assert await world.cluster.names(namespace) == ([], [])
            for connection in connections:
                identity = connection["identity"]
                assert await world.identity(identity["resourceId"]) is None
                scope = connection["target"]["id"]
                assert await world.assignments(scope, identity["principalId"]) == []


async def kill_the_second_during_deletes(world: World, connections: list[Json]) -> None:
    """Take in all deletes, then kill a host while each of them waits for Azure."""
    slow = {"method": "DELETE", "path": "/roleAssignments/", "seconds": REVOKING_SECONDS}
    await world.control("PUT", "latency", [slow])
    taken = await asyncio.gather(*(world.api("DELETE", f"connections/{one['id']}") for one in connections))
    assert {one.status for one in taken} == {202}

    async def all_revoking() -> bool | None:
        answers = await asyncio.gather(*(world.api("GET", one.headers["location"]) for one in taken))
        steps = [step for answer in answers for step in answer.body["steps"]]
        revoking = [step["state"] for step in steps if step["name"] == "role_assignments"]
        return set(revoking) == {"running"} or None

    await eventually(all_revoking)
    os.kill(world.contract.pids["functions-2"], signal.SIGKILL)
    await world.control("PUT", "latency", [])


async def all_deleted(world: World, namespace: str) -> None:
    """Wait for the end; the timer is run by hand, as in the portal, instead of waiting for its minute."""
    headers = {"x-functions-key": world.contract.function_keys["master"]}
    tend = f"{world.contract.functions_url}/admin/functions/tend"

    async def done() -> bool | None:
        ran = await world.api("POST", tend, {"input": ""}, headers=headers, key=None)
        assert ran.status == 202
        await asyncio.sleep(2)
        return set(await states(world, namespace)) == {"deleted"} or None

    await eventually(done, patience=PATIENCE_SECONDS)
