"""What the core needs of the outside, as small protocols of plain values.

Adapters stand in ``shared/clients``; strict in-memory twins in ``tests/fakes``. Both pass the same
contract tests. Every method raises only ``TransientError`` or ``PermanentError``
(``StateConflictError`` where it says so); "not there" is ``None``, never an exception.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol

from shared.models import StepMessage

Columns = Mapping[str, str | int | bool]


# --- state -------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One table row as read."""

    partition: str
    key: str
    columns: Columns
    etag: str
    written_at: datetime
    """The service's own time of the last write."""
    read_at: datetime
    """The service's time of this read (the response's Date), so that no local clock is trusted."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Insert:
    """Add a row; conflicts if the key exists."""

    key: str
    columns: Columns


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Replace:
    """Replace a row; conflicts if the etag is not the present one."""

    key: str
    columns: Columns
    etag: str


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Upsert:
    """Write a row whatever is there."""

    key: str
    columns: Columns


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Remove:
    """Remove a row. With an etag: conflicts if it changed. Without: being absent already is fine."""

    key: str
    etag: str = ""


Change = Insert | Replace | Upsert | Remove


class StateStore(Protocol):
    """Table storage. One transaction covers one partition, at most 100 changes, all or nothing."""

    async def get(self, table: str, partition: str, key: str) -> Row | None:
        """Read one row."""
        ...

    async def query(self, table: str, partition: str, *, key_from: str = "", key_to: str = "") -> list[Row]:
        """Rows of one partition with ``key_from <= key < key_to``, in key order; empty bounds are open."""
        ...

    async def scan(self, table: str, *, key: str = "", limit: int = 1000) -> list[Row]:
        """Rows of all partitions, optionally only those with that exact row key, at most ``limit``."""
        ...

    async def transact(self, table: str, partition: str, changes: Sequence[Change]) -> Mapping[str, str]:
        """Apply all changes or none; new etags by key (none for removed rows).

        Raises:
            StateConflictError: a row existed, was absent, or had another etag.
        """
        ...


# --- queues and events -------------------------------------------------------------------------------


class StepQueue(Protocol):
    """The queues we write to ourselves."""

    async def announce(self, message: StepMessage, *, delay_seconds: float = 0) -> None:
        """Put a step on ``connection-steps``, hidden for ``delay_seconds``; it never expires."""
        ...

    async def forward_event(self, text: str, *, delay_seconds: float = 0) -> None:
        """Put a raw event on ``resource-events``."""
        ...

    async def reject(self, envelope: Mapping[str, Any]) -> None:
        """Put a refusal on ``rejected``, as one JSON object."""
        ...

    async def depth(self, queue: str) -> int:
        """Approximate number of messages, hidden ones included."""
        ...


class OutcomeTopic(Protocol):
    """Where ended operations are told to others (Event Grid), if a topic is configured."""

    async def publish(self, *, event_type: str, subject: str, data: Mapping[str, Any], event_id: str) -> None:
        """Publish one CloudEvent; the id makes a repeat recognisable."""
        ...


class Clock(Protocol):
    """The local clock; used for logs and total times, never for leases."""

    def now(self) -> datetime:
        """Aware UTC instant."""
        ...


# --- Azure -------------------------------------------------------------------------------------------


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
        """Delete one credential; absent is fine."""
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


class Resources(Protocol):
    """Any ARM resource by id."""

    async def get(self, resource_id: str, *, api_version: str) -> Mapping[str, Any] | None:
        """The resource's JSON; ``None`` only on a definite not-found code, never on a bare 404 or 403."""
        ...


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ManagedCluster:
    """What a connection must know of an AKS cluster."""

    resource_id: str
    location: str
    provisioning_state: str
    power_state: str
    issuer: str
    """OIDC issuer URL, character by character, empty if the issuer is off."""
    workload_identity: bool
    forbidden_identities: tuple[str, ...]
    """Folded resource ids and client ids of the kubelet's and the control plane's identities."""


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


class Linkers(Protocol):
    """Service Connector's connections; read only, through the generic client."""

    async def get(self, linker_id: str) -> Linker | None:
        """Read one linker."""
        ...

    async def list(self, cluster_id: str) -> list[Linker]:
        """All linkers of a cluster; empty if the cluster is gone."""
        ...


# --- Kubernetes --------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class KubeObject:
    """Metadata of a service account or secret, and a secret's values when asked for."""

    kind: str
    namespace: str
    name: str
    uid: str
    resource_version: str
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    data: Mapping[str, str] = dataclasses.field(default_factory=dict, repr=False)
    """Decoded values of a secret; never logged."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """A pod that uses a service account or secrets."""

    kind: str
    name: str
    service_account: str
    secrets: tuple[str, ...]


class Clusters(Protocol):
    """AKS clusters and the few Kubernetes calls that we make in them.

    Each Kubernetes method takes the cluster's ARM id. ``PermanentError("cluster-gone")`` is raised when
    Azure says that the cluster does not exist; an unreachable API server is transient.
    """

    async def describe(self, cluster_id: str) -> ManagedCluster | None:
        """What Azure says of the cluster, ``None`` if it does not exist."""
        ...

    async def namespace_exists(self, cluster_id: str, namespace: str) -> bool:
        """Say whether a namespace exists and is not being removed."""
        ...

    async def get(self, cluster_id: str, kind: str, namespace: str, name: str) -> KubeObject | None:
        """Read a ``ServiceAccount`` or ``Secret``."""
        ...

    async def apply(
        self,
        cluster_id: str,
        kind: str,
        namespace: str,
        name: str,
        *,
        labels: Mapping[str, str],
        annotations: Mapping[str, str],
        data: Mapping[str, str] | None = None,
    ) -> KubeObject:
        """Server-side apply under field manager ``mooring``, never forced.

        Raises:
            PermanentError: ``field-conflict`` if another manager owns a field.
        """
        ...

    async def delete(
        self,
        cluster_id: str,
        kind: str,
        namespace: str,
        name: str,
        *,
        uid: str,
        resource_version: str,
    ) -> bool:
        """Delete exactly that incarnation; ``False`` if it was gone already.

        Raises:
            TransientError: ``precondition`` if the object changed since it was read.
        """
        ...

    async def list_uses(self, cluster_id: str, namespace: str) -> list[Use]:
        """What uses service accounts and secrets in a namespace: pods that are not finished."""
        ...

    async def request_token(self, cluster_id: str, namespace: str, name: str, *, audience: str) -> str:
        """Mint a short-lived token of a service account (TokenRequest); only with PROVE=on."""
        ...


class Prover(Protocol):
    """Proves that a workload's access works, as the workload would use it."""

    async def exchange(self, *, client_id: str, assertion: str, scope: str) -> str:
        """Exchange a service-account token for an Entra token.

        Raises:
            PermanentError: ``exchange-refused`` with the AADSTS code in the detail.
        """
        ...

    async def read(self, url: str, *, token: str) -> int | None:
        """HTTP status of one authorised GET, or ``None`` if the address is not reachable from here."""
        ...
