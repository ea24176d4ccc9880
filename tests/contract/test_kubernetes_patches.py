"""Patches and replacements, on the emulator as on a real API server."""

from __future__ import annotations

import pytest
from kubernetes.aio import client

from tests.contract.kubernetes_servers import Server, secret, status_of

pytest_plugins = ("tests.contract.kubernetes_fixtures",)


async def test_a_strategic_patch_merges_maps_and_null_removes(core: client.CoreV1Api, namespace: str):
    await core.create_namespaced_secret(namespace, secret("s", data={"a": "Yg==", "c": "ZA=="}))
    patched = await core.patch_namespaced_secret("s", namespace, {"data": {"a": None, "e": "Zg=="}})
    assert patched.data == {"c": "ZA==", "e": "Zg=="}


async def test_a_strategic_patch_merges_account_secrets_by_name_and_replaces_pull_secrets(
    core: client.CoreV1Api, namespace: str
):
    account = {
        "metadata": {"name": "a"},
        "secrets": [{"name": "one"}],
        "imagePullSecrets": [{"name": "one"}],
    }
    await core.create_namespaced_service_account(namespace, account)
    patch = {"secrets": [{"name": "two"}], "imagePullSecrets": [{"name": "two"}]}
    patched = await core.patch_namespaced_service_account("a", namespace, patch)
    # A real server's token controller may add a secret of its own.
    assert {"one", "two"} <= {reference.name for reference in patched.secrets}
    assert [reference.name for reference in patched.image_pull_secrets] == ["two"]


def test_a_merge_patch_replaces_lists_and_null_removes(cluster: Server, namespace: str):
    path = f"/api/v1/namespaces/{namespace}/secrets"
    cluster.raw("POST", path, secret("s", data={"a": "Yg=="}, metadata={"labels": {"x": "1", "y": "2"}}))
    patch = {"metadata": {"labels": {"x": None}}, "data": {"c": "ZA=="}}
    answer = cluster.raw("PATCH", f"{path}/s", patch, Content_Type="application/merge-patch+json")
    assert answer.status == 200
    assert answer.body["metadata"]["labels"] == {"y": "2"}
    assert answer.body["data"] == {"a": "Yg==", "c": "ZA=="}


async def test_a_json_patch_applies_in_order_and_a_failed_test_is_unprocessable(
    core: client.CoreV1Api, cluster: Server, namespace: str
):
    await core.create_namespaced_secret(namespace, secret("s", data={"a": "Yg=="}))
    patch = [{"op": "add", "path": "/data/c", "value": "ZA=="}, {"op": "remove", "path": "/data/a"}]
    assert (await core.patch_namespaced_secret("s", namespace, patch)).data == {"c": "ZA=="}
    answer = cluster.raw(
        "PATCH",
        f"/api/v1/namespaces/{namespace}/secrets/s",
        [{"op": "test", "path": "/data/c", "value": "no"}],
        Content_Type="application/json-patch+json",
    )
    assert answer.status == 422


def test_a_patch_of_plain_json_is_an_unsupported_media_type(cluster: Server, namespace: str):
    path = f"/api/v1/namespaces/{namespace}/serviceaccounts/default"
    answer = cluster.raw("PATCH", path, {}, Content_Type="application/json")
    assert answer.status == 415
    assert answer.body["reason"] == "UnsupportedMediaType"


async def test_a_patch_of_something_missing_is_not_found(core: client.CoreV1Api, namespace: str):
    with pytest.raises(client.ApiException) as refused:
        await core.patch_namespaced_secret("none", namespace, {"data": {}})
    assert refused.value.status == 404


async def test_a_replacement_with_an_old_version_is_a_conflict(core: client.CoreV1Api, namespace: str):
    first = await core.create_namespaced_secret(namespace, secret("s"))
    await core.patch_namespaced_secret("s", namespace, {"data": {"a": "Yg=="}})
    first.data = {"c": "ZA=="}
    with pytest.raises(client.ApiException) as refused:
        await core.replace_namespaced_secret("s", namespace, first)
    assert refused.value.status == 409
    status = status_of(refused.value)
    assert status["reason"] == "Conflict"
    assert status["details"]["name"] == "s"


async def test_a_patch_with_an_old_version_is_a_conflict(core: client.CoreV1Api, namespace: str):
    first = await core.create_namespaced_secret(namespace, secret("s"))
    await core.patch_namespaced_secret("s", namespace, {"data": {"a": "Yg=="}})
    patch = {"metadata": {"resourceVersion": first.metadata.resource_version}, "data": {"b": "Yg=="}}
    with pytest.raises(client.ApiException) as refused:
        await core.patch_namespaced_secret("s", namespace, patch)
    assert refused.value.status == 409


async def test_a_replacement_without_a_version_is_unconditional(core: client.CoreV1Api, namespace: str):
    before = await core.create_namespaced_secret(namespace, secret("s", data={"a": "Yg=="}))
    after = await core.replace_namespaced_secret("s", namespace, secret("s", data={"c": "ZA=="}))
    assert after.data == {"c": "ZA=="}
    assert after.metadata.uid == before.metadata.uid
    assert after.metadata.resource_version != before.metadata.resource_version


async def test_a_write_that_changes_nothing_keeps_the_version(core: client.CoreV1Api, namespace: str):
    before = await core.create_namespaced_secret(namespace, secret("s", data={"a": "Yg=="}))
    after = await core.patch_namespaced_secret("s", namespace, {"data": {"a": "Yg=="}})
    assert after.metadata.resource_version == before.metadata.resource_version


async def test_an_immutable_secret_and_a_secrets_type_cannot_change(core: client.CoreV1Api, namespace: str):
    await core.create_namespaced_secret(namespace, secret("s", data={"a": "Yg=="}, immutable=True))
    with pytest.raises(client.ApiException) as refused:
        await core.patch_namespaced_secret("s", namespace, {"data": {"a": "ZA=="}})
    assert refused.value.status == 422
    assert status_of(refused.value)["details"]["causes"][0]["field"] == "data"
    await core.create_namespaced_secret(namespace, secret("t"))
    with pytest.raises(client.ApiException) as refused:
        await core.patch_namespaced_secret("t", namespace, {"type": "mooring/other"})
    assert refused.value.status == 422
    assert status_of(refused.value)["details"]["causes"][0]["field"] == "type"
