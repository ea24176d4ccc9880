"""AKS clusters, and the few Kubernetes calls that Mooring makes in them.

A cluster's address and CA come from ``listClusterUserCredential``; the credential in that kubeconfig is not
used, the app signs in with its own Entra token. Connections are kept per cluster inside the instance and
dropped when the API server cannot be reached: then Azure is asked again, which finds a rebuilt cluster's new
address, or that the cluster is gone.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from shared.clients.arm_connection import ArmConnection, split_id
from shared.clients.arm_errors import ask
from shared.clients.cluster_facts import address_of, cluster_of
from shared.clients.credentials import AppCredential
from shared.clients.error_rules import Intent
from shared.clients.kube_connection import KubeConnection, UnreachableError
from shared.clients.kube_objects import applied, namespace_path, object_of, path_of, use_of
from shared.errors import PermanentError, TransientError
from shared.naming import MANAGED_BY, fold_id
from shared.ports import KubeObject, ManagedCluster, Use

PAGE_LIMIT = 500
TOKEN_SECONDS = 600
"""The shortest life that TokenRequest allows."""

METADATA_ONLY = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
"""kubernetes.io, "API concepts", metadata-only requests: what is not asked for cannot leak."""
METADATA_LIST_ONLY = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"


class AksClusters:
    """``ports.Clusters`` over AKS.

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
        self._lock = asyncio.Lock()

    async def describe(self, cluster_id: str) -> ManagedCluster | None:
        """What Azure says of the cluster, ``None`` if it does not exist."""
        clusters, group, name = self._locate(cluster_id)
        found = await ask(clusters.get(group, name), Intent.READ)
        return None if found is None else cluster_of(found, cluster_id)

    async def namespace_exists(self, cluster_id: str, namespace: str) -> bool:
        """Say whether a namespace exists and is not being removed."""
        path = namespace_path(namespace)
        found = await self._call(cluster_id, lambda kube: kube.send("GET", path, intent=Intent.READ))
        return found is not None and (found.get("status") or {}).get("phase") != "Terminating"

    async def get(
        self,
        cluster_id: str,
        kind: str,
        namespace: str,
        name: str,
        *,
        values: bool = False,
    ) -> KubeObject | None:
        """Read the metadata of a ``ServiceAccount`` or ``Secret``, a secret's values only if asked for."""
        path = path_of(kind, namespace, name)
        accept = "application/json" if values else METADATA_ONLY
        found = await self._call(
            cluster_id,
            lambda kube: kube.send("GET", path, intent=Intent.READ, accept=accept),
        )
        return None if found is None else object_of(kind, found)

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
        force: bool = False,
    ) -> KubeObject:
        """Server-side apply under field manager ``mooring``.

        Raises:
            PermanentError: ``field-conflict`` if another manager owns a field.
        """
        path = path_of(kind, namespace, name)
        body = applied(kind, namespace, name, labels=labels, annotations=annotations, data=data)
        found = await self._call(
            cluster_id,
            lambda kube: kube.send(
                "PATCH",
                path,
                intent=Intent.ENSURE,
                query={"fieldManager": MANAGED_BY, **({"force": "true"} if force else {})},
                body=body,
                content_type="application/apply-patch+yaml",
            ),
        )
        return object_of(kind, found or {})

    async def create(
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
        """Make an object that is not there, under field manager ``mooring``.

        Raises:
            PermanentError: ``object-exists`` if somebody made one of that name.
        """
        body = applied(kind, namespace, name, labels=labels, annotations=annotations, data=data)
        found = await self._call(
            cluster_id,
            lambda kube: kube.send(
                "POST",
                path_of(kind, namespace),
                intent=Intent.ENSURE,
                query={"fieldManager": MANAGED_BY},
                body=body,
            ),
        )
        return object_of(kind, found or {})

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
            PermanentError: ``precondition-missing`` without a uid and a resource version.
        """
        if not uid or not resource_version:
            raise PermanentError("precondition-missing", f"{kind} {namespace}/{name}")
        path = path_of(kind, namespace, name)
        body = {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "preconditions": {"uid": uid, "resourceVersion": resource_version},
        }
        answer = await self._call(
            cluster_id, lambda kube: kube.send("DELETE", path, intent=Intent.DELETE, body=body)
        )
        return answer is not None

    async def list_uses(self, cluster_id: str, namespace: str) -> list[Use]:
        """What uses service accounts and secrets in a namespace: pods that are not finished."""
        pods = await self._pages(cluster_id, f"{namespace_path(namespace)}/pods")
        return [use for use in map(use_of, pods) if use is not None]

    async def list_objects(self, cluster_id: str, kind: str, namespace: str = "") -> list[KubeObject]:
        """Metadata of every ``ServiceAccount`` or ``Secret`` of a namespace, or of the whole cluster.

        Raises:
            PermanentError: ``kubernetes-access-denied`` without the right to list them.
        """
        items = await self._pages(cluster_id, path_of(kind, namespace), accept=METADATA_LIST_ONLY)
        return [object_of(kind, item) for item in items]

    async def list_namespaces(self, cluster_id: str) -> Mapping[str, bool]:
        """Every namespace; ``False`` for one that is being removed."""
        items = await self._pages(cluster_id, "/api/v1/namespaces")
        return {
            item["metadata"]["name"]: (item.get("status") or {}).get("phase") != "Terminating"
            for item in items
        }

    async def _pages(
        self, cluster_id: str, path: str, *, accept: str = "application/json"
    ) -> list[dict[str, Any]]:
        """Items of a collection, page after page."""
        items: list[dict[str, Any]] = []
        resume = ""
        while True:
            query = {"limit": str(PAGE_LIMIT), **({"continue": resume} if resume else {})}
            read = functools.partial(
                KubeConnection.send, method="GET", path=path, intent=Intent.READ, query=query, accept=accept
            )
            page = await self._call(cluster_id, read)
            if page is None and resume:
                # A list whose next page is missing may have holes: it is none.
                raise TransientError("list-broken", path)
            items += (page or {}).get("items") or []
            resume = ((page or {}).get("metadata") or {}).get("continue") or ""
            if not resume:
                return items

    async def request_token(self, cluster_id: str, namespace: str, name: str, *, audience: str) -> str:
        """Mint a short-lived token of a service account (TokenRequest); only with PROVE=on.

        Raises:
            PermanentError: ``service-account-missing``.
        """
        path = f"{path_of('ServiceAccount', namespace, name)}/token"
        body = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "spec": {"audiences": [audience], "expirationSeconds": TOKEN_SECONDS},
        }
        answer = await self._call(
            cluster_id, lambda kube: kube.send("POST", path, intent=Intent.READ, body=body)
        )
        if answer is None:
            raise PermanentError("service-account-missing", f"{namespace}/{name}")
        token = (answer.get("status") or {}).get("token")
        if not isinstance(token, str):
            raise TransientError("token-missing", f"{namespace}/{name}")
        return token

    async def aclose(self) -> None:
        """Close all connections and the SDK's clients."""
        opened = [*self._connections.values()]
        clients = [*self._clients.values()]
        self._connections, self._clients = {}, {}
        for connection in opened:
            await connection.aclose()
        for client in clients:
            await client.close()

    async def _call(
        self,
        cluster_id: str,
        request: Callable[[KubeConnection], Awaitable[dict[str, Any] | None]],
    ) -> dict[str, Any] | None:
        """Send a request; if a kept connection does not reach the server, ask Azure where it is and repeat.

        Repeating is safe: an apply, a delete with preconditions and a token request may run twice.
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
            await self._drop(key, connection)
            raise

    async def _connect(self, cluster_id: str) -> KubeConnection:
        key = fold_id(cluster_id)
        async with self._lock:
            if key not in self._connections:
                server, ca_data = await self._address(cluster_id)
                self._connections[key] = KubeConnection(
                    self._credential, server=server, ca_data=ca_data, ca_file=self._ca_file
                )
            return self._connections[key]

    async def _drop(self, key: str, connection: KubeConnection) -> None:
        if self._connections.get(key) is connection:
            del self._connections[key]
            await connection.aclose()

    async def _address(self, cluster_id: str) -> tuple[str, str]:
        """URL and CA (PEM text) of the API server.

        Raises:
            PermanentError: ``cluster-gone``.
            TransientError: ``kubeconfig-unusable`` if Azure's answer names no server (a stopped cluster).
        """
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
