"""The queues in lists, with visibility on a virtual clock."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from shared.models import StepMessage
from shared.ports import Clock


@dataclasses.dataclass(slots=True)
class Waiting:
    """One message in a queue."""

    text: str
    visible_at: datetime
    message_id: str
    put_at: datetime


class InMemoryStepQueue:
    """``ports.StepQueue`` for tests; ``due`` and ``take`` are what a trigger would do."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._queues: dict[str, list[Waiting]] = {}
        self._count = 0

    async def announce(self, message: StepMessage, *, delay_seconds: float = 0) -> None:
        self.put("connection-steps", message.model_dump_json(), delay_seconds)

    async def forward_event(self, text: str, *, delay_seconds: float = 0) -> None:
        self.put("resource-events", text, delay_seconds)

    async def announce_slice(self, text: str, *, delay_seconds: float = 0) -> None:
        self.put("sweep-slices", text, delay_seconds)

    async def put_back(self, queue: str, text: str, *, delay_seconds: float) -> None:
        self.put(queue, text, delay_seconds)

    async def reject(self, envelope: Mapping[str, Any]) -> None:
        self.put("rejected", json.dumps(envelope, separators=(",", ":")))

    async def depth(self, queue: str) -> int:
        return len(self._queues.get(queue, []))

    async def oldest_at(self, queue: str) -> datetime | None:
        now = self._clock.now()
        seen = [one for one in self._queues.get(queue, []) if one.visible_at <= now]
        return seen[0].put_at if seen else None

    def put(self, queue: str, text: str, delay_seconds: float = 0) -> None:
        """Put a message as anybody might."""
        self._count += 1
        now = self._clock.now()
        visible_at = now + timedelta(seconds=min(max(0.0, delay_seconds), 604_800))
        self._queues.setdefault(queue, []).append(Waiting(text, visible_at, f"m{self._count}", now))

    def take(self, queue: str) -> list[str]:
        """Take all visible messages out of a queue, oldest first."""
        now = self._clock.now()
        waiting = self._queues.get(queue, [])
        taken = [one.text for one in waiting if one.visible_at <= now]
        waiting[:] = [one for one in waiting if one.visible_at > now]
        return taken

    def next_due(self) -> datetime | None:
        """When the next message of any queue but the poison ones becomes visible."""
        times = [
            one.visible_at
            for name, waiting in self._queues.items()
            if not name.endswith("-poison") and name != "rejected"
            for one in waiting
        ]
        return min(times, default=None)
