"""Objects in the shapes a client may ask for: whole, metadata only, or as a table for people.

The columns are those that ``kubectl get`` shows of a real server.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Any, NamedTuple

from sandbox.kube.resources import Object, Resource


class Column(NamedTuple):
    """One column of a kind's table."""

    name: str
    cell: Callable[[Object], Any]
    type: str = "string"
    priority: int = 0
    """0 always, 1 with ``-o wide``."""


def _age(shown: Object) -> str:
    created = shown["metadata"].get("creationTimestamp")
    if not created:
        return "<unknown>"
    seconds = int((dt.datetime.now(dt.UTC) - dt.datetime.fromisoformat(created)).total_seconds())
    if seconds < 120:
        return f"{max(seconds, 0)}s"
    if seconds < 7200:
        return f"{seconds // 60}m"
    if seconds < 172_800:
        return f"{seconds // 3600}h"
    return f"{seconds // 86_400}d"


def _at(*names: str, missing: Any = "<none>") -> Callable[[Object], Any]:
    def cell(shown: Object) -> Any:
        value: Any = shown
        for name in names:
            value = value.get(name) if isinstance(value, dict) else None
        return missing if value is None else value

    return cell


def _ready(shown: Object) -> str:
    ready = (shown.get("status") or {}).get("readyReplicas", 0)
    return f"{ready}/{(shown.get('spec') or {}).get('replicas', 1)}"


def _pod_ready(shown: Object) -> str:
    statuses = (shown.get("status") or {}).get("containerStatuses") or []
    total = len((shown.get("spec") or {}).get("containers") or [])
    return f"{sum(1 for status in statuses if status.get('ready'))}/{total}"


def _pod_restarts(shown: Object) -> str:
    statuses = (shown.get("status") or {}).get("containerStatuses") or []
    return str(sum(status.get("restartCount", 0) for status in statuses))


def _pod_status(shown: Object) -> str:
    if "deletionTimestamp" in shown["metadata"]:
        return "Terminating"
    return str((shown.get("status") or {}).get("phase", "Unknown"))


def _images(shown: Object) -> str:
    template = (shown.get("spec") or {}).get("template") or {}
    containers = (template.get("spec") or {}).get("containers") or []
    return ",".join(container.get("image", "") for container in containers)


def _role(shown: Object) -> str:
    return f"{shown['roleRef']['kind']}/{shown['roleRef']['name']}"


def _data_count(shown: Object) -> int:
    return len(shown.get("data") or {}) + len(shown.get("binaryData") or {})


_NAME = Column("Name", lambda shown: shown["metadata"]["name"])
_AGE = Column("Age", _age)
_CREATED = Column("Created At", lambda shown: shown["metadata"].get("creationTimestamp", ""))
_COLUMNS: dict[str, tuple[Column, ...]] = {
    "Namespace": (_NAME, Column("Status", _at("status", "phase")), _AGE),
    "ServiceAccount": (
        _NAME,
        Column("Secrets", lambda shown: len(shown.get("secrets") or []), "integer"),
        _AGE,
    ),
    "Secret": (_NAME, Column("Type", _at("type")), Column("Data", _data_count, "integer"), _AGE),
    "ConfigMap": (_NAME, Column("Data", _data_count, "integer"), _AGE),
    "Pod": (
        _NAME,
        Column("Ready", _pod_ready),
        Column("Status", _pod_status),
        Column("Restarts", _pod_restarts),
        _AGE,
        Column("IP", _at("status", "podIP"), priority=1),
        Column("Node", _at("spec", "nodeName"), priority=1),
    ),
    "Event": (
        Column("Last Seen", _age),
        Column("Type", _at("type")),
        Column("Reason", _at("reason")),
        Column("Object", _at("involvedObject", "name")),
        Column("Message", _at("message")),
    ),
    "Deployment": (
        _NAME,
        Column("Ready", _ready),
        Column("Up-to-date", _at("status", "updatedReplicas", missing=0), "integer"),
        Column("Available", _at("status", "availableReplicas", missing=0), "integer"),
        _AGE,
        Column("Images", _images, priority=1),
    ),
    "StatefulSet": (_NAME, Column("Ready", _ready), _AGE, Column("Images", _images, priority=1)),
    "Role": (_NAME, _CREATED),
    "ClusterRole": (_NAME, _CREATED),
    "RoleBinding": (_NAME, Column("Role", _role), _AGE),
    "ClusterRoleBinding": (_NAME, Column("Role", _role), _AGE),
}


def partial(shown: Object) -> Object:
    """Metadata only."""
    return {
        "kind": "PartialObjectMetadata",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": shown["metadata"],
    }


def table(
    resource: Resource,
    objects: list[Object],
    metadata: dict[str, Any],
    include: str,
) -> Object:
    """Objects as rows.

    Args:
        resource: Their kind.
        objects: One row each.
        metadata: The list's metadata.
        include: ``None``, ``Metadata`` or ``Object``: what comes along with each row.
    """
    columns = _COLUMNS.get(resource.kind, (_NAME, _AGE))
    rows = []
    for shown in objects:
        row: dict[str, Any] = {"cells": [column.cell(shown) for column in columns]}
        if include != "None":
            row["object"] = shown if include == "Object" else partial(shown)
        rows.append(row)
    return {
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": metadata,
        "columnDefinitions": [
            {
                "name": column.name,
                "type": column.type,
                "format": "name" if column.name == "Name" else "",
                "description": column.name,
                "priority": column.priority,
            }
            for column in columns
        ],
        "rows": rows,
    }
