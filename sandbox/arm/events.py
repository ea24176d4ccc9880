"""Event Grid for the subscription: which event subscriptions exist, and what was published.

Events are hints with Azure's own looseness: at least once, no order, subject as the caller wrote
it. Filters are those of Event Grid: included types, subject prefix and suffix, string operators.
"""

from __future__ import annotations

import asyncio
import collections
import dataclasses
import logging
import uuid
from collections.abc import Callable
from typing import Any

from sandbox.arm.call import utc_now
from sandbox.arm.dead_letters import EXHAUSTED, REFUSED, DeadLetterContainers, wrapped
from sandbox.arm.delivery import Delivery, Outcome
from sandbox.arm.ids import parse_id
from sandbox.arm.store import Store
from sandbox.topology import Topology

Event = dict[str, Any]

KEPT_EVENTS = 5000
CLOUD_EVENTS = "CloudEventSchemaV1_0"
DEAD_LETTER_SECONDS = 1.0
"""From the last try to the blob; five minutes in Azure."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Occurrence:
    """What happened to a resource, in the words of the activity log."""

    verb: str
    """``Write``, ``Delete`` or ``Action``."""
    outcome: str
    """``Success``, ``Failure`` or ``Cancel``."""
    resource_id: str
    operation_name: str
    caller: str = ""
    correlation_id: str = ""
    method: str = ""
    url: str = ""


class EventPublisher:
    """Publishes occurrences to the configured event subscriptions."""

    def __init__(self, topology: Topology, store: Store) -> None:
        self._topology = topology
        self._store = store
        self.delivery = Delivery(topology)
        self._dead_letters = DeadLetterContainers(topology)
        self.published: collections.deque[Event] = collections.deque(maxlen=KEPT_EVENTS)
        self.deliveries: collections.deque[dict[str, Any]] = collections.deque(maxlen=KEPT_EVENTS)
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def subscriptions(self) -> list[dict[str, Any]]:
        """The configured event subscriptions."""
        return self._store.event_subscriptions

    async def configure(self, subscriptions: list[dict[str, Any]]) -> None:
        """Replace all event subscriptions after the handshake with each webhook.

        Raises:
            ValueError: A webhook did not pass the validation handshake.
        """
        for subscription in subscriptions:
            webhook = subscription["destination"].get("webhook")
            if webhook:
                await self.delivery.handshake(webhook, cloud=subscription.get("schema") == CLOUD_EVENTS)
        self._store.event_subscriptions[:] = subscriptions
        self._store.changed()

    def publish(self, happened: Occurrence) -> None:
        """Make the event of an occurrence and send it out."""
        target = parse_id(happened.resource_id)
        event: Event = {
            "topic": f"/subscriptions/{target.subscription}",
            "subject": happened.resource_id,
            "eventType": f"Microsoft.Resources.Resource{happened.verb}{happened.outcome}",
            "eventTime": utc_now(),
            "id": str(uuid.uuid4()),
            "data": {
                "authorization": {
                    "scope": happened.resource_id,
                    "action": happened.operation_name,
                    "evidence": {
                        "principalId": happened.caller.replace("-", ""),
                        "principalType": "ServicePrincipal",
                    },
                },
                "claims": {
                    "aud": "https://management.azure.com/",
                    "http://schemas.microsoft.com/identity/claims/objectidentifier": happened.caller,
                },
                "correlationId": happened.correlation_id or str(uuid.uuid4()),
                "httpRequest": {
                    "clientRequestId": str(uuid.uuid4()),
                    "clientIpAddress": "127.0.0.1",
                    "method": happened.method,
                    "url": happened.url,
                },
                "resourceProvider": target.namespace or "Microsoft.Resources",
                "resourceUri": happened.resource_id,
                "operationName": happened.operation_name,
                "status": "Failed" if happened.outcome == "Failure" else "Succeeded",
                "subscriptionId": target.subscription,
                "tenantId": self._topology.tenant_id,
            },
            "dataVersion": "2",
            "metadataVersion": "1",
        }
        self.publish_event(event)

    def publish_event(self, event: Event) -> int:
        """Send an event, real or invented, to every subscription whose filter lets it through.

        Returns:
            How many subscriptions get it.
        """
        self.published.append(event)
        matching = [one for one in self.subscriptions if passes(one.get("filter") or {}, event)]
        for subscription in matching:
            task = asyncio.get_running_loop().create_task(self._deliver(subscription, event))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return len(matching)

    async def _deliver(self, subscription: dict[str, Any], event: Event) -> None:
        cloud = subscription.get("schema") == CLOUD_EVENTS
        body = as_cloud_event(event) if cloud else event
        published_at = utc_now()
        outcome = await self.delivery.deliver(subscription["destination"], body, cloud=cloud)
        blob = ""
        if outcome.problem and subscription.get("deadLetter"):
            await asyncio.sleep(DEAD_LETTER_SECONDS)
            blob = await self._dead_letter(subscription, body, outcome, published_at)
        self.deliveries.append(
            {
                "subscription": subscription.get("name", ""),
                "id": event.get("id", ""),
                "attempts": outcome.attempts,
                "delivered": not outcome.problem,
                "problem": outcome.problem,
                "deadLetter": blob,
            },
        )

    async def _dead_letter(
        self, subscription: dict[str, Any], body: Event, outcome: Outcome, published_at: str
    ) -> str:
        """Name of the blob; empty if the container is away too: then the event is lost, as in Azure."""
        event = wrapped(
            body,
            reason=REFUSED if outcome.refused else EXHAUSTED,
            attempts=outcome.attempts,
            outcome="Forbidden" if outcome.refused else "TimedOut",
            published_at=published_at,
            cloud=subscription.get("schema") == CLOUD_EVENTS,
        )
        container, name = subscription["deadLetter"]["container"], str(subscription.get("name", ""))
        try:
            return await self._dead_letters.write(container, name, event)
        except Exception:
            logging.getLogger("sandbox").exception("an event was lost: the dead-letter container is away")
            return ""

    async def stop(self) -> None:
        """Drop what is still being delivered."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.delivery.close()
        await self._dead_letters.close()


