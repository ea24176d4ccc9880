"""A topic that remembers what it was told."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class InMemoryOutcomeTopic:
    """``ports.OutcomeTopic`` for tests."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []

    async def publish(self, *, event_type: str, subject: str, data: Mapping[str, Any], event_id: str) -> None:
        self.events.append({"type": event_type, "subject": subject, "data": dict(data), "id": event_id})
