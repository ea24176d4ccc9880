"""The same product against a real kube-apiserver and etcd."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.e2e.sandbox_process import running_sandbox
from tests.e2e.world import World

ASSETS = os.environ.get("KUBEBUILDER_ASSETS", "")
pytestmark = [
    pytest.mark.live,
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.skipif(
        not ASSETS,
        reason="!!! KUBEBUILDER_ASSETS is not set: NO connection was made in a real Kubernetes cluster !!!",
    ),
]


async def test_a_connection_is_made_used_and_deleted_in_a_real_cluster(tmp_path: Path):
    with running_sandbox(tmp_path, environment={"KUBEBUILDER_ASSETS": ASSETS}) as contract:
        async with World.opened(contract) as world:
            namespace = await world.cluster.new_namespace("real")
            spec = world.spec("real-blob", namespace=namespace)
            connection = await world.create(spec)
            names = connection["kubernetes"]
            assert await world.cluster.names(namespace) == ([names["secret"]], [names["serviceAccount"]])
            ran = await world.cluster.run_blob_program(connection)
            assert (ran.exit_code, "Connect to Azure Storage succeeded" in ran.output) == (0, True), (
                ran.output
            )
            looked_at = await world.request("validate", spec)
            assert {one["result"] for one in looked_at["findings"]} <= {"ok", "unknown"}, looked_at[
                "findings"
            ]
            await world.delete(spec)
            assert await world.cluster.names(namespace) == ([], [])
            assert await world.identity(connection["identity"]["resourceId"]) is None
