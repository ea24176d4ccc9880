"""Reads deletion and write events: which of them concern us, and nothing more.

A delete event is a hint, never an order: it can be late, repeated, out of order, forged by whoever holds the
webhook's key, or overtaken by a re-creation. This module only says what is worth asking Azure about. It needs
no more of an event than type, subject and source; claims, authorization and request of the caller are never
read, so they cannot end up in a row or a log.

Rules: learn.microsoft.com/azure/event-grid, event-schema-subscriptions and event-schema-resources; the event
type alone decides what happened, because published failures carry status "Succeeded" and published deletions
an operation name that ends in /write.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from shared import naming
from shared.decoding import RepeatedKeys, decode
from shared.errors import RefusedError

BODY_BYTES = 1024 * 1024
"""Event Grid's own limit of one event."""
BATCH_EVENTS = 5000
"""Event Grid's own limit of one batch."""
DEPTH = 64

LINKER = "microsoft.servicelinker/linkers"
CLUSTER = "microsoft.containerservice/managedclusters"
WATCHED = frozenset(
    {
        LINKER,
        CLUSTER,
        "microsoft.managedidentity/userassignedidentities",
        "microsoft.managedidentity/userassignedidentities/federatedidentitycredentials",
        "microsoft.resources/resourcegroups",
    },
)
"""Folded types that every connection may depend on, whatever its target."""
_DELETED = frozenset(
    {"microsoft.resources.resourcedeletesuccess", "microsoft.resourcenotifications.resources.deleted"},
)
_WRITTEN = frozenset(
    {
        "microsoft.resources.resourcewritesuccess",
        "microsoft.resourcenotifications.resources.createdorupdated",
    },
)
_SHOWN_LENGTH = 128
_HIDDEN = re.compile(r"[^ -~]+")


