"""Azure and the clusters of the simulation: the in-memory fakes, and what Azure does besides.

Lists may be old, a young principal is unknown to Authorization for a while, somebody else writes
credentials, clusters are updated or cannot be reached, things vanish by other people's hands.
"""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Mapping
from typing import Any

from shared.catalogue import catalogue
from shared.errors import Pace, TransientError
from shared.naming import fold_id, role_assignment_name
from shared.ports import Credential, Identity, Linker, RoleAssignment
from shared.target_parts import COSMOS_ROLE, REDIS_POLICY
from tests.fakes.azure_world import AzureWorld
from tests.fakes.clusters import InMemoryClusters
from tests.fakes.databases import InMemoryDatabases
from tests.fakes.grants import InMemoryGrants
from tests.fakes.identities import InMemoryIdentities
from tests.fakes.prover import InMemoryProver
from tests.fakes.resources import InMemoryLinkers, InMemoryResources
from tests.fakes.roles import InMemoryRoles
from tests.simulation.scheduler import VirtualLoop

SUBSCRIPTION = "11111111-1111-4111-8111-111111111111"
GROUP = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/rg"
IDENTITY_GROUP = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/rg-identities"
CLUSTERS = tuple(f"{GROUP}/providers/Microsoft.ContainerService/managedClusters/aks{n}" for n in (1, 2))
ACCOUNTS = tuple(f"{GROUP}/providers/Microsoft.Storage/storageAccounts/account{n}" for n in (1, 2, 3))
VAULTS = tuple(f"{GROUP}/providers/Microsoft.KeyVault/vaults/vault{n}" for n in (1, 2))
PARTS = {account: f"{account}/blobServices/default/containers/orders" for account in ACCOUNTS}
"""A part of each account to which a connection may be limited."""
NAMESPACES = ("shop", "pay")
LASTING = ("default", "kube-system")
"""Namespaces that each cluster has besides, always."""
PROVIDED = tuple(
    f"{GROUP}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/team{n}" for n in (1, 2)
)
STALE_SECONDS = 15.0
"""How often the world is photographed; a stale list shows the photograph before the last."""


