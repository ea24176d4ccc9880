"""What is in a new cluster: the system's namespaces, roles and bindings."""

from __future__ import annotations

from typing import Any

from sandbox.kube.resources import Object
from sandbox.kube.store import Key

NAMESPACES = ("default", "kube-node-lease", "kube-public", "kube-system")
ANYONE = ("system:authenticated", "system:unauthenticated")

_RBAC = "rbac.authorization.k8s.io"
_WRITE = ["create", "delete", "deletecollection", "patch", "update"]
_READ = ["get", "list", "watch"]


def _rule(groups: list[str], resources: list[str], verbs: list[str]) -> dict[str, Any]:
    return {"apiGroups": groups, "resources": resources, "verbs": verbs}


_VIEWED = [
    _rule([""], ["configmaps", "events", "pods", "pods/status", "serviceaccounts"], _READ),
    _rule([""], ["namespaces", "namespaces/status"], _READ),
    _rule(["apps"], ["daemonsets", "deployments", "replicasets", "statefulsets"], _READ),
    _rule(["batch"], ["cronjobs", "jobs"], _READ),
]
_EDITED = [
    _rule([""], ["configmaps", "events", "pods", "secrets", "serviceaccounts"], [*_WRITE, *_READ]),
    _rule([""], ["serviceaccounts"], ["impersonate"]),
    _rule([""], ["serviceaccounts/token"], ["create"]),
    _rule(["apps"], ["daemonsets", "deployments", "replicasets", "statefulsets"], _WRITE),
    _rule(["batch"], ["cronjobs", "jobs"], _WRITE),
    *_VIEWED,
]
_DISCOVERY = ["/api", "/api/*", "/apis", "/apis/*", "/healthz", "/livez", "/openapi", "/openapi/*"]
_PUBLIC = ["/healthz", "/livez", "/readyz", "/version", "/version/"]
_ISSUER = ["/.well-known/openid-configuration", "/openid/v1/jwks"]

_CLUSTER_ROLES: dict[str, list[dict[str, Any]]] = {
    "cluster-admin": [_rule(["*"], ["*"], ["*"]), {"nonResourceURLs": ["*"], "verbs": ["*"]}],
    "admin": [*_EDITED, _rule([_RBAC], ["rolebindings", "roles"], [*_WRITE, *_READ])],
    "edit": _EDITED,
    "view": _VIEWED,
    "system:basic-user": [
        _rule(["authorization.k8s.io"], ["selfsubjectaccessreviews", "selfsubjectrulesreviews"], ["create"]),
    ],
    "system:discovery": [{"nonResourceURLs": [*_DISCOVERY, *_PUBLIC], "verbs": ["get"]}],
    "system:public-info-viewer": [{"nonResourceURLs": _PUBLIC, "verbs": ["get"]}],
    "system:service-account-issuer-discovery": [{"nonResourceURLs": _ISSUER, "verbs": ["get"]}],
}
_CLUSTER_ROLE_BINDINGS = {
    "cluster-admin": ("system:masters",),
    "system:basic-user": ("system:authenticated",),
    "system:discovery": ("system:authenticated",),
    "system:public-info-viewer": ANYONE,
    "system:service-account-issuer-discovery": ("system:serviceaccounts",),
}


def cluster_contents() -> list[tuple[Key, Object]]:
    """Objects of a new cluster, without uids and times."""
    labels = {"kubernetes.io/bootstrapping": "rbac-defaults"}
    contents: list[tuple[Key, Object]] = [
        (
            Key(f"clusterroles.{_RBAC}", "", name),
            {
                "apiVersion": f"{_RBAC}/v1",
                "kind": "ClusterRole",
                "metadata": {"name": name, "labels": dict(labels)},
                "rules": rules,
            },
        )
        for name, rules in _CLUSTER_ROLES.items()
    ]
    contents.extend(
        (
            Key(f"clusterrolebindings.{_RBAC}", "", name),
            {
                "apiVersion": f"{_RBAC}/v1",
                "kind": "ClusterRoleBinding",
                "metadata": {"name": name, "labels": dict(labels)},
                "roleRef": {"apiGroup": _RBAC, "kind": "ClusterRole", "name": name},
                "subjects": [{"apiGroup": _RBAC, "kind": "Group", "name": group} for group in groups],
            },
        )
        for name, groups in _CLUSTER_ROLE_BINDINGS.items()
    )
    for name in NAMESPACES:
        namespace = {
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": {"name": name, "labels": {"kubernetes.io/metadata.name": name}},
            "spec": {"finalizers": ["kubernetes"]},
            "status": {"phase": "Active"},
        }
        contents.append((Key("namespaces", "", name), namespace))
    return contents


def namespace_contents(namespace: str) -> list[tuple[Key, Object]]:
    """Objects that controllers keep in every namespace, without uids and times."""
    account: Object = {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": {"name": "default", "namespace": namespace},
    }
    return [(Key("serviceaccounts", namespace, "default"), account)]
