"""The documents by which clients find out what is served."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from sandbox.kube.resources import GROUPS, RESOURCES, REVIEWS, STORED_VERBS, Object, Resource

VERSION = {
    "major": "1",
    "minor": "30",
    "gitVersion": "v1.30.0-sandbox",
    "gitCommit": "",
    "gitTreeState": "clean",
    "buildDate": "2024-04-17T17:27:03Z",
    "goVersion": "",
    "compiler": "",
    "platform": "linux/amd64",
}


def document(path: str, absent: Collection[str] = ()) -> Object | None:
    """The discovery document at a path (no slash at either end), or None.

    Args:
        path: what is asked for.
        absent: groups that this cluster does not serve.
    """
    if path == "version":
        return dict(VERSION)
    if path == "api":
        return {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []}
    if path == "apis":
        return {
            "kind": "APIGroupList",
            "apiVersion": "v1",
            "groups": [_group(group) for group in GROUPS if group not in absent],
        }
    if path == "api/v1":
        return _resource_list("")
    root, _, rest = path.partition("/")
    group, _, version = rest.partition("/")
    if root != "apis" or group not in GROUPS or group in absent:
        return None
    if version == "v1":
        return _resource_list(group)
    return {"kind": "APIGroup", "apiVersion": "v1", **_group(group)} if not version else None


def _group(group: str) -> dict[str, Any]:
    version = {"groupVersion": f"{group}/v1", "version": "v1"}
    return {"name": group, "versions": [version], "preferredVersion": version}


def _resource_list(group: str) -> Object:
    resources: list[dict[str, Any]] = []
    for row in RESOURCES:
        if row.group == group:
            resources.extend(_entries(row))
    resources.extend(
        {"name": plural, "singularName": "", "namespaced": False, "kind": kind, "verbs": ["create"]}
        for (of_group, plural), kind in REVIEWS.items()
        if of_group == group
    )
    return {
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": f"{group}/v1" if group else "v1",
        "resources": resources,
    }


def _entries(row: Resource) -> list[dict[str, Any]]:
    main: dict[str, Any] = {
        "name": row.plural,
        "singularName": row.kind.lower(),
        "namespaced": row.namespaced,
        "kind": row.kind,
        "verbs": list(STORED_VERBS),
    }
    if row.short_names:
        main["shortNames"] = list(row.short_names)
    if row.categories:
        main["categories"] = list(row.categories)
    entries = [main]
    for name in row.subresources:
        entry = {
            "name": f"{row.plural}/{name}",
            "singularName": "",
            "namespaced": row.namespaced,
            "kind": row.kind,
            "verbs": ["get", "patch", "update"],
        }
        if name == "token":
            entry |= {
                "group": "authentication.k8s.io",
                "version": "v1",
                "kind": "TokenRequest",
                "verbs": ["create"],
            }
        elif name == "finalize":
            entry["verbs"] = ["update"]
        entries.append(entry)
    return entries
