"""The record of invocations: one line on stdout and one entry each, for people and tests."""

from __future__ import annotations

import collections
import time
from typing import Any

LIMIT = 50_000


class InvocationJournal:
    """Invocations that have ended, oldest first, the last ``LIMIT`` of them."""

    def __init__(self, host_name: str) -> None:
        self._host_name = host_name
        self._entries: collections.deque[dict[str, Any]] = collections.deque(maxlen=LIMIT)

    def record(
        self,
        *,
        function: str,
        trigger: str,
        invocation_id: str,
        at: float,
        seconds: float,
        outcome: str,
    ) -> None:
        """Record one invocation. ``at`` is its start as seconds since the epoch."""
        self._entries.append(
            {
                "function": function,
                "trigger": trigger,
                "invocationId": invocation_id,
                "at": at,
                "seconds": round(seconds, 6),
                "outcome": outcome,
                "host": self._host_name,
            },
        )
        stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at + seconds))
        print(
            f"{stamp} {self._host_name} Executed 'Functions.{function}' "
            f"({outcome}, Id={invocation_id}, Duration={round(seconds * 1000)}ms)",
            flush=True,
        )

    def entries(self) -> list[dict[str, Any]]:
        """Return a copy of the entries."""
        return list(self._entries)

    def clear(self) -> None:
        """Forget all entries."""
        self._entries.clear()
