"""What the rights of role.yaml amount to in a real cluster, without and with the admission policy."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from shared.clients.kube_objects import applied
from shared.clients.kube_ownership import takeover
from shared.steps.base import ANNOTATION_CLIENT_ID
from tests.contract.kubernetes_servers import ASSETS, Answer, Server, eventually, new_server
from tests.fakes.admission import APP, documents

pytestmark = [
    pytest.mark.live,
    pytest.mark.skipif(
        not ASSETS,
        reason="!!! KUBEBUILDER_ASSETS is not set: the policy met NO real Kubernetes API server !!!",
    ),
]

RBAC = "/apis/rbac.authorization.k8s.io/v1"
POLICIES = "/apis/admissionregistration.k8s.io/v1"
ROLE = Path(__file__).parents[2] / "infra" / "kubernetes" / "role.yaml"
STRONG = "strong"
TOKEN_OF = "kubernetes.io/service-account.name"
SYSTEM = "/api/v1/namespaces/kube-system"
NAMESPACE = "/api/v1/namespaces/default"
OURS = "sc-ordersblob-secret"
TOKEN_SECRET = {
    "metadata": {"name": OURS, "annotations": {TOKEN_OF: STRONG}},
    "type": "kubernetes.io/service-account-token",
}


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A cluster of its own, with the app bound as documented and a strong account in ``kube-system``."""
    server = new_server("real", tmp_path_factory.mktemp("real"))
    server.start()
    try:
        server.make_cluster("11111111-2222-4333-8444-555555555555")
        made(server.raw("POST", f"{RBAC}/clusterroles", yaml.safe_load(ROLE.read_text())))
        bind(server, "mooring", "mooring", {"kind": "User", "name": APP})
        made(server.raw("POST", f"{SYSTEM}/serviceaccounts", {"metadata": {"name": STRONG}}))
        account = {"kind": "ServiceAccount", "name": STRONG, "namespace": "kube-system"}
        bind(server, STRONG, "cluster-admin", account)
        # A real API server takes some seconds to learn Entra's keys.
        eventually(lambda: as_app(server, "GET", f"{NAMESPACE}/secrets/none").status == 404, seconds=60)
        yield server
    finally:
        server.stop()


def made(answer: Answer) -> Any:
    assert answer.status in {200, 201}, answer
    return answer.body


def bind(server: Server, name: str, role: str, subject: dict[str, str]) -> None:
    group = {} if "namespace" in subject else {"apiGroup": "rbac.authorization.k8s.io"}
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role}
    binding = {"metadata": {"name": name}, "roleRef": reference, "subjects": [{**subject, **group}]}
    made(server.raw("POST", f"{RBAC}/clusterrolebindings", binding))


def as_app(server: Server, method: str, path: str, body: Any = None, content_type: str = "") -> Answer:
    headers = {"Content-Type": content_type} if content_type else None
    return server.fetch(method, server.url + path, body, server.entra.token(APP), headers)


@pytest.fixture
def guarded(cluster: Server) -> Iterator[Server]:
    """The cluster with the policy, once it is in force."""
    paths = [f"{POLICIES}/validatingadmissionpolicies", f"{POLICIES}/validatingadmissionpolicybindings"]
    for path, one in zip(paths, documents(), strict=True):
        made(cluster.raw("POST", path, one))
    probe = f"{NAMESPACE}/configmaps?dryRun=All"
    eventually(lambda: as_app(cluster, "POST", probe, {"metadata": {"name": "p"}}).status != 201, seconds=30)
    yield cluster
    for path in paths:
        made(cluster.raw("DELETE", f"{path}/mooring"))


def test_without_the_policy_who_may_make_and_read_secrets_is_any_account(cluster: Server):
    made(as_app(cluster, "POST", f"{SYSTEM}/secrets", TOKEN_SECRET))
    path = f"{SYSTEM}/secrets/{OURS}"
    eventually(lambda: "token" in (as_app(cluster, "GET", path).body.get("data") or {}), seconds=30)
    token = base64.b64decode(as_app(cluster, "GET", path).body["data"]["token"]).decode()
    everything = "/api/v1/secrets"
    assert as_app(cluster, "GET", everything).status == 403
    assert cluster.fetch("GET", cluster.url + everything, token=token).status == 200
    made(as_app(cluster, "DELETE", path))


@pytest.mark.parametrize("place", [SYSTEM, NAMESPACE])
def test_with_the_policy_such_a_secret_is_refused(guarded: Server, place: str):
    answer = as_app(guarded, "POST", f"{place}/secrets", TOKEN_SECRET)
    assert answer.status == 403
    assert "ValidatingAdmissionPolicy 'mooring'" in answer.body["message"]
    assert guarded.raw("POST", f"{place}/secrets?dryRun=All", TOKEN_SECRET).status == 201


def test_a_policy_that_names_no_app_is_refused(guarded: Server):
    unfilled = documents("<APP_PRINCIPAL_ID>")[0]
    unfilled["metadata"]["name"] = "unfilled"
    assert guarded.raw("POST", f"{POLICIES}/validatingadmissionpolicies", unfilled).status == 422


@pytest.mark.parametrize(
    ("kind", "plural", "name"),
    [
        ("Secret", "secrets", OURS),
        ("ConfigMap", "configmaps", "sc-ordersblob-configmap"),
        ("ServiceAccount", "serviceaccounts", "sc-account-7c0a1b2c-3d4e-4f50-8a6b-7c8d9e0f1a2b"),
    ],
)
def test_with_the_policy_mooring_makes_changes_and_deletes_its_objects(
    guarded: Server, kind: str, plural: str, name: str
):
    fields = {"labels": {"app.kubernetes.io/managed-by": "mooring"}, "annotations": {}}
    data = None if kind == "ServiceAccount" else {"A": "1"}
    body = applied(kind, "default", name, **fields, data=data)
    path = f"{NAMESPACE}/{plural}"
    manager = "fieldManager=mooring"
    there = made(as_app(guarded, "POST", f"{path}?{manager}", body))
    owner = json.dumps(takeover(there)).encode()
    made(as_app(guarded, "PATCH", f"{path}/{name}?{manager}", owner, "application/json-patch+json"))
    made(as_app(guarded, "PATCH", f"{path}/{name}?{manager}", body, "application/apply-patch+yaml"))
    made(as_app(guarded, "DELETE", f"{path}/{name}"))


def test_with_the_policy_an_account_of_somebodys_own_gets_its_annotation_and_nothing_else(guarded: Server):
    path = f"{NAMESPACE}/serviceaccounts"
    made(guarded.raw("POST", path, {"metadata": {"name": "orders-sa", "labels": {"team": "shop"}}}))
    for mark in ({ANNOTATION_CLIENT_ID: "c"}, {}):
        body = applied("ServiceAccount", "default", "orders-sa", labels={}, annotations=mark, data=None)
        url = f"{path}/orders-sa?fieldManager=mooring"
        made(as_app(guarded, "PATCH", url, body, "application/apply-patch+yaml"))
    other = {"metadata": {"labels": {"team": "other"}}}
    url = f"{path}/orders-sa"
    assert as_app(guarded, "PATCH", url, other, "application/merge-patch+json").status == 403
    assert as_app(guarded, "DELETE", url).status == 403
