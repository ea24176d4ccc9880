"""One sandbox without the app for the port suites, and the product's adapters wired to it."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import ssl
import subprocess
import sys
import urllib.request
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from shared.clients import grant_dialects
from shared.clients.arm_connection import ArmConnection
from shared.clients.clusters import AksClusters
from shared.clients.credentials import AppCredential
from shared.clients.http_pool import HttpPool
from shared.clients.identities import AzureIdentities
from shared.clients.linkers import ServiceLinkers
from shared.clients.prover import EntraProver
from shared.clients.resources import ArmResources
from shared.clients.roles import AzureRoles
from shared.clients.service_grants import ServiceGrants

REPOSITORY = Path(__file__).resolve().parents[2]
Contract = dict[str, Any]


@contextlib.contextmanager
def running_sandbox(folder: Path, *, real_cluster: bool = True) -> Iterator[Contract]:
    """``python -m sandbox up --no-app``; its contract. With KUBEBUILDER_ASSETS the API server is a real one.

    ``real_cluster=False`` keeps the emulator: only that one knows faults.
    """
    environment = dict(os.environ)
    if not real_cluster:
        environment.pop("KUBEBUILDER_ASSETS", None)
    command = [sys.executable, "-m", "sandbox", "up", "--no-app", "--die-with-parent"]
    with (folder / "sandbox.log").open("wb") as log:
        process = subprocess.Popen(
            command, cwd=REPOSITORY, env=environment, stdout=subprocess.PIPE, stderr=log
        )
        assert process.stdout is not None
        try:
            line = process.stdout.readline()
            assert line, (folder / "sandbox.log").read_text()
            contract = json.loads(line)
            topology = json.loads(Path(contract["topology_file"]).read_text())
            _let_the_app_mint_tokens(contract)
            yield {**contract, "msi_header": topology["msi_header"]}
        finally:
            process.terminate()
            process.wait(timeout=20)
            process.stdout.close()


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Adapters:
    """The product's adapters on one pool and one credential."""

    contract: Contract
    arm: ArmConnection
    identities: AzureIdentities
    roles: AzureRoles
    cosmos: ServiceGrants
    redis: ServiceGrants
    resources: ArmResources
    linkers: ServiceLinkers
    clusters: AksClusters
    prover: EntraProver

    def control(self, url: str, path: str, *, method: str = "GET", body: Any = None, token: str = "") -> Any:
        """Call an emulator as a person would."""
        return control(self.contract, f"{url}{path}", method=method, body=body, token=token)


def control(contract: Contract, url: str, *, method: str = "GET", body: Any = None, token: str = "") -> Any:
    """One request outside all clients under test."""
    headers = {"Content-Type": "application/json"}
    if token:
        headers["Authorization"] = f"Bearer {token}"
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data=data, headers=headers, method=method)  # noqa: S310 - loopback
    tls = ssl.create_default_context(cafile=contract["ca_file"])
    with urllib.request.urlopen(request, context=tls, timeout=30) as answer:  # noqa: S310 - loopback
        text = answer.read()
    return json.loads(text) if text else None


def _let_the_app_mint_tokens(contract: Contract) -> None:
    """What an operator does who switches proving on: a role in one namespace."""
    group = "rbac.authorization.k8s.io"
    base = f"{contract['cluster_server']}/apis/{group}/v1/namespaces/orders"
    rule = {"apiGroups": [""], "resources": ["serviceaccounts/token"], "verbs": ["create"]}
    role = {"apiVersion": f"{group}/v1", "kind": "Role", "metadata": {"name": "prove"}, "rules": [rule]}
    binding = {
        "apiVersion": f"{group}/v1",
        "kind": "RoleBinding",
        "metadata": {"name": "prove"},
        "roleRef": {"apiGroup": group, "kind": "Role", "name": "prove"},
        "subjects": [{"apiGroup": group, "kind": "User", "name": contract["app_principal_id"]}],
    }
    token = contract["kubernetes_admin_token"]
    control(contract, f"{base}/roles", method="POST", body=role, token=token)
    control(contract, f"{base}/rolebindings", method="POST", body=binding, token=token)


@contextlib.asynccontextmanager
async def adapters(contract: Contract, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Adapters]:
    """The adapters, signed in as the app through the managed-identity endpoint."""
    monkeypatch.setenv("IDENTITY_ENDPOINT", f"{contract['entra_url']}/msi/token")
    monkeypatch.setenv("IDENTITY_HEADER", contract["msi_header"])
    pool = HttpPool(ca_file=contract["ca_file"])
    credential = AppCredential(pool, client_id=contract["app_client_id"])
    arm = ArmConnection(pool, credential, endpoint=contract["arm_url"])
    wired = Adapters(
        contract=contract,
        arm=arm,
        identities=AzureIdentities(arm),
        roles=AzureRoles(arm),
        cosmos=ServiceGrants(arm, grant_dialects.COSMOS),
        redis=ServiceGrants(arm, grant_dialects.REDIS),
        resources=ArmResources(arm),
        linkers=ServiceLinkers(arm),
        clusters=AksClusters(arm, credential, ca_file=contract["ca_file"]),
        prover=EntraProver(pool, authority_host=contract["entra_url"], tenant_id=contract["tenant_id"]),
    )
    try:
        yield wired
    finally:
        for adapter in (wired.clusters, wired.identities, wired.roles, wired.prover, wired.arm):
            await adapter.aclose()
        await credential.aclose()
        await pool.aclose()
