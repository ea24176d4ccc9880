"""Deletes: finalizers, preconditions, propagation, collections, on the emulator as on a real API server."""

from __future__ import annotations

import pytest
from kubernetes.aio import client

from tests.contract.kubernetes_servers import Server, eventually, secret, status_of

pytest_plugins = ("tests.contract.kubernetes_fixtures",)


async def test_a_finalizer_holds_a_deleted_object_until_it_is_removed(core: client.CoreV1Api, namespace: str):
    await core.create_namespaced_secret(
        namespace, secret("s", metadata={"finalizers": ["mooring.example/hold"]})
    )
    await core.delete_namespaced_secret("s", namespace)
    held = await core.read_namespaced_secret("s", namespace)
    assert held.metadata.deletion_timestamp is not None
    await core.patch_namespaced_secret("s", namespace, [{"op": "remove", "path": "/metadata/finalizers"}])
    with pytest.raises(client.ApiException) as refused:
        await core.read_namespaced_secret("s", namespace)
    assert refused.value.status == 404


@pytest.mark.parametrize("field", ["uid", "resourceVersion"])
async def test_a_delete_precondition_that_does_not_hold_is_a_conflict(
    core: client.CoreV1Api, namespace: str, field: str
):
    await core.create_namespaced_secret(namespace, secret("s"))
    options = {"preconditions": {field: "12345"}}
    with pytest.raises(client.ApiException) as refused:
        await core.delete_namespaced_secret("s", namespace, body=options)
    assert refused.value.status == 409
    assert status_of(refused.value)["reason"] == "Conflict"
    assert (await core.read_namespaced_secret("s", namespace)).metadata.name == "s"


async def test_a_delete_with_true_preconditions_answers_the_uid(
    cluster: Server, core: client.CoreV1Api, namespace: str
):
    created = await core.create_namespaced_secret(namespace, secret("s"))
    conditions = {"uid": created.metadata.uid, "resourceVersion": created.metadata.resource_version}
    path = f"/api/v1/namespaces/{namespace}/secrets/s"
    answer = cluster.raw("DELETE", path, {"preconditions": conditions})
    assert answer.status == 200
    assert answer.body["status"] == "Success"
    assert answer.body["details"] == {"name": "s", "kind": "secrets", "uid": created.metadata.uid}
    assert cluster.raw("DELETE", path).status == 404


async def test_a_deleted_service_account_is_answered_whole(
    cluster: Server, core: client.CoreV1Api, namespace: str
):
    created = await core.create_namespaced_service_account(namespace, {"metadata": {"name": "a"}})
    answer = cluster.raw("DELETE", f"/api/v1/namespaces/{namespace}/serviceaccounts/a")
    assert answer.body["kind"] == "ServiceAccount"
    assert answer.body["metadata"]["uid"] == created.metadata.uid


async def test_a_dry_run_delete_deletes_nothing(core: client.CoreV1Api, namespace: str):
    await core.create_namespaced_secret(namespace, secret("s"))
    await core.delete_namespaced_secret("s", namespace, dry_run="All")
    assert (await core.read_namespaced_secret("s", namespace)).metadata.deletion_timestamp is None


async def test_a_collection_delete_takes_what_the_selector_names(core: client.CoreV1Api, namespace: str):
    for name, colour in (("a", "red"), ("b", "red"), ("c", "blue")):
        labels = {"colour": colour}
        await core.create_namespaced_secret(namespace, secret(name, metadata={"labels": labels}))
    await core.delete_collection_namespaced_secret(namespace, label_selector="colour=red")
    left = await core.list_namespaced_secret(namespace, label_selector="colour")
    assert [item.metadata.name for item in left.items] == ["c"]


async def test_a_deleted_namespace_takes_its_contents_along(
    cluster: Server, core: client.CoreV1Api, namespace: str
):
    await core.create_namespaced_secret(namespace, secret("s"))
    await core.delete_namespace(namespace)
    eventually(lambda: cluster.raw("GET", f"/api/v1/namespaces/{namespace}").status == 404)
    assert cluster.raw("GET", f"/api/v1/namespaces/{namespace}/secrets/s").status == 404


async def test_objects_go_with_their_owner(cluster: Server, core: client.CoreV1Api, namespace: str):
    owner = await core.create_namespaced_config_map(namespace, {"metadata": {"name": "owner"}})
    reference = {"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": owner.metadata.uid}
    owned = secret("owned", metadata={"ownerReferences": [reference]})
    await core.create_namespaced_secret(namespace, owned)
    await core.delete_namespaced_config_map("owner", namespace)
    eventually(lambda: cluster.raw("GET", f"/api/v1/namespaces/{namespace}/secrets/owned").status == 404)
