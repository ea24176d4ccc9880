"""kubectl works on the emulator: what the documentation tells people to type."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from shared.manifest import Parts, snippet
from tests.contract.kubernetes_servers import running_server

pytestmark = pytest.mark.skipif(shutil.which("kubectl") is None, reason="!!! kubectl is not installed !!!")

MANIFEST = """
apiVersion: v1
kind: ServiceAccount
metadata: {{name: app, labels: {{colour: {colour}}}}}
---
apiVersion: v1
kind: Pod
metadata: {{name: app}}
spec: {{serviceAccountName: app, containers: [{{name: c, image: busybox}}]}}
"""


class Kubectl:
    def __init__(self, folder: Path) -> None:
        server = running_server("emulator")
        token = server.topology.kubernetes_admin_token
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "c",
            "clusters": [
                {
                    "name": "c",
                    "cluster": {"server": server.url, "certificate-authority": server.topology.ca_file},
                },
            ],
            "users": [{"name": "u", "user": {"token": token}}],
            "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
        }
        file = folder / "kubeconfig"
        file.write_text(json.dumps(config))
        self._environment = {"PATH": os.environ["PATH"], "KUBECONFIG": str(file), "HOME": str(folder)}

    def __call__(self, *arguments: str, stdin: str = "", code: int = 0) -> str:
        done = subprocess.run(
            ["kubectl", *arguments],
            input=stdin,
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr


@pytest.fixture
def kubectl(tmp_path: Path) -> Kubectl:
    return Kubectl(tmp_path)


def test_secrets_and_accounts_of_all_namespaces_are_listed(kubectl: Kubectl):
    kubectl("create", "namespace", "k-list")
    kubectl("create", "secret", "generic", "mine", "--from-literal=a=b", "-n", "k-list")
    secrets = kubectl("get", "secret", "-A")
    assert secrets.splitlines()[0].split() == ["NAMESPACE", "NAME", "TYPE", "DATA", "AGE"]
    assert ["k-list", "mine", "Opaque", "1"] in [line.split()[:4] for line in secrets.splitlines()]
    accounts = kubectl("get", "serviceaccount", "-A")
    assert ["k-list", "default"] in [line.split()[:2] for line in accounts.splitlines()]
    assert kubectl("delete", "namespace", "k-list") == 'namespace "k-list" deleted\n'
    assert "k-list" not in kubectl("get", "secret", "-A", "-o", "name", "--ignore-not-found")


def test_a_manifest_is_applied_changed_and_deleted(kubectl: Kubectl):
    kubectl("create", "namespace", "k-apply")
    apply = ("apply", "--validate=false", "-n", "k-apply", "-f", "-")
    assert "serviceaccount/app created" in kubectl(*apply, stdin=MANIFEST.format(colour="red"))
    changed = kubectl(*apply, stdin=MANIFEST.format(colour="blue"))
    assert "serviceaccount/app configured" in changed
    assert "pod/app unchanged" in changed
    pods = kubectl("get", "pods", "-n", "k-apply")
    assert pods.splitlines()[1].split()[:3] == ["app", "0/1", "Pending"]
    assert 'pod "app" deleted' in kubectl("delete", "pod", "app", "-n", "k-apply")
    kubectl("delete", "namespace", "k-apply")


def test_each_kind_of_a_connections_manifest_is_taken_as_it_is(kubectl: Kubectl, tmp_path: Path):
    kubectl("create", "namespace", "k-kinds")
    parts = Parts(
        service_account="sc-account-1",
        settings="sc-blob-secret",
        namespace="k-kinds",
        workload="orders",
        keys=("spring.b", "A_KEY"),
    )
    kubectl("create", "serviceaccount", "sc-account-1", "-n", "k-kinds")
    for kind, made in (
        ("pod", "pod/orders"),
        ("deployment", "deployment.apps/orders"),
        ("job", "job.batch/orders"),
    ):
        shown = kubectl("apply", "--validate=false", "-f", "-", stdin=snippet(kind, parts))
        assert f"{made} created" in shown
    # A deployment that is there, with another connection's settings and a neighbour of the container.
    own = [{"name": "app", "image": "mine", "env": [{"name": "OTHER", "value": "stays"}]}]
    pod = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [*own, {"name": "side", "image": "x"}]}}
    there = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "mine"},
        "spec": {"selector": {"matchLabels": {"a": "b"}}, "template": pod},
    }
    kubectl("apply", "--validate=false", "-n", "k-kinds", "-f", "-", stdin=json.dumps(there))
    file = tmp_path / "patch.yaml"
    file.write_text(snippet("patch", parts))
    patch = ("patch", "deployment", "mine", "--namespace", "k-kinds", "--patch-file", str(file))
    assert "deployment.apps/mine patched" in kubectl(*patch)
    shown = json.loads(kubectl("get", "deployment", "mine", "-n", "k-kinds", "-o", "json"))
    template = shown["spec"]["template"]
    assert template["metadata"]["labels"] == {"a": "b", "azure.workload.identity/use": "true"}
    assert template["spec"]["serviceAccountName"] == "sc-account-1"
    containers = {one["name"]: one for one in template["spec"]["containers"]}
    assert containers.keys() == {"app", "side"}
    assert containers["app"]["image"] == "mine"
    assert {one["name"] for one in containers["app"]["env"]} == {"OTHER", "A_KEY", "spring.b"}
    kubectl("delete", "namespace", "k-kinds")


def test_a_server_side_apply_meets_and_forces_conflicts(kubectl: Kubectl):
    kubectl("create", "namespace", "k-ssa")
    manifest = MANIFEST.partition("---")[0]
    apply = ("apply", "--server-side", "--validate=false", "-n", "k-ssa", "-f", "-")
    kubectl(*apply, "--field-manager=one", stdin=manifest.format(colour="red"))
    refused = kubectl(*apply, "--field-manager=two", stdin=manifest.format(colour="blue"), code=1)
    assert ".metadata.labels.colour" in refused
    kubectl(*apply, "--field-manager=two", "--force-conflicts", stdin=manifest.format(colour="blue"))
    shown = kubectl("get", "sa", "app", "-n", "k-ssa", "-o", "jsonpath={.metadata.labels.colour}")
    assert shown == "blue"
    kubectl("delete", "namespace", "k-ssa")


def test_a_token_is_created(kubectl: Kubectl):
    assert kubectl("create", "token", "default", "--duration=10m").count(".") == 2


def test_rights_are_answered_for_somebody_else(kubectl: Kubectl):
    assert kubectl("auth", "can-i", "create", "secrets").startswith("yes")
    assert "no" in kubectl("auth", "can-i", "create", "secrets", "--as=somebody", code=1)
    assert "cannot list resource" in kubectl("get", "secret", "--as=somebody", code=1)


def test_a_watch_shows_what_happens(kubectl: Kubectl):
    kubectl("create", "namespace", "k-watch")
    server = running_server("emulator")
    path = "/api/v1/namespaces/k-watch/configmaps"
    server.raw("POST", path, {"metadata": {"name": "seen"}})
    shown = kubectl("get", "cm", "-n", "k-watch", "-w", "--request-timeout=2s", code=0)
    assert "seen" in shown
    kubectl("delete", "namespace", "k-watch")


def test_a_missing_object_and_a_bad_token_are_told_apart(kubectl: Kubectl):
    assert "(NotFound)" in kubectl("get", "secret", "none", code=1)
    assert "Unauthorized" in kubectl("get", "secret", "--token=nonsense", code=1)
