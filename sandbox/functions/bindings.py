"""Values and trigger metadata as the host hands them to a worker.

The rules of the queue trigger come from ``QueueTriggerBinding`` (keys), the host's gRPC
conversion (strings stay strings, numbers and dates become JSON) and ``Utility.ApplyBindingData``
(top-level properties of a JSON body overwrite the metadata, whatever their case).
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
import re
from collections.abc import Mapping
from typing import Any

TypedValue = dict[str, Any]
"""The pipe's form of TypedData: one key, ``string``, ``json``, ``bytes`` or ``http``."""

_ISO_DATE = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(\.\d{1,7})?(Z|[+-]\d{2}:\d{2})?")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class QueueFacts:
    """What storage says about a received message."""

    message_id: str
    dequeue_count: int
    inserted_on: dt.datetime | None
    expires_on: dt.datetime | None
    next_visible_on: dt.datetime | None
    pop_receipt: str


def looks_like_json(text: str) -> bool:
    """Say whether the host takes a text for JSON: it only looks at the ends."""
    text = text.strip()
    return (text.startswith("{") and text.endswith("}")) or (text.startswith("[") and text.endswith("]"))


def queue_value(body: bytes, *, binary: bool) -> TypedValue:
    """Return the parameter's value: text, or bytes when the binding says ``dataType: binary``."""
    return {"bytes": body} if binary else {"string": body.decode("utf-8", "replace")}


def queue_metadata(facts: QueueFacts | None, body: bytes, *, binary: bool) -> dict[str, TypedValue]:
    """Return the trigger metadata, body properties included.

    Args:
        facts: None for a run by hand, which has no message behind it.
        body: The decoded body.
        binary: The parameter takes bytes; then the host does not look into the body.
    """
    metadata: dict[str, TypedValue] = {}
    try:
        metadata["QueueTrigger"] = {"string": body.decode()}
    except UnicodeDecodeError:
        # The platform leaves the key out for a body that is not text.
        metadata.clear()
    metadata["DequeueCount"] = {"json": str(facts.dequeue_count if facts else 0)}
    if facts is not None:
        metadata["Id"] = {"string": facts.message_id}
        metadata["PopReceipt"] = {"string": facts.pop_receipt}
        for key, moment in (
            ("ExpirationTime", facts.expires_on),
            ("InsertionTime", facts.inserted_on),
            ("NextVisibleTime", facts.next_visible_on),
        ):
            if moment is not None:
                metadata[key] = {"json": json.dumps(moment.isoformat())}
    if not binary:
        apply_body(metadata, body.decode("utf-8", "replace"))
    return metadata


def apply_body(metadata: dict[str, TypedValue], text: str) -> None:
    """Overwrite and extend the metadata with the top-level properties of a JSON object.

    Arrays and nulls are skipped, objects stay JSON, everything else becomes text the way Json.NET
    casts it: ``True``, and an ISO date as ``MM/dd/yyyy HH:mm:ss``.
    """
    if not looks_like_json(text):
        return
    try:
        parsed = json.loads(text)
    except ValueError:
        return
    if not isinstance(parsed, dict):
        return
    existing = {key.casefold(): key for key in metadata}
    for name, value in parsed.items():
        if value is None or isinstance(value, list):
            continue
        # The dictionary on the platform ignores case and keeps the key it has.
        key = existing.setdefault(name.casefold(), name)
        metadata[key] = _property_value(value)


def _property_value(value: Any) -> TypedValue:
    if isinstance(value, dict):
        return {"json": json.dumps(value, indent=2, ensure_ascii=False)}
    if isinstance(value, bool):
        return {"string": str(value)}
    if isinstance(value, str):
        if _ISO_DATE.fullmatch(value):
            try:
                moment = dt.datetime.fromisoformat(value)
            except ValueError:
                return {"string": value}
            if moment.tzinfo is not None:
                moment = moment.astimezone(dt.UTC)
            return {"string": moment.strftime("%m/%d/%Y %H:%M:%S")}
        return {"string": value}
    return {"string": json.dumps(value)}


def event_value(event: Any) -> TypedValue:
    """Return the value of an Event Grid parameter: one event as JSON."""
    return {"json": json.dumps(event)}


def event_metadata(event: Mapping[str, Any]) -> dict[str, TypedValue]:
    """Return the metadata of an Event Grid trigger: the event's ``data``."""
    return {"data": {"json": json.dumps(event.get("data"))}}


def timer_value(*, past_due: bool, status: Mapping[str, str] | None) -> TypedValue:
    """Return the value of a timer parameter; ``status`` has Last, Next and LastUpdated."""
    value = {"Schedule": {"AdjustForDST": True}, "ScheduleStatus": status, "IsPastDue": past_due}
    return {"json": json.dumps(value)}
