"""Which port a right is granted through, and what an identity holds there: Azure's roles or a service's own.

A recorded right names its kind only if it is not one of Azure's roles: those were there first.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from shared import naming
from shared.ports import Grants, RoleAssignment, Roles
from shared.steps.surroundings import Outside
from shared.target_parts import (
    AZURE_ROLE,
    COSMOS_ROLE,
    DATABASE_USER,
    GRANT_KINDS,
    REDIS_POLICY,
    GrantKind,
    Role,
)

KIND = "grant"
"""Where a recorded right names its kind."""


def kind_of(item: Mapping[str, Any]) -> GrantKind:
    """The kind of a recorded right."""
    return GRANT_KINDS[str(item.get(KIND, AZURE_ROLE.name))]


def port_of(outside: Outside, kind: GrantKind) -> Grants | Roles:
    """The port of a kind of rights."""
    ports: Mapping[str, Grants | Roles] = {
        AZURE_ROLE.name: outside.roles,
        COSMOS_ROLE.name: outside.cosmos,
        REDIS_POLICY.name: outside.redis,
    }
    return ports[kind.name]


def item_of(kind: GrantKind, role: Role, *, scope: str, principal_id: str) -> dict[str, Any]:
    """A right as it is recorded: what it is, and the name that we compute for it."""
    own = {} if kind is AZURE_ROLE else {KIND: kind.name}
    return {
        "role": role.name,
        "scope": scope,
        "principalId": principal_id,
        "roleDefinitionId": kind.definition_id(scope, role.id),
        "name": naming.role_assignment_name(scope, principal_id, role.id),
        **own,
    }


async def held_by(outside: Outside, kind: GrantKind, scope: str, principal_id: str) -> list[RoleAssignment]:
    """Rights of a principal that count at a scope; of Azure's roles those below it are listed too.

    None of a user inside a server: nobody but the server knows that one.
    """
    if kind is DATABASE_USER:
        return []
    if kind is AZURE_ROLE:
        return await outside.roles.list_for_principal(scope, principal_id)
    listed = await port_of(outside, kind).list(naming.resource_of(scope))
    here = f"{naming.fold_id(scope)}/"
    return [
        one
        for one in listed
        if one.principal_id.lower() == principal_id.lower()
        and here.startswith(f"{naming.fold_id(one.scope)}/")
    ]
