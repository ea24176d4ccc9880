"""AKS clusters, the few Kubernetes calls made in them, and the proof of access."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Protocol

from shared.cluster_commands import enable_entra
from shared.errors import PermanentError


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
    entra: bool
    """The API server takes Entra's tokens; it is not reached where it does not."""
    forbidden_identities: tuple[str, ...]
    """Folded resource ids and client ids of the kubelet's and the control plane's identities."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class KubeObject:
    """Metadata of a service account or an object with settings, and values when asked for."""

    kind: str
    namespace: str
    name: str
    uid: str
    resource_version: str
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    data: Mapping[str, str] = dataclasses.field(default_factory=dict, repr=False)
    """Decoded values, of a SecretProviderClass its parameters; never logged."""
    created_at: str = ""
    """The API server's ``creationTimestamp``."""
    secret_type: str = ""
    """A secret's ``type``, when its values were asked for."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """A pod, or what makes pods, that uses a service account or objects with settings."""

    kind: str
    """Pod, Deployment, StatefulSet, DaemonSet, ReplicaSet, Job or CronJob."""
    name: str
    service_account: str
    secrets: tuple[str, ...]
    config_maps: tuple[str, ...] = ()
    provider_classes: tuple[str, ...] = ()


def without_entra(cluster_id: str) -> PermanentError:
    """The error of a cluster that is not asked: it would refuse the app's token."""
    return PermanentError(
        "cluster-without-entra",
        f"{cluster_id} has local accounts only and takes no Entra tokens",
        remedy=enable_entra(cluster_id),
    )


class Clusters(Protocol):
    """AKS clusters and the few Kubernetes calls that we make in them.

    Each Kubernetes method takes the cluster's ARM id. ``PermanentError("cluster-gone")`` is raised when
    Azure says that the cluster does not exist, and ``without_entra`` when it has no Entra integration; an
    unreachable API server is transient.
    """

    async def describe(self, cluster_id: str) -> ManagedCluster | None:
        """What Azure says of the cluster, ``None`` if it does not exist."""
        ...

    async def namespace_exists(self, cluster_id: str, namespace: str) -> bool:
        """Say whether a namespace exists and is not being removed."""
        ...

    async def namespace_phase(self, cluster_id: str, namespace: str) -> str:
        """``Active``, ``Terminating``, or empty for a namespace that is not there."""
        ...

    async def get(
        self,
        cluster_id: str,
        kind: str,
        namespace: str,
        name: str,
        *,
        values: bool = False,
    ) -> KubeObject | None:
        """Read the metadata of a service account or an object with settings; values only if asked for.

        ``None`` also where the cluster does not serve the kind: what an add-on brings goes with it.
        """
        ...

    async def serves(self, cluster_id: str, kind: str) -> bool:
        """Say whether the cluster knows a kind; only what an add-on brings can be missing."""
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
        force: bool = False,
        uid: str = "",
        resource_version: str = "",
    ) -> KubeObject:
        """Server-side apply under field manager ``mooring``.

        ``force`` takes over fields that another manager owns: only for an object that is proven ours. With
        ``uid`` and ``resource_version`` only that incarnation is changed, as it was read, and none is made;
        labels and annotations that are empty are left to others then.

        Raises:
            PermanentError: ``field-conflict`` if another manager owns a field.
            TransientError: ``kubernetes-conflict`` if the object is not as it was read.
        """
        ...

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
        ...

    async def list_objects(self, cluster_id: str, kind: str, namespace: str = "") -> list[KubeObject]:
        """Metadata of every object of one of these kinds in a namespace, or in the whole cluster.

        Empty where the cluster does not serve the kind.

        Raises:
            PermanentError: ``kubernetes-access-denied`` without the right to list them.
        """
        ...

    async def list_namespaces(self, cluster_id: str) -> Mapping[str, bool]:
        """Every namespace; ``False`` for one that is being removed."""
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
        """What uses service accounts and objects with settings in a namespace.

        Pods that are not finished, and whatever makes pods: deployments (scaled to zero too), stateful sets,
        daemon sets, replica sets without an owner, jobs that are not finished, cron jobs.
        """
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
