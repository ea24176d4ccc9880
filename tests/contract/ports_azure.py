"""The Azure ports under test: the fakes, and the adapters against the sandbox, as one value each.

The adapters run against the sandbox's Resource Manager, Entra and Kubernetes emulators, signed in as the
app with the rights that ``infra/`` gives it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import ssl
import urllib.error
import urllib.request
import uuid
from collections.abc import AsyncIterator, Iterator
from http import HTTPStatus
from pathlib import Path
from typing import Any

import aiohttp

from sandbox.owner import Owner
from sandbox.topology import Topology
from shared.clients.kube_uses import EARLIER, USERS
from shared.naming import AUDIENCE, MANAGED_BY, subject
from shared.ports import Clusters, Credential, Grants, Identities, Linkers, Lock, Prover, Resources, Roles
from tests.contract.ports_sandbox import Contract, control
from tests.fakes.azure_world import AzureWorld
from tests.fakes.clusters import InMemoryClusters

SUBSCRIPTION = "11111111-1111-4111-8111-111111111111"
MANAGED_IDENTITY_CONTRIBUTOR = "e40ec5ca-96e0-45a2-b4ff-59039f2c2b59"
BLOB_CONTRIBUTOR = "ba92f5b4-2d11-453d-a403-e96b0029c9fe"
STORAGE_VERSION = "2023-05-01"
NAMESPACE = "orders"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Azure:
    """The ports under test and the names of what is there."""

    identities: Identities
    roles: Roles
    cosmos: Grants
    redis: Grants
    resources: Resources
    linkers: Linkers
    clusters: Clusters
    prover: Prover
    subscription: str
    identity_group: str
    cluster_id: str
    storage_id: str
    blob_url: str
    contract: Contract | None = None
    fake_clusters: InMemoryClusters | None = None
    fake_world: AzureWorld | None = None

    def identity_id(self, name: str = "") -> str:
        tail = name or f"id-{uuid.uuid4().hex[:12]}"
        return f"{self.identity_group}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/{tail}"

    def role_id(self) -> str:
        return (
            f"/subscriptions/{self.subscription}/providers/Microsoft.Authorization/roleDefinitions/"
            f"{BLOB_CONTRIBUTOR}"
        )

    @contextlib.asynccontextmanager
    async def app_granted(self, role: str) -> AsyncIterator[None]:
        """The owner grants the app a built-in role on the subscription for a while."""
        if self.contract is None:
            yield
            return
        topology = Topology.load(Path(self.contract["topology_file"]))
        scope = f"/subscriptions/{self.subscription}"
        definition = f"{scope}/providers/Microsoft.Authorization/roleDefinitions/{role}"
        path = f"{scope}/providers/Microsoft.Authorization/roleAssignments/{uuid.uuid4()}"
        body = {"roleDefinitionId": definition, "principalId": topology.app_principal_id}
        async with self._owned(path, "2022-04-01", body):
            yield

    @contextlib.asynccontextmanager
    async def locked(self, scope: str, level: str) -> AsyncIterator[Lock]:
        """The owner puts a lock on a scope for a while."""
        name = f"lock-{uuid.uuid4().hex[:8]}"
        path = f"{scope}/providers/Microsoft.Authorization/locks/{name}"
        lock = Lock(resource_id=path, scope=scope, name=name, level=level)
        if self.fake_world is not None:
            self.fake_world.locks.append(lock)
            yield lock
            self.fake_world.locks.remove(lock)
            return
        async with self._owned(path, "2020-05-01", {"level": level}):
            yield lock

    @contextlib.asynccontextmanager
    async def made(self, resource_id: str, api_version: str) -> AsyncIterator[None]:
        """The owner makes a resource, and deletes it in the end if it is there still."""
        if self.fake_world is not None:
            self.fake_world.add_resource(resource_id)
            self.fake_world.slow_grants = True
            yield
            self.fake_world.remove(resource_id)
            return
        async with self._owned(resource_id, api_version, {}):
            yield

    @contextlib.asynccontextmanager
    async def local_accounts_only(self) -> AsyncIterator[str]:
        """A cluster that its owner made without Entra integration; its id."""
        cluster_id = f"{self.cluster_id}-local"
        if self.fake_world is not None:
            self.fake_world.add_cluster(cluster_id, namespaces=(NAMESPACE,), entra=False)
            yield cluster_id
            self.fake_world.remove(cluster_id)
            return
        properties = {"oidcIssuerProfile": {"enabled": True}, "dnsPrefix": "local"}
        async with self._owned(cluster_id, "2025-10-01", properties, location="westeurope"):
            yield cluster_id

    @contextlib.asynccontextmanager
    async def _owned(
        self, path: str, api_version: str, properties: dict[str, Any], **body: str
    ) -> AsyncIterator[None]:
        """A resource that the owner makes in the sandbox and takes away again."""
        assert self.contract is not None
        topology = Topology.load(Path(self.contract["topology_file"]))
        tls = ssl.create_default_context(cafile=topology.ca_file)
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=tls)) as session:
            owner = Owner(topology, session)
            await owner.put_resource(path, api_version, {**body, "properties": properties})
            try:
                yield
            finally:
                await owner.delete_resource(path, api_version)

    def put_pod(self, name: str, spec: dict[str, object]) -> None:
        """Run a pod as a developer would."""
        if self.fake_clusters is not None:
            self.fake_clusters.put_pod(self.cluster_id, NAMESPACE, name, spec)
            return
        body = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}
        self._as_admin("POST", f"/api/v1/namespaces/{NAMESPACE}/pods", body)

    def put_workload(self, kind: str, name: str, body: dict[str, Any]) -> None:
        """Deploy what makes pods, or a service account, as a developer would."""
        if self.fake_clusters is not None:
            self.fake_clusters.put_workload(self.cluster_id, NAMESPACE, kind, name, body)
            return
        for root, plural in (USERS[kind], EARLIER.get(kind, USERS[kind])):
            group = root.removeprefix("/apis/").removeprefix("/api/")
            metadata = {**body.get("metadata", {}), "name": name}
            whole = {"apiVersion": group, "kind": kind, **body, "metadata": metadata}
            try:
                self._as_admin("POST", f"{root}/namespaces/{NAMESPACE}/{plural}", whole)
            except urllib.error.HTTPError as refused:
                if refused.code != HTTPStatus.NOT_FOUND or kind not in EARLIER:
                    raise
            else:
                return

    def finish_job(self, name: str) -> None:
        """Say that a job is done, as its controller would."""
        condition = {"type": "Complete", "status": "True"}
        if self.fake_clusters is not None:
            jobs = self.fake_clusters.workloads_of(self.cluster_id)
            jobs[NAMESPACE, "Job", name]["status"] = {"conditions": [condition]}
            return
        path = f"/apis/batch/v1/namespaces/{NAMESPACE}/jobs/{name}"
        found = self._as_admin("GET", path)
        now = "2026-11-26T12:00:00Z"
        reached = {"type": "SuccessCriteriaMet", "status": "True"}
        found["status"] = {"conditions": [reached, condition], "startTime": now, "completionTime": now}
        self._as_admin("PUT", f"{path}/status", found)

    def post_secret(self, name: str, data: dict[str, str]) -> None:
        """A secret as our own POST leaves it, before anything else."""
        if self.fake_clusters is not None:
            self.fake_clusters.put_object(
                self.cluster_id, "Secret", NAMESPACE, name, data=data, manager=MANAGED_BY
            )
            return
        body = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": data}
        path = f"/api/v1/namespaces/{NAMESPACE}/secrets?fieldManager={MANAGED_BY}"
        self._as_admin("POST", path, body)

    @contextlib.contextmanager
    def going_namespace(self) -> Iterator[str]:
        """A namespace that is being removed, and that something in it holds for a while."""
        name = f"going-{uuid.uuid4().hex[:8]}"
        if self.fake_clusters is not None:
            self.fake_clusters.end_namespace(self.cluster_id, name)
            yield name
            return
        root = "/api/v1/namespaces"
        self._as_admin("POST", root, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
        metadata = {"name": "holds", "finalizers": ["example.com/held"]}
        held = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata}
        self._as_admin("POST", f"{root}/{name}/configmaps", held)
        self._as_admin("DELETE", f"{root}/{name}")
        try:
            yield name
        finally:
            found = self._as_admin("GET", f"{root}/{name}/configmaps/holds")
            del found["metadata"]["finalizers"]
            self._as_admin("PUT", f"{root}/{name}/configmaps/holds", found)

    @contextlib.contextmanager
    def small_pages(self) -> Iterator[None]:
        """Azure answers lists two rows at a time for a while, however many calls that makes."""
        if self.contract is None:
            yield
            return
        base = f"{self.contract['arm_url']}/sandbox"
        control(self.contract, f"{base}/throttle", method="PUT", body={"enabled": False})
        control(self.contract, f"{base}/page-size", method="PUT", body={"rows": 2})
        try:
            yield
        finally:
            control(self.contract, f"{base}/page-size", method="PUT", body={"rows": 1000})
            control(self.contract, f"{base}/throttle", method="PUT", body={"enabled": True})

    @contextlib.contextmanager
    def without(self, role: str) -> Iterator[None]:
        """Somebody unbinds one of the app's cluster roles for a while."""
        if self.fake_clusters is not None:
            attribute = "may_list" if role == "mooring-sweep" else "may_list_uses"
            setattr(self.fake_clusters, attribute, False)
            yield
            setattr(self.fake_clusters, attribute, True)
            return
        root = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings"
        binding = self._as_admin("GET", f"{root}/{role}")
        self._as_admin("DELETE", f"{root}/{role}")
        try:
            yield
        finally:
            binding["metadata"] = {"name": role}
            self._as_admin("POST", root, binding)

    def _as_admin(self, method: str, path: str, body: Any = None) -> Any:
        contract = self.contract or {}
        url = f"{contract['cluster_server']}{path}"
        return control(contract, url, method=method, body=body, token=contract["kubernetes_admin_token"])

    def label_secret(self, name: str, labels: dict[str, str]) -> None:
        """Apply a label under another field manager."""
        self._apply_as_another("Secret", name, labels=labels)

    def make_account(self, name: str, annotations: dict[str, str]) -> None:
        """Apply a service account under another field manager."""
        self._apply_as_another("ServiceAccount", name, annotations=annotations)

    def _apply_as_another(self, kind: str, name: str, **metadata: dict[str, str]) -> None:
        if self.fake_clusters is not None:
            self.fake_clusters.put_object(
                self.cluster_id, kind, NAMESPACE, name, manager="gitops", **metadata
            )
            return
        contract = self.contract or {}
        body = {"apiVersion": "v1", "kind": kind, "metadata": {"name": name, **metadata}}
        request = urllib.request.Request(  # noqa: S310 - loopback
            f"{contract['cluster_server']}/api/v1/namespaces/{NAMESPACE}/{kind.lower()}s/{name}"
            "?fieldManager=gitops&force=true",
            data=json.dumps(body).encode(),
            headers={
                "Authorization": f"Bearer {contract['kubernetes_admin_token']}",
                "Content-Type": "application/apply-patch+yaml",
            },
            method="PATCH",
        )
        tls = ssl.create_default_context(cafile=contract["ca_file"])
        with urllib.request.urlopen(request, context=tls, timeout=30):  # noqa: S310 - loopback
            pass


def credential(
    name: str, *, account: str = "sc-account-x", issuer: str = "https://issuer.example/a/"
) -> Credential:
    return Credential(name=name, issuer=issuer, subject=subject(NAMESPACE, account), audiences=(AUDIENCE,))
