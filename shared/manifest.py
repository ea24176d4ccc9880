"""Manifests that make a workload use a connection, ready to be applied or pasted.

The label turns on AKS workload identity for the pod, the service account carries the identity, and the
secret or config map carries the settings (azure.github.io/azure-workload-identity, labels and annotations);
or a SecretProviderClass is mounted (learn.microsoft.com/azure/aks, csi-secrets-store-identity-access).
"""

from __future__ import annotations

import dataclasses
import json
import re
import textwrap
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

from shared.errors import RefusedError
from shared.spec import PROVIDER_CLASS

CONTAINER = "app"
PATCH = "patch"
MOUNT_PATH = "/mnt/secrets-store"
"""Below which each mounted vault has a folder of its connection's name."""
_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What a manifest is made of."""

    service_account: str
    """Name of the service account made for the connection's identity; empty without one."""
    settings: str
    """Name of the object with the connection's settings."""
    namespace: str
    """Where both are; a pod elsewhere cannot use them."""
    workload: str
    """Names what is made, and labels its pods."""
    keys: Sequence[str] = ()
    """The settings' keys, for a patch; empty if they are not known."""
    container: str = CONTAINER
    """The container that gets the settings; a patch finds it by this name."""
    settings_in: str = "secret"
    """``secret`` or ``configMap``: how Kubernetes' field names begin that refer to the settings; or
    ``secretProviderClass``, which is mounted."""


def snippet(kind: str, parts: Parts) -> str:
    """YAML of one kind: pod, deployment, job, patch, or empty for a pod's parts without a name.

    Raises:
        RefusedError: ``invalid-kind``; ``invalid-name`` for what cannot be a container's name.
    """
    if not _LABEL.fullmatch(parts.container):
        rule = "lower-case letters, digits and '-', at most 63, a letter or digit at both ends"
        raise RefusedError("invalid-name", f"container: {rule}", field="container")
    if kind not in _KINDS:
        offered = ", ".join(name for name in _KINDS if name)
        raise RefusedError("invalid-kind", f"use one of {offered}", field="kind", remedy="or leave it out")
    return _KINDS[kind](parts)


def pod_snippet(
    *,
    service_account: str,
    settings: str,
    namespace: str,
    container: str = CONTAINER,
    settings_in: str = "secret",
) -> str:
    """YAML of a pod's parts, with a placeholder for the program itself."""
    # JSON strings are YAML strings, also where a name is all digits and would read as a number.
    label, account = _identity(service_account)
    head = f"""\
metadata:
  namespace: {json.dumps(namespace)}
{label}spec:
{account}  containers:
    - name: {json.dumps(container)}
      image: "IMAGE"
"""
    if settings_in == PROVIDER_CLASS:
        mount, volume = _mounted(settings)
        return head + textwrap.indent(mount, " " * 6) + textwrap.indent(volume, "  ")
    return f"""{head}\
      envFrom:
        - {settings_in}Ref:
            name: {json.dumps(settings)}
"""


def _mounted(settings: str) -> tuple[str, str]:
    """What a container and a pod need to find a vault's objects as files.

    A volume's name has at most 63 characters, and the connection's part of the class's name at most 60.
    """
    volume = settings.removesuffix("-secretproviderclass")
    mount = f"""\
volumeMounts:
  - name: {json.dumps(volume)}
    mountPath: {json.dumps(f"{MOUNT_PATH}/{volume.removeprefix('sc-')}")}
    readOnly: true
"""
    return (
        mount,
        f"""\
volumes:
  - name: {json.dumps(volume)}
    csi:
      driver: "secrets-store.csi.k8s.io"
      readOnly: true
      volumeAttributes:
        secretProviderClass: {json.dumps(settings)}
""",
    )


def _identity(service_account: str) -> tuple[str, str]:
    """What a pod needs in its metadata and in its spec to have an identity; nothing without an account."""
    if not service_account:
        return "", ""
    account = f"  serviceAccountName: {json.dumps(service_account)}\n"
    return '  labels:\n    azure.workload.identity/use: "true"\n', account


def _parts(parts: Parts) -> str:
    return pod_snippet(
        service_account=parts.service_account,
        settings=parts.settings,
        namespace=parts.namespace,
        container=parts.container,
        settings_in=parts.settings_in,
    )


def _pod(parts: Parts) -> str:
    head = f"metadata:\n  name: {json.dumps(parts.workload)}\n"
    return "apiVersion: v1\nkind: Pod\n" + _parts(parts).replace("metadata:\n", head, 1)


def _deployment(parts: Parts) -> str:
    app = json.dumps(parts.workload)
    return f"""\
apiVersion: apps/v1
kind: Deployment
metadata:
  name: {app}
  namespace: {json.dumps(parts.namespace)}
spec:
  replicas: 1
  selector:
    matchLabels:
      app: {app}
  template:
{_template(parts, f"    app: {app}\n")}"""


def _job(parts: Parts) -> str:
    return f"""\
apiVersion: batch/v1
kind: Job
metadata:
  name: {json.dumps(parts.workload)}
  namespace: {json.dumps(parts.namespace)}
spec:
  template:
{_template(parts, "", '  restartPolicy: "Never"\n')}"""


def _template(parts: Parts, labels: str, spec: str = "") -> str:
    """A pod template: the pod's parts without the namespace, which is its owner's."""
    text = _parts(parts).replace(f"  namespace: {json.dumps(parts.namespace)}\n", "", 1)
    if "  labels:\n" not in text:
        text = text.replace("metadata:\n", "metadata:\n  labels:\n" if labels else "", 1)
    text = text.replace("  labels:\n", f"  labels:\n{labels}", 1).replace("spec:\n", f"spec:\n{spec}", 1)
    return textwrap.indent(text, "    ")


def _patch(parts: Parts) -> str:
    """A strategic merge patch of a deployment that is there.

    Labels, containers and ``env`` are merged by key or name, ``envFrom`` is replaced as a whole (the API's
    patch merge keys): so the settings are named one by one, and other connections' stay.
    """
    label, account = _identity(parts.service_account)
    label = textwrap.indent(f"metadata:\n{label}", "    ") if label else ""
    account = textwrap.indent(account, "    ")
    return f"""\
# kubectl patch deployment NAME --namespace {parts.namespace} --patch-file THIS-FILE
# The container's name is that of one which the deployment has.
spec:
  template:
{label}    spec:
{account}      containers:
        - name: {json.dumps(parts.container)}
{_settings(parts)}"""


def _settings(parts: Parts) -> str:
    name, kind = json.dumps(parts.settings), parts.settings_in
    if kind == PROVIDER_CLASS:
        mount, volume = _mounted(parts.settings)
        return textwrap.indent(mount, " " * 10) + textwrap.indent(volume, " " * 6)
    if not parts.keys:
        text = f"envFrom:\n  - {kind}Ref:\n      name: {name}\n"
        return textwrap.indent(text, " " * 10)
    variables = (
        f"  - name: {key}\n    valueFrom:\n      {kind}KeyRef:\n        name: {name}\n        key: {key}\n"
        for key in map(json.dumps, sorted(parts.keys))
    )
    return textwrap.indent("env:\n" + "".join(variables), " " * 10)


_KINDS: Mapping[str, Callable[[Parts], str]] = MappingProxyType(
    {"": _parts, "pod": _pod, "deployment": _deployment, "job": _job, PATCH: _patch}
)
