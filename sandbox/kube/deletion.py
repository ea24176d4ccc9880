"""Deletes: preconditions, propagation, collections, and what a delete answers."""

from __future__ import annotations

import copy
from typing import Any

from sandbox.kube import errors
from sandbox.kube.controllers import Controllers
from sandbox.kube.errors import Cause
from sandbox.kube.registry import Target
from sandbox.kube.resources import Object
from sandbox.kube.selectors import Predicate
from sandbox.kube.store import Store
from sandbox.kube.validation import check_options

_PROPAGATION = ("Background", "Foreground", "Orphan")
_PROTECTED_NAMESPACES = ("default", "kube-public", "kube-system")


def _checked(options: Any) -> dict[str, Any]:
    if options is None:
        return {}
    if not isinstance(options, dict):
        raise errors.bad_request("couldn't get version/kind; json parse error: DeleteOptions is an object")
    policy = options.get("propagationPolicy")
    if policy is not None and policy not in _PROPAGATION:
        cause = Cause.invalid("propagationPolicy", policy, "is no propagation policy")
        raise check_options("DeleteOptions", [cause])
    return options


class Deletion:
    """The delete operations of one cluster."""

    def __init__(self, store: Store, controllers: Controllers) -> None:
        self._store = store
        self._controllers = controllers

    def delete(self, target: Target, options: Any, *, dry_run: bool) -> Object:
        """DELETE of one object.

        Args:
            target: What to delete.
            options: DeleteOptions, or None.
            dry_run: Check everything and delete nothing.

        Returns:
            The object while it still stands or where its kind answers so, otherwise a Status.

        Raises:
            ApiError: 404, 409 for a precondition that does not hold, 403 for a protected namespace.
        """
        checked = _checked(options)
        stored = self._store.get(target.key)
        if stored is None:
            raise errors.not_found(target.resource, target.name)
        self._check_preconditions(target, stored, checked.get("preconditions") or {})
        if target.resource.kind == "Namespace" and target.name in _PROTECTED_NAMESPACES:
            raise errors.forbidden(target.resource, target.name, "this namespace may not be deleted")
        if dry_run:
            last, held = copy.deepcopy(stored), False
        else:
            orphan = checked.get("propagationPolicy") == "Orphan"
            last = self._controllers.delete(target.key, orphan=orphan)
            held = self._store.get(target.key) is not None
        if held or target.resource.returns_deleted:
            return last
        group = {"group": target.resource.group} if target.resource.group else {}
        return {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Success",
            "details": {
                "name": target.name,
                **group,
                "kind": target.resource.plural,
                "uid": last["metadata"]["uid"],
            },
        }

    def delete_collection(
        self,
        target: Target,
        predicate: Predicate | None,
        options: Any,
        *,
        dry_run: bool,
    ) -> list[Object]:
        """DELETE of every object of a kind that the predicate accepts; returns their last states."""
        checked = _checked(options)
        orphan = checked.get("propagationPolicy") == "Orphan"
        chosen = [
            (key, stored)
            for key, stored in self._store.each(target.resource.qualified, target.namespace)
            if predicate is None or predicate(stored)
        ]
        for key, stored in chosen:
            self._check_preconditions(
                Target(target.resource, key.namespace, key.name),
                stored,
                checked.get("preconditions") or {},
            )
        if dry_run:
            return [stored for _, stored in chosen]
        return [
            self._controllers.delete(key, orphan=orphan)
            for key, _ in chosen
            if self._store.get(key) is not None
        ]

    def _check_preconditions(self, target: Target, stored: Object, given: dict[str, Any]) -> None:
        metadata = stored["metadata"]
        for field, wanted, word, place in (
            ("uid", given.get("uid"), "UID", "object meta"),
            ("resourceVersion", given.get("resourceVersion"), "ResourceVersion", "object meta"),
        ):
            if wanted is not None and wanted != metadata[field]:
                why = (
                    f"Precondition failed: {word} in precondition: {wanted}, "
                    f"{word} in {place}: {metadata[field]}"
                )
                raise errors.conflict(target.resource, target.name, why)
