"""The events of Resource Manager's emulator: webhooks, queues and filters."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web

from sandbox.arm.events import passes


class Webhook:
    """An endpoint that passes the handshake and notes what it gets."""

    def __init__(self) -> None:
        self.received: list[tuple[str, Any]] = []
        self.refusals = 1

    async def answer(self, request: web.Request) -> web.Response:
        events = await request.json()
        if request.headers["aeg-event-type"] == "SubscriptionValidation":
            return web.json_response({"validationResponse": events[0]["data"]["validationCode"]})
        if self.refusals:
            self.refusals -= 1
            return web.Response(status=500)
        self.received.append((request.headers["aeg-event-type"], events))
        return web.Response(status=200)


@pytest.fixture
async def webhook() -> AsyncIterator[tuple[Webhook, str]]:
    hook = Webhook()
    app = web.Application()
    app.router.add_post("/hook", hook.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    yield hook, f"http://127.0.0.1:{runner.addresses[0][1]}/hook"
    await runner.cleanup()


async def test_a_deletion_event_reaches_a_webhook_after_a_retry(cloud: Any, webhook: tuple[Webhook, str]):
    hook, url = webhook
    subscription = {
        "name": "deletions",
        "destination": {"webhook": url},
        "schema": "EventGridSchema",
        "filter": {
            "includedEventTypes": ["Microsoft.Resources.ResourceDeleteSuccess"],
            "advancedFilters": [
                {
                    "operatorType": "StringIn",
                    "key": "data.operationName",
                    "values": ["microsoft.managedidentity/userassignedidentities/delete"],
                },
            ],
        },
    }
    assert await cloud.control("PUT", "/sandbox/event-subscriptions", [subscription]) == [subscription]
    path = (
        f"{cloud.topology.resource_group_id}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/One"
    )
    await cloud.arm("PUT", path, {"location": "eastus"})
    await cloud.arm("DELETE", path.lower())
    for _ in range(60):
        if hook.received:
            break
        await asyncio.sleep(0.05)
    (kind, [event]) = hook.received[0]
    assert kind == "Notification"
    assert (event["subject"], event["data"]["resourceUri"]) == (path.lower(), path.lower())
    assert event["topic"] == f"/subscriptions/{cloud.topology.subscription_id}"
    assert event["data"]["operationName"] == "Microsoft.ManagedIdentity/userAssignedIdentities/delete"
    assert (event["dataVersion"], event["metadataVersion"]) == ("2", "1")
    assert len(hook.received) == 1


async def test_a_webhook_that_does_not_echo_the_code_gets_no_subscription(cloud: Any):
    wanted = [{"name": "x", "destination": {"webhook": f"{cloud.topology.arm_url}/nothing"}}]
    assert (
        "webhook validation" in (await cloud.control("PUT", "/sandbox/event-subscriptions", wanted))["error"]
    )
    assert await cloud.control("GET", "/sandbox/event-subscriptions") == []


async def test_an_event_reaches_azurites_queue_in_base64(cloud: Any, tmp_path: Any):
    from azure.storage.queue.aio import QueueClient

    from sandbox.azurite import azurite_command, azurite_environment
    from sandbox.processes import start_child, stop_children, wait_ready

    topology = cloud.topology
    azurite = await start_child(
        "azurite", azurite_command(topology), log_folder=tmp_path, environment=azurite_environment(topology)
    )
    key = {"account_name": topology.azurite_account, "account_key": topology.azurite_key}
    try:
        await wait_ready(
            azurite,
            topology.queue_url,
            ca_file=topology.ca_file,
            timeout_seconds=20,
            statuses=frozenset({200, 400, 403}),
        )
        async with QueueClient(topology.queue_url, "resource-events", credential=key, **cloud.tls) as queue:
            await queue.create_queue()
            wanted = [
                {"name": "q", "destination": {"queue": "resource-events"}, "schema": "CloudEventSchemaV1_0"},
            ]
            await cloud.control("PUT", "/sandbox/event-subscriptions", wanted)
            event = {
                "id": "1",
                "topic": "/subscriptions/x",
                "subject": "/s",
                "eventType": "T",
                "eventTime": "",
                "data": {},
            }
            assert await cloud.control("POST", "/sandbox/events", event) == {"matched": [1]}
            for _ in range(60):
                messages = [one async for one in queue.receive_messages()]
                if messages:
                    break
                await asyncio.sleep(0.05)
        sent = json.loads(base64.b64decode(messages[0].content, validate=True))
        assert (sent["specversion"], sent["type"], sent["source"]) == ("1.0", "T", "/subscriptions/x")
    finally:
        await stop_children([azurite])


@pytest.mark.parametrize(
    ("wanted", "passed"),
    [
        ({}, True),
        ({"includedEventTypes": ["other"]}, False),
        ({"subjectBeginsWith": "/SUBSCRIPTIONS/"}, True),
        ({"subjectEndsWith": "/linkers"}, False),
        (
            {
                "advancedFilters": [
                    {"operatorType": "StringContains", "key": "subject", "values": ["x", "/Linkers/"]}
                ]
            },
            True,
        ),
        (
            {
                "advancedFilters": [
                    {"operatorType": "StringEndsWith", "key": "data.operationName", "values": ["/write"]}
                ]
            },
            False,
        ),
        ({"advancedFilters": [{"operatorType": "StringIn", "key": "data.missing", "values": ["x"]}]}, False),
        (
            {"advancedFilters": [{"operatorType": "StringNotIn", "key": "data.missing", "values": ["x"]}]},
            True,
        ),
    ],
)
def test_event_filters_follow_event_grid(wanted: dict[str, Any], passed: bool):
    event = {
        "subject": "/subscriptions/s/linkers/one",
        "eventType": "T",
        "data": {"operationName": "a/delete"},
    }
    assert passes(wanted, event) is passed
