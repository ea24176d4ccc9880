"""Copies of events as they may lie on a queue of ours: without who asked for the deletion, and small enough.

Event Grid hands over a megabyte and a storage queue takes 64 KB: what makes an event that large are the
claims, the authorization and the request of the caller, which nobody reads here.
"""

from __future__ import annotations

import json
from typing import Any

from shared.decoding import RepeatedKeys

MESSAGE_BYTES = 48 * 1024
"""A storage queue takes 64 KB; what is this large fits however it is encoded on the way."""
_PRIVATE = frozenset({"authorization", "claims", "httpRequest"})
_READ = frozenset({"resourceUri", "subscriptionId", "tenantId"})
"""What is read of the data, besides id and type of the resource info."""


def trimmed(value: Any) -> str:
    """An event without the caller's particulars.

    Returns:
        JSON text that fits a queue message; empty if the value is no event, says one thing twice, has binary
        data, or does not fit even with no more of its data than is read of them.
    """
    parts = [value, value.get("data") if isinstance(value, dict) else None]
    if isinstance(parts[1], dict):
        parts.append(parts[1].get("resourceInfo"))
    if not isinstance(value, dict) or any(isinstance(part, RepeatedKeys) for part in parts):
        return ""
    if value.get("data_base64") is not None:
        return ""  # what is private in it cannot be told from the rest
    event = dict(value)
    data = event.get("data")
    if isinstance(data, dict):
        event["data"] = {name: part for name, part in data.items() if name not in _PRIVATE}
        if len(_text(event)) > MESSAGE_BYTES:
            event["data"] = _what_is_read(data)
    text = _text(event)
    return text if len(text) <= MESSAGE_BYTES else ""


def _what_is_read(data: dict[str, Any]) -> dict[str, Any]:
    kept = {name: part for name, part in data.items() if name in _READ}
    info = data.get("resourceInfo")
    if isinstance(info, dict):
        kept["resourceInfo"] = {name: info[name] for name in ("id", "type") if name in info}
    return kept


def _text(event: dict[str, Any]) -> str:
    return json.dumps(event, separators=(",", ":"))
