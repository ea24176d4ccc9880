"""Writes to the objects of one cluster: create, update, patch, apply.

Everything here runs without an await, so each operation is atomic.
"""

from __future__ import annotations

import copy
import dataclasses
import secrets
from collections.abc import Callable
from typing import Any, NamedTuple

from sandbox.kube import errors, validation
from sandbox.kube.apply import Manager, applied, record_update
from sandbox.kube.clock import timestamp
from sandbox.kube.controllers import Controllers
from sandbox.kube.errors import Cause
from sandbox.kube.patch import APPLY_PATCH, patched
from sandbox.kube.resources import BY_NAME, Object, Resource
from sandbox.kube.store import Key, Store, new_uid

_SUFFIX_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"
"""Letters of generated names: no vowels, nothing that reads as another letter."""

_KEPT_BY_SERVER = (
    "uid",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "generateName",
)


class Target(NamedTuple):
    """What a request's path addresses."""

    resource: Resource
    namespace: str = ""
    name: str = ""
    subresource: str = ""

    @property
    def key(self) -> Key:
        """Where the object is stored."""
        return Key(self.resource.qualified, self.namespace, self.name)


Admission = Callable[[Resource, Object | None, Object], None]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class WriteOptions:
    """How a write is to be done."""

    manager: str = "unknown"
    dry_run: bool = False
    force: bool = False
    admit: Admission = lambda _resource, _old, _new: None
    """Last word before storing: raises ApiError to refuse (RBAC's rule against escalation)."""


