"""Which kinds the emulated API serves, as data.

One row is a kind: discovery, routing, defaulting and pruning of unknown fields all read this table,
so a new kind is a new row.
"""

from __future__ import annotations

import dataclasses
from typing import Any

Object = dict[str, Any]
"""A Kubernetes object as JSON."""

STORED_VERBS = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Resource:
    """One served kind."""

    plural: str
    kind: str
    fields: frozenset[str]
    """Known top-level fields besides apiVersion, kind and metadata; others are dropped, as a server does."""
    group: str = ""
    version: str = "v1"
    namespaced: bool = True
    short_names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    subresources: tuple[str, ...] = ()
    returns_deleted: bool = False
    """DELETE answers with the object that went, not with a Status."""
    selectable: tuple[str, ...] = ()
    """Field selectors besides metadata.name and metadata.namespace."""

    defined: bool = False
    """Served only while its CustomResourceDefinition is there."""

    @property
    def api_version(self) -> str:
        """What stands in an object's apiVersion."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def qualified(self) -> str:
        """Plural name with its group: unique among the stored kinds."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    @property
    def has_status(self) -> bool:
        """Whether status is written through its own subresource only."""
        return "status" in self.subresources


def _fields(names: str) -> frozenset[str]:
    return frozenset(names.split())


_RBAC = "rbac.authorization.k8s.io"
_SPEC = _fields("spec status")
_POD_FIELDS = (
    "spec.nodeName",
    "spec.restartPolicy",
    "spec.schedulerName",
    "spec.serviceAccountName",
    "status.phase",
    "status.podIP",
)


def _workload(plural: str, kind: str, group: str, *, short_names: tuple[str, ...] = ()) -> Resource:
    return Resource(
        plural=plural,
        kind=kind,
        group=group,
        fields=_SPEC,
        short_names=short_names,
        categories=("all",),
        subresources=("status",),
    )


RESOURCES = (
    Resource(
        plural="namespaces",
        kind="Namespace",
        namespaced=False,
        fields=_SPEC,
        short_names=("ns",),
        subresources=("finalize", "status"),
        returns_deleted=True,
        selectable=("status.phase",),
    ),
    Resource(
        plural="serviceaccounts",
        kind="ServiceAccount",
        fields=_fields("secrets imagePullSecrets automountServiceAccountToken"),
        short_names=("sa",),
        subresources=("token",),
        returns_deleted=True,
    ),
    Resource(
        plural="secrets",
        kind="Secret",
        fields=_fields("data stringData type immutable"),
        selectable=("type",),
    ),
    Resource(
        plural="configmaps",
        kind="ConfigMap",
        fields=_fields("data binaryData immutable"),
        short_names=("cm",),
    ),
    Resource(
        plural="pods",
        kind="Pod",
        fields=_SPEC,
        short_names=("po",),
        categories=("all",),
        subresources=("status",),
        returns_deleted=True,
        selectable=_POD_FIELDS,
    ),
    Resource(
        plural="events",
        kind="Event",
        fields=_fields(
            "involvedObject reason message source firstTimestamp lastTimestamp count type eventTime "
            "series action related reportingComponent reportingInstance",
        ),
        short_names=("ev",),
        selectable=("involvedObject.kind", "involvedObject.name", "involvedObject.uid", "reason", "type"),
    ),
    _workload("deployments", "Deployment", "apps", short_names=("deploy",)),
    _workload("statefulsets", "StatefulSet", "apps", short_names=("sts",)),
    _workload("daemonsets", "DaemonSet", "apps", short_names=("ds",)),
    _workload("replicasets", "ReplicaSet", "apps", short_names=("rs",)),
    _workload("jobs", "Job", "batch"),
    _workload("cronjobs", "CronJob", "batch", short_names=("cj",)),
    Resource(
        plural="customresourcedefinitions",
        kind="CustomResourceDefinition",
        group="apiextensions.k8s.io",
        namespaced=False,
        fields=_SPEC,
        short_names=("crd", "crds"),
        subresources=("status",),
        returns_deleted=True,
    ),
    Resource(
        plural="secretproviderclasses",
        kind="SecretProviderClass",
        group="secrets-store.csi.x-k8s.io",
        fields=_SPEC,
        returns_deleted=True,
        defined=True,
    ),
    Resource(plural="roles", kind="Role", group=_RBAC, fields=_fields("rules")),
    Resource(plural="rolebindings", kind="RoleBinding", group=_RBAC, fields=_fields("subjects roleRef")),
    Resource(
        plural="clusterroles",
        kind="ClusterRole",
        group=_RBAC,
        namespaced=False,
        fields=_fields("rules aggregationRule"),
    ),
    Resource(
        plural="clusterrolebindings",
        kind="ClusterRoleBinding",
        group=_RBAC,
        namespaced=False,
        fields=_fields("subjects roleRef"),
    ),
)

DEFINITIONS = "customresourcedefinitions.apiextensions.k8s.io"
"""Qualified name of the kind that brings other kinds."""
REVIEWS = {
    ("authentication.k8s.io", "tokenreviews"): "TokenReview",
    ("authorization.k8s.io", "selfsubjectaccessreviews"): "SelfSubjectAccessReview",
    ("authorization.k8s.io", "selfsubjectrulesreviews"): "SelfSubjectRulesReview",
    ("authorization.k8s.io", "subjectaccessreviews"): "SubjectAccessReview",
}
"""Questions that are asked by POST and never stored."""

DEFINED = {row.group: f"{row.plural}.{row.group}" for row in RESOURCES if row.defined}
"""Groups of custom resources, and the name of the definition that brings each."""
BY_PATH = {(row.group, row.version, row.plural): row for row in RESOURCES}
BY_NAME = {row.qualified: row for row in RESOURCES}
GROUPS = tuple(
    dict.fromkeys([*(row.group for row in RESOURCES if row.group), *(group for group, _ in REVIEWS)]),
)
"""Named API groups in the order of discovery. Each has the one version v1."""
