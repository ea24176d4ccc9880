"""Objects behave on the emulator as on a real API server: writes and refusals."""

from __future__ import annotations

import base64

import pytest
from kubernetes.aio import client

from tests.contract.kubernetes_servers import Server, secret, status_of

pytest_plugins = ("tests.contract.kubernetes_fixtures",)


async def test_a_created_object_has_uid_version_and_time(core: client.CoreV1Api, namespace: str):
    created = await core.create_namespaced_secret(namespace, secret("s", data={"a": "Yg=="}))
    assert created.metadata.uid
    assert created.metadata.resource_version
    assert created.metadata.creation_timestamp
    assert created.type == "Opaque"
    read = await core.read_namespaced_secret("s", namespace)
    assert read.metadata.uid == created.metadata.uid
    assert read.data == {"a": "Yg=="}


async def test_string_data_becomes_data(core: client.CoreV1Api, namespace: str):
    await core.create_namespaced_secret(namespace, secret("s", stringData={"a": "b"}))
    assert (await core.read_namespaced_secret("s", namespace)).data == {"a": "Yg=="}


async def test_a_second_create_is_refused_as_already_existing(core: client.CoreV1Api, namespace: str):
    await core.create_namespaced_secret(namespace, secret("s"))
    with pytest.raises(client.ApiException) as refused:
        await core.create_namespaced_secret(namespace, secret("s"))
    assert refused.value.status == 409
    status = status_of(refused.value)
    assert status["reason"] == "AlreadyExists"
    assert status["details"] == {"name": "s", "kind": "secrets"}


async def test_a_missing_object_is_not_found_by_name_and_kind(core: client.CoreV1Api, namespace: str):
    with pytest.raises(client.ApiException) as refused:
        await core.read_namespaced_service_account("none", namespace)
    assert refused.value.status == 404
    status = status_of(refused.value)
    assert status["reason"] == "NotFound"
    assert status["details"] == {"name": "none", "kind": "serviceaccounts"}


async def test_a_create_in_a_missing_namespace_is_not_found(core: client.CoreV1Api):
    with pytest.raises(client.ApiException) as refused:
        await core.create_namespaced_secret("no-such-namespace", secret("s"))
    assert refused.value.status == 404
    assert status_of(refused.value)["details"]["kind"] == "namespaces"


async def test_a_generated_name_begins_with_its_prefix(core: client.CoreV1Api, namespace: str):
    created = await core.create_namespaced_secret(namespace, {"metadata": {"generateName": "p-"}})
    assert created.metadata.name.startswith("p-")
    assert len(created.metadata.name) == len("p-") + 5


async def test_a_dry_run_answers_and_stores_nothing(core: client.CoreV1Api, namespace: str):
    answered = await core.create_namespaced_secret(namespace, secret("s"), dry_run="All")
    assert answered.metadata.uid
    assert (await core.list_namespaced_secret(namespace, field_selector="metadata.name=s")).items == []


def test_an_unknown_dry_run_value_is_invalid(cluster: Server, namespace: str):
    answer = cluster.raw("POST", f"/api/v1/namespaces/{namespace}/secrets?dryRun=Some", secret("s"))
    assert answer.status == 422


@pytest.mark.parametrize("name", ["Upper", "under_score", "-dash", "a" * 254])
async def test_a_bad_name_is_invalid_and_the_field_is_named(
    core: client.CoreV1Api, namespace: str, name: str
):
    with pytest.raises(client.ApiException) as refused:
        await core.create_namespaced_secret(namespace, secret(name))
    assert refused.value.status == 422
    status = status_of(refused.value)
    assert status["reason"] == "Invalid"
    assert status["details"]["kind"] == "Secret"
    assert status["details"]["causes"][0]["reason"] == "FieldValueInvalid"
    assert status["details"]["causes"][0]["field"] == "metadata.name"


def test_a_missing_name_is_required(cluster: Server, namespace: str):
    answer = cluster.raw("POST", f"/api/v1/namespaces/{namespace}/secrets", {"metadata": {}})
    assert answer.status == 422
    assert answer.body["details"]["causes"][0]["reason"] == "FieldValueRequired"


async def test_a_bad_label_value_is_invalid(core: client.CoreV1Api, namespace: str):
    with pytest.raises(client.ApiException) as refused:
        await core.create_namespaced_secret(namespace, secret("s", metadata={"labels": {"a": "no spaces"}}))
    assert refused.value.status == 422
    assert status_of(refused.value)["details"]["causes"][0]["field"] == "metadata.labels"


async def test_a_bad_data_key_is_invalid(core: client.CoreV1Api, namespace: str):
    with pytest.raises(client.ApiException) as refused:
        await core.create_namespaced_secret(namespace, secret("s", data={"a b": "Yg=="}))
    assert refused.value.status == 422
    assert status_of(refused.value)["details"]["causes"][0]["field"] == "data[a b]"


