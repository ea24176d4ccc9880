"""Clusters in dictionaries: server-side apply with owners, preconditions, pods as Kubernetes JSON."""

from __future__ import annotations

import base64
import dataclasses
import json
from collections.abc import Mapping
from typing import Any

from shared.clients.kube_uses import USERS, use_of
from shared.errors import Pace, PermanentError, TransientError
from shared.naming import MANAGED_BY, fold_id, subject
from shared.ports import KubeObject, ManagedCluster, Use, without_entra
from tests.fakes.azure_world import AzureWorld, StoredCluster, StoredObject

PROVIDER_CLASS = "SecretProviderClass"
KINDS = frozenset({"ServiceAccount", "Secret", "ConfigMap", PROVIDER_CLASS})


class InMemoryClusters:
    """``ports.Clusters`` for tests."""

    def __init__(self, world: AzureWorld) -> None:
        self._world = world
        self.may_list = True
        """Whether the app may list objects; reading by name it always may."""
        self.may_list_uses = True
        """Whether the app may list pods and what makes them."""

    async def describe(self, cluster_id: str) -> ManagedCluster | None:
        cluster = self._world.clusters.get(fold_id(cluster_id))
        return None if cluster is None else cluster.described

    async def namespace_exists(self, cluster_id: str, namespace: str) -> bool:
        cluster = self._cluster(cluster_id)
        return namespace in cluster.namespaces - cluster.terminating

    async def namespace_phase(self, cluster_id: str, namespace: str) -> str:
        cluster = self._cluster(cluster_id)
        if namespace in cluster.terminating:
            return "Terminating"
        return "Active" if namespace in cluster.namespaces else ""

    async def get(
        self, cluster_id: str, kind: str, namespace: str, name: str, *, values: bool = False
    ) -> KubeObject | None:
        key = _key(kind, namespace, name)
        found = self._cluster(cluster_id).objects.get(key)
        if found is None:
            return None
        seen = _seen(key, found)
        return seen if values else dataclasses.replace(seen, data={}, secret_type="")

    async def serves(self, cluster_id: str, kind: str) -> bool:
        return kind != PROVIDER_CLASS or self._cluster(cluster_id).secrets_store

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
        cluster = self._writable(cluster_id, kind, namespace, data)
        key = _key(kind, namespace, name)
        there = cluster.objects.get(key)
        if uid and (there is None or (there.uid, there.resource_version) != (uid, resource_version)):
            raise TransientError("kubernetes-conflict", name, pace=Pace.FAST)
        fields = {"labels": labels, "annotations": annotations, "data": data or {}}
        self._put(cluster, key, fields, MANAGED_BY, force=force)
        return _seen(key, cluster.objects[key])

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
        cluster = self._writable(cluster_id, kind, namespace, data)
        key = _key(kind, namespace, name)
        if key in cluster.objects:
            raise PermanentError("object-exists", f"{kind} {namespace}/{name}")
        fields = {"labels": labels, "annotations": annotations, "data": data or {}}
        self._put(cluster, key, fields, MANAGED_BY, force=False)
        return _seen(key, cluster.objects[key])

    async def list_objects(self, cluster_id: str, kind: str, namespace: str = "") -> list[KubeObject]:
        cluster = self._cluster(cluster_id)
        _key(kind, namespace, "")
        if not await self.serves(cluster_id, kind):
            return []
        if not self.may_list:
            raise PermanentError("kubernetes-access-denied", f"cannot list {kind}")
        return [
            dataclasses.replace(_seen(key, found), data={}, secret_type="")
            for key, found in sorted(cluster.objects.items())
            if key[0] == kind and namespace in {"", key[1]}
        ]

    async def list_namespaces(self, cluster_id: str) -> Mapping[str, bool]:
        cluster = self._cluster(cluster_id)
        if not self.may_list:
            raise PermanentError("kubernetes-access-denied", "cannot list namespaces")
        return {name: name not in cluster.terminating for name in sorted(cluster.namespaces)}

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
        if not uid or not resource_version:
            raise PermanentError("precondition-missing", name)
        objects = self._cluster(cluster_id).objects
        key = _key(kind, namespace, name)
        found = objects.get(key)
        if found is None:
            return False
        if (found.uid, found.resource_version) != (uid, resource_version):
            raise TransientError("precondition", name, pace=Pace.FAST)
        del objects[key]
        return True

    async def list_uses(self, cluster_id: str, namespace: str) -> list[Use]:
        cluster = self._cluster(cluster_id)
        if not self.may_list_uses:
            raise PermanentError("kubernetes-access-denied", "cannot list deployments")
        bodies = [("Pod", pod) for (place, _), pod in sorted(cluster.pods.items()) if place == namespace]
        bodies += [
            (kind, body) for (place, kind, _), body in sorted(cluster.workloads.items()) if place == namespace
        ]
        return [use for use in (use_of(kind, body) for kind, body in bodies) if use is not None]

    async def request_token(self, cluster_id: str, namespace: str, name: str, *, audience: str) -> str:
        cluster = self._cluster(cluster_id)
        if _key("ServiceAccount", namespace, name) not in cluster.objects:
            raise PermanentError("service-account-missing", name)
        claims = {"iss": cluster.described.issuer, "sub": subject(namespace, name), "aud": audience}
        return base64.urlsafe_b64encode(json.dumps(claims).encode()).decode()

    def put_object(
        self,
        cluster_id: str,
        kind: str,
        namespace: str,
        name: str,
        *,
        labels: Mapping[str, str] | None = None,
        annotations: Mapping[str, str] | None = None,
        data: Mapping[str, str] | None = None,
        manager: str = "somebody",
    ) -> KubeObject:
        """Write an object as somebody else would, by force."""
        cluster = self._cluster(cluster_id)
        cluster.namespaces.add(namespace)
        key = _key(kind, namespace, name)
        fields = {"labels": labels or {}, "annotations": annotations or {}, "data": data or {}}
        self._put(cluster, key, fields, manager, force=True)
        return _seen(key, cluster.objects[key])

    def set_secrets_store(self, cluster_id: str, *, on: bool) -> None:
        """Switch the add-on on or off; its objects go with it."""
        cluster = self._cluster(cluster_id)
        cluster.secrets_store = on
        for key in [key for key in cluster.objects if key[0] == PROVIDER_CLASS and not on]:
            del cluster.objects[key]

    def end_namespace(self, cluster_id: str, namespace: str) -> None:
        """A namespace that is being removed and is not gone yet."""
        cluster = self._cluster(cluster_id)
        cluster.namespaces.add(namespace)
        cluster.terminating.add(namespace)

    def put_pod(
        self, cluster_id: str, namespace: str, name: str, spec: Mapping[str, Any], phase: str = "Running"
    ) -> None:
        """Run a pod."""
        body = {"metadata": {"name": name}, "spec": dict(spec), "status": {"phase": phase}}
        self._cluster(cluster_id).pods[namespace, name] = body

    def put_workload(
        self, cluster_id: str, namespace: str, kind: str, name: str, body: Mapping[str, Any]
    ) -> None:
        """Deploy what makes pods, as Kubernetes JSON; or a service account that lists secrets."""
        if kind not in USERS:
            raise PermanentError("kind-unknown", kind)
        metadata = {**body.get("metadata", {}), "name": name}
        self._cluster(cluster_id).workloads[namespace, kind, name] = {**body, "metadata": metadata}

    def workloads_of(self, cluster_id: str) -> dict[tuple[str, str, str], dict[str, Any]]:
        """What is deployed, to change it."""
        return self._cluster(cluster_id).workloads

    def remove_workload(self, cluster_id: str, namespace: str, kind: str, name: str) -> None:
        """Take it away."""
        del self._cluster(cluster_id).workloads[namespace, kind, name]

    def remove_pod(self, cluster_id: str, namespace: str, name: str) -> None:
        """End a pod."""
        del self._cluster(cluster_id).pods[namespace, name]

    def _writable(
        self, cluster_id: str, kind: str, namespace: str, data: Mapping[str, str] | None
    ) -> StoredCluster:
        cluster = self._cluster(cluster_id)
        if data is not None and kind == "ServiceAccount":
            raise PermanentError("kind-unknown", f"a {kind} has no data")
        if kind == PROVIDER_CLASS and not cluster.secrets_store:
            raise PermanentError("kind-not-served", f"the cluster has no {kind}")
        if namespace not in cluster.namespaces:
            raise PermanentError("namespace-not-found", namespace)
        if namespace in cluster.terminating:
            raise PermanentError("namespace-terminating", namespace)
        return cluster

    def _cluster(self, cluster_id: str) -> StoredCluster:
        cluster = self._world.clusters.get(fold_id(cluster_id))
        if cluster is None:
            raise PermanentError("cluster-gone", cluster_id)
        if not cluster.described.entra:
            raise without_entra(cluster_id)
        if not cluster.reachable:
            raise TransientError("cluster-unreachable", cluster_id, pace=Pace.SLOW)
        return cluster

    def _put(
        self,
        cluster: StoredCluster,
        key: tuple[str, str, str],
        fields: Mapping[str, Mapping[str, str]],
        manager: str,
        *,
        force: bool,
    ) -> None:
        found = cluster.objects.get(key) or StoredObject(uid=self._world.guid(), resource_version="0")
        wanted = {(part, name) for part, values in fields.items() for name in values}
        for other, owned in found.owners.items():
            for part, name in wanted & owned if other != manager else set():
                if getattr(found, part).get(name) == fields[part][name]:
                    continue
                if not force:
                    raise PermanentError("field-conflict", f"{part}.{name} belongs to {other}")
                # Who forces another value is its only owner from then on: kubernetes.io, server-side apply.
                owned.discard((part, name))
        before = _seen(key, found)
        for part, name in found.owners.get(manager, set()) - wanted:
            if not any((part, name) in owned for other, owned in found.owners.items() if other != manager):
                getattr(found, part).pop(name, None)
        for part, values in fields.items():
            getattr(found, part).update(values)
        found.owners[manager] = wanted
        if key not in cluster.objects or _seen(key, found) != before:
            found.resource_version = str(self._world.number())
        cluster.objects[key] = found


def _key(kind: str, namespace: str, name: str) -> tuple[str, str, str]:
    if kind not in KINDS:
        raise PermanentError("kind-unknown", kind)
    return kind, namespace, name


def _seen(key: tuple[str, str, str], found: StoredObject) -> KubeObject:
    return KubeObject(
        kind=key[0],
        namespace=key[1],
        name=key[2],
        uid=found.uid,
        resource_version=found.resource_version,
        labels=dict(found.labels),
        annotations=dict(found.annotations),
        data=dict(found.data),
        created_at=found.created_at,
        secret_type="Opaque" if key[0] == "Secret" else "",
    )
