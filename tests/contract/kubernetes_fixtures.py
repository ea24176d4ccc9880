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
    eventually(lambda: cluster.raw("GET", f"/api/v1/namespaces/{name}/serviceaccounts/default").status == 200)
    yield name
    cluster.raw("DELETE", f"/api/v1/namespaces/{name}")