def test_data_that_is_not_base64_is_a_bad_request(cluster: Server, namespace: str):
    body = secret("s", data={"a": "%%%"})
    answer = cluster.raw("POST", f"/api/v1/namespaces/{namespace}/secrets", body)
    assert answer.status == 400
    assert answer.body["reason"] == "BadRequest"


def test_more_than_a_mebibyte_of_data_is_invalid(cluster: Server, namespace: str):
    big = base64.b64encode(b"x" * (1024 * 1024 + 1)).decode()
    answer = cluster.raw("POST", f"/api/v1/namespaces/{namespace}/secrets", secret("s", data={"a": big}))
    assert answer.status == 422
    assert answer.body["details"]["causes"][0]["reason"] == "FieldValueTooLong"


def test_a_body_of_another_kind_or_namespace_is_a_bad_request(cluster: Server, namespace: str):
    path = f"/api/v1/namespaces/{namespace}/secrets"
    wrong_kind = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "s"}}
    assert cluster.raw("POST", path, wrong_kind).status == 400
    assert cluster.raw("POST", path, secret("s", metadata={"namespace": "default"})).status == 400


def test_unknown_fields_are_dropped(cluster: Server, namespace: str):
    path = f"/api/v1/namespaces/{namespace}/secrets"
    answer = cluster.raw("POST", path, secret("s", surprise=1))
    assert answer.status == 201
    assert "surprise" not in answer.body


def test_an_unreadable_body_is_a_bad_request(cluster: Server, namespace: str):
    assert cluster.raw("POST", f"/api/v1/namespaces/{namespace}/secrets", b"{").status == 400


async def test_a_pod_needs_its_service_account(core: client.CoreV1Api, namespace: str):
    spec = {"serviceAccountName": "none", "containers": [{"name": "c", "image": "busybox"}]}
    pod = {"metadata": {"name": "p"}, "spec": spec}
    with pytest.raises(client.ApiException) as refused:
        await core.create_namespaced_pod(namespace, pod)
    assert refused.value.status == 403


async def test_a_pod_waits_for_a_node_and_its_deletion_is_immediate(
    cluster: Server, core: client.CoreV1Api, namespace: str
):
    await core.create_namespaced_service_account(namespace, {"metadata": {"name": "a"}})
    spec = {
        "serviceAccountName": "a",
        "automountServiceAccountToken": False,
        "containers": [{"name": "c", "image": "busybox"}],
    }
    created = await core.create_namespaced_pod(namespace, {"metadata": {"name": "p"}, "spec": spec})
    assert created.status.phase == "Pending"
    found = await core.list_namespaced_pod(namespace, field_selector="spec.serviceAccountName=a")
    assert [pod.metadata.name for pod in found.items] == ["p"]
    await core.delete_namespaced_pod("p", namespace)
    assert cluster.raw("GET", f"/api/v1/namespaces/{namespace}/pods/p").status == 404


def test_status_is_written_through_its_subresource_only(cluster: Server, namespace: str):
    template = {
        "metadata": {"labels": {"app": "w"}},
        "spec": {"containers": [{"name": "c", "image": "busybox"}]},
    }
    deployment = {
        "metadata": {"name": "w"},
        "spec": {"selector": {"matchLabels": {"app": "w"}}, "template": template},
    }
    path = f"/apis/apps/v1/namespaces/{namespace}/deployments"
    assert cluster.raw("POST", path, deployment).body["metadata"]["generation"] == 1
    merge = "application/merge-patch+json"
    patch = {"status": {"replicas": 3}}
    assert cluster.raw("PATCH", f"{path}/w", patch, Content_Type=merge).body["status"] == {}
    answer = cluster.raw("PATCH", f"{path}/w/status", patch, Content_Type=merge)
    assert answer.body["status"] == {"replicas": 3}
    assert answer.body["metadata"]["generation"] == 1
    answer = cluster.raw("PATCH", f"{path}/w", {"spec": {"paused": True}}, Content_Type=merge)
    assert answer.body["metadata"]["generation"] == 2
    assert answer.body["status"]["replicas"] == 3


def test_an_unknown_path_is_not_found_and_a_wrong_method_is_refused(cluster: Server, namespace: str):
    assert cluster.raw("GET", "/apis/nothing.example/v1/things").status == 404
    assert cluster.raw("PUT", f"/api/v1/namespaces/{namespace}/secrets", {}).status == 405


def test_a_client_that_takes_no_json_is_refused(cluster: Server, namespace: str):
    answer = cluster.raw("GET", f"/api/v1/namespaces/{namespace}/secrets", Accept="text/html")
    assert answer.status == 406
