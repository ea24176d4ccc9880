"""What is asked of Azure Resource Manager and Entra, besides clusters."""

from __future__ import annotations

import builtins
import dataclasses
from collections.abc import Mapping
from typing import Any, Protocol


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """A user-assigned managed identity."""

    resource_id: str
    client_id: str
    principal_id: str
    location: str
    tags: Mapping[str, str]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Credential:
    """A federated credential of an identity."""

    name: str
    issuer: str
    subject: str
    audiences: tuple[str, ...]


class Identities(Protocol):
    """Managed identities and their federated credentials (Microsoft.ManagedIdentity)."""

    async def get(self, resource_id: str) -> Identity | None:
        """Read one identity."""
        ...

    async def ensure(self, resource_id: str, *, location: str, tags: Mapping[str, str]) -> Identity:
        """Make or update one identity."""
        ...

    async def delete(self, resource_id: str) -> None:
        """Delete one identity and, with it, its credentials; absent is fine."""
        ...

    async def get_credential(self, identity_id: str, name: str) -> Credential | None:
        """Read one credential."""
        ...

    async def list_credentials(self, identity_id: str) -> list[Credential]:
        """All credentials of an identity; empty if the identity is gone."""
        ...

    async def ensure_credential(self, identity_id: str, credential: Credential) -> Credential:
        """Make or change one credential. Overlapping writes to one identity are transient (409)."""
        ...

    async def delete_credential(self, identity_id: str, name: str) -> None:
        """Delete one credential; absent is fine.

        Raises:
            PermanentError: ``credential-protected``: it is AKS's own (``naming.protected_credential``).
        """
        ...

    async def list(self, scope_id: str) -> list[Identity]:
        """All identities of a resource group or of a subscription; empty if it is gone."""
        ...


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class RoleAssignment:
    """A role assignment."""

    scope: str
    name: str
    principal_id: str
    role_definition_id: str
    description: str = ""
    existing: bool = False
    """True: the same triple stood there under this other name (RoleAssignmentExists)."""


class Roles(Protocol):
    """Role assignments (Microsoft.Authorization)."""

    async def get(self, scope: str, name: str) -> RoleAssignment | None:
        """Read one assignment."""
        ...

    async def ensure(self, assignment: RoleAssignment) -> RoleAssignment:
        """Make one assignment for a service principal; an equal one under another name is returned."""
        ...

    async def delete(self, scope: str, name: str) -> None:
        """Delete one assignment; absent, or below a deleted scope, is fine."""
        ...

    async def list_for_principal(self, scope: str, principal_id: str) -> list[RoleAssignment]:
        """Assignments of one principal at a scope and below or above it, as Azure lists them."""
        ...

    async def list(self, scope: str) -> list[RoleAssignment]:
        """All assignments at a scope and below it; empty if the scope is gone."""
        ...


class Grants(Protocol):
    """Data rights that a service keeps itself and not as role assignments of Azure.

    One kind of them a port. ``scope`` is the ARM id of the target or of a part of it,
    ``role_definition_id`` the ARM id of the service's own role or access policy.
    """

    async def get(self, scope: str, name: str) -> RoleAssignment | None:
        """Read one, with the scope that it has; ``None`` if it or its resource is gone."""
        ...

    async def ensure(self, assignment: RoleAssignment) -> RoleAssignment:
        """Make one; an equal one under another name is returned as ``existing``.

        Raises:
            NotYetError: ``grant-pending``: Azure has begun; ``target-updating``: it is busy with another.
            PermanentError: ``role-assignment-foreign`` if the name is another grant's,
                ``access-policy-taken`` if the principal has another policy where it can have one only.
        """
        ...

    async def delete(self, scope: str, name: str) -> None:
        """Delete one; absent, or below a deleted resource, is fine.

        Raises:
            NotYetError: as ``ensure``.
        """
        ...

    async def list(self, scope: str) -> list[RoleAssignment]:
        """All at a scope and below it; empty if the resource is gone."""
        ...


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Lock:
    """A management lock."""

    resource_id: str
    scope: str
    """Id of what it is on; it holds for all below too."""
    name: str
    level: str
    """``ReadOnly`` or ``CanNotDelete``."""


class Resources(Protocol):
    """Any ARM resource by id."""

    async def get(self, resource_id: str, *, api_version: str) -> Mapping[str, Any] | None:
        """The resource's JSON; ``None`` only on a definite not-found code, never on a bare 404 or 403."""
        ...

    async def list(self, subscription_id: str, *, resource_type: str, name: str = "") -> list[str]:
        """Ids of a subscription's top-level resources of one type, optionally only those of that name.

        Resource Manager's own list lags behind the provider: good for finding, never for proving.
        """
        ...

    async def list_keys(self, resource_id: str, *, action: str, api_version: str) -> Mapping[str, Any] | None:
        """What a resource's action answers that hands out its keys; ``None`` if the resource is gone.

        The answer is a credential: it goes into a cluster's secret and nowhere else.

        Raises:
            PermanentError: ``access-denied`` without the right, ``scope-locked`` under a ReadOnly lock.
        """
        ...

    async def locks(self, subscription_id: str) -> builtins.list[Lock]:
        """All management locks of a subscription, its groups and resources."""
        ...


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Linker:
    """A Service Connector connection of a cluster (Microsoft.ServiceLinker, api 2024-04-01)."""

    resource_id: str
    name: str
    namespace: str
    """``properties.scope``, ``default`` when absent."""
    target_id: str
    client_id: str
    """Client id of the identity, empty for other kinds of authentication."""
    client_type: str
    provisioning_state: str
    auth_type: str = ""
    """``properties.authInfo.authType``, such as ``userAssignedIdentity`` or ``secret``."""
    identity_subscription_id: str = ""
    """Subscription of the identity, folded; empty if the linker names none."""


class Linkers(Protocol):
    """Service Connector's connections; read only, through the generic client."""

    async def get(self, linker_id: str) -> Linker | None:
        """Read one linker."""
        ...

    async def list(self, cluster_id: str) -> list[Linker]:
        """All linkers of a cluster; empty if the cluster is gone."""
        ...
