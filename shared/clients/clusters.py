"""The few Kubernetes calls that Mooring makes in AKS clusters."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from shared.clients.arm_connection import ArmConnection
from shared.clients.cluster_reach import ClusterReach
from shared.clients.credentials import AppCredential
from shared.clients.error_rules import Intent
from shared.clients.kube_kinds import require_served, serves
from shared.clients.kube_objects import applied, namespace_path, object_of, only, path_of, users_path
from shared.clients.kube_ownership import takeover
from shared.clients.kube_pages import pages
from shared.clients.kube_uses import EARLIER, UNSERVED, USERS, use_of
from shared.errors import PermanentError, TransientError
from shared.naming import MANAGED_BY
from shared.ports import KubeObject, ManagedCluster, Use

TERMINATING = "Terminating"
TAKEOVERS = 3
"""Tries to become the owner of what we have just made."""
APPLY_PATCH = "application/apply-patch+yaml"
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
        self._reach = ClusterReach(arm, credential, ca_file=ca_file)

    async def describe(self, cluster_id: str) -> ManagedCluster | None:
        """What Azure says of the cluster, ``None`` if it does not exist."""
        return await self._reach.describe(cluster_id)

    async def namespace_exists(self, cluster_id: str, namespace: str) -> bool:
        """Say whether a namespace exists and is not being removed."""
        return await self.namespace_phase(cluster_id, namespace) not in {"", TERMINATING}

    async def namespace_phase(self, cluster_id: str, namespace: str) -> str:
        """``Active``, ``Terminating``, or empty for a namespace that is not there."""
        path = namespace_path(namespace)
        found = await self._reach.call(cluster_id, lambda kube: kube.send("GET", path, intent=Intent.READ))
        return "" if found is None else str((found.get("status") or {}).get("phase") or "Active")

    async def get(
        self,
        cluster_id: str,
        kind: str,
        namespace: str,
        name: str,
        *,
        values: bool = False,
    ) -> KubeObject | None:
        """Read the metadata of an object; values only if asked for."""
        path = path_of(kind, namespace, name)
        if not await self.serves(cluster_id, kind):
            return None
        accept = "application/json" if values else METADATA_ONLY
        found = await self._reach.call(
            cluster_id,
            lambda kube: kube.send("GET", path, intent=Intent.READ, accept=accept),
        )
        return None if found is None else object_of(kind, found)

    async def serves(self, cluster_id: str, kind: str) -> bool:
        """Say whether the cluster knows a kind; only what an add-on brings can be missing."""
        return await serves(self._reach, cluster_id, kind)

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
        uid: str = "",
        resource_version: str = "",
    ) -> KubeObject:
        """Server-side apply under field manager ``mooring``, on one incarnation alone if ``uid`` is given.

        Raises:
            PermanentError: ``field-conflict`` if another manager owns a field.
            TransientError: ``kubernetes-conflict`` if the object is not as it was read.
        """
        await require_served(self._reach, cluster_id, kind)
        body = applied(kind, namespace, name, labels=labels, annotations=annotations, data=data)
        body = only(body, uid=uid, resource_version=resource_version) if uid else body
        where = (cluster_id, path_of(kind, namespace, name))
        try:
            found = await self._patch(*where, body, APPLY_PATCH, force=force)
        except PermanentError as error:
            if uid and error.code == "namespace-not-found":  # a version was given, so nothing is made
                raise TransientError("kubernetes-conflict", f"{kind} {name} is gone") from error
            if error.code != "field-conflict" or not await self._take_over(*where):
                raise
            found = {}
        if not found or await self._take_over(*where, found):
            # A run that was cut off after its POST has left fields that no apply may change or drop.
            found = await self._patch(*where, body, APPLY_PATCH, force=force)
        return object_of(kind, found)

    async def _patch(
        self, cluster_id: str, path: str, body: Any, content_type: str, *, force: bool = False
    ) -> dict[str, Any]:
        query = {"fieldManager": MANAGED_BY, **({"force": "true"} if force else {})}
        found = await self._reach.call(
            cluster_id,
            lambda kube: kube.send(
                "PATCH", path, intent=Intent.ENSURE, query=query, body=body, content_type=content_type
            ),
        )
        return found or {}

    async def _take_over(
        self, cluster_id: str, path: str, found: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        """Make apply the owner of what our POST wrote; the object after that, empty if there was nothing.

        Raises:
            TransientError: ``kubernetes-conflict``: others went on changing the object.
        """
        for left in reversed(range(TAKEOVERS)):
            if found is None:
                found = await self._reach.call(
                    cluster_id,
                    lambda kube: kube.send("GET", path, intent=Intent.READ, accept=METADATA_ONLY),
                )
            patch = takeover(found or {})
            if not patch:
                break
            try:
                return await self._patch(cluster_id, path, patch, "application/json-patch+json")
            except TransientError as error:
                # A young service account gets its token's name from a controller in the same moment.
                if error.code != "kubernetes-conflict" or not left:
                    raise
                found = None
        return {}

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
            PermanentError: ``object-exists`` if somebody made one of that name; ``kind-not-served``.
        """
        await require_served(self._reach, cluster_id, kind)
        body = applied(kind, namespace, name, labels=labels, annotations=annotations, data=data)
        found = await self._reach.call(
            cluster_id,
            lambda kube: kube.send(
                "POST",
                path_of(kind, namespace),
                intent=Intent.CREATE,
                query={"fieldManager": MANAGED_BY},
                body=body,
            ),
        )
        owned = await self._take_over(cluster_id, path_of(kind, namespace, name), found)
        return object_of(kind, owned or found or {})

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
        answer = await self._reach.call(
            cluster_id, lambda kube: kube.send("DELETE", path, intent=Intent.DELETE, body=body)
        )
        return answer is not None

    async def list_uses(self, cluster_id: str, namespace: str) -> list[Use]:
        """What uses service accounts and settings in a namespace: one list for each kind of user.

        Raises:
            PermanentError: ``kubernetes-access-denied`` if one of the lists is refused: a part is no answer.
        """
        everywhere = [kind for kind in USERS if kind not in EARLIER]
        lists = await asyncio.gather(
            *(pages(self._reach, cluster_id, users_path(USERS[kind], namespace)) for kind in everywhere),
        )
        bodies = dict(zip(everywhere, lists, strict=True))
        for kind, earlier in EARLIER.items():
            bodies[kind] = await self._either(cluster_id, namespace, USERS[kind], earlier)
        uses = (use_of(kind, body) for kind, found in bodies.items() for body in found)
        return [use for use in uses if use is not None]

    async def _either(
        self, cluster_id: str, namespace: str, now: tuple[str, str], earlier: tuple[str, str]
    ) -> list[dict[str, Any]]:
        """Items of a kind under the version of today, or under that of an old cluster."""
        try:
            return await pages(self._reach, cluster_id, users_path(now, namespace))
        except TransientError as error:
            if error.code not in UNSERVED:
                raise
        return await pages(self._reach, cluster_id, users_path(earlier, namespace))

    async def list_objects(self, cluster_id: str, kind: str, namespace: str = "") -> list[KubeObject]:
        """Metadata of every object of one of these kinds in a namespace, or in the whole cluster.

        Raises:
            PermanentError: ``kubernetes-access-denied`` without the right to list them.
        """
        if not await self.serves(cluster_id, kind):
            return []
        items = await pages(self._reach, cluster_id, path_of(kind, namespace), accept=METADATA_LIST_ONLY)
        return [object_of(kind, item) for item in items]

    async def list_namespaces(self, cluster_id: str) -> Mapping[str, bool]:
        """Every namespace; ``False`` for one that is being removed."""
        items = await pages(self._reach, cluster_id, "/api/v1/namespaces")
        return {
            item["metadata"]["name"]: (item.get("status") or {}).get("phase") != TERMINATING for item in items
        }

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
        answer = await self._reach.call(
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
        await self._reach.aclose()
