"""Every derived name, in one place and without input or output.

Names of cluster objects equal Service Connector's, so that its manifests work unchanged:
secret ``sc-<folded name>-secret``, service account ``sc-account-<client id>`` (azure-cli
``serviceconnector/_utils.py``). Everything else is a hash of stable inputs, so that a step that
runs twice names the same thing twice.
"""

from __future__ import annotations

import hashlib
import json
import re
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from shared.models import ConnectionId, OperationId
from shared.spec import ConnectionSpec

_ROLE_NAMESPACE = uuid.UUID("6f1a9c1e-2f0b-5d0e-9a55-3d1d6c0a7f10")
AUDIENCE = "api://AzureADTokenExchange"
"""The audience Entra expects of an exchanged token (azure.github.io/azure-workload-identity)."""
MANAGED_BY = "mooring"
PROTECTED_CREDENTIAL = "aks-identity-binding"
_GROUP_LENGTH = 4
"""Segments of a resource group's id: subscriptions, GUID, resourceGroups, name."""
_RESOURCE_LENGTH = 8
"""Segments of a top-level resource's id."""
ID_LENGTH = 1024
"""Longest id accepted from outside."""
_SEGMENT = re.compile(r"[A-Za-z0-9._()-]+")
_GUID = re.compile(r"[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}")
_LATER_FIELDS = (
    "intent",
    "service_account",
    "customized_keys",
    "additional_settings",
    "auth_type",
    "settings_in",
    "vault_objects",
)
"""Fields that came later: left out of a hash while they say nothing, so that stored hashes stay true."""
_LOWER = str.maketrans("ABCDEFGHIJKLMNOPQRSTUVWXYZ", "abcdefghijklmnopqrstuvwxyz")


def fold_id(resource_id: str) -> str:
    """Normal form of an ARM id: one leading slash, no trailing or doubled slash, lower case.

    Azure answers with the service's own casing (``resourcegroups``), so ids are only ever compared folded.
    Only ASCII letters are folded: ``str.lower`` would turn the Kelvin sign into ``k`` and so make two
    different ids equal. Folding twice changes nothing.
    """
    parts = [part for part in resource_id.strip(" \t\r\n/").split("/") if part]
    joined = "/" + "/".join(parts)
    return joined.lower() if joined.isascii() else joined.translate(_LOWER)


def id_fault(resource_id: str, kind: str = "") -> str:
    """The first rule that an id given by a person breaks, or an empty string.

    Args:
        resource_id: as written.
        kind: the resource's exact type, if only a top-level resource of that type will do.
    """
    parts = resource_id.removeprefix("/").split("/")
    folded = fold_id(resource_id)
    shaped = len(parts) >= _RESOURCE_LENGTH and not len(parts) % 2
    rules = (
        (len(resource_id) <= ID_LENGTH, f"an id has at most {ID_LENGTH} characters"),
        (resource_id.isascii() and resource_id.isprintable(), "an id has printable ASCII characters only"),
        ("%" not in resource_id and ".." not in resource_id, "an id has neither percent-encoding nor '..'"),
        (resource_id[:1] == "/" and subscription_of(folded), "an id starts with /subscriptions/"),
        (all(map(_SEGMENT.fullmatch, parts)), "each segment of an id consists of letters, digits and ._()-"),
        (is_guid(subscription_of(folded)), "the subscription of an id is a GUID"),
        (
            shaped and resource_group_of(folded) and fold_id(parts[4]) == "/providers" and "." in parts[5],
            "an id reads /subscriptions/GUID/resourceGroups/NAME/providers/NAMESPACE/TYPE/NAME",
        ),
        (
            not kind or (len(parts) == _RESOURCE_LENGTH and type_of(folded) == fold_id(kind)[1:]),
            f"the resource is of type {kind}",
        ),
    )
    return next((rule for holds, rule in rules if not holds), "")


def is_guid(text: str) -> bool:
    """Say whether a text is a GUID in its usual form."""
    return _GUID.fullmatch(text) is not None


def digest(parts: Sequence[str], length: int = 24) -> str:
    """Hex hash of a list of strings; unambiguous whatever the strings hold."""
    text = json.dumps(list(parts), ensure_ascii=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:length]


