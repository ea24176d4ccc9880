"""Rules that an object has to keep before it is stored, and the defaults it gets.

Rules and limits: Kubernetes API conventions and the validation of core/v1, rbac/v1.
"""

from __future__ import annotations

import base64
import binascii
import re
from typing import Any

from sandbox.kube.errors import ApiError, Cause, bad_request, invalid
from sandbox.kube.resources import Object, Resource

MAX_DATA_BYTES = 1024 * 1024
"""Limit of the data of one Secret or ConfigMap."""
MAX_ANNOTATION_BYTES = 256 * 1024

_LABEL = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_DNS_LABEL = re.compile(_LABEL)
_DNS_SUBDOMAIN = re.compile(rf"{_LABEL}(\.{_LABEL})*")
_QUALIFIED_NAME = re.compile(r"([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]")
_LABEL_VALUE = re.compile(r"(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?")
_DATA_KEY = re.compile(r"[-._a-zA-Z0-9]+")
_WORKLOADS = {"Deployment", "StatefulSet", "DaemonSet", "ReplicaSet"}

_DNS_SUBDOMAIN_RULE = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', "
    "and must start and end with an alphanumeric character"
)
_DNS_LABEL_RULE = (
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', "
    "and must start and end with an alphanumeric character"
)
_VALUE_RULE = (
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', "
    "and must start and end with an alphanumeric character"
)
_KEY_RULE = "name part must consist of alphanumeric characters, '-', '_' or '.'"
_DATA_KEY_RULE = "a valid config key must consist of alphanumeric characters, '-', '_' or '.'"


def set_defaults(resource: Resource, body: Object) -> None:
    """Drop unknown fields, fold ``stringData`` into ``data`` and fill in what the server fills in."""
    for name in set(body) - resource.fields - {"apiVersion", "kind", "metadata"}:
        del body[name]
    if resource.kind == "Secret":
        text = body.pop("stringData", None) or {}
        if text:
            encoded = {key: base64.b64encode(str(value).encode()).decode() for key, value in text.items()}
            body["data"] = {**(body.get("data") or {}), **encoded}
        body["type"] = body.get("type") or "Opaque"
    elif resource.kind == "Namespace":
        body.setdefault("spec", {}).setdefault("finalizers", ["kubernetes"])
        body.setdefault("status", {}).setdefault("phase", "Active")
        body["metadata"].setdefault("labels", {})["kubernetes.io/metadata.name"] = body["metadata"]["name"]
    elif resource.kind == "Pod" and isinstance(body.get("spec"), dict):
        spec = body["spec"]
        spec["serviceAccountName"] = spec.get("serviceAccountName") or spec.get("serviceAccount") or "default"
        spec["serviceAccount"] = spec["serviceAccountName"]
        spec.setdefault("restartPolicy", "Always")
        spec.setdefault("schedulerName", "default-scheduler")
        body.setdefault("status", {}).setdefault("phase", "Pending")
    elif resource.kind in {"RoleBinding", "ClusterRoleBinding"}:
        for subject in body.get("subjects") or ():
            account = subject.get("kind") == "ServiceAccount"
            subject.setdefault("apiGroup", "" if account else "rbac.authorization.k8s.io")
            if account:
                del subject["apiGroup"]
    if not body["metadata"].get("labels"):
        body["metadata"].pop("labels", None)
    if not body["metadata"].get("annotations"):
        body["metadata"].pop("annotations", None)


