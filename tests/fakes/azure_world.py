"""What the Azure and Kubernetes fakes share: the resources that exist, and the rules between them.

Deleting an identity takes its credentials and leaves its role assignments; deleting a resource takes what
is below it, its linkers and the assignments at its scope; deleting a cluster takes its objects.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from shared.naming import fold_id, resource_group_of
from shared.ports import Credential, Identity, Linker, Lock, ManagedCluster, RoleAssignment


@dataclasses.dataclass(slots=True)
class StoredObject:
    """A Kubernetes object and who owns which of its fields."""

    uid: str
    resource_version: str
    labels: dict[str, str] = dataclasses.field(default_factory=dict)
    annotations: dict[str, str] = dataclasses.field(default_factory=dict)
    data: dict[str, str] = dataclasses.field(default_factory=dict)
    created_at: str = "2026-11-22T10:00:00Z"
    owners: dict[str, set[tuple[str, str]]] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(slots=True)
class StoredCluster:
    """A cluster with its namespaces, objects and pods."""

    described: ManagedCluster
    namespaces: set[str] = dataclasses.field(default_factory=lambda: {"default"})
    terminating: set[str] = dataclasses.field(default_factory=set)
    objects: dict[tuple[str, str, str], StoredObject] = dataclasses.field(default_factory=dict)
    pods: dict[tuple[str, str], dict[str, Any]] = dataclasses.field(default_factory=dict)
    workloads: dict[tuple[str, str, str], dict[str, Any]] = dataclasses.field(default_factory=dict)
    """Kubernetes JSON of what makes pods, and of service accounts with lists of secrets, by namespace,
    kind and name."""
    reachable: bool = True
    secrets_store: bool = False
    """Whether it has the Secrets Store CSI Driver."""


class AzureWorld:
    """Everything that exists."""

    def __init__(self) -> None:
        self._number = 0
        self.groups: set[str] = set()
        self.resources: dict[str, dict[str, Any]] = {}
        self.identities: dict[str, Identity] = {}
        self.credentials: dict[str, dict[str, Credential]] = {}
        self.assignments: dict[tuple[str, str], RoleAssignment] = {}
        self.grants: dict[tuple[str, str], RoleAssignment] = {}
        """What services keep themselves, by folded id of the top-level resource and name."""
        self.slow_grants = False
        """Services take one look longer for every write."""
        self.linkers: dict[str, Linker] = {}
        self.locks: list[Lock] = []
        self.unregistered: set[str] = set()
        """Folded ids of resource providers that their subscription has not registered."""
        self.keys: dict[str, dict[str, Any]] = {}
        """What resources answer that are asked for their keys, by folded id."""
        self.clusters: dict[str, StoredCluster] = {}
        self.data_planes: dict[str, str] = {}
        """Scope by URL of what can be read there."""
        self.servers: dict[str, Any] = {}
        """``StoredServer`` (``tests/fakes/databases.py``) by host name."""

    def guid(self) -> str:
        """A new GUID, the same in every run."""
        return f"00000000-0000-4000-8000-{self.number():012x}"

    def number(self) -> int:
        """A new number."""
        self._number += 1
        return self._number

    def add_group(self, group_id: str) -> None:
        """Make a resource group."""
        self.groups.add(fold_id(group_id))

    def add_resource(self, resource_id: str, body: dict[str, Any] | None = None) -> None:
        """Make a resource, and its group if needed."""
        self.add_group(resource_group_of(resource_id))
        self.resources[fold_id(resource_id)] = {"id": resource_id, **(body or {})}

    def add_cluster(
        self, cluster_id: str, *, issuer: str = "", namespaces: tuple[str, ...] = (), entra: bool = True
    ) -> StoredCluster:
        """Make a cluster with OIDC issuer and workload identity on, and with Entra unless told otherwise."""
        described = ManagedCluster(
            resource_id=cluster_id,
            location="westeurope",
            provisioning_state="Succeeded",
            power_state="Running",
            issuer=issuer or f"https://issuer.example/{self.guid()}/",
            workload_identity=True,
            entra=entra,
            forbidden_identities=(),
        )
        cluster = StoredCluster(described=described)
        cluster.namespaces |= set(namespaces)
        self.add_resource(cluster_id, {"location": "westeurope"})
        self.clusters[fold_id(cluster_id)] = cluster
        return cluster

    def remove(self, resource_id: str) -> None:
        """Remove a resource, a group or an identity with all that goes with it."""
        gone = fold_id(resource_id)

        def below(other: str) -> bool:
            return other == gone or other.startswith(f"{gone}/")

        self.groups = {one for one in self.groups if not below(one)}
        self.resources = {key: value for key, value in self.resources.items() if not below(key)}
        self.identities = {key: value for key, value in self.identities.items() if not below(key)}
        self.credentials = {key: value for key, value in self.credentials.items() if not below(key)}
        self.linkers = {key: value for key, value in self.linkers.items() if not below(key)}
        self.clusters = {key: value for key, value in self.clusters.items() if not below(key)}
        self.assignments = {key: value for key, value in self.assignments.items() if not below(key[0])}
        self.grants = {key: value for key, value in self.grants.items() if not below(key[0])}

    def scope_exists(self, scope: str) -> bool:
        """Say whether something can be granted at that scope."""
        folded = fold_id(scope)
        is_subscription = folded.count("/") == 2 and folded.startswith("/subscriptions/")
        return (
            is_subscription or folded in self.groups or folded in self.resources or folded in self.identities
        )

    def identity_of(self, client_id: str) -> Identity | None:
        """The identity with that client id."""
        found = [one for one in self.identities.values() if one.client_id.lower() == client_id.lower()]
        return found[0] if found else None
