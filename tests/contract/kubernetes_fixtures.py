"""Fixtures of the Kubernetes contract, named as a plugin by each of its modules."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Iterator

import pytest
from kubernetes.aio import client

from tests.contract.kubernetes_servers import ASSETS, Server, eventually, running_server

SERVERS = ["emulator"]
if ASSETS:
    SERVERS.append(pytest.param("real", marks=pytest.mark.live))


@pytest.fixture(scope="session", params=SERVERS)
def cluster(request: pytest.FixtureRequest) -> Server:
    return running_server(request.param)


@pytest.fixture
async def kubernetes_api(cluster: Server) -> AsyncIterator[client.ApiClient]:
    async with client.ApiClient(cluster.configuration()) as api_client:
        yield api_client


@pytest.fixture
def core(kubernetes_api: client.ApiClient) -> client.CoreV1Api:
    return client.CoreV1Api(kubernetes_api)


@pytest.fixture
def namespace(cluster: Server) -> Iterator[str]:
    name = f"t-{uuid.uuid4().hex[:8]}"
    made = cluster.raw("POST", "/api/v1/namespaces", {"metadata": {"name": name}})
    assert made.status == 201
    eventually(lambda: _takes_pods(cluster, name))
    yield name
    cluster.raw("DELETE", f"/api/v1/namespaces/{name}")


def _takes_pods(cluster: Server, namespace: str) -> bool:
    """A real server refuses pods until its controllers gave ``default`` a token, if they do."""
    account = cluster.raw("GET", f"/api/v1/namespaces/{namespace}/serviceaccounts/default")
    if account.status != 200:
        return False
    pod = {"metadata": {"name": "probe"}, "spec": {"containers": [{"name": "one", "image": "none"}]}}
    return cluster.raw("POST", f"/api/v1/namespaces/{namespace}/pods?dryRun=All", pod).status == 201
