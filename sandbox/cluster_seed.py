"""What the seeded cluster holds when the sandbox comes up, and where it is.

Azure says where the API server is: an emulated one answers below the Kubernetes part's URL, a real one
has a URL of its own. The sandbox is up when the app's own identity is let in there: a real API server
takes some seconds after its start to learn Entra's keys, and answers 401 until then.
"""

from __future__ import annotations

import asyncio
import base64
import json
import time
from pathlib import Path
from typing import Any

import yaml

from sandbox.owner import ARM_SCOPE, Owner, RefusedError
from sandbox.topology import Topology

REPOSITORY = Path(__file__).resolve().parent.parent
NAMESPACES = ("orders", "billing")
"""Namespaces besides ``default``."""
ROLES = ("role.yaml", "role-sweep.yaml", "role-secrets-store.yaml")
CLUSTER_VERSION = "2025-10-01"
SERVER_APPLICATION = "6dae42f8-4368-4678-94ff-3960e28e3630"
"""Audience of Entra tokens for AKS's API servers."""
ADMISSION_SECONDS = 40.0
POLL_SECONDS = 0.25


class ClusterSeed:
    """Fills the seeded cluster."""

    def __init__(self, topology: Topology, owner: Owner) -> None:
        self._topology = topology
        self._owner = owner
        self._server = ""

    async def run(self) -> str:
        """Make namespaces and the app's rights, write the kubeconfig, wait until the app is let in.

        Returns:
            URL of the API server.

        Raises:
            RefusedError: Azure or the API server refused something.
        """
        self._server = await self._find_server()
        for name in NAMESPACES:
            body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
            await self._create("/api/v1/namespaces", body)
        await self._grant_app()
        self._write_kubeconfig()
        await self._wait_for_admission()
        return self._server

    async def _find_server(self) -> str:
        topology = self._topology
        url = (
            f"{topology.arm_url}{topology.cluster_id}/listClusterUserCredential?api-version={CLUSTER_VERSION}"
        )
        headers = {"Authorization": f"Bearer {await self._owner.token(ARM_SCOPE)}"}
        _, answer = await self._owner.request("POST", url, headers=headers)
        config = yaml.safe_load(base64.b64decode(answer["kubeconfigs"][0]["value"]))
        return str(config["clusters"][0]["cluster"]["server"])

    async def _grant_app(self) -> None:
        for file in ROLES:
            await self._bind_app(yaml.safe_load((REPOSITORY / "infra" / "kubernetes" / file).read_text()))

    async def _bind_app(self, role: dict[str, Any]) -> None:
        group = "rbac.authorization.k8s.io"
        name = role["metadata"]["name"]
        await self._create(f"/apis/{group}/v1/clusterroles", role)
        binding = {
            "apiVersion": f"{group}/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": name},
            "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": name},
            "subjects": [{"apiGroup": group, "kind": "User", "name": self._topology.app_principal_id}],
        }
        await self._create(f"/apis/{group}/v1/clusterrolebindings", binding)

    async def _create(self, collection: str, body: dict[str, Any]) -> None:
        headers = {"Authorization": f"Bearer {self._topology.kubernetes_admin_token}"}
        url = f"{self._server}{collection}"
        await self._owner.request("POST", url, body=body, headers=headers, accepted=(200, 201, 409))

    async def _wait_for_admission(self) -> None:
        topology = self._topology
        query = f"api-version=2019-08-01&resource={SERVER_APPLICATION}&client_id={topology.app_client_id}"
        headers = {"X-IDENTITY-HEADER": topology.msi_header}
        _, answer = await self._owner.request(
            "GET", f"{topology.entra_url}/msi/token?{query}", headers=headers
        )
        bearer = {"Authorization": f"Bearer {answer['access_token']}"}
        url = f"{self._server}/api/v1/namespaces/default"
        deadline = time.monotonic() + ADMISSION_SECONDS
        while True:
            status, found = await self._owner.request("GET", url, headers=bearer, accepted=(200, 401, 403))
            if status == 200:
                return
            if time.monotonic() > deadline:
                raise RefusedError(f"the cluster does not let the app in: {status} {json.dumps(found)[:300]}")
            await asyncio.sleep(POLL_SECONDS)

    def _write_kubeconfig(self) -> None:
        topology = self._topology
        name = topology.cluster_name
        authority = base64.b64encode(Path(topology.ca_file).read_bytes()).decode()
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": name,
            "clusters": [
                {"name": name, "cluster": {"server": self._server, "certificate-authority-data": authority}},
            ],
            "users": [{"name": "admin", "user": {"token": topology.kubernetes_admin_token}}],
            "contexts": [{"name": name, "context": {"cluster": name, "user": "admin"}}],
        }
        file = Path(topology.state_dir) / "kubeconfig"
        file.touch(mode=0o600)
        file.write_text(yaml.safe_dump(config, sort_keys=False))
