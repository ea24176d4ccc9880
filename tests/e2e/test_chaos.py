"""Hosts die, storage restarts, Azure and the cluster go away, while sixty operations are in flight.

All clocks run in a tenth of their time (``chaos.SCALE``): lease of a step 15 s for 150, deadline 9 s for 90,
the host's lease of a message 60 s for 600, timer every 6 s for 60, retries and waits a tenth. Of the four
minutes in which a killed host's work goes on 210 s are clocks, hence 21 s here; the other 30 s are computing,
and stay. ``CHAOS_SEED`` repeats a run's script; what the machine makes of it is another matter.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import time
from datetime import datetime
from pathlib import Path

import pytest
from azure.mgmt.authorization.aio import AuthorizationManagementClient
from azure.mgmt.msi.aio import ManagedServiceIdentityClient

from sandbox.processes import free_ports, stop_children
from tests.e2e.chaos import SCALE, SETTINGS, Accidents, ChaoticWorld, Hosts, Storm
from tests.e2e.chaos_table import Orphan, Rows
from tests.e2e.sandbox_process import running_sandbox
from tests.e2e.world import FINAL, Json, World, eventually

pytestmark = [
    pytest.mark.sandbox,
    pytest.mark.chaos,
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.timeout(300),
]

REQUESTS, CONNECTIONS, WORKLOADS = 90, 72, 16
IN_FLIGHT = 60
NAMESPACES = ("storm-a", "storm-b")
SENDING_SECONDS = 36.0
CLOCKS_SECONDS = 150.0 + 60.0
"""A lease and a timer's interval: what there is of clocks in the four minutes. The rest is the machine's own
time, which no setting scales."""
GOES_ON_SECONDS = CLOCKS_SECONDS * SCALE + (240.0 - CLOCKS_SECONDS)
CALM_SECONDS = 120.0
LATENCY_SECONDS = 0.7
"""Of each write in Azure: so that a host has something in its hands when it dies."""
QUEUES = ("connection-requests", "connection-steps", "resource-events")


def drawing(seed: str) -> random.Random:
    return random.Random(seed)  # noqa: S311 - accidents, not secrets


def script(world: World, chance: random.Random) -> list[tuple[float, Json]]:
    """Requests and when they are sent: creates in a burst, then anything about any of them, some twice."""
    specs = []
    for number in range(CONNECTIONS):
        account = number % 2 == 0
        contract = world.contract
        target_id = contract.storage_account_id if account else contract.second_storage_account_id
        target = {"type": "storage-blob", "id": target_id}
        workload = number % WORKLOADS
        place = {"namespace": NAMESPACES[workload % 2], "workload": f"w{workload}"}
        specs.append(world.spec(f"c{number}", target=target, **place))
    sent: list[tuple[float, Json]] = []
    for number in range(REQUESTS):
        if number < CONNECTIONS:
            action, spec, at = "create", specs[number], chance.uniform(0, 1)
        else:
            action = chance.choices(["delete", "create", "validate"], [5, 3, 2])[0]
            spec, at = chance.choice(specs), chance.uniform(5, SENDING_SECONDS)
        about = spec if action == "create" else {key: spec[key] for key in ("name", "clusterId", "namespace")}
        message = {"action": action, "requestId": f"r{number}-{action}", "connection": about}
        sent.append((at, message))
        if chance.random() < 0.1:
            sent.append((at + chance.uniform(0, 4), message))
    return sorted(sent, key=lambda one: one[0])


async def send_all(there: ChaoticWorld, messages: list[tuple[float, Json]]) -> None:
    began = time.monotonic()
    for at, message in messages:
        await asyncio.sleep(max(0.0, began + at - time.monotonic()))
        await there.send(message)


async def settled(there: ChaoticWorld, request_ids: list[str]) -> dict[str, Json]:
    """Wait until each request has found its end; returns the operations."""
    ends: dict[str, Json] = {}

    async def look() -> bool | None:
        for request_id in request_ids:
            if request_id in ends:
                continue
            found = await there.ask("GET", f"operations?requestId={request_id}")
            if found.status == 200 and found.body["operations"][0]["state"] in FINAL:
                (ends[request_id],) = found.body["operations"]
        return len(ends) == len(request_ids) or None

    try:
        await eventually(look, patience=CALM_SECONDS)
    except TimeoutError:
        missing = [one for one in request_ids if one not in ends]
        shown = [(await there.ask("GET", f"operations?requestId={one}")).body for one in missing]
        pytest.fail(f"{len(missing)} requests have not settled: {shown}")
    return ends


async def at_rest(there: ChaoticWorld, rows: Rows) -> None:
    """Wait until no operation is open and no queue holds anything, poison queues included."""
    left: tuple[list[str], dict[str, int]] = ([], {})

    async def look() -> bool | None:
        nonlocal left
        depths = {}
        for name in (*QUEUES, *(f"{one}-poison" for one in QUEUES)):
            async with there.world.queue(name) as queue:
                depths[name] = (await queue.get_queue_properties()).approximate_message_count
        left = await rows.open_operations(), {name: depth for name, depth in depths.items() if depth}
        return not any(left) or None

    with contextlib.suppress(TimeoutError):
        await eventually(look, patience=CALM_SECONDS)
    assert not any(left), f"still open, still queued: {left}"


async def made(world: World) -> dict[str, set[str]]:
    """Everything in Azure and in the two namespaces that Mooring could have made."""
    found: dict[str, set[str]] = {"credentials": set()}
    async with world.azure(ManagedServiceIdentityClient) as client:
        listed = client.user_assigned_identities.list_by_resource_group(
            world.contract.identity_resource_group
        )
        identities = [str(one.id) async for one in listed]
    for identity in identities:
        found["credentials"] |= {
            f"{identity}|{one.name}".lower() for one in await world.credentials(identity)
        }
    async with world.azure(AuthorizationManagementClient) as client:
        assignments = [one async for one in client.role_assignments.list_for_subscription()]
    found["identities"] = {one.lower() for one in identities}
    found["assignments"] = {f"{one.scope}|{one.name}|{one.principal_id}".lower() for one in assignments}
    for namespace in NAMESPACES:
        secrets, accounts = await world.cluster.names(namespace)
        found[f"secrets of {namespace}"] = set(secrets)
        found[f"accounts of {namespace}"] = set(accounts)
    return found


def wanted(connections: list[Json], before: dict[str, set[str]]) -> dict[str, set[str]]:
    """What there must be, no more and no less, if these connections are configured."""
    result = {kind: set(things) for kind, things in before.items()}
    for one in connections:
        identity, names = one["identity"], one["kubernetes"]
        result["identities"].add(identity["resourceId"].lower())
        result["credentials"].add(f"{identity['resourceId']}|{one['federatedCredential']}".lower())
        for item in one["roleAssignments"]:
            parts = item["scope"], item["name"], identity["principalId"]
            result["assignments"].add("|".join(parts).lower())
        result[f"secrets of {one['namespace']}"].add(names["secret"])
        result[f"accounts of {one['namespace']}"].add(names["serviceAccount"])
    return result


async def assert_the_world_is_as_told(
    there: ChaoticWorld,
    ends: dict[str, Json],
    before: dict[str, set[str]],
) -> list[Json]:
    """Compare Azure and the cluster with the connections; returns those that are configured."""
    listed = (await there.ask("GET", "connections")).body["connections"]
    assert {one["state"] for one in listed} <= {"configured", "deleted"}, listed
    assert [one["operations"] for one in listed if one["operations"]] == []
    live = [one for one in listed if one["state"] == "configured"]
    shown = [(await there.ask("GET", f"connections/{one['id']}")).body for one in live]
    assert await made(there.world) == wanted(shown, before)

    for one in listed:
        last = max(
            (
                end
                for end in ends.values()
                if end["connectionId"] == one["id"]
                and end["kind"] in {"create", "delete"}
                and end["state"] == "succeeded"
                and end["id"]
            ),
            key=lambda end: end["endedAt"],
        )
        assert one["state"] == {"create": "configured", "delete": "deleted"}[last["kind"]], (one, last)
    return shown


async def assert_each_is_sound(there: ChaoticWorld, connections: list[Json]) -> None:
    """Ask the product to look at every part of every connection: nothing but ``ok``."""
    ids = {f"sound-{one['id']}": one["id"] for one in connections}
    for request_id, connection_id in ids.items():
        message = {"action": "validate", "requestId": request_id, "connectionId": connection_id}
        await there.send(message)
    ends = await settled(there, list(ids))
    findings = [finding for end in ends.values() for finding in end["findings"]]
    assert {end["state"] for end in ends.values()} <= {"succeeded"}
    assert [one for one in findings if one["result"] not in {"ok", "unknown"}] == []
    assert {one["name"] for one in findings if one["result"] == "unknown"} == {"access-proved"}  # is off
    assert len(findings) >= 5 * len(connections)


def assert_ends_are_good(ends: dict[str, Json]) -> None:
    """Nothing failed. A validation of what is not there is refused; a delete overtakes a create."""
    codes = {"rejected": "not-found", "superseded": "superseded-by-delete"}
    kinds = {"rejected": "validate", "superseded": "create"}
    for request_id, end in ends.items():
        state = end["state"]
        if state != "succeeded":
            assert (end["code"], end["kind"]) == (codes.get(state), kinds.get(state)), (request_id, end)


def seconds_to_end(killed_at: float, operation_id: str, ended: dict[str, str]) -> float:
    return datetime.fromisoformat(ended[operation_id]).timestamp() - killed_at


def work_stood_still(orphan: Orphan, storm: Storm, hosts: Hosts) -> float:
    """Seconds from a kill to the next run of what it cut off, without those in which nobody could work."""
    span = orphan.killed_at, orphan.taken_at
    return span[1] - span[0] - max(storm.no_storage.within(*span), hosts.none_ready.within(*span))


async def report(storm: Storm, rows: Rows, hosts: Hosts, settled_seconds: float) -> None:
    """Say what was measured."""
    table, operations, executed = await rows.steps(), await rows.ended(), hosts.executed()
    failed = {name: count for (name, outcome), count in executed.items() if outcome == "Failed"}
    waits = [one.taken_at - one.killed_at for one in rows.orphans]
    net = [work_stood_still(one, storm, hosts) for one in rows.orphans]
    ends = [seconds_to_end(one.killed_at, one.operation_id, operations) for one in rows.orphans]
    open_ends = [seconds_to_end(at, one, operations) for at, one in rows.open_at_kills if one in operations]
    print(
        f"chaos: {storm.kills} kills, {sum(hosts.lives)} host starts, most operations open {rows.most_open}, "
        f"{len(await rows.noted() - set(operations))} noted and never opened, "
        f"storage away {storm.no_storage.within(0, time.time()):.1f} s, "
        f"no host ready {hosts.none_ready.within(0, time.time()):.1f} s\n"
        f"chaos: {len(waits)} runs died with their host; taken up again after at most {max(waits):.1f} s, "
        f"without the time in which nobody could work {max(net):.1f} s (bound {GOES_ON_SECONDS:g}); "
        f"their operations ended after at most {max(ends):.1f} s, any open at a kill {max(open_ends):.1f} s\n"
        f"chaos: {sum(executed.values())} invocations, failed {failed}, {len(operations)} operations, "
        f"{sum(row['attempts'] for row in table.values())} attempts repeated, "
        f"all requests settled after {settled_seconds:.0f} s",
    )


async def test_everything_converges_whatever_is_killed_restarted_or_away(tmp_path: Path) -> None:
    seed = int(os.environ.get("CHAOS_SEED") or random.SystemRandom().randrange(10**6))
    print(f"\nCHAOS_SEED={seed}")
    began = time.monotonic()
    kept = "--keep", "--state-dir", str(tmp_path / "sandbox")
    with running_sandbox(tmp_path, "--no-app", *kept, settings=SETTINGS) as contract:
        urls = [contract.functions_url, f"https://127.0.0.1:{free_ports(1)[0]}"]
        hosts = Hosts(contract, urls)
        async with World.opened(contract) as world, Rows.opened(contract) as rows:
            there = ChaoticWorld(world, hosts)
            for namespace in NAMESPACES:
                await world.cluster.new_namespace(namespace)
            before = await made(world)
            slow = [{"method": verb, "seconds": LATENCY_SECONDS} for verb in ("PUT", "DELETE")]
            await world.control("PUT", "latency", slow)
            messages = script(world, drawing(f"script {seed}"))

            async def killed(at: float) -> None:
                await rows.note_kill(at, patience=CALM_SECONDS)

            storm = Storm(there, Accidents.draw(drawing(f"accidents {seed}")), killed)
            beside = [asyncio.create_task(one) for one in (there.tend(), rows.watch())]
            try:
                await asyncio.gather(hosts.start(0), hosts.start(1))
                await asyncio.gather(send_all(there, messages), storm.rage())
                ends = await settled(there, sorted({one["requestId"] for _, one in messages}))
                assert len(ends) == REQUESTS
                settled_seconds = time.monotonic() - began
                await at_rest(there, rows)
                await report(storm, rows, hosts, settled_seconds)
                assert rows.lost == []
                assert storm.kills >= 5
                assert rows.most_open >= IN_FLIGHT
                assert_ends_are_good(ends)
                live = await assert_the_world_is_as_told(there, ends, before)
                assert live
                await assert_each_is_sound(there, live)
                assert rows.orphans
                assert max(work_stood_still(one, storm, hosts) for one in rows.orphans) <= GOES_ON_SECONDS
            finally:
                for task in beside:
                    task.cancel()
                await asyncio.gather(*beside, return_exceptions=True)
                await hosts.stop()
                if storm.azurite is not None:
                    await stop_children([storm.azurite])
    print(f"chaos: {time.monotonic() - began:.0f} s in all")