def body_hash(body: Mapping[str, Any]) -> str:
    """Hash of a JSON object, independent of key order."""
    text = json.dumps(body, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def spec_hash(spec: ConnectionSpec) -> str:
    """Hash of a wanted connection; ids that differ only in casing are the same wish."""
    body = spec.model_dump()
    for field in _LATER_FIELDS:
        if not body[field]:
            del body[field]
    for field in ("cluster_id", "target_id", "identity_id"):
        body[field] = fold_id(body[field]) if body[field] else ""
    return body_hash(body)


def fold_name(connection_name: str) -> str:
    """A connection's name as the secret's name holds it: letters and digits only, lower case.

    The azure-cli keeps upper case, which Kubernetes refuses in object names; we fold it.
    """
    return re.sub(r"[^A-Za-z0-9]", "", connection_name).lower()


def workload_name(connection_name: str) -> str:
    """Name of the workload of a request that names none: the connection's name as a DNS label."""
    return re.sub(r"[^a-z0-9]+", "-", connection_name.translate(_LOWER))[:63].strip("-")


def secret_name(connection_name: str) -> str:
    """Name of the connection's Kubernetes secret."""
    return f"sc-{fold_name(connection_name)}-secret"


def database_user(connection_name: str) -> str:
    """Name of the connection's user in a database server, which is Service Connector's."""
    return f"aad_{connection_name}"


def config_map_name(connection_name: str) -> str:
    """Name of the config map of a connection whose settings are asked for in one."""
    return f"sc-{fold_name(connection_name)}-configmap"


def settings_object(spec: ConnectionSpec) -> tuple[str, str]:
    """Kind and name of the object with a connection's settings."""
    if spec.mounted:
        return "SecretProviderClass", f"sc-{fold_name(spec.name)}-secretproviderclass"
    if spec.settings_in:
        return "ConfigMap", config_map_name(spec.name)
    return "Secret", secret_name(spec.name)


def settings_name_part(object_name: str) -> str:
    """What an object's name holds of its connection's: the way back from ``settings_object``."""
    name = object_name.removeprefix("sc-").removesuffix("-secretproviderclass")
    return name.removesuffix("-secret").removesuffix("-configmap")


def service_account_name(client_id: str) -> str:
    """Name of the service account shared by all connections of one identity in one namespace."""
    return f"sc-account-{client_id.lower()}"


def account_name(spec: ConnectionSpec, client_id: str) -> str:
    """Name of a connection's service account: the one that the request names, or the identity's."""
    return spec.service_account or service_account_name(client_id)


def subject(namespace: str, service_account: str) -> str:
    """Subject of the cluster's tokens for one service account."""
    return f"system:serviceaccount:{namespace}:{service_account}"


def connection_id(cluster_id: str, namespace: str, connection_name: str) -> ConnectionId:
    """Identity of a connection; two names that fold to one secret are one id: they would write one object."""
    return ConnectionId(digest([fold_id(cluster_id), namespace, fold_name(connection_name)]))


def operation_id(connection: ConnectionId, request_key: str) -> OperationId:
    """Identity of the operation that one request opens; the same request names the same operation."""
    return OperationId(f"{connection}-{digest([connection, request_key], 12)}")


def trace_of(thing: str) -> tuple[str, str]:
    """W3C trace id of an operation or sweep, and id of that trace's first span, both in hexadecimal digits.

    Computed, so that every host, version and person comes to the same two from the id alone.
    """
    digits = hashlib.sha256(f"trace|{thing}".encode()).hexdigest()
    return digits[:32], digits[32:48]


def connection_of(operation: str) -> ConnectionId:
    """The connection that an operation id belongs to."""
    return ConnectionId(operation.partition("-")[0])


def workload_key(cluster_id: str, namespace: str, workload: str) -> str:
    """Identity of a workload: its connections share identity, credential and service account."""
    return digest([fold_id(cluster_id), namespace, workload])


def identity_name(cluster_id: str, namespace: str, workload: str) -> str:
    """Name of the managed identity made for a workload (3 to 128 characters, Azure naming rules)."""
    return f"mooring-{namespace[:40]}-{workload[:40]}-{workload_key(cluster_id, namespace, workload)[:10]}"


def credential_name(cluster_id: str, namespace: str, service_account: str, issuer: str) -> str:
    """Name of the federated credential (3 to 120 characters, letters, digits, dash, underscore)."""
    # Azure deletes by name alone: with the issuer in it, no late delete takes what a rebuilt cluster needs.
    return f"mooring-{digest([fold_id(cluster_id), namespace, service_account, issuer], 20)}"


def former_credential_name(cluster_id: str, namespace: str, service_account: str) -> str:
    """The name that credentials got before the issuer was part of it; some bear it still."""
    return f"mooring-{digest([fold_id(cluster_id), namespace, service_account], 20)}"


def protected_credential(name: str) -> bool:
    """Say whether a federated credential is AKS's own: identity bindings write it, and need it.

    Source: learn.microsoft.com/azure/aks, identity-bindings-concepts: AKS makes one for each identity,
    however many clusters are bound to it.
    """
    return PROTECTED_CREDENTIAL in name.translate(_LOWER)


def role_assignment_name(scope: str, principal_id: str, role_definition_id: str) -> str:
    """GUID of a role assignment: a version 5 UUID of its triple, so that PUT is repeatable.

    The principal id is part of the seed because a re-created identity of the same name is another
    principal (RoleAssignmentUpdateNotPermitted otherwise).
    """
    role = fold_id(role_definition_id).rsplit("/", 1)[-1]
    seed = "|".join([fold_id(scope), principal_id.lower(), role])
    return str(uuid.uuid5(_ROLE_NAMESPACE, seed))


def _segments(resource_id: str) -> list[str]:
    """Folded segments of an ARM id: a keyword or type at each even index, its value or name after it."""
    return [part for part in fold_id(resource_id).split("/") if part]


def subscription_of(resource_id: str) -> str:
    """Subscription of an ARM id, lower case, or an empty string."""
    parts = _segments(resource_id)
    return parts[1] if len(parts) > 1 and parts[0] == "subscriptions" else ""


def resource_group_of(resource_id: str) -> str:
    """Folded id of the resource group of an ARM id, or an empty string."""
    parts = _segments(resource_id)
    grouped = len(parts) >= _GROUP_LENGTH and parts[0] == "subscriptions" and parts[2] == "resourcegroups"
    return "/" + "/".join(parts[:_GROUP_LENGTH]) if grouped else ""


def type_of(resource_id: str) -> str:
    """Folded type of an ARM id: the last provider's namespace and every second part after it.

    Ids without a provider are ``microsoft.resources/resourcegroups``, ``.../subscriptions`` or empty.
    Only even positions can hold the keyword ``providers``: a group or an account may have that name.
    """
    parts = _segments(resource_id)
    found: list[str] = []
    for index in range(0, len(parts), 2):
        if parts[index] == "providers":
            found = parts[index + 1 : index + 2]
        elif found:
            found.append(parts[index])
    if found:
        return "/".join(found)
    if len(parts) == _GROUP_LENGTH and resource_group_of(resource_id):
        return "microsoft.resources/resourcegroups"
    return "microsoft.resources/subscriptions" if len(parts) == 2 and subscription_of(resource_id) else ""  # noqa: PLR2004 - id shape


def resource_of(resource_id: str) -> str:
    """Id of the top-level resource that an id names or is a part of, as written."""
    parts = [part for part in resource_id.split("/") if part]
    return "/" + "/".join(parts[:_RESOURCE_LENGTH])


def ancestors(resource_id: str) -> tuple[str, ...]:
    """The folded id itself and every id above it down to the resource group, nearest first.

    A step up removes ``/type/name``, and ``/providers/namespace`` with it when that was the provider's
    first type; ids outside of a group end with their outermost resource.
    """
    parts = _segments(resource_id)
    found = [fold_id(resource_id)]
    end = len(parts)
    while end > _GROUP_LENGTH:
        if end % 2:
            end -= 1  # a collection: drop the type that has no name
        else:
            end -= 4 if parts[end - 4] == "providers" else 2
        if end >= _GROUP_LENGTH and parts[end - 2] != "providers":
            found.append("/" + "/".join(parts[:end]))
    return tuple(found)