def check_shape(resource: Resource, body: Any) -> None:
    """Refuse a body that cannot be decoded as this kind.

    Raises:
        ApiError: 400, as decoding fails before validation.
    """
    if not isinstance(body, dict):
        raise bad_request("couldn't get version/kind; json parse error: the body is no JSON object")
    kind, api_version = body.get("kind") or resource.kind, body.get("apiVersion") or resource.api_version
    if (kind, api_version) != (resource.kind, resource.api_version):
        raise bad_request(
            f'{kind} in version "{api_version}" cannot be handled as a {resource.kind}: '
            f"converting ({api_version}).{kind} to ({resource.api_version}).{resource.kind}: "
            "unknown conversion",
        )
    metadata = body.get("metadata") or {}
    wrong = f'{resource.kind} in version "{resource.version}" cannot be handled as a {resource.kind}: '
    if not isinstance(metadata, dict):
        raise bad_request(wrong + "metadata is no object")
    for field in ("labels", "annotations"):
        for value in (metadata.get(field) or {}).values():
            if not isinstance(value, str):
                raise bad_request(wrong + f"ReadString: expects a string in metadata.{field}")
    for field in ("data", "stringData", "binaryData", "spec"):
        if field in resource.fields and not isinstance(body.get(field) or {}, dict):
            raise bad_request(wrong + f"{field} is no object")
    for field in ("data", "stringData"):
        if field in resource.fields and any(
            not isinstance(value, str) and value is not None for value in (body.get(field) or {}).values()
        ):
            raise bad_request(wrong + f"ReadString: expects a string in {field}")
    binary = "data" if resource.kind == "Secret" else "binaryData"
    for value in (body.get(binary) or {}).values() if binary in resource.fields else ():
        try:
            base64.b64decode(value or "", validate=True)
        except (binascii.Error, ValueError) as error:
            raise bad_request(wrong + f"illegal base64 data: {error}") from None


def check(resource: Resource, body: Object, old: Object | None) -> None:
    """Refuse an object that breaks rules, in comparison with the stored one where there is one.

    Raises:
        ApiError: 422 with one cause per complaint.
    """
    causes = [*_metadata_causes(resource, body), *_kind_causes(resource, body, old)]
    if causes:
        raise invalid(resource.kind, resource.group, body["metadata"].get("name", ""), causes)


def check_options(kind: str, causes: list[Cause]) -> ApiError:
    """422 for request options, which the server validates as an object of their own."""
    return invalid(kind, "meta.k8s.io", "", causes)


def _metadata_causes(resource: Resource, body: Object) -> list[Cause]:
    metadata = body["metadata"]
    name = metadata.get("name") or ""
    causes = []
    if not name:
        causes.append(Cause.required("metadata.name", "name or generateName is required"))
    elif resource.group == "rbac.authorization.k8s.io":
        if name in {".", ".."} or "/" in name or "%" in name:
            causes.append(Cause.invalid("metadata.name", name, "may not contain '/' or '%'"))
    elif resource.kind == "Namespace":
        if len(name) > 63 or not _DNS_LABEL.fullmatch(name):
            causes.append(Cause.invalid("metadata.name", name, _DNS_LABEL_RULE))
    elif len(name) > 253 or not _DNS_SUBDOMAIN.fullmatch(name):
        causes.append(Cause.invalid("metadata.name", name, _DNS_SUBDOMAIN_RULE))
    for key, value in (metadata.get("labels") or {}).items():
        if not _is_qualified(key):
            causes.append(Cause.invalid("metadata.labels", key, _KEY_RULE))
        if len(value) > 63 or not _LABEL_VALUE.fullmatch(value):
            causes.append(Cause.invalid("metadata.labels", value, _VALUE_RULE))
    annotations = metadata.get("annotations") or {}
    causes.extend(
        Cause.invalid("metadata.annotations", key, _KEY_RULE)
        for key in annotations
        if not _is_qualified(key.lower())
    )
    if sum(len(key) + len(value.encode()) for key, value in annotations.items()) > MAX_ANNOTATION_BYTES:
        causes.append(Cause.too_long("metadata.annotations", MAX_ANNOTATION_BYTES))
    for finalizer in metadata.get("finalizers") or ():
        if not _is_qualified(finalizer):
            causes.append(Cause.invalid("metadata.finalizers", finalizer, _KEY_RULE))
        elif "/" not in finalizer and finalizer not in {"orphan", "foregroundDeletion"}:
            why = "name is neither a standard finalizer name nor is it fully qualified"
            causes.append(Cause.invalid("metadata.finalizers[0]", finalizer, why))
    return causes


def _is_qualified(key: str) -> bool:
    prefix, slash, name = key.rpartition("/")
    if slash and (len(prefix) > 253 or not _DNS_SUBDOMAIN.fullmatch(prefix)):
        return False
    return len(name) <= 63 and _QUALIFIED_NAME.fullmatch(name) is not None


