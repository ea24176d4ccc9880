"""AKS clusters, and the few Kubernetes calls that Mooring makes in them.

A cluster's address and CA come from ``listClusterUserCredential``; the credential in that kubeconfig is not
used, the app signs in with its own Entra token. Connections are kept per cluster inside the instance and
dropped when the API server cannot be reached: then Azure is asked again, which finds a rebuilt cluster's new
address, or that the cluster is gone.
"""

from __future__ import annotations

import asyncio
import base64
import functools
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from shared.clients.arm_connection import ArmConnection, split_id
from shared.clients.arm_errors import ask
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
    ) -> KubeObject:
        """Server-side apply under field manager ``mooring``, never forced.

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
                query={"fieldManager": MANAGED_BY},
                body=body,
                content_type="application/apply-patch+yaml",
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
        path = f"{namespace_path(namespace)}/pods"
        uses: list[Use] = []
        resume = ""
        while True:
            query = {"limit": str(PAGE_LIMIT), **({"continue": resume} if resume else {})}
            read = functools.partial(
                KubeConnection.send, method="GET", path=path, intent=Intent.READ, query=query
            )
            page = await self._call(cluster_id, read) or {}
            uses += [use for use in map(use_of, page.get("items") or []) if use is not None]
            resume = (page.get("metadata") or {}).get("continue") or ""
            if not resume:
                return uses

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
        import yaml

        clusters, group, name = self._locate(cluster_id)
        found = await ask(clusters.list_cluster_user_credentials(group, name, format="exec"), Intent.READ)
        if found is None:
            raise PermanentError("cluster-gone", cluster_id)
        for kubeconfig in found.kubeconfigs or []:
            config = yaml.safe_load(bytes(kubeconfig.value or b"")) or {}
            for entry in config.get("clusters") or []:
                cluster = entry.get("cluster") or {}
                server, ca_data = cluster.get("server") or "", cluster.get("certificate-authority-data") or ""
                if server.startswith("https://"):
                    return server, base64.b64decode(ca_data).decode()
        raise TransientError("kubeconfig-unusable", cluster_id)

    def _locate(self, cluster_id: str) -> tuple[Any, str, str]:
        subscription, group, name = split_id(cluster_id, "Microsoft.ContainerService", "managedClusters")
        if subscription not in self._clients:
            from azure.mgmt.containerservice.aio import ContainerServiceClient

            self._clients[subscription] = ContainerServiceClient(
                self._arm.credential, subscription, **self._arm.options()
            )
        return self._clients[subscription].managed_clusters, group, name


def cluster_of(found: Any, asked_id: str) -> ManagedCluster:
    """Read what the SDK answered."""
    issuer = found.oidc_issuer_profile
    security = found.security_profile
    workload_identity = security.workload_identity if security else None
    power = found.power_state
    return ManagedCluster(
        resource_id=asked_id,
        location=found.location or "",
        provisioning_state=found.provisioning_state or "",
        power_state=str(getattr(power.code, "value", power.code) or "") if power else "",
        issuer=(issuer.issuer_url or "") if issuer and issuer.enabled else "",
        workload_identity=bool(workload_identity and workload_identity.enabled),
        forbidden_identities=tuple(sorted(_own_identities(found))),
    )


def _own_identities(found: Any) -> set[str]:
    """Folded ids and client ids of the identities that the cluster itself runs as."""
    own: set[str] = set()
    for profile in (found.identity_profile or {}).values():
        own |= {fold_id(profile.resource_id or ""), (profile.client_id or "").lower()}
    for addon in (found.addon_profiles or {}).values():
        if addon.identity:
            own |= {fold_id(addon.identity.resource_id or ""), (addon.identity.client_id or "").lower()}
    for resource_id, assigned in ((found.identity and found.identity.user_assigned_identities) or {}).items():
        own |= {fold_id(resource_id), (assigned.client_id or "").lower()}
    if found.service_principal_profile:
        own.add((found.service_principal_profile.client_id or "").lower())
    return own - {"", "/", "msi"}
