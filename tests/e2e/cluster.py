"""One cluster through the Kubernetes client as its administrator, and pods on its one node."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import dataclasses
import json
import sys
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Self

import yaml
from kubernetes.aio import client as kube
from kubernetes.aio.client.exceptions import ApiException

from sandbox.contract import Contract
from sandbox.node import PodResult
from sandbox.pod import run_pod

REPOSITORY = Path(__file__).resolve().parent.parent.parent
PROVIDER_CLASSES = REPOSITORY / "tests" / "data" / "secret_provider_class_definition.json"
EXAMPLES = REPOSITORY / "examples"
AUDIENCE = "api://AzureADTokenExchange"
VAULT_PROGRAM = """
import os
from azure.core.exceptions import AzureError
from azure.identity import DefaultAzureCredential
from azure.keyvault.secrets import SecretClient
url = os.environ["AZURE_KEYVAULT_RESOURCEENDPOINT"]
client = SecretClient(url, DefaultAzureCredential(), verify_challenge_resource=False)
names = [secret.name for secret in client.list_properties_of_secrets()]
print("Find", len(names), "secrets")
"""


@dataclasses.dataclass(slots=True)
class Cluster:
    """One cluster."""

    contract: Contract
    core: Any
    rbac: Any
    extensions: Any
    custom: Any

    @classmethod
    @contextlib.asynccontextmanager
    async def opened(cls, contract: Contract, server: str) -> AsyncIterator[Self]:
        configuration = kube.Configuration(host=server)
        configuration.ssl_ca_cert = contract.ca_file
        configuration.api_key = {"BearerToken": f"Bearer {contract.kubernetes_admin_token}"}
        async with kube.ApiClient(configuration) as api:
            yield cls(
                contract,
                kube.CoreV1Api(api),
                kube.RbacAuthorizationV1Api(api),
                kube.ApiextensionsV1Api(api),
                kube.CustomObjectsApi(api),
            )

    async def new_namespace(self, name: str) -> str:
        await self.core.create_namespace({"metadata": {"name": name}})
        return name

    async def secret(self, namespace: str, name: str) -> dict[str, str] | None:
        """Decoded data of a secret, or ``None``."""
        found = await _or_none(self.core.read_namespaced_secret(name, namespace))
        if found is None:
            return None
        return {key: base64.b64decode(value).decode() for key, value in (found.data or {}).items()}

    async def config_map(self, namespace: str, name: str) -> dict[str, str] | None:
        """Data of a config map, or ``None``."""
        found = await _or_none(self.core.read_namespaced_config_map(name, namespace))
        return None if found is None else dict(found.data or {})

    async def config_maps(self, namespace: str) -> list[str]:
        """Names of the config maps but the cluster's own CA."""
        found = await self.core.list_namespaced_config_map(namespace)
        return sorted(one.metadata.name for one in found.items if one.metadata.name != "kube-root-ca.crt")

    async def enable_secrets_store(self) -> None:
        """What of the add-on the API server sees: the kind of its objects."""
        await self.extensions.create_custom_resource_definition(json.loads(PROVIDER_CLASSES.read_text()))

    async def provider_class(self, namespace: str, name: str) -> dict[str, Any] | None:
        """A SecretProviderClass as JSON, or ``None``."""
        found: dict[str, Any] | None = await _or_none(
            self.custom.get_namespaced_custom_object(
                "secrets-store.csi.x-k8s.io", "v1", namespace, "secretproviderclasses", name
            )
        )
        return found

    async def account(self, namespace: str, name: str) -> Any:
        return await _or_none(self.core.read_namespaced_service_account(name, namespace))

    async def names(self, namespace: str) -> tuple[list[str], list[str]]:
        """Names of the secrets, and of the service accounts but ``default``."""
        secrets = await self.core.list_namespaced_secret(namespace)
        accounts = await self.core.list_namespaced_service_account(namespace)
        return (
            sorted(one.metadata.name for one in secrets.items if "token" not in one.metadata.name),
            sorted(one.metadata.name for one in accounts.items if one.metadata.name != "default"),
        )

    async def account_token(self, namespace: str, account: str) -> str:
        """A token as the kubelet mounts it into a pod of workload identity."""
        body = {"spec": {"audiences": [AUDIENCE], "expirationSeconds": 3600}}
        made = await self.core.create_namespaced_service_account_token(account, namespace, body)
        return str(made.status.token)

    async def grant_app(self) -> None:
        """Bind the product's cluster role to the app's identity, as its documentation says."""
        file = REPOSITORY / "infra" / "kubernetes" / "role.yaml"
        role = yaml.safe_load(await asyncio.to_thread(file.read_text))
        await self.rbac.create_cluster_role(role)
        reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole"}
        user = {"apiGroup": "rbac.authorization.k8s.io", "kind": "User"}
        await self.rbac.create_cluster_role_binding(
            {
                "metadata": {"name": "mooring"},
                "roleRef": {**reference, "name": role["metadata"]["name"]},
                "subjects": [{**user, "name": self.contract.app_principal_id}],
            },
        )

    async def run_blob_program(self, connection: dict[str, Any]) -> PodResult:
        """Run the example program in a pod that uses the connection."""
        return await run_pod(
            self.contract, pod(connection, ["python", "program.py"]), once=True, folder=EXAMPLES
        )

    async def run_vault_program(self, connection: dict[str, Any]) -> PodResult:
        command = [sys.executable, "-W", "error", "-c", VAULT_PROGRAM]
        return await run_pod(self.contract, pod(connection, command), once=True)


def pod(connection: dict[str, Any], command: list[str]) -> dict[str, Any]:
    """A pod that uses a connection, as the API shows one."""
    names = connection["kubernetes"]
    return {
        "kind": "Pod",
        "apiVersion": "v1",
        "metadata": {
            "name": f"p-{uuid.uuid4().hex[:12]}",
            "namespace": connection["namespace"],
            "labels": {"azure.workload.identity/use": "true"},
        },
        "spec": {
            "serviceAccountName": names["serviceAccount"],
            "restartPolicy": "Never",
            "containers": [
                {
                    "name": "program",
                    "image": "program",
                    "command": command,
                    "envFrom": [{"secretRef": {"name": names["secret"]}}],
                },
            ],
        },
    }


async def _or_none(call: Any) -> Any:
    try:
        return await call
    except ApiException as error:
        if error.status != 404:
            raise
        return None
