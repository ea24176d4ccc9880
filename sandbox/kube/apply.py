"""Server-side apply: who manages which field, what conflicts, what an apply lets go.

After the rules of Kubernetes' structured merge: an apply owns exactly the fields it states; a field
of another manager may be restated with the same value (then it is shared) but changed only by
force; a field that is no longer stated goes unless somebody else owns it too. Updates of any other
kind take what they change.
"""

from __future__ import annotations

import copy
import dataclasses
from typing import Any

from sandbox.kube.errors import apply_conflict
from sandbox.kube.fields import (
    ABSENT,
    FieldSet,
    dotted,
    field_set,
    from_fields_v1,
    remove_at,
    to_fields_v1,
    value_at,
)
from sandbox.kube.resources import Object
from sandbox.kube.schema import Fields, is_atomic_map, item_key, merge_keys


@dataclasses.dataclass(frozen=True, slots=True)
class Manager:
    """One owner of fields: the same name may apply and update, and that is two owners."""

    name: str
    operation: str
    """``Apply`` or ``Update``."""
    api_version: str

    def described(self) -> str:
        """As conflict messages name it."""
        if self.operation == "Apply":
            return f'"{self.name}"'
        return f'"{self.name}" using {self.api_version}'


Managed = dict[Manager, tuple[FieldSet, str]]
"""Fields and the time of the last change by manager."""


def managed_fields(stored: Object) -> Managed:
    """Read an object's managedFields."""
    managed: Managed = {}
    for entry in stored["metadata"].get("managedFields") or ():
        manager = Manager(entry.get("manager", ""), entry["operation"], entry["apiVersion"])
        managed[manager] = (from_fields_v1(entry.get("fieldsV1") or {}), entry.get("time", ""))
    return managed


def _write(target: Object, managed: Managed) -> None:
    entries = [
        {
            "manager": manager.name,
            "operation": manager.operation,
            "apiVersion": manager.api_version,
            "time": time,
            "fieldsType": "FieldsV1",
            "fieldsV1": to_fields_v1(paths),
        }
        for manager, (paths, time) in managed.items()
        if paths
    ]
    entries.sort(key=lambda entry: (entry["operation"], entry["time"], entry["manager"]))
    if entries:
        target["metadata"]["managedFields"] = entries
    else:
        target["metadata"].pop("managedFields", None)


def record_update(old: Object | None, new: Object, manager: Manager, now: str) -> None:
    """Write into ``new`` who owns what after an update (create, replace, patch) by ``manager``.

    An update may say itself who owns what: managedFields that it brings along count, as in the server's own
    field manager (kubernetes.io, "Server-Side Apply", migration between client-side and server-side apply).
    """
    managed = (managed_fields(new) or managed_fields(old)) if old else {}
    before = field_set(old, containers=True) if old else set()
    after = field_set(new, containers=True)
    changed = {path for path in after if path not in before or _differs(old, new, path)}
    gone = before - after
    for owner, (paths, time) in list(managed.items()):
        lost = gone | (changed if owner != manager else set())
        managed[owner] = (paths - lost, time)
    if changed:
        own, _ = managed.get(manager, (set(), ""))
        managed[manager] = (own | changed, now)
    _write(new, managed)


def _differs(old: Object | None, new: Object, path: tuple[str, ...]) -> bool:
    if old is None:
        return True
    before, after = value_at(old, path), value_at(new, path)
    # Maps and list items are compared by their own fields; what is left is a leaf.
    if isinstance(before, dict) and isinstance(after, dict) and (before or after):
        return path[-1].startswith("f:") and before != after and _is_leaf_map(path)
    return bool(before != after)


def _is_leaf_map(path: tuple[str, ...]) -> bool:
    return is_atomic_map(tuple(element[2:] for element in path if element.startswith("f:")))


def applied(live: Object | None, config: Object, manager: Manager, now: str, *, force: bool) -> Object:
    """The object after ``manager`` applied ``config``, with its managedFields.

    Args:
        live: The stored object, or None when there is none.
        config: What the request states; ``apiVersion``, ``kind`` and the name are there.
        manager: Who applies.
        now: Time of the request, RFC 3339.
        force: Take fields over from other managers.

    Raises:
        ApiError: 409 with a cause for each conflicting field.
    """
    stated = field_set(config)
    if live is None:
        created = copy.deepcopy(config)
        _write(created, {manager: (stated, now)})
        return created
    managed = managed_fields(live)
    contested = {path for path in stated if _states_otherwise(live, config, path)}
    conflicts = [
        (owner.described(), dotted(path))
        for owner, (paths, _) in managed.items()
        if owner != manager
        for path in sorted(paths & contested)
    ]
    if conflicts and not force:
        raise apply_conflict(conflicts)
    merged: Object = _merged(copy.deepcopy(live), config, ())
    before, time = managed.get(manager, (set(), now))
    for owner, (paths, owner_time) in list(managed.items()):
        if owner != manager:
            managed[owner] = (paths - contested, owner_time)
    others = set().union(*(paths for owner, (paths, _) in managed.items() if owner != manager))
    _prune(merged, before - stated - others, others | stated)
    managed[manager] = (stated, time if stated == before else now)
    _write(merged, managed)
    return merged


def _states_otherwise(live: Object, config: Object, path: tuple[str, ...]) -> bool:
    current, wanted = value_at(live, path), value_at(config, path)
    if current is ABSENT:
        return True
    if path[-1].startswith(("k:", "v:")):
        return False
    return bool(current != wanted)


def _prune(merged: Object, let_go: FieldSet, owned: FieldSet) -> None:
    # An item of a list goes before its fields: without its key it could not be found any more.
    for path in sorted(let_go, key=lambda path: (len(path), path)):
        if any(other[: len(path)] == path for other in owned):
            continue
        remove_at(merged, path)


def _merged(live: Any, config: Any, fields: Fields) -> Any:
    if isinstance(config, dict) and isinstance(live, dict) and not is_atomic_map(fields):
        for key, part in config.items():
            live[key] = _merged(live[key], part, (*fields, key)) if key in live else copy.deepcopy(part)
        return live
    keys = merge_keys(fields) if isinstance(config, list) and isinstance(live, list) and fields else None
    if keys is None:
        return copy.deepcopy(config)
    items = {item_key(item, keys): item for item in live}
    for item in config:
        identity = item_key(item, keys)
        items[identity] = _merged(items[identity], item, fields) if identity in items else copy.deepcopy(item)
    return list(items.values())
