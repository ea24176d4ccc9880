"""Events as Azure's publishers write them, for the tests of what becomes of them.

Shapes: learn.microsoft.com/azure/event-grid, event-schema-subscriptions, event-schema-resources and
delivery-and-retry. The private parts are there to show that they go nowhere.
"""

from __future__ import annotations

from typing import Any

from shared.naming import type_of
from tests.fakes.local_app import SUBSCRIPTION

DELETED = "Microsoft.Resources.ResourceDeleteSuccess"
WRITTEN = "Microsoft.Resources.ResourceWriteSuccess"
PRIVATE = "someone@example.org"
TOPIC = f"/subscriptions/{SUBSCRIPTION}"
Event = dict[str, Any]


def event(subject: Any, event_type: str = DELETED, *, event_id: str = "e-1", **data: Any) -> Event:
    """An event of the subscription's topic in Event Grid's schema; keywords change its data."""
    return {
        "topic": TOPIC,
        "subject": subject,
        "eventType": event_type,
        "eventTime": "2026-01-05T08:00:00.1234567Z",
        "id": event_id,
        "data": {
            "authorization": {"scope": f"{TOPIC}/resourceGroups/other", "action": "Microsoft.X/y/delete"},
            "claims": {"http://schemas.xmlsoap.org/ws/2005/05/identity/claims/upn": PRIVATE},
            "httpRequest": {"clientIpAddress": "192.0.2.1", "method": "DELETE", "url": "https://x"},
            "correlationId": "c",
            "resourceUri": subject,
            "operationName": "Microsoft.X/y/delete",
            "status": "Succeeded",
            "subscriptionId": SUBSCRIPTION,
            **data,
        },
        "dataVersion": "2",
        "metadataVersion": "1",
    }


def cloud(subject: Any, event_type: str = DELETED, *, event_id: str = "e-1", **data: Any) -> Event:
    """The same in CloudEvents 1.0."""
    plain = event(subject, event_type, event_id=event_id, **data)
    names = {"topic": "source", "eventType": "type", "eventTime": "time"}
    kept = {names.get(name, name): value for name, value in plain.items() if not name.endswith("Version")}
    return {"specversion": "1.0", **kept}


def notification(subject: str, kind: str = "Deleted", *, event_id: str = "e-1", **info: Any) -> Event:
    """An event of Azure Resource Notifications; keywords change its resource info."""
    data = {
        "resourceInfo": {"id": subject, "name": "x", "type": type_of(subject), **info},
        "operationalInfo": {"resourceEventTime": "2026-01-05T08:00:00-07:00"},
    }
    return {
        **event(subject, f"Microsoft.ResourceNotifications.Resources.{kind}", event_id=event_id),
        "data": data,
    }


def dead_letter(undelivered: Event, *, lower: bool = False) -> Event:
    """An event as Event Grid writes it into the dead-letter container."""
    wrapper = {
        "deadLetterReason": "MaxDeliveryAttemptsExceeded",
        "deliveryAttempts": 30,
        "lastDeliveryOutcome": "NotFound",
        "publishTime": "2026-01-05T08:00:01Z",
        "lastDeliveryAttemptTime": "2026-01-06T08:00:01Z",
    }
    return {**undelivered, **{name.lower() if lower else name: value for name, value in wrapper.items()}}
