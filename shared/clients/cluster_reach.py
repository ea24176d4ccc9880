"""How AKS clusters are reached: what Azure says of them, and connections to their API servers.

A cluster's address and CA come from ``listClusterUserCredential``; the credential in that kubeconfig is not
used, the app signs in with its own Entra token. A cluster that takes none would answer an administrator's
certificate there, so it is not asked for it. Connections are kept per cluster inside the instance and dropped
when the API server cannot be reached: then Azure is asked again, which finds a rebuilt cluster's new address,
or that the cluster is gone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from shared.clients.arm_connection import ArmConnection, split_id
from shared.clients.arm_errors import ask
from shared.clients.cluster_facts import address_of, cluster_of
from shared.clients.credentials import AppCredential
from shared.clients.error_rules import Intent
from shared.clients.kube_connection import KubeConnection, UnreachableError
from shared.errors import PermanentError, TransientError
from shared.naming import fold_id
from shared.ports import ManagedCluster, without_entra


class ClusterReach:
    """Connections to the API servers of AKS clusters.

    Args:
        arm: How to reach Resource Manager.
        credential: The app's identity.
        ca_file: PEM file to trust for API servers whose kubeconfig names no CA; empty for the system's.
    """

    def __init__(self, arm: ArmConnection, credential: AppCredential, *, ca_file: str = "") -> None:
        self._arm = arm
        self._credential = credential
        self._ca_file = ca_file
        self._clients: dict[str, Any] = {}
        self._connections: dict[str, KubeConnection] = {}
        self._locks: dict[str, asyncio.Lock] = {}

    async def describe(self, cluster_id: str) -> ManagedCluster | None:
        """What Azure says of the cluster, ``None`` if it does not exist."""
        clusters, group, name = self._locate(cluster_id)
        found = await ask(clusters.get(group, name), Intent.READ)
        return None if found is None else cluster_of(found, cluster_id)

    async def call(
        self,
        cluster_id: str,
        request: Callable[[KubeConnection], Awaitable[dict[str, Any] | None]],
    ) -> dict[str, Any] | None:
        """Send a request; if a kept connection does not reach the server, ask Azure where it is and repeat.

        Repeating is safe: an apply, a delete with preconditions and a token request may run twice. A create
        whose first answer was lost finds its own object: ``object-exists``, and the caller looks whose it is.
        """
        key = fold_id(cluster_id)
        kept = self._connections.get(key)
        if kept is not None:
            try:
                return await request(kept)
            except UnreachableError:
                await self._drop(key, kept)
        connection = await self._connect(cluster_id)
        try:
            return await request(connection)
        except UnreachableError:
            self._arm.telemetry.measure("k8s_unreachable", cluster=key.rsplit("/", 1)[-1])
            await self._drop(key, connection)
            raise

    async def _connect(self, cluster_id: str) -> KubeConnection:
        key = fold_id(cluster_id)
        # A lock for each cluster: one that Azure is slow to tell of must not keep us from the others.
        async with self._locks.setdefault(key, asyncio.Lock()):
            if key not in self._connections:
                server, ca_data = await self._address(cluster_id)
                self._connections[key] = KubeConnection(
                    self._credential,
                    server=server,
                    ca_data=ca_data,
                    ca_file=self._ca_file,
                    telemetry=self._arm.telemetry,
                )
            return self._connections[key]

    async def _drop(self, key: str, connection: KubeConnection) -> None:
        if self._connections.get(key) is connection:
            del self._connections[key]
            await connection.retire()

    async def _address(self, cluster_id: str) -> tuple[str, str]:
        """URL and CA (PEM text) of the API server.

        Raises:
            PermanentError: ``cluster-gone``; ``cluster-without-entra``, before any credential is asked for.
            TransientError: ``kubeconfig-unusable`` if Azure's answer names no server (a stopped cluster).
        """
        described = await self.describe(cluster_id)
        if described is None:
            raise PermanentError("cluster-gone", cluster_id)
        if not described.entra:
            raise without_entra(cluster_id)
        clusters, group, name = self._locate(cluster_id)
        found = await ask(clusters.list_cluster_user_credentials(group, name, format="exec"), Intent.READ)
        if found is None:
            raise PermanentError("cluster-gone", cluster_id)
        address = address_of(bytes(one.value or b"") for one in found.kubeconfigs or [])
        if address is None:
            raise TransientError("kubeconfig-unusable", cluster_id)
        return address

    def _locate(self, cluster_id: str) -> tuple[Any, str, str]:
        subscription, group, name = split_id(cluster_id, "Microsoft.ContainerService", "managedClusters")
        if subscription not in self._clients:
            from azure.mgmt.containerservice.aio import ContainerServiceClient

            self._clients[subscription] = ContainerServiceClient(
                self._arm.credential, subscription, **self._arm.options()
            )
        return self._clients[subscription].managed_clusters, group, name

    async def aclose(self) -> None:
        """Close all connections and the SDK's clients."""
        opened = [*self._connections.values()]
        clients = [*self._clients.values()]
        self._connections, self._clients = {}, {}
        for connection in opened:
            await connection.aclose()
        for client in clients:
            await client.close()
