"""How the services that keep data rights themselves write them down.

Cosmos DB: SQL Resources - Create Update Sql Role Assignment, and learn.microsoft.com/azure/cosmos-db/nosql,
"security/how-to-grant-data-plane-access" (a scope names ``dbs`` and ``colls``). Redis: Access Policy
Assignment - Create Update, and learn.microsoft.com/azure/azure-cache-for-redis, "configure Microsoft Entra".
Not tried on a live subscription.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Mapping
from typing import Any

from shared.clients.error_rules import Service
from shared.naming import resource_of
from shared.ports import RoleAssignment

_DATABASE = re.compile(r"/sqlDatabases/([^/]+)(?:/containers/([^/]+))?$", re.IGNORECASE)
_NATIVE = re.compile(r"/dbs/([^/]+)(?:/colls/([^/]+))?$", re.IGNORECASE)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """The wire form of one kind of grant."""

    service: Service
    api_version: str
    collection: str
    """Type of the grants below the top-level resource."""
    one_each: bool
    """A principal can have one at a resource only."""
    properties: Callable[[RoleAssignment], Mapping[str, Any]]
    """Of the body of a PUT."""
    read: Callable[[str, str, Mapping[str, Any]], RoleAssignment]
    """From the top-level resource's id, the grant's name and the properties of its answer."""

    def path(self, scope: str, name: str = "") -> str:
        """Id of a grant, or of the list of them."""
        return f"{resource_of(scope)}/{self.collection}{f'/{name}' if name else ''}"


def _cosmos_scope(scope: str) -> str:
    found = _DATABASE.search(scope)
    if found is None:
        return scope
    container = f"/colls/{found[2]}" if found[2] else ""
    return f"{resource_of(scope)}/dbs/{found[1]}{container}"


def _cosmos_properties(wanted: RoleAssignment) -> Mapping[str, Any]:
    return {
        "roleDefinitionId": wanted.role_definition_id,
        "principalId": wanted.principal_id,
        "scope": _cosmos_scope(wanted.scope),
    }


def _cosmos_read(root: str, name: str, properties: Mapping[str, Any]) -> RoleAssignment:
    part = _NATIVE.search(str(properties.get("scope") or ""))
    container = f"/containers/{part[2]}" if part and part[2] else ""
    return RoleAssignment(
        scope=f"{root}/sqlDatabases/{part[1]}{container}" if part else root,
        name=name,
        principal_id=str(properties.get("principalId") or ""),
        role_definition_id=str(properties.get("roleDefinitionId") or ""),
    )


def _redis_properties(wanted: RoleAssignment) -> Mapping[str, Any]:
    return {
        "accessPolicyName": wanted.role_definition_id.rsplit("/", 1)[-1],
        "objectId": wanted.principal_id,
        "objectIdAlias": wanted.description or wanted.principal_id,
    }


def _redis_read(root: str, name: str, properties: Mapping[str, Any]) -> RoleAssignment:
    policy = str(properties.get("accessPolicyName") or "")
    return RoleAssignment(
        scope=root,
        name=name,
        principal_id=str(properties.get("objectId") or ""),
        role_definition_id=f"{root}/accessPolicies/{policy}",
        description=str(properties.get("objectIdAlias") or ""),
    )


COSMOS = Dialect(
    service=Service.COSMOS,
    api_version="2024-05-15",
    collection="sqlRoleAssignments",
    one_each=False,
    properties=_cosmos_properties,
    read=_cosmos_read,
)
REDIS = Dialect(
    service=Service.REDIS,
    api_version="2023-08-01",
    collection="accessPolicyAssignments",
    one_each=True,
    properties=_redis_properties,
    read=_redis_read,
)
