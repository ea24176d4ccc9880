"""Who owns an object's fields, where we made it by a POST and go on by server-side apply.

The API server keeps what was written by a POST and what was applied as two owners, also under one name: a
later apply could neither change nor drop what the POST wrote. So the POST's entry is turned into one of
apply's, in the way of client-go's ``csaupgrade`` (kubernetes.io, "Server-Side Apply", upgrading from
client-side apply).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from shared.naming import MANAGED_BY


def takeover(body: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    """The JSON patch that makes apply the owner of what our POST wrote; empty if there is nothing to do.

    It carries the resource version that it was made for, so that it fails if anything changed meanwhile.
    """
    metadata = body.get("metadata") or {}
    entries = list(metadata.get("managedFields") or [])
    posted = [one for one in entries if _ours(one) and one.get("operation") == "Update"]
    if not posted:
        return []
    applied = [one for one in entries if _ours(one) and one.get("operation") == "Apply"]
    others = [one for one in entries if one not in posted and one not in applied]
    fields: dict[str, Any] = {}
    for one in (*applied, *posted):
        fields = _union(fields, one.get("fieldsV1") or {})
    mine = {**posted[0], "operation": "Apply", "fieldsV1": fields}
    return [
        {"op": "replace", "path": "/metadata/managedFields", "value": [*others, mine]},
        {"op": "replace", "path": "/metadata/resourceVersion", "value": metadata.get("resourceVersion", "")},
    ]


def _ours(entry: Mapping[str, Any]) -> bool:
    return entry.get("manager") == MANAGED_BY and not entry.get("subresource")


def _union(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """Two sets of fields in the notation of managedFields as one."""
    return {key: _union(one.get(key) or {}, other.get(key) or {}) for key in [*one, *other]}
