"""The objects of one cluster, their versions and their recent history.

Stored objects are never changed in place: a write stores a new one. That is what lets a list be
continued as of its first page and a watch be resumed from a version.
"""

from __future__ import annotations

import asyncio
import collections
import uuid
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from sandbox.kube.resources import Object

HISTORY_LIMIT = 4_000
"""Changes kept for watches and continued lists; older ones answer 410 Expired."""


class Key(NamedTuple):
    """Where an object lives; ``namespace`` is empty for cluster-wide kinds."""

    resource: str
    namespace: str
    name: str


class Change(NamedTuple):
    """One write. ``old`` is None for a creation, ``new`` is the last state for a removal."""

    version: int
    type: str
    key: Key
    old: Object | None
    new: Object


class Store:
    """Objects by key with one resourceVersion counter, as etcd gives a cluster.

    Args:
        on_change: Called after every write; schedules persistence.
    """

    def __init__(self, on_change: Callable[[], None]) -> None:
        self.version = 1
        self.compacted = 1
        self.changes: collections.deque[Change] = collections.deque()
        self._objects: dict[str, dict[tuple[str, str], Object]] = {}
        self._owned: dict[str, set[Key]] = {}
        self._waiting: set[asyncio.Event] = set()
        self._on_change = on_change

    def get(self, key: Key) -> Object | None:
        """The stored object, not to be changed, or None."""
        return self._objects.get(key.resource, {}).get((key.namespace, key.name))

    def each(self, resource: str, namespace: str = "") -> Iterator[tuple[Key, Object]]:
        """Objects of one kind in the order of lists (namespace, then name)."""
        return self._each(resource, namespace, self._objects.get(resource, {}))

    def each_at(self, resource: str, namespace: str, version: int) -> Iterator[tuple[Key, Object]] | None:
        """The same as of an older version, or None when that version is no longer kept."""
        if version < self.compacted:
            return None
        rows = dict(self._objects.get(resource, {}))
        for change in reversed(self.changes):
            if change.version <= version:
                break
            if change.key.resource != resource:
                continue
            place = (change.key.namespace, change.key.name)
            if change.old is None:
                rows.pop(place, None)
            else:
                rows[place] = change.old
        return self._each(resource, namespace, rows)

    @staticmethod
    def _each(
        resource: str,
        namespace: str,
        rows: dict[tuple[str, str], Object],
    ) -> Iterator[tuple[Key, Object]]:
        for place in sorted(rows):
            if not namespace or place[0] == namespace:
                yield Key(resource, *place), rows[place]

    def dependents(self, owner_uid: str) -> list[Key]:
        """Objects that name this uid in their ownerReferences."""
        return sorted(self._owned.get(owner_uid, ()))

    def in_namespace(self, namespace: str) -> list[Key]:
        """Every namespaced object of a namespace."""
        return [
            Key(resource, *place)
            for resource, rows in self._objects.items()
            for place in rows
            if place[0] == namespace
        ]

    def put(self, key: Key, new: Object) -> Object:
        """Store an object under the next version; the given dict becomes the stored one."""
        self.version += 1
        new["metadata"]["resourceVersion"] = str(self.version)
        rows = self._objects.setdefault(key.resource, {})
        old = rows.get((key.namespace, key.name))
        if old is not None:
            self._index(key, old, present=False)
        rows[(key.namespace, key.name)] = new
        self._index(key, new, present=True)
        self._record(Change(self.version, "MODIFIED" if old else "ADDED", key, old, new))
        return new

    def remove(self, key: Key) -> Object:
        """Take an object out; returns its last state under the version of the removal."""
        old = self._objects[key.resource].pop((key.namespace, key.name))
        self._index(key, old, present=False)
        self.version += 1
        last = {**old, "metadata": {**old["metadata"], "resourceVersion": str(self.version)}}
        self._record(Change(self.version, "DELETED", key, old, last))
        return last

    def compact(self) -> None:
        """Forget the history, as etcd's compaction does."""
        self.changes.clear()
        self.compacted = self.version

    def subscribe(self) -> asyncio.Event:
        """An event that is set after every change until ``unsubscribe``."""
        event = asyncio.Event()
        self._waiting.add(event)
        return event

    def unsubscribe(self, event: asyncio.Event) -> None:
        """End a subscription."""
        self._waiting.discard(event)

    def _record(self, change: Change) -> None:
        self.changes.append(change)
        if len(self.changes) > HISTORY_LIMIT:
            self.compacted = self.changes.popleft().version
        for event in self._waiting:
            event.set()
        self._on_change()

    def _index(self, key: Key, stored: Object, *, present: bool) -> None:
        for reference in stored["metadata"].get("ownerReferences") or ():
            keys = self._owned.setdefault(reference.get("uid", ""), set())
            if present:
                keys.add(key)
            else:
                keys.discard(key)

    def snapshot(self) -> dict[str, Any]:
        """Everything that has to survive a restart."""
        return {
            "version": self.version,
            "objects": {resource: list(rows.values()) for resource, rows in self._objects.items() if rows},
        }

    def restore(self, saved: dict[str, Any]) -> None:
        """Load what ``snapshot`` returned into an empty store. History does not survive."""
        for resource, objects in saved["objects"].items():
            for stored in objects:
                metadata = stored["metadata"]
                key = Key(resource, metadata.get("namespace", ""), metadata["name"])
                self._objects.setdefault(resource, {})[(key.namespace, key.name)] = stored
                self._index(key, stored, present=True)
        self.version = saved["version"]
        self.compacted = self.version


def new_uid() -> str:
    """A uid for a new object."""
    return str(uuid.uuid4())
