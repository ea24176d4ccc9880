"""Real API servers behind the sandbox's control endpoints."""

from __future__ import annotations

import uuid
from pathlib import Path

import pytest

from tests.contract.kubernetes_servers import ASSETS, CLUSTER, new_server, secret

pytestmark = pytest.mark.live


@pytest.mark.skipif(
    not ASSETS,
    reason="!!! KUBEBUILDER_ASSETS is not set: NOTHING was checked against a real Kubernetes API server !!!",
)
def test_a_real_cluster_is_made_kept_over_a_restart_and_deleted(tmp_path: Path):
    server = new_server("real", tmp_path)
    server.start()
    try:
        incarnation = str(uuid.uuid4())
        server.make_cluster(incarnation)
        assert server.issuer == f"{server.url}/"
        path = "/api/v1/namespaces/default/secrets"
        created = server.raw("POST", path, secret("s")).body
        server.stop()
        server.start()
        assert server.raw("GET", f"{path}/s").body["metadata"]["uid"] == created["metadata"]["uid"]
        server.make_cluster(incarnation)
        assert server.raw("GET", f"{path}/s").status == 200
        assert server.control("DELETE", f"/sandbox/clusters/{CLUSTER}").status == 204
        with pytest.raises(OSError, match="refused"):
            server.raw("GET", "/version")
    finally:
        server.stop()
