"""What a path of the Kubernetes API addresses."""

from __future__ import annotations

from sandbox.kube.registry import Target
from sandbox.kube.resources import BY_PATH, REVIEWS

_NAMESPACE_SUBRESOURCES = {"finalize", "status"}


def addressed(path: str) -> Target | None:
    """What a path addresses, or None when it is no path of a stored kind."""
    parts = path.split("/")
    if parts[:2] == ["api", "v1"]:
        group, version, rest = "", "v1", parts[2:]
    elif parts[0] == "apis" and len(parts) > 3:
        group, version, rest = parts[1], parts[2], parts[3:]
    else:
        return None
    namespace = ""
    named_namespace = len(rest) > 2 and not (len(rest) == 3 and rest[2] in _NAMESPACE_SUBRESOURCES)
    if rest[:1] == ["namespaces"] and named_namespace:
        namespace, rest = rest[1], rest[2:]
    if not 1 <= len(rest) <= 3 or not all(rest):
        return None
    resource = BY_PATH.get((group, version, rest[0]))
    if resource is None or bool(namespace) > resource.namespaced:
        return None
    name, subresource = [*rest[1:], "", ""][:2]
    if subresource and subresource not in resource.subresources:
        return None
    return Target(resource, namespace, name, subresource)


def reviewed(path: str) -> tuple[str, str] | None:
    """Group and plural of the review that a path asks for, or None."""
    parts = path.split("/")
    if len(parts) == 4 and parts[0] == "apis" and parts[2] == "v1" and (parts[1], parts[3]) in REVIEWS:
        return parts[1], parts[3]
    return None
