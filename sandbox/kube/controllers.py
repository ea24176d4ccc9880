"""What a cluster's controllers do after a write, at once instead of a moment later.

Namespaces get a ``default`` service account, a deleted namespace takes its contents along, a deleted
definition of a kind its objects; objects go with the last of their owners, and an object marked for deletion
goes when its last finalizer does.
"""

from __future__ import annotations

import copy

from sandbox.kube.bootstrap import namespace_contents
from sandbox.kube.clock import timestamp
from sandbox.kube.resources import DEFINITIONS, Object
from sandbox.kube.store import Key, Store, new_uid


class Controllers:
    """Follow-up writes of one cluster."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def after_write(self, key: Key) -> None:
        """React to a created or changed object."""
        if key.resource == "namespaces":
            self._provide(key.name)

    def mark_deleted(self, key: Key) -> Object:
        """Set the deletion timestamp; the object goes as soon as nothing holds it.

        Returns:
            The last state: still stored when finalizers or contents hold it, otherwise gone.
        """
        marked = copy.deepcopy(self._store.get(key))
        if marked is None:
            raise KeyError(key)
        if "deletionTimestamp" not in marked["metadata"]:
            marked["metadata"]["deletionTimestamp"] = timestamp()
            marked["metadata"]["deletionGracePeriodSeconds"] = 0
            if key.resource == "namespaces":
                del marked["metadata"]["deletionGracePeriodSeconds"]
                marked["status"] = {**marked.get("status", {}), "phase": "Terminating"}
            self._store.put(key, marked)
        if key.resource == "namespaces":
            for content in self._store.in_namespace(key.name):
                if self._store.get(content) is not None:
                    self.delete(content)
        self.finish_deletion(key)
        return marked

    def delete(self, key: Key, *, orphan: bool = False) -> Object:
        """Delete an object, now or when its finalizers allow.

        Args:
            key: What to delete; it exists.
            orphan: Leave the objects that it owns.

        Returns:
            The object's last state.
        """
        stored = self._store.get(key)
        if stored is None:
            raise KeyError(key)
        if key.resource == "namespaces" or stored["metadata"].get("finalizers"):
            return self.mark_deleted(key)
        return self._remove(key, orphan=orphan)

    def finish_deletion(self, key: Key) -> None:
        """Remove a marked object that nothing holds any more."""
        stored = self._store.get(key)
        if stored is None or "deletionTimestamp" not in stored["metadata"]:
            return
        if stored["metadata"].get("finalizers"):
            return
        if key.resource == "namespaces" and self._store.in_namespace(key.name):
            return
        self._remove(key)

    def _remove(self, key: Key, *, orphan: bool = False) -> Object:
        last = self._store.remove(key)
        if key.resource == DEFINITIONS:
            for one, _ in list(self._store.each(key.name)):
                self._store.remove(one)
        uid = last["metadata"]["uid"]
        for dependent in self._store.dependents(uid):
            self._release(dependent, uid, orphan=orphan)
        namespace = self._store.get(Key("namespaces", "", key.namespace)) if key.namespace else None
        if namespace is not None:
            if "deletionTimestamp" in namespace["metadata"]:
                self.finish_deletion(Key("namespaces", "", key.namespace))
            else:
                self._provide(key.namespace)
        return last

    def _release(self, dependent: Key, uid: str, *, orphan: bool) -> None:
        stored = self._store.get(dependent)
        if stored is None:
            return
        references = stored["metadata"].get("ownerReferences") or []
        left = [reference for reference in references if reference.get("uid") != uid]
        if not left and not orphan:
            self.delete(dependent)
            return
        freed = copy.deepcopy(stored)
        freed["metadata"]["ownerReferences"] = left
        if not left:
            del freed["metadata"]["ownerReferences"]
        self._store.put(dependent, freed)

    def _provide(self, namespace: str) -> None:
        for key, content in namespace_contents(namespace):
            if self._store.get(key) is None:
                content["metadata"] |= {"uid": new_uid(), "creationTimestamp": timestamp()}
                self._store.put(key, content)