class SimulatedWorld(AzureWorld):
    """Everything that exists, with what simulated Azure knows of its past."""

    def __init__(self, loop: VirtualLoop, dice: random.Random) -> None:
        super().__init__()
        self.loop = loop
        self.random = dice
        self.known_from: dict[str, float] = {}
        """When Authorization begins to know a principal."""
        self.slow_directory = dice.random() < 0.4
        self.photographs: list[
            tuple[dict[str, dict[str, Credential]], dict[str, Linker], dict[str, dict[str, Any]]]
        ] = []
        self.born: dict[object, float] = {}
        """When pods and linkers came to be: nothing younger than a run binds that run."""
        self.touched: dict[str, float] = {}
        """Folded ids, uids and names that somebody else removed or changed, and when they did last."""
        self.returned: dict[str, float] = {}
        """Folded ids of targets, parts, credentials and namespaces that were made again, and when last."""
        self.linked: set[str] = set()
        """Client ids through which a linker of Service Connector works, or did."""
        self.linked_identities: set[str] = set()
        """Folded ids of their identities, whatever client id those have by now."""
        self.foreign: set[str] = set()
        """Folded ids of identities that somebody else made where ours would be."""
        self.trusted: dict[tuple[str, str], float] = {}
        """When other people's credentials came on identities of ours, by folded id and name."""
        self.handled: dict[tuple[str, str, str, str], float] = {}
        """When somebody marked, unmarked or copied an object of ours: cluster, kind, namespace, name."""
        self.hidden: dict[str, float] = {}
        """Folded ids of resources that Azure does not find though they are there, and until when."""
        self.opened: dict[str, float] = {}
        """When each operation was opened."""
        self.photograph()
        self.photograph()

    def photograph(self) -> None:
        """Remember credentials, linkers and resources as they are, for stale lists."""
        credentials = {key: dict(value) for key, value in self.credentials.items()}
        now = (credentials, dict(self.linkers), dict(self.resources))
        self.photographs = [*self.photographs[-1:], now]

    def furnish(self) -> None:
        """Make clusters, targets, the identities of other teams."""
        reads = {row.name: row.read_check.path for row in catalogue().rows if row.read_check}
        self.add_group(IDENTITY_GROUP)
        for cluster in CLUSTERS:
            self.add_cluster(cluster, namespaces=(*NAMESPACES, *LASTING))
        for target in (*ACCOUNTS, *VAULTS):
            self.furnish_target(target)
            url = self.resources[fold_id(target)]["url"]
            kind = "storage-blob" if target in ACCOUNTS else "keyvault"
            self.data_planes[f"{url}{reads[kind]}"] = target
        for number, identity_id in enumerate(PROVIDED):
            self.add_group(GROUP)
            key = fold_id(identity_id)
            self.identities[key] = Identity(
                resource_id=identity_id,
                client_id=self.guid(),
                principal_id=self.guid(),
                location="westeurope",
                tags={},
            )
            # One identity is full but for one place, the other has an assignment under a name of its own.
            count = 19 if number else 3
            self.credentials[key] = {
                f"theirs{n}": Credential(
                    name=f"theirs{n}",
                    issuer="https://token.actions.githubusercontent.com",
                    subject=f"repo:team/app{n}:ref:refs/heads/main",
                    audiences=("api://AzureADTokenExchange",),
                )
                for n in range(count)
            }
        self.foreign_assignment(PROVIDED[0], ACCOUNTS[0])

    def furnish_target(self, target: str) -> None:
        """Make one target, again if need be."""
        name = target.rsplit("/", 1)[-1]
        self.returned[fold_id(target)] = self.loop.time()
        if target in ACCOUNTS:
            url = f"https://{name}.blob.core.windows.net/"
            self.add_resource(target, {"url": url, "properties": {"primaryEndpoints": {"blob": url}}})
            self.furnish_part(target)
        else:
            url = f"https://{name}.vault.azure.net/"
            vault = {"vaultUri": url, "enableRbacAuthorization": True}
            self.add_resource(target, {"url": url, "properties": vault})

    def furnish_part(self, account: str) -> None:
        """Make the part of an account, again if need be."""
        self.returned[fold_id(PARTS[account])] = self.loop.time()
        self.add_resource(PARTS[account])

    def foreign_assignment(self, identity_id: str, scope: str) -> None:
        """Give an identity the blob role by somebody else's hand, under another name than ours."""
        role = next(row for row in catalogue().rows if row.name == "storage-blob").roles()[0].id
        principal = self.identities[fold_id(identity_id)].principal_id
        name = role_assignment_name(scope, self.guid(), role)
        self.assignments[fold_id(scope), name] = RoleAssignment(
            scope=scope,
            name=name,
            principal_id=principal,
            role_definition_id=f"/subscriptions/{SUBSCRIPTION}/providers/Microsoft.Authorization/roleDefinitions/{role}",
        )

    def touch(self, thing: str) -> None:
        """Somebody else has removed or changed something."""
        self.touched[thing] = self.loop.time()

    def lose(self, resource_id: str) -> None:
        """Somebody else removes a resource with all that goes with it."""
        self.touch(fold_id(resource_id))
        self.remove(resource_id)

    def lose_namespace(self, cluster_id: str, namespace: str) -> bool:
        """Somebody else removes a namespace with all that is in it; false if its cluster is not there."""
        cluster = self.clusters.get(fold_id(cluster_id))
        if cluster is None or namespace not in cluster.namespaces or namespace in cluster.terminating:
            return False
        self.touch(f"{fold_id(cluster_id)}|{namespace}")
        if self.random.random() < 0.5:
            # Kubernetes takes what is in it first, and refuses whatever is new meanwhile.
            cluster.terminating.add(namespace)
            self.loop.call_later(self.random.uniform(1.0, 90.0), self._end_namespace, cluster_id, namespace)
        else:
            self._end_namespace(cluster_id, namespace)
        return True

    def _end_namespace(self, cluster_id: str, namespace: str) -> None:
        cluster = self.clusters.get(fold_id(cluster_id))
        if cluster is None:
            return
        self.touch(f"{fold_id(cluster_id)}|{namespace}")
        cluster.terminating.discard(namespace)
        cluster.namespaces.discard(namespace)
        cluster.objects = {key: one for key, one in cluster.objects.items() if key[1] != namespace}
        cluster.pods = {key: one for key, one in cluster.pods.items() if key[0] != namespace}
        cluster.workloads = {key: one for key, one in cluster.workloads.items() if key[0] != namespace}

    def furnish_namespace(self, cluster_id: str, namespace: str) -> None:
        """Make a namespace again, if its cluster is there."""
        cluster = self.clusters.get(fold_id(cluster_id))
        if cluster is not None and namespace in cluster.terminating:
            self.loop.call_later(5.0, self.furnish_namespace, cluster_id, namespace)
        elif cluster is not None:
            self.returned[f"{fold_id(cluster_id)}/namespaces/{namespace}"] = self.loop.time()
            cluster.namespaces.add(namespace)


