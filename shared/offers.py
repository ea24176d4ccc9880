"""What can be connected: the catalogue as JSON, one object for each kind of target."""

from __future__ import annotations

from typing import Any

from shared.catalogue import Catalogue
from shared.target_parts import Role, RolesByVariant
from shared.targets import WORKLOAD_IDENTITY, TargetType


def targets(catalogue: Catalogue) -> list[dict[str, Any]]:
    """Every target of Service Connector, those that are not connected with the reason."""
    return [target(row) for row in catalogue.rows]


def target(row: TargetType) -> dict[str, Any]:
    """One kind of target."""
    return {
        "type": row.name,
        "title": row.title,
        "works": row.works,
        "idForms": [form for form in row.id_forms if form],
        "auth": {
            name: {
                "status": kind.status,
                "reason": kind.reason or None,
                "clientTypes": list(kind.client_types),
            }
            for name, kind in row.auth.items()
        },
        "clientTypes": list(row.client_types),
        "listedClientTypes": list(row.listed_client_types),
        "grants": row.grants.name,
        "roles": roles(row.default_roles),
        "intents": {name: roles(listed) for name, listed in row.intents.items()},
        "settings": {name: _settings(row, name) for name in row.client_types},
    }


def roles(listed: RolesByVariant) -> list[dict[str, str | None]]:
    """Roles, each with the variant that it is limited to."""
    return [_role(role) | {"variant": variant or None} for variant, some in listed.items() for role in some]


def _role(role: Role) -> dict[str, str | None]:
    return {"name": role.name, "id": role.id}


def _settings(row: TargetType, client_type: str) -> list[dict[str, Any]]:
    groups = row.auth[WORKLOAD_IDENTITY].groups(client_type)
    return [{"variant": group.variant or None, "keys": sorted(group.values)} for group in groups]
