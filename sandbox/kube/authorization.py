"""Role-based access control over the roles and bindings that are stored in the cluster."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

from sandbox.kube.authentication import User
from sandbox.kube.errors import ApiError, forbidden
from sandbox.kube.resources import Object, Resource
from sandbox.kube.store import Key, Store

_RBAC = "rbac.authorization.k8s.io"
Rule = dict[str, Any]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """What somebody wants to do: with a resource, or with a path that is none."""

    verb: str
    group: str = ""
    resource: str = ""
    """Plural, with ``/subresource`` where there is one."""
    namespace: str = ""
    name: str = ""
    path: str = ""


class Authorizer:
    """Answers what a user may do in one cluster."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def allowed(self, user: User, action: Action) -> bool:
        """Whether any rule bound to the user allows the action."""
        if "system:masters" in user.groups:
            return True
        return any(_covers(rule, action) for rule in self.rules(user, action.namespace))

    def require(self, user: User, action: Action) -> None:
        """Refuse what is not allowed.

        Raises:
            ApiError: 403, worded and detailed as the server does.
        """
        if self.allowed(user, action):
            return
        if action.path:
            message = f'forbidden: User "{user.name}" cannot {action.verb} path "{action.path}"'
            raise ApiError(403, "Forbidden", message, details={})
        plural = action.resource.partition("/")[0]
        qualified = f"{plural}.{action.group}" if action.group else plural
        subject = f'{qualified} "{action.name}"' if action.name else qualified
        where = f'in the namespace "{action.namespace}"' if action.namespace else "at the cluster scope"
        message = (
            f'{subject} is forbidden: User "{user.name}" cannot {action.verb} resource '
            f'"{action.resource}" in API group "{action.group}" {where}'
        )
        details = {
            **({"name": action.name} if action.name else {}),
            **({"group": action.group} if action.group else {}),
            "kind": plural,
        }
        raise ApiError(403, "Forbidden", message, details=details)

    def rules(self, user: User, namespace: str) -> Iterator[Rule]:
        """Every rule that holds for the user in a namespace (empty: cluster-wide rules only)."""
        for _, binding in self._store.each(f"clusterrolebindings.{_RBAC}"):
            if _binds(binding, user):
                yield from self.role_rules(binding["roleRef"], "")
        if namespace:
            for _, binding in self._store.each(f"rolebindings.{_RBAC}", namespace):
                if _binds(binding, user):
                    yield from self.role_rules(binding["roleRef"], namespace)

    def role_rules(self, reference: dict[str, Any], namespace: str) -> list[Rule]:
        """Rules of the role that a binding refers to; none when the role is not there."""
        kind = "roles" if reference["kind"] == "Role" else "clusterroles"
        role = self._store.get(
            Key(f"{kind}.{_RBAC}", namespace if kind == "roles" else "", reference["name"]),
        )
        return (role or {}).get("rules") or []

    def admit_grant(self, user: User, resource: Resource, old: Object | None, new: Object) -> None:
        """Refuse a role or binding that grants more than the user holds.

        Raises:
            ApiError: 403, unless the user holds every granted rule or has the escalate or bind verb.
        """
        if resource.group != _RBAC:
            return
        namespace, name = new["metadata"].get("namespace", ""), new["metadata"].get("name", "")
        if resource.plural in {"roles", "clusterroles"}:
            if old is not None and old.get("rules") == new.get("rules"):
                return
            verb, plural, target, rules = "escalate", resource.plural, name, new.get("rules") or []
        else:
            reference = new["roleRef"]
            if old is not None and old.get("subjects") == new.get("subjects"):
                return
            verb, target = "bind", reference["name"]
            plural = "roles" if reference["kind"] == "Role" else "clusterroles"
            rules = self.role_rules(reference, namespace)
        may = Action(verb=verb, group=_RBAC, resource=plural, namespace=namespace, name=target)
        if self.allowed(user, may):
            return
        held = list(self.rules(user, namespace))
        if all(any(_covers(rule, action) for rule in held) for rule in rules for action in _each(rule)):
            return
        why = (
            f'user "{user.name}" (groups={list(user.groups)}) is attempting to grant RBAC permissions '
            "not currently held"
        )
        raise forbidden(resource, name, why)


def _binds(binding: Object, user: User) -> bool:
    for subject in binding.get("subjects") or ():
        kind, name = subject.get("kind"), subject.get("name")
        if kind == "ServiceAccount":
            if user.name == f"system:serviceaccount:{subject.get('namespace')}:{name}":
                return True
        elif (kind == "User" and name == user.name) or (kind == "Group" and name in user.groups):
            return True
    return False


def _covers(rule: Rule, action: Action) -> bool:
    verbs = rule.get("verbs") or ()
    if action.verb not in verbs and "*" not in verbs:
        return False
    if action.path:
        return any(
            pattern in {"*", action.path} or (pattern.endswith("*") and action.path.startswith(pattern[:-1]))
            for pattern in rule.get("nonResourceURLs") or ()
        )
    groups = rule.get("apiGroups") or ()
    if action.group not in groups and "*" not in groups:
        return False
    _, _, subresource = action.resource.partition("/")
    resources = rule.get("resources") or ()
    if not {"*", action.resource, f"*/{subresource}" if subresource else "*"} & set(resources):
        return False
    names = rule.get("resourceNames") or ()
    return not names or action.name in names


def _each(rule: Rule) -> Iterator[Action]:
    for verb in rule.get("verbs") or ():
        for path in rule.get("nonResourceURLs") or ():
            yield Action(verb=verb, path=path)
        for group in rule.get("apiGroups") or ():
            for resource in rule.get("resources") or ():
                for name in rule.get("resourceNames") or ("",):
                    yield Action(verb=verb, group=group, resource=resource, name=name)