class SimulatedIdentities(InMemoryIdentities):
    """Identities whose lists may be old."""

    _world: SimulatedWorld

    async def ensure(self, resource_id: str, *, location: str, tags: Mapping[str, str]) -> Identity:
        made = await super().ensure(resource_id, location=location, tags=tags)
        if self._world.slow_directory and made.principal_id not in self._world.known_from:
            until = self._world.loop.time() + self._world.random.uniform(9.0, 37.0)
            self._world.known_from[made.principal_id] = until
        return made

    async def list_credentials(self, identity_id: str, *, stale: bool = False) -> list[Credential]:
        if stale:
            return list(self._world.photographs[0][0].get(fold_id(identity_id), {}).values())
        return await super().list_credentials(identity_id)


class SimulatedRoles(InMemoryRoles):
    """Roles that take a while to know a new principal."""

    _world: SimulatedWorld

    async def ensure(self, assignment: RoleAssignment) -> RoleAssignment:
        if self._world.known_from.get(assignment.principal_id, 0.0) > self._world.loop.time():
            raise TransientError("principal-not-found", assignment.principal_id, pace=Pace.SLOW)
        return await super().ensure(assignment)


class SimulatedLinkers(InMemoryLinkers):
    """Linkers whose lists may be old."""

    _world: SimulatedWorld

    async def list(self, cluster_id: str, *, stale: bool = False) -> list[Linker]:
        if stale:
            prefix = f"{fold_id(cluster_id)}/providers/microsoft.servicelinker/linkers/"
            old = self._world.photographs[0][1]
            return [linker for key, linker in sorted(old.items()) if key.startswith(prefix)]
        return await super().list(cluster_id)


class SimulatedResources(InMemoryResources):
    """Resources whose lists may be old."""

    _world: SimulatedWorld

    async def get(self, resource_id: str, *, api_version: str) -> Mapping[str, Any] | None:
        if self._world.hidden.get(fold_id(resource_id), 0.0) > self._world.loop.time():
            return None
        return await super().get(resource_id, api_version=api_version)

    async def list(
        self, subscription_id: str, *, resource_type: str, name: str = "", stale: bool = False
    ) -> list[str]:
        now = self._world.resources
        if stale:
            self._world.resources = self._world.photographs[0][2]
        try:
            return await super().list(subscription_id, resource_type=resource_type, name=name)
        finally:
            self._world.resources = now


@dataclasses.dataclass(frozen=True, slots=True)
class Outward:
    """The shared side of all hosts' ports."""

    identities: SimulatedIdentities
    roles: SimulatedRoles
    cosmos: InMemoryGrants
    redis: InMemoryGrants
    databases: InMemoryDatabases
    resources: SimulatedResources
    clusters: InMemoryClusters
    linkers: SimulatedLinkers
    prover: InMemoryProver

    @classmethod
    def of(cls, world: SimulatedWorld) -> Outward:
        """All ports on one world."""
        return cls(
            identities=SimulatedIdentities(world),
            roles=SimulatedRoles(world),
            cosmos=InMemoryGrants(world, COSMOS_ROLE),
            redis=InMemoryGrants(world, REDIS_POLICY),
            databases=InMemoryDatabases(world),
            resources=SimulatedResources(world),
            clusters=InMemoryClusters(world),
            linkers=SimulatedLinkers(world),
            prover=InMemoryProver(world),
        )

    def named(self) -> dict[str, Any]:
        """Ports by the name that journals and matrices use."""
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}


def updating(world: AzureWorld, cluster_id: str, state: str) -> None:
    """Azure is (or no longer is) changing a cluster."""
    cluster = world.clusters.get(fold_id(cluster_id))
    if cluster is not None:
        cluster.described = dataclasses.replace(cluster.described, provisioning_state=state)
