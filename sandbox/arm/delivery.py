"""How Event Grid hands an event over: a storage queue or a webhook, tried again with back-off.

Faults take a destination away for events whose subject matches, since Azurite itself cannot be broken.
"""

from __future__ import annotations

import asyncio
import base64
import dataclasses
import json
import re
import ssl
import uuid
from typing import Any

import aiohttp

from sandbox.topology import Topology

RETRY_SECONDS = (1.0, 2.0, 4.0)
"""Waits between tries; Azure begins at ten seconds and goes on for a day."""
NOT_RETRIED = frozenset({400, 401, 403, 413})
"""Webhook answers after which Event Grid gives up at once."""
MESSAGE_BYTES = 64 * 1024
"""Largest message of a storage queue."""


PROBLEMS = ("unreachable", "refused")


class UndeliverableError(Exception):
    """The destination refused for good."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of one event."""

    attempts: int
    problem: str = ""
    """The last one; empty for a delivered event."""
    refused: bool = False
    """It was not tried again because the destination refused it."""


class Delivery:
    """Delivers single events; clients are made at the first use of a destination."""

    def __init__(self, topology: Topology) -> None:
        self._topology = topology
        self._session: aiohttp.ClientSession | None = None
        self._queues: dict[str, Any] = {}
        self.faults: list[dict[str, str]] = []
        """``subject`` (a regular expression) and ``problem`` (``unreachable`` or ``refused``) of each."""

    async def deliver(self, destination: dict[str, str], event: dict[str, Any], *, cloud: bool) -> Outcome:
        """Try until delivered or given up."""
        attempt, problem = 0, ""
        for attempt, wait_seconds in enumerate((*RETRY_SECONDS, None), 1):
            try:
                self._meet_fault(event)
                if "queue" in destination:
                    await self._put_message(destination["queue"], event)
                else:
                    await self._post(destination["webhook"], event, cloud=cloud)
                return Outcome(attempts=attempt)
            except UndeliverableError as refused:
                return Outcome(attempts=attempt, problem=str(refused), refused=True)
            except Exception as error:
                problem = f"{type(error).__name__}: {error}"[:300]
            if wait_seconds is not None:
                await asyncio.sleep(wait_seconds)
        return Outcome(attempts=attempt, problem=problem)

    def _meet_fault(self, event: dict[str, Any]) -> None:
        for fault in self.faults:
            if re.search(fault["subject"], str(event.get("subject", "")), re.IGNORECASE):
                if fault["problem"] == "refused":
                    raise UndeliverableError("a fault refuses the event")
                raise ConnectionError("a fault took the destination away")

    async def handshake(self, url: str, *, cloud: bool) -> None:
        """Prove that the webhook's owner wants events.

        Raises:
            ValueError: The webhook did not echo the code (or allow the origin).
        """
        if cloud:
            async with self._http().options(
                url, headers={"WebHook-Request-Origin": "eventgrid.azure.net"}
            ) as answer:
                if answer.status == 200 and "WebHook-Allowed-Origin" in answer.headers:
                    return
                raise ValueError(f"webhook validation answered {answer.status}")
        code = str(uuid.uuid4())
        event = {
            "id": str(uuid.uuid4()),
            "topic": f"/subscriptions/{self._topology.subscription_id}",
            "subject": "",
            "eventType": "Microsoft.EventGrid.SubscriptionValidationEvent",
            "eventTime": "2026-01-01T00:00:00.0000000Z",
            "data": {"validationCode": code},
            "dataVersion": "2",
            "metadataVersion": "1",
        }
        headers = {"aeg-event-type": "SubscriptionValidation"}
        async with self._http().post(url, json=[event], headers=headers) as answer:
            text = await answer.text()
            try:
                echoed = json.loads(text).get("validationResponse")
            except (ValueError, AttributeError):
                echoed = None
            if answer.status != 200 or echoed != code:
                raise ValueError(f"webhook validation answered {answer.status}")

    def _http(self) -> aiohttp.ClientSession:
        if self._session is None:
            tls = ssl.create_default_context(cafile=self._topology.ca_file)
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(ssl=tls),
                timeout=aiohttp.ClientTimeout(total=30),
            )
        return self._session

    async def _post(self, url: str, event: dict[str, Any], *, cloud: bool) -> None:
        if cloud:
            content, kind = json.dumps(event), "application/cloudevents+json; charset=utf-8"
        else:
            content, kind = json.dumps([event]), "application/json; charset=utf-8"
        headers = {"Content-Type": kind, "aeg-event-type": "Notification", "aeg-delivery-count": "0"}
        async with self._http().post(url, data=content.encode(), headers=headers) as answer:
            if answer.status in NOT_RETRIED:
                raise UndeliverableError(f"webhook answered {answer.status}")
            if answer.status not in range(200, 205):
                raise ConnectionError(f"webhook answered {answer.status}")

    async def _put_message(self, queue: str, event: dict[str, Any]) -> None:
        text = base64.b64encode(json.dumps(event).encode()).decode()
        if len(text) > MESSAGE_BYTES:
            raise UndeliverableError("the event does not fit a queue message")
        client = self._queues.get(queue)
        if client is None:
            from azure.storage.queue.aio import QueueClient

            client = self._queues[queue] = QueueClient(
                self._topology.queue_url,
                queue,
                credential={
                    "account_name": self._topology.azurite_account,
                    "account_key": self._topology.azurite_key,
                },
                connection_verify=self._topology.ca_file,
                retry_total=0,
            )
        await client.send_message(text, time_to_live=-1)

    async def close(self) -> None:
        """Close every client."""
        for client in self._queues.values():
            await client.close()
        if self._session is not None:
            await self._session.close()