def _kind_causes(resource: Resource, body: Object, old: Object | None) -> list[Cause]:
    if resource.kind in {"Secret", "ConfigMap"}:
        return _data_causes(resource, body, old)
    if resource.kind in {"RoleBinding", "ClusterRoleBinding"}:
        return _binding_causes(body, old)
    if resource.kind in {"Role", "ClusterRole"}:
        return [
            Cause.required(f"rules[{index}].verbs", "verbs must contain at least one value")
            for index, rule in enumerate(body.get("rules") or ())
            if not rule.get("verbs")
        ]
    spec = body.get("spec") or {}
    if resource.kind == "Pod":
        return _pod_causes(spec, "spec")
    if resource.kind in _WORKLOADS or resource.kind == "Job":
        template = spec.get("template") or {}
        causes = _pod_causes(template.get("spec") or {}, "spec.template.spec")
        if resource.kind in _WORKLOADS:
            causes += _selector_causes(spec, old)
        return causes
    return []


def _data_causes(resource: Resource, body: Object, old: Object | None) -> list[Cause]:
    causes = []
    total = 0
    for field in ("data", "binaryData"):
        for key, value in (body.get(field) or {}).items():
            if len(key) > 253 or not _DATA_KEY.fullmatch(key):
                causes.append(Cause.invalid(f"{field}[{key}]", key, _DATA_KEY_RULE))
            encoded = resource.kind == "Secret" or field == "binaryData"
            total += len(base64.b64decode(value or "")) if encoded else len((value or "").encode())
    if total > MAX_DATA_BYTES:
        field = "data" if resource.kind == "Secret" else ""
        causes.append(Cause.too_long(field, MAX_DATA_BYTES))
    if old is None:
        return causes
    if old.get("type") != body.get("type"):
        causes.append(Cause.invalid("type", body.get("type"), "field is immutable"))
    if old.get("immutable"):
        if not body.get("immutable"):
            causes.append(Cause.forbidden("immutable", "field is immutable when `immutable` is set"))
        causes.extend(
            Cause.forbidden(field, "field is immutable when `immutable` is set")
            for field in ("data", "binaryData")
            if (old.get(field) or {}) != (body.get(field) or {})
        )
    return causes


def _binding_causes(body: Object, old: Object | None) -> list[Cause]:
    causes = []
    reference = body.get("roleRef") or {}
    kinds = ("Role", "ClusterRole") if body.get("kind") == "RoleBinding" else ("ClusterRole",)
    if reference.get("apiGroup", "rbac.authorization.k8s.io") != "rbac.authorization.k8s.io":
        causes.append(Cause("FieldValueNotSupported", "Unsupported value", "roleRef.apiGroup"))
    if reference.get("kind") not in kinds:
        causes.append(Cause("FieldValueNotSupported", "Unsupported value", "roleRef.kind"))
    if not reference.get("name"):
        causes.append(Cause.required("roleRef.name"))
    for index, subject in enumerate(body.get("subjects") or ()):
        where = f"subjects[{index}]"
        if not subject.get("name"):
            causes.append(Cause.required(f"{where}.name"))
        if subject.get("kind") not in {"User", "Group", "ServiceAccount"}:
            causes.append(Cause("FieldValueNotSupported", "Unsupported value", f"{where}.kind"))
        elif subject["kind"] == "ServiceAccount" and not subject.get("namespace"):
            causes.append(Cause.required(f"{where}.namespace"))
    if old is not None and old.get("roleRef") != body.get("roleRef"):
        causes.append(Cause.invalid("roleRef", reference, "cannot change roleRef"))
    return causes


def _pod_causes(spec: dict[str, Any], where: str) -> list[Cause]:
    containers = spec.get("containers") or []
    if not containers:
        return [Cause.required(f"{where}.containers")]
    causes = []
    for index, container in enumerate(containers):
        causes += [
            Cause.required(f"{where}.containers[{index}].{field}")
            for field in ("name", "image")
            if not container.get(field)
        ]
    return causes


def _selector_causes(spec: dict[str, Any], old: Object | None) -> list[Cause]:
    selector = spec.get("selector") or {}
    if not selector:
        return [Cause.required("spec.selector")]
    labels = ((spec.get("template") or {}).get("metadata") or {}).get("labels") or {}
    wanted = selector.get("matchLabels") or {}
    if any(labels.get(key) != value for key, value in wanted.items()):
        why = "`selector` does not match template `labels`"
        return [Cause.invalid("spec.template.metadata.labels", labels, why)]
    if old is not None and (old.get("spec") or {}).get("selector") != selector:
        return [Cause.invalid("spec.selector", selector, "field is immutable")]
    return []