class Decision(StrEnum):
    """What becomes of one event."""

    CANDIDATE = "candidate"
    """A deletion that may concern a connection: look up who depends on the id."""
    OBSERVE = "observe"
    """A linker of a cluster was written: read it and record what it made while it is alive."""
    IGNORED = "ignored"
    """Understood, and nothing to do."""
    REJECTED = "rejected"
    """Not understood or not trusted: keep a redacted note of it."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class EventDecision:
    """The outcome for one event of a body; short printable ASCII throughout."""

    index: int
    """Place in the batch."""
    decision: Decision
    reason: str
    """Stable code of why it was ignored or rejected, empty otherwise."""
    resource_id: str = ""
    """Folded; empty unless the subject is sound."""
    resource_type: str = ""
    event_type: str = ""
    event_time: str = ""
    """As sent; for people and logs only, since no event is acted on because of its time."""
    event_id: str = ""


class _NotForUsError(Exception):
    """Ends the reading of one event."""

    def __init__(self, decision: Decision, reason: str) -> None:
        super().__init__(reason)
        self.decision = decision
        self.reason = reason


def parse(
    body: bytes | str,
    *,
    subscriptions: frozenset[str] | None,
    watched: frozenset[str] = frozenset(),
) -> list[EventDecision]:
    """Read a webhook's or a queue message's body.

    Args:
        body: one event or an array of them, Event Grid schema or CloudEvents 1.0, plain or base64.
        subscriptions: GUIDs whose events are accepted; ``None`` accepts all.
        watched: folded types of targets, to be added to ``WATCHED``.

    Returns:
        One decision per event, in their order; a body that cannot be read gives one rejection. Never raises.
    """
    try:
        value = decode(body, message_bytes=BODY_BYTES, json_bytes=BODY_BYTES, depth=DEPTH)
    except RefusedError as error:
        return [_rejected(error.code)]
    events = value if isinstance(value, list) else [value]
    if not 0 < len(events) <= BATCH_EVENTS:
        return [_rejected("too-many-events" if events else "empty-batch")]
    listed = None if subscriptions is None else frozenset(map(str.lower, subscriptions))
    return [_judge(index, event, listed, watched | WATCHED) for index, event in enumerate(events)]


def _rejected(reason: str) -> EventDecision:
    return EventDecision(index=0, decision=Decision.REJECTED, reason=reason)


def _judge(index: int, event: Any, listed: frozenset[str] | None, watched: frozenset[str]) -> EventDecision:
    """Decide about one event."""
    seen: dict[str, str] = {}
    try:
        decision, reason = _read(event, listed, watched, seen), ""
    except _NotForUsError as end:
        decision, reason = end.decision, end.reason
    return EventDecision(index=index, decision=decision, reason=reason, **seen)


def _read(
    event: Any, listed: frozenset[str] | None, watched: frozenset[str], seen: dict[str, str]
) -> Decision:
    """Decision about an event; fills ``seen`` with what may be shown of it as far as it is known."""
    if not isinstance(event, dict):
        raise _NotForUsError(Decision.REJECTED, "not-an-object")
    if any(key.lower() == "deadletterreason" for key in event):
        raise _NotForUsError(Decision.IGNORED, "dead-letter")
    event_type, source = _envelope(event, seen)
    if event_type not in _DELETED | _WRITTEN:
        raise _NotForUsError(Decision.IGNORED, "event-type")
    resource_id = _subject(event.get("subject"))
    _check_agreement(resource_id, event.get("data"))
    if not isinstance(source, str) or naming.subscription_of(source) != naming.subscription_of(resource_id):
        raise _NotForUsError(Decision.REJECTED, "source-mismatch")
    if listed is not None and naming.subscription_of(resource_id) not in listed:
        raise _NotForUsError(Decision.REJECTED, "subscription-not-listed")
    resource_type = naming.type_of(resource_id)
    seen |= {"resource_id": resource_id, "resource_type": resource_type}
    return _classify(event_type, resource_id, resource_type, watched)


def _envelope(event: Mapping[str, Any], seen: dict[str, str]) -> tuple[str, Any]:
    """Folded event type and source of either schema."""
    version = next((value for key, value in event.items() if key.lower() == "specversion"), None)
    names = ("eventType", "topic", "eventTime") if version is None else ("type", "source", "time")
    event_type, source, time = (event.get(name) for name in names)
    seen |= {
        "event_id": _shown(event.get("id")),
        "event_time": _shown(time),
        "event_type": _shown(event_type),
    }
    if isinstance(event, RepeatedKeys):
        raise _NotForUsError(Decision.REJECTED, "duplicate-key")
    if version not in (None, "1.0") or not isinstance(event_type, str):
        raise _NotForUsError(Decision.REJECTED, "unknown-schema")
    return event_type.lower(), source


def _subject(subject: Any) -> str:
    """Folded id of the resource an event is about."""
    if not isinstance(subject, str) or not subject.strip() or len(subject) > naming.ID_LENGTH:
        raise _NotForUsError(Decision.REJECTED, "subject")
    if not subject.isascii() or not subject.isprintable() or "%" in subject or ".." in subject:
        raise _NotForUsError(Decision.REJECTED, "subject-characters")
    folded = naming.fold_id(subject)
    if not naming.is_guid(naming.subscription_of(folded)) or folded.count("/") % 2:
        raise _NotForUsError(Decision.REJECTED, "subject")
    return folded


def _check_agreement(resource_id: str, data: Any) -> None:
    """The data of a genuine event names the same resource as its subject, if it names one."""
    if data is None:
        return
    if not isinstance(data, dict) or isinstance(data, RepeatedKeys):
        raise _NotForUsError(Decision.REJECTED, "data")
    info = data.get("resourceInfo") or {}
    if not isinstance(info, dict) or isinstance(info, RepeatedKeys):
        raise _NotForUsError(Decision.REJECTED, "data")
    for named in (data.get("resourceUri"), info.get("id")):
        if named is not None and (not isinstance(named, str) or naming.fold_id(named) != resource_id):
            raise _NotForUsError(Decision.REJECTED, "subject-mismatch")


def _classify(event_type: str, resource_id: str, resource_type: str, watched: frozenset[str]) -> Decision:
    """Decision about a sound event, from its type and the resource's."""
    if resource_type not in watched:
        raise _NotForUsError(Decision.IGNORED, "resource-type")
    if resource_type == LINKER and CLUSTER not in map(naming.type_of, naming.ancestors(resource_id)[1:2]):
        raise _NotForUsError(Decision.IGNORED, "linker-of-another-source")
    if event_type in _DELETED:
        return Decision.CANDIDATE
    if resource_type != LINKER:
        raise _NotForUsError(Decision.IGNORED, "write")
    return Decision.OBSERVE


def _shown(value: Any) -> str:
    """A value of an event as it may be stored: short and printable."""
    return _HIDDEN.sub("?", value[:_SHOWN_LENGTH]) if isinstance(value, str) else ""
