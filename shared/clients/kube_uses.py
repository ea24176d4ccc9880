"""What uses service accounts, secrets and config maps: pods, what makes pods, and service accounts.

A use is what the API server would need to start a pod: the account, and every secret and config map that its
containers, volumes and image pulls name (kubernetes.io, "Secrets", "ConfigMaps", "Pod spec"); and every
SecretProviderClass that a volume mounts (secrets-store-csi-driver.sigs.k8s.io, concepts). What makes pods
counts without any pod: a deployment scaled to zero comes back, a cron job runs tonight. Custom resources are
not listed, so what they make stands for them: a replica set of one that is scaled to zero.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from shared.ports import Use

USERS: Mapping[str, tuple[str, str]] = {
    "Pod": ("/api/v1", "pods"),
    "Deployment": ("/apis/apps/v1", "deployments"),
    "StatefulSet": ("/apis/apps/v1", "statefulsets"),
    "DaemonSet": ("/apis/apps/v1", "daemonsets"),
    "ReplicaSet": ("/apis/apps/v1", "replicasets"),
    "Job": ("/apis/batch/v1", "jobs"),
    "CronJob": ("/apis/batch/v1", "cronjobs"),
    "ServiceAccount": ("/api/v1", "serviceaccounts"),
}
"""Kinds that use service accounts or secrets: path of the API group's version, and plural."""

EARLIER: Mapping[str, tuple[str, str]] = {"CronJob": ("/apis/batch/v1beta1", "cronjobs")}
"""Where old clusters have a kind (cron jobs: Kubernetes before 1.21)."""

UNSERVED = frozenset({"list-broken", "cluster-unreachable"})
"""How a version that an API server does not serve looks: a plain 404, without a Kubernetes status."""

DEPLOYMENT_GROUPS = frozenset({"apps", "extensions"})
"""API groups of ``Deployment``: today's, and that of Kubernetes before 1.16, which owners may still name."""

FINISHED_PHASES = frozenset({"Succeeded", "Failed"})
FINISHED_CONDITIONS = frozenset({"Complete", "Failed"})
SECRETS_STORE = "secrets-store.csi.k8s.io"
_CONTAINER_LISTS = ("containers", "initContainers", "ephemeralContainers")
_SECRET_NAMES = (("secret", "secretName"), ("azureFile", "secretName"))
_SECRET_REFERENCES = ("cephfs", "cinder", "flexVolume", "iscsi", "rbd", "scaleIO", "storageos")
"""Kinds of volumes that name a secret under ``secretRef``."""


def use_of(kind: str, body: Mapping[str, Any]) -> Use | None:
    """What an object of one of ``USERS`` uses, or ``None`` if it uses nothing (any more)."""
    name = str((body.get("metadata") or {}).get("name", ""))
    if kind == "ServiceAccount":
        listed = _names([*(body.get("secrets") or []), *(body.get("imagePullSecrets") or [])])
        return Use(kind=kind, name=name, service_account="", secrets=listed) if listed else None
    if _finished(kind, body) or _of_a_deployment(kind, body):
        return None
    spec = _pod_spec(kind, body)
    return Use(
        kind=kind,
        name=name,
        service_account=spec.get("serviceAccountName") or spec.get("serviceAccount") or "default",
        secrets=_names({"name": found} for found in _secrets(spec)),
        config_maps=_names({"name": found} for found in _config_maps(spec)),
        provider_classes=_names({"name": found} for found in _provider_classes(spec)),
    )


def _pod_spec(kind: str, body: Mapping[str, Any]) -> Mapping[str, Any]:
    spec: Mapping[str, Any] = body.get("spec") or {}
    if kind == "Pod":
        return spec
    if kind == "CronJob":
        spec = (spec.get("jobTemplate") or {}).get("spec") or {}
    return (spec.get("template") or {}).get("spec") or {}


def _finished(kind: str, body: Mapping[str, Any]) -> bool:
    status = body.get("status") or {}
    if kind == "Job":
        return any(
            one.get("type") in FINISHED_CONDITIONS and one.get("status") == "True"
            for one in status.get("conditions") or []
        )
    return kind == "Pod" and status.get("phase") in FINISHED_PHASES


def _of_a_deployment(kind: str, body: Mapping[str, Any]) -> bool:
    """A deployment keeps replica sets of its past: the deployment is the user, and it is listed itself.

    Nothing else is passed over for its owner: another controller is not listed, and what a pod or job of
    today was started with may be gone from its owner by now.
    """
    owners = (body.get("metadata") or {}).get("ownerReferences") or []
    return kind == "ReplicaSet" and any(
        owner.get("controller")
        and owner.get("kind") == "Deployment"
        and str(owner.get("apiVersion", "")).partition("/")[0] in DEPLOYMENT_GROUPS
        for owner in owners
    )


def _names(references: Iterable[Mapping[str, Any]]) -> tuple[str, ...]:
    return tuple(sorted({str(one["name"]) for one in references if one.get("name")}))


def _from_environments(spec: Mapping[str, Any], kind: str) -> Iterable[str]:
    """Names of what containers take their environment from: ``secret`` or ``configMap``."""
    for part in _CONTAINER_LISTS:
        for container in spec.get(part) or []:
            for source in container.get("envFrom") or []:
                yield (source.get(f"{kind}Ref") or {}).get("name", "")
            for variable in container.get("env") or []:
                yield ((variable.get("valueFrom") or {}).get(f"{kind}KeyRef") or {}).get("name", "")


def _config_maps(spec: Mapping[str, Any]) -> Iterable[str]:
    yield from _from_environments(spec, "configMap")
    for volume in spec.get("volumes") or []:
        yield (volume.get("configMap") or {}).get("name", "")
        for source in (volume.get("projected") or {}).get("sources") or []:
            yield (source.get("configMap") or {}).get("name", "")


def _provider_classes(spec: Mapping[str, Any]) -> Iterable[str]:
    for volume in spec.get("volumes") or []:
        source = volume.get("csi") or {}
        if source.get("driver") == SECRETS_STORE:
            yield (source.get("volumeAttributes") or {}).get("secretProviderClass", "")


def _secrets(spec: Mapping[str, Any]) -> Iterable[str]:
    yield from _from_environments(spec, "secret")
    for volume in spec.get("volumes") or []:
        for kind, field in _SECRET_NAMES:
            yield (volume.get(kind) or {}).get(field, "")
        for kind in _SECRET_REFERENCES:
            yield ((volume.get(kind) or {}).get("secretRef") or {}).get("name", "")
        yield ((volume.get("csi") or {}).get("nodePublishSecretRef") or {}).get("name", "")
        for source in (volume.get("projected") or {}).get("sources") or []:
            yield (source.get("secret") or {}).get("name", "")
    for reference in spec.get("imagePullSecrets") or []:
        yield reference.get("name", "")
