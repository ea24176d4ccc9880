"""Kubernetes JSON to the few values that the core knows, and back; no requests here."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from shared.errors import PermanentError
from shared.ports import KubeObject

PROVIDER_CLASS = "SecretProviderClass"
PATHS = {
    "ServiceAccount": "serviceaccounts",
    "Secret": "secrets",
    "ConfigMap": "configmaps",
    PROVIDER_CLASS: "secretproviderclasses",
}
ADDED: Mapping[str, str] = {PROVIDER_CLASS: "secrets-store.csi.x-k8s.io/v1"}
"""API version of kinds that an add-on brings (secrets-store-csi-driver.sigs.k8s.io, concepts)."""
PROVIDER = "azure"
WITH_DATA = frozenset({"Secret", "ConfigMap", PROVIDER_CLASS})


def path_of(kind: str, namespace: str, name: str = "") -> str:
    """URL path of an object, or of its collection in a namespace or (``namespace`` empty) the cluster.

    Raises:
        PermanentError: ``kind-unknown`` for kinds that we never touch.
    """
    if kind not in PATHS:
        raise PermanentError("kind-unknown", kind)
    root = f"/apis/{ADDED[kind]}" if kind in ADDED else "/api/v1"
    path = f"{namespace_path(namespace, root=root) if namespace else root}/{PATHS[kind]}"
    return f"{path}/{quote(name, safe='')}" if name else path


def namespace_path(namespace: str, *, root: str = "/api/v1") -> str:
    """URL path of a namespace, or of what an API group has in it (``root`` is then the group's path)."""
    return f"{root}/namespaces/{quote(namespace, safe='')}"


def users_path(kind: tuple[str, str], namespace: str) -> str:
    """URL path of a kind (the path of its API group, and its plural) in a namespace."""
    root, plural = kind
    return f"{namespace_path(namespace, root=root)}/{plural}"


def object_of(kind: str, body: Mapping[str, Any]) -> KubeObject:
    """Read an object's JSON; a secret's values are decoded, and a class's are its parameters."""
    metadata = body.get("metadata") or {}
    data = (body.get("data") or {}) if kind in WITH_DATA else {}
    if kind == PROVIDER_CLASS:
        data = (body.get("spec") or {}).get("parameters") or {}
    decoded = _decoded if kind == "Secret" else str
    return KubeObject(
        kind=kind,
        namespace=metadata.get("namespace", ""),
        name=metadata.get("name", ""),
        uid=metadata.get("uid", ""),
        resource_version=metadata.get("resourceVersion", ""),
        labels=dict(metadata.get("labels") or {}),
        annotations=dict(metadata.get("annotations") or {}),
        data={key: decoded(value) for key, value in data.items()},
        created_at=metadata.get("creationTimestamp") or "",
        secret_type=_type(kind, body),
    )


def _type(kind: str, body: Mapping[str, Any]) -> str:
    """A secret's type; of a class what it has besides parameters of our provider, empty for nothing."""
    if kind == PROVIDER_CLASS and body.get("spec"):
        provider = str(body["spec"].get("provider") or "")
        more = sorted(set(body["spec"]) - {"provider", "parameters"})
        return " with ".join([provider, *more]) if more or provider != PROVIDER else ""
    return str(body.get("type") or "") if kind == "Secret" else ""


def applied(
    kind: str,
    namespace: str,
    name: str,
    *,
    labels: Mapping[str, str],
    annotations: Mapping[str, str],
    data: Mapping[str, str] | None,
) -> dict[str, Any]:
    """Body of a server-side apply.

    A secret's values go into ``data``, never ``stringData``: ownership would be recorded for a field that
    the API server does not keep, and later applies would neither prune nor see conflicts.
    """
    body: dict[str, Any] = {
        "apiVersion": ADDED.get(kind, "v1"),
        "kind": kind,
        "metadata": {
            "name": name,
            "namespace": namespace,
            "labels": dict(labels),
            "annotations": dict(annotations),
        },
    }
    if data is not None:
        if kind not in WITH_DATA:
            raise PermanentError("kind-unknown", f"a {kind} has no data")
        if kind == PROVIDER_CLASS:
            return {**body, "spec": {"provider": PROVIDER, "parameters": dict(data)}}
        encoded = _encoded if kind == "Secret" else str
        body["data"] = {key: encoded(value) for key, value in data.items()}
    return body


def _encoded(value: str) -> str:
    return base64.b64encode(value.encode()).decode()


def only(body: Mapping[str, Any], *, uid: str, resource_version: str) -> dict[str, Any]:
    """Body of an apply that changes one incarnation as it was read, and claims nothing that is empty.

    The API server answers with a conflict if there is no such object, another uid or another version
    (kubernetes.io, "Server-Side Apply" and, on resource versions, "API concepts").
    """
    kept = {name: value for name, value in body["metadata"].items() if value}
    return {**body, "metadata": {**kept, "uid": uid, "resourceVersion": resource_version}}


def _decoded(value: Any) -> str:
    try:
        return base64.b64decode(str(value), validate=True).decode("utf-8", errors="replace")
    except binascii.Error:
        return ""
