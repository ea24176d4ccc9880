"""The emulated Event Grid dead-letters as Azure does: tried again, given up, written, or lost with a line."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from typing import Any

import pytest

from sandbox.azurite import azurite_command, azurite_environment
from sandbox.processes import start_child, stop_children, wait_ready

EVENT = {"id": "1", "topic": "/subscriptions/x", "subject": "/s/One", "eventType": "T", "data": {}}
NAMES = {
    "deadLetterReason",
    "deliveryAttempts",
    "lastDeliveryOutcome",
    "publishTime",
    "lastDeliveryAttemptTime",
}


@pytest.fixture
async def container(cloud: Any, tmp_path: Any) -> AsyncIterator[Any]:
    from azure.storage.blob.aio import ContainerClient

    topology = cloud.topology
    azurite = await start_child(
        "azurite", azurite_command(topology), log_folder=tmp_path, environment=azurite_environment(topology)
    )
    key = {"account_name": topology.azurite_account, "account_key": topology.azurite_key}
    try:
        for url in (topology.blob_url, topology.queue_url):
            await wait_ready(
                azurite,
                url,
                ca_file=topology.ca_file,
                timeout_seconds=20,
                statuses=frozenset({200, 400, 403}),
            )
        async with ContainerClient(topology.blob_url, "dead-letters", credential=key, **cloud.tls) as client:
            yield client
    finally:
        await stop_children([azurite])


async def subscribe(cloud: Any, **more: Any) -> None:
    wanted = [
        {
            "name": "deletions",
            "destination": {"queue": "nowhere"},
            "deadLetter": {"container": "dead-letters"},
            **more,
        }
    ]
    assert await cloud.control("PUT", "/sandbox/event-subscriptions", wanted) == wanted


async def given_up(cloud: Any) -> dict[str, Any]:
    for _ in range(300):
        found = await cloud.control("GET", "/sandbox/event-deliveries")
        if found:
            return dict(found[-1])
        await asyncio.sleep(0.05)
    raise AssertionError("nothing was given up")


async def test_an_event_for_a_queue_that_is_not_there_is_tried_four_times_and_then_written(
    cloud: Any, container: Any
):
    await container.create_container()
    await subscribe(cloud)
    await cloud.control("POST", "/sandbox/events", EVENT)
    ended = await given_up(cloud)
    assert (ended["attempts"], ended["delivered"]) == (4, False)
    assert ended["deadLetter"].startswith("DELETIONS/")
    stream = await container.download_blob(ended["deadLetter"])
    [written] = json.loads(await stream.readall())
    assert written == {**EVENT, **{name: written[name] for name in NAMES}}
    assert (written["deadLetterReason"], written["deliveryAttempts"]) == ("MaxDeliveryAttemptsExceeded", 4)


async def test_a_refused_event_is_written_at_once_and_a_cloud_event_with_names_in_lower_case(
    cloud: Any, container: Any
):
    await container.create_container()
    await subscribe(cloud, schema="CloudEventSchemaV1_0")
    fault = [{"subject": "/one$", "problem": "refused"}]
    assert await cloud.control("PUT", "/sandbox/event-faults", fault) == fault
    assert await cloud.control("GET", "/sandbox/event-faults") == fault
    await cloud.control("POST", "/sandbox/events", EVENT)
    ended = await given_up(cloud)
    assert ended["attempts"] == 1
    stream = await container.download_blob(ended["deadLetter"])
    [written] = json.loads(await stream.readall())
    assert {name.lower() for name in NAMES} <= set(written)
    assert written["specversion"] == "1.0"


async def test_without_its_container_an_undelivered_event_is_lost_and_the_log_says_so(
    cloud: Any, container: Any, caplog: pytest.LogCaptureFixture
):
    del container  # it runs, and nobody made the container
    await subscribe(cloud)
    await cloud.control("PUT", "/sandbox/event-faults", [{"subject": ".", "problem": "refused"}])
    with caplog.at_level(logging.ERROR):
        await cloud.control("POST", "/sandbox/events", EVENT)
        assert (await given_up(cloud))["deadLetter"] == ""
    assert "an event was lost" in caplog.text


async def test_a_fault_of_an_unknown_kind_is_refused(cloud: Any):
    wrong = [{"subject": ".", "problem": "slow"}]
    assert "problem is one of" in (await cloud.control("PUT", "/sandbox/event-faults", wrong))["error"]
    assert await cloud.control("GET", "/sandbox/event-faults") == []