class Registry:
    """The write operations of one cluster."""

    def __init__(self, store: Store, controllers: Controllers) -> None:
        self._store = store
        self._controllers = controllers

    def get(self, target: Target) -> Object:
        """The stored object.

        Raises:
            ApiError: 404.
        """
        stored = self._store.get(target.key)
        if stored is None:
            raise errors.not_found(target.resource, target.name)
        return stored

    def create(self, target: Target, body: Any, options: WriteOptions) -> Object:
        """POST."""
        resource, namespace = target.resource, target.namespace
        validation.check_shape(resource, body)
        new = self._addressed(resource, namespace, body)
        metadata = new["metadata"]
        if metadata.get("resourceVersion"):
            message = "resourceVersion should not be set on objects to be created"
            raise errors.ApiError(500, "InternalError", message)
        if not metadata.get("name") and metadata.get("generateName"):
            letters = (secrets.choice(_SUFFIX_ALPHABET) for _ in range(5))
            metadata["name"] = metadata["generateName"] + "".join(letters)
        metadata.pop("managedFields", None)
        return self._created(
            resource,
            namespace,
            new,
            options,
            lambda stored: record_update(
                None, stored, Manager(options.manager, "Update", resource.api_version), timestamp()
            ),
        )

    def update(self, target: Target, body: Any, options: WriteOptions) -> Object:
        """PUT."""
        resource, name = target.resource, target.name
        validation.check_shape(resource, body)
        old = self.get(target)
        new = self._addressed(resource, target.namespace, body)
        given = new["metadata"].get("name", "")
        if given != name:
            raise errors.bad_request(
                f"the name of the object ({given}) does not match the name on the URL ({name})",
            )
        manager = Manager(options.manager, "Update", resource.api_version)
        reset = new["metadata"].get("managedFields") == [{}]
        return self._updated(target, old, new, options, manager=None if reset else manager)

    def patch(self, target: Target, body: Any, media_type: str, options: WriteOptions) -> tuple[Object, bool]:
        """PATCH of any type.

        Returns:
            The object, and whether an apply created it.
        """
        if media_type == APPLY_PATCH:
            return self._apply(target, body, options)
        return self.update(target, patched(self.get(target), body, media_type), options), False

    def _apply(self, target: Target, body: Any, options: WriteOptions) -> tuple[Object, bool]:
        resource, namespace, name = target.resource, target.namespace, target.name
        if not isinstance(body, dict) or not body.get("apiVersion") or not body.get("kind"):
            raise errors.bad_request("invalid object type: apiVersion and kind must be set")
        validation.check_shape(resource, body)
        for field in sorted(set(body) - resource.fields - {"apiVersion", "kind", "metadata"}):
            message = f"failed to create typed patch object: .{field}: field not declared in schema"
            raise errors.ApiError(500, "InternalError", message)
        config = self._addressed(resource, namespace, body)
        if config["metadata"].get("managedFields") is not None:
            raise errors.bad_request("metadata.managedFields must be nil")
        config["metadata"].setdefault("name", name)
        if config["metadata"]["name"] != name:
            raise errors.bad_request("the name of the object does not match the name on the URL")
        manager = Manager(options.manager, "Apply", resource.api_version)
        live = self._store.get(target.key)
        if live is None:
            if config["metadata"].get("uid") or config["metadata"].get("resourceVersion"):
                raise errors.not_found(resource, name)
            new = applied(None, config, manager, timestamp(), force=True)
            return self._created(resource, namespace, new, options, lambda _stored: None), True
        self._check_preconditions(resource, live, config["metadata"])
        new = applied(live, config, manager, timestamp(), force=options.force)
        return self._updated(target, live, new, options, owned=True), False

    def _addressed(self, resource: Resource, namespace: str, body: Object) -> Object:
        new = copy.deepcopy(body)
        new["apiVersion"], new["kind"] = resource.api_version, resource.kind
        metadata = new["metadata"] = dict(new.get("metadata") or {})
        if resource.namespaced:
            if metadata.setdefault("namespace", namespace) != namespace:
                raise errors.bad_request(
                    "the namespace of the provided object does not match the namespace sent on the request",
                )
        else:
            metadata.pop("namespace", None)
        return new

    def _created(
        self,
        resource: Resource,
        namespace: str,
        new: Object,
        options: WriteOptions,
        own: Callable[[Object], None],
    ) -> Object:
        if resource.has_status and resource.kind != "Pod":
            new.pop("status", None)
        metadata = new["metadata"]
        name = metadata.get("name") or ""
        if name:
            validation.set_defaults(resource, new)
        validation.check(resource, new, None)
        if resource.namespaced:
            self._check_namespace(resource, namespace, name)
        if resource.kind == "Pod":
            self._check_account(resource, new)
        key = Key(resource.qualified, namespace, name)
        if self._store.get(key) is not None:
            raise errors.already_exists(resource, name)
        for field in ("deletionTimestamp", "deletionGracePeriodSeconds", "selfLink"):
            metadata.pop(field, None)
        metadata["uid"], metadata["creationTimestamp"] = new_uid(), timestamp()
        if resource.has_status and resource.kind not in {"Namespace", "Pod"}:
            metadata["generation"] = 1
            new.setdefault("status", {})
        options.admit(resource, None, new)
        own(new)
        if options.dry_run:
            return new
        stored = self._store.put(key, new)
        self._controllers.after_write(key)
        return stored

    def _updated(
        self,
        target: Target,
        old: Object,
        new: Object,
        options: WriteOptions,
        *,
        manager: Manager | None = None,
        owned: bool = False,
    ) -> Object:
        resource, subresource = target.resource, target.subresource
        if not owned:
            self._check_preconditions(resource, old, new["metadata"])
        metadata = new["metadata"]
        for field in (*_KEPT_BY_SERVER, "generation", "resourceVersion"):
            if field in old["metadata"]:
                metadata[field] = old["metadata"][field]
            else:
                metadata.pop(field, None)
        if subresource in {"status", "finalize"}:
            part = "status" if subresource == "status" else "spec"
            new = {**copy.deepcopy(old), part: new.get(part) or {}}
            metadata = new["metadata"]
        elif resource.has_status:
            new["status"] = copy.deepcopy(old.get("status", {}))
        if not (subresource == "finalize" and resource.kind == "Namespace"):
            validation.set_defaults(resource, new)
        validation.check(resource, new, old)
        if "deletionTimestamp" in metadata:
            added = set(metadata.get("finalizers") or ()) - set(old["metadata"].get("finalizers") or ())
            if added:
                cause = Cause.forbidden(
                    "metadata.finalizers",
                    "no new finalizers can be added if the object is being deleted",
                )
                raise errors.invalid(resource.kind, resource.group, metadata["name"], [cause])
        if "generation" in metadata and new.get("spec") != old.get("spec"):
            metadata["generation"] += 1
        options.admit(resource, old, new)
        if not owned:
            if manager is None:
                metadata.pop("managedFields", None)
            else:
                record_update(old, new, manager, timestamp())
        if new == old:
            return old
        if options.dry_run:
            return new
        key = target.key
        stored = self._store.put(key, new)
        if "deletionTimestamp" in metadata:
            self._controllers.finish_deletion(key)
        else:
            self._controllers.after_write(key)
        return stored

    def _check_preconditions(self, resource: Resource, old: Object, given: dict[str, Any]) -> None:
        current = old["metadata"]
        uid, version = given.get("uid"), given.get("resourceVersion")
        if uid and uid != current["uid"]:
            why = f"Precondition failed: UID in precondition: {uid}, UID in object meta: {current['uid']}"
            raise errors.conflict(resource, current["name"], why)
        if version and version != current["resourceVersion"]:
            raise errors.conflict(resource, current["name"], errors.STALE)

    def _check_namespace(self, resource: Resource, namespace: str, name: str) -> None:
        found = self._store.get(Key("namespaces", "", namespace))
        if found is None:
            raise errors.not_found(BY_NAME["namespaces"], namespace)
        if "deletionTimestamp" in found["metadata"]:
            message = f"namespace {namespace} is being terminated"
            cause = Cause("NamespaceTerminating", message, "metadata.namespace")
            why = f"unable to create new content in namespace {namespace} because it is being terminated"
            raise errors.forbidden(resource, name, why, [cause])

    def _check_account(self, resource: Resource, pod: Object) -> None:
        namespace, account = pod["metadata"]["namespace"], pod["spec"]["serviceAccountName"]
        if self._store.get(Key("serviceaccounts", namespace, account)) is None:
            why = (
                f"error looking up service account {namespace}/{account}: "
                f'serviceaccount "{account}" not found'
            )
            raise errors.forbidden(resource, pod["metadata"]["name"], why)
