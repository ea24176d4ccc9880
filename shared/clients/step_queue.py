"""The queues we write to ourselves, through azure-storage-queue.

Messages are plain JSON text (host.json has ``messageEncoding: none``), so that a person can put a request
into the queue by hand. They never expire: the service's default of seven days would lose a held operation.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from shared.clients.arm_errors import ask
from shared.clients.credentials import AppCredential
from shared.clients.error_rules import Intent, Service
from shared.clients.http_pool import HttpPool
from shared.clients.storage_client import storage_client
from shared.models import StepMessage

STEPS = "connection-steps"
EVENTS = "resource-events"
SLICES = "sweep-slices"
REJECTED = "rejected"
LONGEST_DELAY_SECONDS = 604_800
"""The service's limit of a visibility timeout, seven days."""
FOREVER = -1


class StorageStepQueue:
    """``ports.StepQueue`` over Azure Storage.

    Args:
        pool: Connections.
        credential: The app's identity.
        endpoint: URL of the queue service.
        api_version: Service version, empty for the SDK's own.
    """

    def __init__(
        self,
        pool: HttpPool,
        credential: AppCredential,
        *,
        endpoint: str,
        api_version: str = "",
    ) -> None:
        self._pool = pool
        self._credential = credential
        self._endpoint = endpoint
        self._api_version = api_version
        self._service: Any = None
        self._queues: dict[str, Any] = {}

    async def announce(self, message: StepMessage, *, delay_seconds: float = 0) -> None:
        """Put a step on ``connection-steps``, hidden for ``delay_seconds`` (7 days at most)."""
        await self._put(STEPS, message.model_dump_json(), delay_seconds)

    async def forward_event(self, text: str, *, delay_seconds: float = 0) -> None:
        """Put a raw event on ``resource-events``."""
        await self._put(EVENTS, text, delay_seconds)

    async def announce_slice(self, text: str, *, delay_seconds: float = 0) -> None:
        """Put one slice of a sweep on ``sweep-slices``, hidden for ``delay_seconds``."""
        await self._put(SLICES, text, delay_seconds)

    async def put_back(self, queue: str, text: str, *, delay_seconds: float) -> None:
        """Put a message of a newer version back on its queue as it was."""
        await self._put(queue, text, delay_seconds)

    async def reject(self, envelope: Mapping[str, Any]) -> None:
        """Put a refusal on ``rejected``, as one JSON object."""
        await self._put(REJECTED, json.dumps(envelope, separators=(",", ":")), 0)

    async def depth(self, queue: str) -> int:
        """Approximate number of messages, hidden ones included; 0 for a queue that does not exist."""
        found = await ask(self._queue(queue).get_queue_properties(), Intent.READ, service=Service.STORAGE)
        return 0 if found is None else int(found.approximate_message_count or 0)

    async def oldest_at(self, queue: str) -> datetime | None:
        """When the message that is taken next was put there; it is looked at and not taken.

        ``None`` if all are hidden or there are none.
        """
        call = self._queue(queue).peek_messages(max_messages=1)
        found = await ask(call, Intent.READ, service=Service.STORAGE)
        return found[0].inserted_on if found else None

    async def aclose(self) -> None:
        """Close the SDK's clients."""
        opened = [*self._queues.values(), *([self._service] if self._service is not None else [])]
        self._queues, self._service = {}, None
        for client in opened:
            await client.close()

    async def _put(self, queue: str, text: str, delay_seconds: float) -> None:
        delay = min(max(0, math.ceil(delay_seconds)), LONGEST_DELAY_SECONDS)
        call = self._queue(queue).send_message(text, visibility_timeout=delay, time_to_live=FOREVER)
        await ask(call, Intent.ENSURE, service=Service.STORAGE)

    def _queue(self, name: str) -> Any:
        if self._service is None:
            from azure.storage.queue.aio import QueueServiceClient

            self._service = storage_client(
                QueueServiceClient,
                self._endpoint,
                pool=self._pool,
                credential=self._credential,
                api_version=self._api_version,
            )
        if name not in self._queues:
            self._queues[name] = self._service.get_queue_client(name)
        return self._queues[name]
