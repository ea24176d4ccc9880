"""The little of the Kubernetes schema that merging needs: which lists are merged, and by what.

Both strategic merge patch and server-side apply read it. A list that is not named here is replaced
as a whole, which is also the server's rule for lists without a merge strategy.
"""

from __future__ import annotations

import json
from typing import Any

Fields = tuple[str, ...]
"""Field names from the root of an object; list items add nothing to it."""

_POD_SPEC_LISTS = {
    "containers": ("name",),
    "initContainers": ("name",),
    "volumes": ("name",),
    "imagePullSecrets": ("name",),
    "hostAliases": ("ip",),
}
_CONTAINER_LISTS = {
    "env": ("name",),
    "ports": ("containerPort", "protocol"),
    "volumeMounts": ("mountPath",),
    "volumeDevices": ("devicePath",),
}
_DEFAULTED_KEYS = {"protocol": "TCP"}
_ATOMIC_MAPS = {("spec", "selector"), ("roleRef",)}


def merge_keys(fields: Fields) -> tuple[str, ...] | None:
    """How the list at ``fields`` merges.

    Returns:
        Names of the keys of its items, an empty tuple for a set of scalars, None for a list that is
        replaced as a whole.
    """
    name = fields[-1]
    parent = fields[-2] if len(fields) > 1 else ""
    if parent == "metadata":
        return {"finalizers": (), "ownerReferences": ("uid",)}.get(name)
    if fields == ("secrets",):
        return ("name",)
    if parent == "spec" and name in _POD_SPEC_LISTS:
        return _POD_SPEC_LISTS[name]
    if parent in {"containers", "initContainers"} and name in _CONTAINER_LISTS:
        return _CONTAINER_LISTS[name]
    if parent == "status" and name == "conditions":
        return ("type",)
    return None


def is_atomic_map(fields: Fields) -> bool:
    """Whether the map at ``fields`` is owned and replaced as a whole by apply."""
    return fields in _ATOMIC_MAPS


def item_key(item: Any, keys: tuple[str, ...]) -> str:
    """Identity of one item of a merged list, in the notation of managedFields."""
    if not keys:
        return "v:" + json.dumps(item)
    values = {key: item.get(key, _DEFAULTED_KEYS.get(key)) for key in sorted(keys)}
    return "k:" + json.dumps(values, separators=(",", ":"))
