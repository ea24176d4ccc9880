"""A pod as its author wrote it, and as the workload-identity webhook of AKS turns it.

The rules are those of azure-workload-identity's mutating webhook: only pods labelled
``azure.workload.identity/use: "true"``; client and tenant id from annotations of the service
account; variables the author set win; a projected token of one hour for Entra's exchange audience.
"""

from __future__ import annotations

import copy
from typing import Any

Object = dict[str, Any]

USE_LABEL = "azure.workload.identity/use"
CLIENT_ID = "azure.workload.identity/client-id"
TENANT_ID = "azure.workload.identity/tenant-id"
EXPIRATION = "azure.workload.identity/service-account-token-expiration"
SKIP_CONTAINERS = "azure.workload.identity/skip-containers"
EXCHANGE_AUDIENCE = "api://AzureADTokenExchange"
TOKEN_VOLUME = "azure-identity-token"
TOKEN_FOLDER = "/var/run/secrets/azure/tokens"
TOKEN_FILE = f"{TOKEN_FOLDER}/{TOKEN_VOLUME}"
DEFAULT_EXPIRATION_SECONDS = 3600
MINIMUM_EXPIRATION_SECONDS = 3600
MAXIMUM_EXPIRATION_SECONDS = 86_400


class PodRefusedError(ValueError):
    """The cluster would not accept the pod, or the manifest has none."""


def pod_of(documents: list[Any], namespace: str = "") -> Object:
    """Make a pod object from a manifest: a pod, or the template of a workload.

    Args:
        documents: The manifest's documents.
        namespace: Where it goes when the manifest does not say.

    Returns:
        The pod, with a namespace and a service account name.

    Raises:
        PodRefusedError: No document has a pod.
    """
    for document in documents:
        if not isinstance(document, dict):
            continue
        metadata = document.get("metadata") or {}
        template: Any = document
        name = str(metadata.get("name"))
        if document.get("kind") != "Pod":
            spec = document.get("spec") or {}
            template = ((spec.get("jobTemplate") or {}).get("spec") or spec).get("template")
            name = f"{name}-0"
        if not isinstance(template, dict) or not (template.get("spec") or {}).get("containers"):
            continue
        pod: Object = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": copy.deepcopy(template.get("metadata") or {}),
            "spec": copy.deepcopy(template["spec"]),
        }
        pod["metadata"]["name"] = name
        pod["metadata"]["namespace"] = namespace or metadata.get("namespace") or "default"
        pod["spec"].setdefault("serviceAccountName", "default")
        return pod
    raise PodRefusedError("the manifest has no pod")


def mutate(pod: Object, service_account: Object, *, tenant_id: str, authority_host: str) -> bool:
    """Change a pod as the webhook does.

    Args:
        pod: The pod, changed in place.
        service_account: Its service account.
        tenant_id: The webhook's default tenant.
        authority_host: The webhook's authority, with a trailing slash.

    Returns:
        Whether the pod asked for workload identity at all.

    Raises:
        PodRefusedError: An expiration outside the webhook's limits.
    """
    labels = pod["metadata"].get("labels") or {}
    if str(labels.get(USE_LABEL, "")) != "true":
        return False
    of_account = (service_account.get("metadata") or {}).get("annotations") or {}
    of_pod = pod["metadata"].get("annotations") or {}
    expiration = of_pod.get(EXPIRATION) or of_account.get(EXPIRATION) or DEFAULT_EXPIRATION_SECONDS
    seconds = int(expiration)
    if not MINIMUM_EXPIRATION_SECONDS <= seconds <= MAXIMUM_EXPIRATION_SECONDS:
        raise PodRefusedError(f"{EXPIRATION} of {seconds} is not between 3600 and 86400")
    variables = {
        "AZURE_CLIENT_ID": of_account.get(CLIENT_ID, ""),
        "AZURE_TENANT_ID": of_account.get(TENANT_ID) or tenant_id,
        "AZURE_FEDERATED_TOKEN_FILE": TOKEN_FILE,
        "AZURE_AUTHORITY_HOST": authority_host,
    }
    skipped = {name.strip() for name in str(of_pod.get(SKIP_CONTAINERS, "")).split(";")}
    spec = pod["spec"]
    for container in [*(spec.get("initContainers") or []), *spec["containers"]]:
        if container.get("name") in skipped:
            continue
        present = container.setdefault("env", [])
        names = {variable["name"] for variable in present}
        present += [{"name": name, "value": value} for name, value in variables.items() if name not in names]
        mounts = container.setdefault("volumeMounts", [])
        if all(mount["name"] != TOKEN_VOLUME for mount in mounts):
            mounts.append({"name": TOKEN_VOLUME, "mountPath": TOKEN_FOLDER, "readOnly": True})
    volumes = spec.setdefault("volumes", [])
    if all(volume["name"] != TOKEN_VOLUME for volume in volumes):
        token = {"audience": EXCHANGE_AUDIENCE, "expirationSeconds": seconds, "path": TOKEN_VOLUME}
        volumes.append({"name": TOKEN_VOLUME, "projected": {"sources": [{"serviceAccountToken": token}]}})
    return True


def token_seconds(pod: Object) -> int | None:
    """Lifetime of the exchange token the pod mounts, or ``None`` if it mounts none."""
    for volume in pod["spec"].get("volumes") or []:
        for source in (volume.get("projected") or {}).get("sources") or []:
            token = source.get("serviceAccountToken") or {}
            if token.get("audience") == EXCHANGE_AUDIENCE:
                return int(token.get("expirationSeconds", DEFAULT_EXPIRATION_SECONDS))
    return None