def as_cloud_event(event: Event) -> Event:
    """The same event in CloudEvents 1.0; one that already is stays as it is."""
    if "specversion" in event:
        return event
    return {
        "id": event.get("id"),
        "source": event.get("topic"),
        "specversion": "1.0",
        "type": event.get("eventType"),
        "subject": event.get("subject"),
        "time": event.get("eventTime"),
        "data": event.get("data"),
    }


def passes(wanted: dict[str, Any], event: Event) -> bool:
    """Apply an event subscription's filter; strings compare without case, a missing key never matches."""
    subject = str(event.get("subject", "")).lower()
    kind = str(event.get("eventType", event.get("type", ""))).lower()
    types = wanted.get("includedEventTypes")
    if types and kind not in {str(one).lower() for one in types}:
        return False
    if not subject.startswith(str(wanted.get("subjectBeginsWith") or "").lower()):
        return False
    if not subject.endswith(str(wanted.get("subjectEndsWith") or "").lower()):
        return False
    return all(_advanced(one, event) for one in wanted.get("advancedFilters") or [])


_TESTS: dict[str, Callable[[str, str], bool]] = {
    "stringin": lambda value, wanted: value == wanted,
    "stringcontains": lambda value, wanted: wanted in value,
    "stringbeginswith": lambda value, wanted: value.startswith(wanted),
    "stringendswith": lambda value, wanted: value.endswith(wanted),
}


def _advanced(rule: dict[str, Any], event: Event) -> bool:
    value: Any = event
    for part in str(rule["key"]).split("."):
        folded = {str(name).lower(): one for name, one in value.items()} if isinstance(value, dict) else {}
        value = folded.get(part.lower())
    operator = str(rule["operatorType"]).lower()
    negated = operator.startswith("stringnot")
    test = _TESTS[operator.replace("stringnot", "string")]
    if not isinstance(value, str):
        return negated
    found = any(test(value.lower(), str(wanted).lower()) for wanted in rule["values"])
    return found != negated
