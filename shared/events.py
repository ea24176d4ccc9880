"""Reads deletion and write events: which of them concern us, and nothing more.

A delete event is a hint, never an order: it can be late, repeated, out of order, forged by whoever holds the
webhook's key, or overtaken by a re-creation. This module only says what is worth asking Azure about. It needs
no more of an event than type, subject and source; claims, authorization and request of the caller are never
read, so they cannot end up in a row or a log.

Rules: learn.microsoft.com/azure/event-grid, event-schema-subscriptions and event-schema-resources; the event
type alone decides what happened, because published failures carry status "Succeeded" and published deletions
an operation name that ends in /write. A write of anything but a linker is ignored: all it could do is to
cancel the wait of a prune, and that prune looks again before it removes anything, and ends if the resource
is alive.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any

from shared import event_claims, event_time, naming
from shared.decoding import RepeatedKeys, decode
from shared.errors import RefusedError

BODY_BYTES = 1024 * 1024
"""Event Grid's own limit of one event."""
BATCH_BYTES = 8 * BODY_BYTES
"""Largest array accepted: a full batch of events of the usual size, and no more memory than that."""
BATCH_EVENTS = 5000
"""Event Grid's own limit of one batch."""
DEPTH = 64

LINKER = "microsoft.servicelinker/linkers"
CLUSTER = "microsoft.containerservice/managedclusters"
GROUP = "microsoft.resources/resourcegroups"
WATCHED = frozenset(
    {
        LINKER,
        CLUSTER,
        "microsoft.managedidentity/userassignedidentities",
        "microsoft.managedidentity/userassignedidentities/federatedidentitycredentials",
        GROUP,
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
_UNSUBSCRIBED = "microsoft.eventgrid.subscriptiondeletedevent"
_SHOWN_LENGTH = 128
_SUBJECT_LENGTH = 512
"""Enough for any resource of ours; an id has 1024 at most."""
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
    """Stable code: ``deleted``, ``linker-written``, or why it was ignored or rejected."""
    resource_id: str = ""
    """Folded; empty unless the subject is sound."""
    resource_type: str = ""
    event_type: str = ""
    event_time: str = ""
    """As sent; tells events of one id apart, and no event is acted on because of its time."""
    event_id: str = ""
    subject: str = ""
    """As sent, for people only."""
    source: str = ""
    """As sent, for people only."""
    time_warning: str = ""
    """``event-old``, ``event-from-the-future`` or ``event-time-unreadable``; it decides nothing."""


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
    tenant_id: str = "",
    now: datetime | None = None,
    batch_bytes: int = BATCH_BYTES,
) -> list[EventDecision]:
    """Read a webhook's or a queue message's body.

    Args:
        body: one event or an array of them, Event Grid schema or CloudEvents 1.0, plain or base64.
        subscriptions: GUIDs whose events are accepted; ``None`` accepts all.
        watched: folded types of targets, to be added to ``WATCHED``.
        tenant_id: events that name another tenant are rejected; empty accepts all.
        now: for the warning about an event's time; ``None`` gives none.
        batch_bytes: largest array accepted.

    Returns:
        One decision per event, in their order; a body that cannot be read gives one rejection. Never raises.
    """
    limit = batch_bytes if _is_array(body) else BODY_BYTES
    try:
        value = decode(body, message_bytes=limit, json_bytes=limit, depth=DEPTH)
    except RefusedError as error:
        return [_rejected(error.code)]
    events = value if isinstance(value, list) else [value]
    if not 0 < len(events) <= BATCH_EVENTS:
        return [_rejected("too-many-events" if events else "empty-batch")]
    trust = _Trust(
        subscriptions=None if subscriptions is None else frozenset(map(str.lower, subscriptions)),
        tenant_id=tenant_id.lower(),
        watched=watched | WATCHED,
        now=now,
    )
    return [_judge(index, event, trust) for index, event in enumerate(events)]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class _Trust:
    """What an event is held against."""

    subscriptions: frozenset[str] | None
    tenant_id: str
    watched: frozenset[str]
    now: datetime | None


def _is_array(body: bytes | str) -> bool:
    start = body[:64].lstrip()
    return start[:1] in {"[", b"["}


def _rejected(reason: str) -> EventDecision:
    return EventDecision(index=0, decision=Decision.REJECTED, reason=reason)


def _judge(index: int, event: Any, trust: _Trust) -> EventDecision:
    """Decide about one event."""
    seen: dict[str, str] = {}
    try:
        decision, reason = _read(event, trust, seen)
    except _NotForUsError as end:
        decision, reason = end.decision, end.reason
    warning = event_time.warning(seen.get("event_time", ""), trust.now) if trust.now and seen else ""
    return EventDecision(index=index, decision=decision, reason=reason, time_warning=warning, **seen)


def _read(event: Any, trust: _Trust, seen: dict[str, str]) -> tuple[Decision, str]:
    """Decision and reason; fills ``seen`` with what may be shown of the event as far as it is known."""
    if not isinstance(event, dict):
        raise _NotForUsError(Decision.REJECTED, "not-an-object")
    if any(key.lower() == "deadletterreason" for key in event):
        raise _NotForUsError(Decision.IGNORED, "dead-letter")
    event_type, source, cloud = _envelope(event, seen)
    if event_type == _UNSUBSCRIBED:
        raise _NotForUsError(Decision.IGNORED, "event-subscription-deleted")
    if event_type not in _DELETED | _WRITTEN:
        raise _NotForUsError(Decision.IGNORED, "event-type")
    resource_id, data = _resource(event, cloud=cloud)
    subscription = naming.subscription_of(resource_id)
    if not isinstance(source, str) or naming.subscription_of(source) != subscription:
        raise _NotForUsError(Decision.REJECTED, "source-mismatch")
    if _differs(data.get("subscriptionId"), subscription):
        raise _NotForUsError(Decision.REJECTED, "subscription-mismatch")
    if trust.tenant_id and _differs(data.get("tenantId"), trust.tenant_id):
        raise _NotForUsError(Decision.REJECTED, "tenant-mismatch")
    if trust.subscriptions is not None and subscription not in trust.subscriptions:
        raise _NotForUsError(Decision.REJECTED, "subscription-not-listed")
    resource_type = naming.type_of(resource_id)
    seen["resource_type"] = _shown(resource_type, _SUBJECT_LENGTH)
    if event_claims.plain(resource_id):
        seen["resource_id"] = resource_id
    elif resource_type in trust.watched:
        raise _NotForUsError(Decision.REJECTED, "subject-characters")
    return _classify(event_type, resource_id, resource_type, trust.watched)


def _envelope(event: Mapping[str, Any], seen: dict[str, str]) -> tuple[str, Any, bool]:
    """Folded event type and source of either schema, and whether it is a CloudEvent."""
    version = next((value for key, value in event.items() if key.lower() == "specversion"), None)
    names = ("eventType", "topic", "eventTime") if version is None else ("type", "source", "time")
    event_type, source, time = (event.get(name) for name in names)
    seen |= {
        "event_id": _shown(event.get("id")),
        "event_time": _shown(time),
        "event_type": _shown(event_type),
        "subject": _shown(event.get("subject"), _SUBJECT_LENGTH),
        "source": _shown(source),
    }
    if isinstance(event, RepeatedKeys):
        raise _NotForUsError(Decision.REJECTED, "duplicate-key")
    if version not in (None, "1.0") or not isinstance(event_type, str):
        raise _NotForUsError(Decision.REJECTED, "unknown-schema")
    return event_type.lower(), source, version is not None


def _resource(event: Mapping[str, Any], *, cloud: bool) -> tuple[str, Mapping[str, Any]]:
    """Folded id of the resource that an event is about, and the data, which name no other."""
    code = event_claims.subject_fault(event.get("subject"))
    if code:
        raise _NotForUsError(Decision.REJECTED, code)
    resource_id = naming.fold_id(str(event["subject"]))
    data = event_claims.data_of(event, cloud=cloud, json_bytes=BODY_BYTES, depth=DEPTH)
    code = "data" if data is None else event_claims.data_fault(resource_id, data)
    if data is None or code:
        raise _NotForUsError(Decision.REJECTED, code)
    return resource_id, data


def _differs(named: Any, expected: str) -> bool:
    """Say whether the data contradict what is known; what is absent or empty contradicts nothing."""
    return named not in (None, "") and (not isinstance(named, str) or named.strip().lower() != expected)


def _classify(
    event_type: str, resource_id: str, resource_type: str, watched: frozenset[str]
) -> tuple[Decision, str]:
    """Decision about a sound event, from its type and the resource's."""
    if resource_type not in watched:
        raise _NotForUsError(Decision.IGNORED, "resource-type")
    if resource_type == LINKER:
        if CLUSTER not in map(naming.type_of, naming.ancestors(resource_id)[1:2]):
            raise _NotForUsError(Decision.IGNORED, "linker-of-another-source")
    elif not _stands_in_a_group(resource_id, resource_type):
        raise _NotForUsError(Decision.IGNORED, "resource-type")
    if event_type in _DELETED:
        return Decision.CANDIDATE, "deleted"
    if resource_type != LINKER:
        raise _NotForUsError(Decision.IGNORED, "write")
    return Decision.OBSERVE, "linker-written"


def _stands_in_a_group(resource_id: str, resource_type: str) -> bool:
    """Say whether a resource is of its group alone, and not an extension of another resource."""
    keywords = resource_id[1:].split("/")[2::2]
    grouped = keywords[:1] == ["resourcegroups"]
    return grouped and keywords[1:].count("providers") == (0 if resource_type == GROUP else 1)


def _shown(value: Any, length: int = _SHOWN_LENGTH) -> str:
    """A value of an event as it may be stored: short and printable."""
    return _HIDDEN.sub("?", value[:length]) if isinstance(value, str) else ""
