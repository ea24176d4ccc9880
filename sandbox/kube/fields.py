"""Sets of fields, as managedFields records who owns what.

A field is a path of elements in the notation of FieldsV1: ``f:name`` a map entry, ``k:{...}`` an item
of a keyed list, ``v:...`` an item of a set. A set is a plain ``set`` of such paths.
"""

from __future__ import annotations

import json
from typing import Any

from sandbox.kube.resources import Object
from sandbox.kube.schema import Fields, is_atomic_map, item_key, merge_keys

Path = tuple[str, ...]
FieldSet = set[Path]

ABSENT = object()
"""What ``value_at`` returns for a path that leads nowhere."""

_UNOWNED_METADATA = (
    "name",
    "namespace",
    "uid",
    "resourceVersion",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "generation",
    "generateName",
    "managedFields",
    "selfLink",
)
_GRANULAR_MAPS = ("labels", "annotations", "data", "binaryData", "parameters")
"""Free-form maps: an update that makes one owns the map itself too."""


def field_set(owned: Object, *, containers: bool = False) -> FieldSet:
    """Every field an object sets, without those that nobody owns (identity, versions).

    Args:
        owned: An object or an apply configuration.
        containers: Include the free-form maps themselves, as updates own them and applies do not.
    """
    found: FieldSet = set()
    for key, value in owned.items():
        if key in {"apiVersion", "kind"}:
            continue
        if key == "metadata":
            value = {name: part for name, part in value.items() if name not in _UNOWNED_METADATA}  # noqa: PLW2901
            if not value:
                continue
        _walk(value, (f"f:{key}",), (key,), found, containers=containers)
    return found


def _walk(value: Any, path: Path, fields: Fields, found: FieldSet, *, containers: bool) -> None:
    if isinstance(value, dict) and value and not is_atomic_map(fields):
        if containers and fields[-1] in _GRANULAR_MAPS:
            found.add(path)
        for key, part in value.items():
            _walk(part, (*path, f"f:{key}"), (*fields, key), found, containers=containers)
        return
    keys = merge_keys(fields) if isinstance(value, list) and value else None
    if keys is None:
        found.add(path)
        return
    for item in value:
        here = (*path, item_key(item, keys))
        found.add(here)
        if keys:
            for key, part in item.items():
                _walk(part, (*here, f"f:{key}"), (*fields, key), found, containers=containers)


def to_fields_v1(paths: FieldSet) -> dict[str, Any]:
    """The nested notation of managedFields."""
    root: dict[str, Any] = {}
    for path in sorted(paths):
        node = root
        for element in path:
            node = node.setdefault(element, {})
        node["."] = {}
    return _without_leaf_dots(root)


def _without_leaf_dots(node: dict[str, Any]) -> dict[str, Any]:
    if set(node) == {"."}:
        return {}
    return {key: value if key == "." else _without_leaf_dots(value) for key, value in node.items()}


def from_fields_v1(node: dict[str, Any], path: Path = ()) -> FieldSet:
    """The set that the nested notation means."""
    if not node:
        return {path} if path else set()
    found: FieldSet = set()
    for element, inner in node.items():
        if element == ".":
            found.add(path)
        else:
            found |= from_fields_v1(inner, (*path, element))
    return found


def value_at(owned: Object, path: Path) -> Any:
    """The value a path leads to, or ``ABSENT``."""
    value: Any = owned
    for element in path:
        if element.startswith("f:"):
            if not isinstance(value, dict) or element[2:] not in value:
                return ABSENT
            value = value[element[2:]]
        else:
            index = _item_index(value, element)
            if index is None:
                return ABSENT
            value = value[index]
    return value


def remove_at(owned: Object, path: Path) -> None:
    """Take the field out, and the maps and lists that it leaves empty."""
    parent = value_at(owned, path[:-1])
    last = path[-1]
    if parent is ABSENT:
        return
    if last.startswith("f:"):
        if isinstance(parent, dict):
            parent.pop(last[2:], None)
    else:
        index = _item_index(parent, last)
        if index is not None:
            del parent[index]
    if not parent and len(path) > 1:
        remove_at(owned, path[:-1])


def _item_index(value: Any, element: str) -> int | None:
    if not isinstance(value, list):
        return None
    wanted = json.loads(element[2:])
    keys = tuple(wanted) if element.startswith("k:") else ()
    for index, item in enumerate(value):
        if (element.startswith("v:") and item == wanted) or (
            keys and isinstance(item, dict) and item_key(item, keys) == element
        ):
            return index
    return None


def dotted(path: Path) -> str:
    """A path as error messages show it: ``.metadata.labels.x``."""
    parts = []
    for element in path:
        if element.startswith("f:"):
            parts.append(f".{element[2:]}")
        elif element.startswith("k:"):
            keys = json.loads(element[2:])
            parts.append("[" + ",".join(f"{key}={json.dumps(value)}" for key, value in keys.items()) + "]")
        else:
            parts.append(f"[={element[2:]}]")
    return "".join(parts)
