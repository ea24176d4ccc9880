"""Reading the role definitions that ``infra/roles`` ships."""

from __future__ import annotations

from typing import Any


def role_properties(raw: Any, subscription: str) -> dict[str, Any] | None:
    """Read a role definition in the REST form or in the form of ``az role definition create``.

    Args:
        raw: Content of the file.
        subscription: ARM id of the subscription that becomes the assignable scope.

    Returns:
        ``properties`` of the role definition, or ``None`` if the file describes something else.
    """
    if not isinstance(raw, dict):
        return None
    inner = raw.get("properties", raw)
    folded = {str(key).lower(): value for key, value in inner.items()}
    name = folded.get("rolename") or folded.get("name")
    permissions = folded.get("permissions")
    if permissions is None and ("actions" in folded or "dataactions" in folded):
        permissions = [
            {
                "actions": folded.get("actions", []),
                "notActions": folded.get("notactions", []),
                "dataActions": folded.get("dataactions", []),
                "notDataActions": folded.get("notdataactions", []),
            },
        ]
    if not name or not permissions:
        return None
    return {
        "roleName": name,
        "description": folded.get("description", ""),
        "type": "CustomRole",
        "assignableScopes": [subscription],
        "permissions": permissions,
    }
