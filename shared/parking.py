"""Puts aside events that are not believed or cannot be dealt with, for a person to look at.

A parked copy is bounded and redacted: identifier, type, time, subject and source of the event, short and
printable. Claims, authorization, request and data never get here, because the parser does not hand them out.
"""

from __future__ import annotations

import json
import logging

from shared.events import EventDecision
from shared.logs import bind
from shared.ports import StepQueue

KEPT = "crashed/"
"""Where the dead-letter container has what could not be taken in."""
COPIES = 16
"""Rejected events of one body that are parked; the rest is counted, so that no body floods the queue."""


class Parking:
    """What is put aside of one body.

    Args:
        queue: where ``rejected`` is.
        logger: for one warning each.
    """

    def __init__(self, queue: StepQueue, logger: logging.Logger) -> None:
        self._queue = queue
        self._log = bind(logger)
        self._rejected = 0

    async def rejected(self, decision: EventDecision) -> str:
        """Park an event that is not understood or not trusted.

        Raises:
            TransientError: the queue is away; the body comes again.
        """
        self._rejected += 1
        if self._rejected > COPIES:
            return "rejected"
        return await self.failed(decision, decision.reason)

    async def failed(self, decision: EventDecision, reason: str) -> str:
        """Park an event that cannot be dealt with.

        Raises:
            TransientError: the queue is away; the body comes again.
        """
        fields = {"decision": "rejected", "reason": reason, "id": decision.resource_id}
        self._log.warning("event-rejected", extra={**fields, "warning": decision.time_warning})
        copy = {
            "eventId": decision.event_id,
            "eventType": decision.event_type,
            "eventTime": decision.event_time,
            "subject": decision.subject,
            "source": decision.source,
        }
        await self._queue.reject({"kind": "event-rejected", **fields, **copy})
        return "rejected"

    def tell_rest(self) -> None:
        """Log how many rejected events were counted only."""
        if self._rejected > COPIES:
            self._log.warning("events-rejected", extra={"count": self._rejected - COPIES})


def essence(decision: EventDecision) -> str:
    """An event again, made of no more than what was read of it: leads to the same decision."""
    event = {
        "id": decision.event_id,
        "eventType": decision.event_type,
        "eventTime": decision.event_time,
        "subject": decision.resource_id,
        "topic": decision.source,
    }
    return json.dumps(event)
