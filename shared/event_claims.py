"""What an event says of the resource that it is about: its subject, its data, and whether they agree.

Rules: learn.microsoft.com/azure/event-grid, event-schema-subscriptions and event-schema-resources;
CloudEvents 1.0 (github.com/cloudevents/spec, JSON event format) for ``data`` and ``data_base64``;
learn.microsoft.com "Naming rules and restrictions for Azure resources": a record set may be called ``*``, a
database ``a#b``, and a group have letters of any script.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from typing import Any

from shared import naming
from shared.decoding import RepeatedKeys, decode_bytes
from shared.errors import RefusedError

_GROUP = "microsoft.resources/resourcegroups"
_GROUP_TYPES = frozenset({_GROUP, "microsoft.resources/subscriptions/resourcegroups"})
_STRANGE = re.compile(r'[%{}<>"^`|\\?#&*]|\.\.')
"""What no watched resource's name holds: percent-encoding, placeholders of documents, wildcards, ``..``."""
_KEYWORD = re.compile(r"[a-z0-9_-]+(\.[a-z0-9_-]+)*")


def subject_fault(subject: Any) -> str:
    """Code of what makes a subject no resource's id, whatever the resource's type; empty if it is one."""
    if not isinstance(subject, str) or not subject.strip() or len(subject) > naming.ID_LENGTH:
        return "subject"
    folded = naming.fold_id(subject)
    parts = folded[1:].split("/")
    nameless = parts[-2:-1] == ["providers"]
    if not naming.is_guid(naming.subscription_of(folded)) or len(parts) % 2 or nameless:
        return "subject" if plain(subject) else "subject-characters"
    namespaces = [
        name for keyword, name in zip(parts[::2], parts[1::2], strict=True) if keyword == "providers"
    ]
    if not subject.isprintable() or not all(map(_KEYWORD.fullmatch, (*parts[::2], *namespaces))):
        return "subject-characters"
    return ""


def plain(resource_id: str) -> bool:
    """Say whether an id has only characters that ids of watched resources have."""
    return resource_id.isascii() and resource_id.isprintable() and not _STRANGE.search(resource_id)


def data_of(
    event: Mapping[str, Any], *, cloud: bool, json_bytes: int, depth: int
) -> Mapping[str, Any] | None:
    """The data of an event, which may be absent; ``None`` if they are no object, or given twice.

    Args:
        event: as decoded.
        cloud: it is a CloudEvent, whose data may be binary.
        json_bytes: largest JSON text accepted.
        depth: deepest nesting accepted.
    """
    data, packed = event.get("data"), event.get("data_base64") if cloud else None
    if packed is not None:
        if data is not None or not isinstance(packed, str):
            return None
        try:
            data = decode_bytes(base64.b64decode(packed, validate=True), json_bytes=json_bytes, depth=depth)
        except (binascii.Error, ValueError, RefusedError):
            return None
    elif data is None:
        return {}
    return data if isinstance(data, dict) and not isinstance(data, RepeatedKeys) else None


def data_fault(resource_id: str, data: Mapping[str, Any]) -> str:
    """Code of how the data contradict the subject; empty if they name the same resource, or none.

    Args:
        resource_id: the subject, folded.
        data: as ``data_of`` answers.
    """
    info = data.get("resourceInfo") or {}
    if not isinstance(info, dict) or isinstance(info, RepeatedKeys):
        return "data"
    for named in (data.get("resourceUri"), info.get("id")):
        if named is not None and (not isinstance(named, str) or naming.fold_id(named) != resource_id):
            return "subject-mismatch"
    kind, own = info.get("type"), naming.type_of(resource_id)
    types = _GROUP_TYPES if own == _GROUP else {own}
    if kind not in (None, "") and (not isinstance(kind, str) or kind.strip().lower() not in types):
        return "subject-mismatch"
    return ""
