"""The queues we write to, the topic of outcomes, the undelivered events, and the local clock."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Protocol

from shared.models import StepMessage


class StepQueue(Protocol):
    """The queues we write to ourselves."""

    async def announce(self, message: StepMessage, *, delay_seconds: float = 0) -> None:
        """Put a step on ``connection-steps``, hidden for ``delay_seconds``; it never expires."""
        ...

    async def forward_event(self, text: str, *, delay_seconds: float = 0) -> None:
        """Put a raw event on ``resource-events``."""
        ...

    async def announce_slice(self, text: str, *, delay_seconds: float = 0) -> None:
        """Put one slice of a sweep on ``sweep-slices``, hidden for ``delay_seconds``; it never expires."""
        ...

    async def put_back(self, queue: str, text: str, *, delay_seconds: float) -> None:
        """Put a message of a newer version back on its queue as it was, hidden for ``delay_seconds``."""
        ...

    async def reject(self, envelope: Mapping[str, Any]) -> None:
        """Put a refusal on ``rejected``, as one JSON object."""
        ...

    async def depth(self, queue: str) -> int:
        """Approximate number of messages, hidden ones included."""
        ...

    async def oldest_at(self, queue: str) -> datetime | None:
        """When the message that is taken next was put there; ``None`` if none can be taken now."""
        ...


class OutcomeTopic(Protocol):
    """Where ended operations are told to others (Event Grid), if a topic is configured."""

    async def publish(self, *, event_type: str, subject: str, data: Mapping[str, Any], event_id: str) -> None:
        """Publish one CloudEvent; the id makes a repeat recognisable."""
        ...


@dataclasses.dataclass(frozen=True, slots=True)
class DeadLetterBlob:
    """One blob of events that Event Grid could not deliver."""

    name: str
    size_bytes: int


class DeadLetters(Protocol):
    """The container into which Event Grid writes what it could not deliver, and we what no run took in."""

    async def waiting(self) -> list[DeadLetterBlob]:
        """Blobs that nobody has taken yet, by name, at most 5000; what was set aside is not among them."""
        ...

    async def read(self, name: str) -> bytes | None:
        """Content of a blob, ``None`` if somebody else has taken it."""
        ...

    async def keep(self, name: str, content: bytes) -> None:
        """Write a blob; one of that name is replaced."""
        ...

    async def remove(self, name: str) -> None:
        """Delete a blob; absent is fine."""
        ...

    async def set_aside(self, name: str) -> None:
        """Move a blob of any size below ``set-aside/`` of the container, where ``waiting`` does not look.

        Cut off, it may be in both places: done again, it is moved. Absent is fine.
        """
        ...


class Clock(Protocol):
    """The local clock; used for logs and total times, never for leases."""

    def now(self) -> datetime:
        """Aware UTC instant."""
        ...
