"""Server-side apply: ownership, conflicts, force and pruning, as on a real API server."""

from __future__ import annotations

from typing import Any

import pytest
from kubernetes.aio import client

from tests.contract.kubernetes_servers import Server, secret, status_of

pytest_plugins = ("tests.contract.kubernetes_fixtures",)

APPLY = "application/apply-patch+yaml"


def account(name: str, **metadata: Any) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name, **metadata}}


async def apply_account(
    core: client.CoreV1Api, namespace: str, body: dict[str, Any], manager: str = "one", *, force: bool = False
) -> client.V1ServiceAccount:
    return await core.patch_namespaced_service_account(
        body["metadata"]["name"], namespace, body, field_manager=manager, force=force, _content_type=APPLY
    )


async def apply_secret(
    core: client.CoreV1Api, namespace: str, data: dict[str, str], manager: str = "one", *, force: bool = False
) -> client.V1Secret:
    body = secret("s", data=data)
    return await core.patch_namespaced_secret(
        "s", namespace, body, field_manager=manager, force=force, _content_type=APPLY
    )


def test_an_apply_creates_and_owns_what_it_states(cluster: Server, core: client.CoreV1Api, namespace: str):
    path = f"/api/v1/namespaces/{namespace}/serviceaccounts/a?fieldManager=one"
    answer = cluster.raw("PATCH", path, account("a", labels={"x": "1"}), Content_Type=APPLY)
    assert answer.status == 201
    entry = answer.body["metadata"]["managedFields"][0]
    assert (entry["manager"], entry["operation"], entry["apiVersion"]) == ("one", "Apply", "v1")
    assert entry["fieldsV1"] == {"f:metadata": {"f:labels": {"f:x": {}}}}


async def test_the_same_apply_again_changes_nothing(core: client.CoreV1Api, namespace: str):
    first = await apply_secret(core, namespace, {"a": "Yg=="})
    again = await apply_secret(core, namespace, {"a": "Yg=="})
    assert again.metadata.resource_version == first.metadata.resource_version


async def test_what_is_no_longer_stated_goes(core: client.CoreV1Api, namespace: str):
    await apply_secret(core, namespace, {"a": "Yg==", "c": "ZA=="})
    assert (await apply_secret(core, namespace, {"c": "ZA=="})).data == {"c": "ZA=="}


async def test_what_another_manager_owns_too_stays(core: client.CoreV1Api, namespace: str):
    await apply_secret(core, namespace, {"a": "Yg==", "c": "ZA=="})
    await apply_secret(core, namespace, {"a": "Yg=="}, "two")
    assert (await apply_secret(core, namespace, {"c": "ZA=="})).data == {"a": "Yg==", "c": "ZA=="}
    left = await apply_secret(core, namespace, {"e": "Zg=="}, "two")
    assert left.data == {"c": "ZA==", "e": "Zg=="}


async def test_what_nobody_applied_stays(core: client.CoreV1Api, namespace: str):
    await core.create_namespaced_secret(namespace, secret("s", data={"a": "Yg=="}))
    applied = await apply_secret(core, namespace, {"c": "ZA=="})
    assert applied.data == {"a": "Yg==", "c": "ZA=="}


async def test_another_managers_field_is_a_conflict_that_names_it(core: client.CoreV1Api, namespace: str):
    await apply_account(core, namespace, account("a", labels={"x": "1", "y": "1"}))
    with pytest.raises(client.ApiException) as refused:
        await apply_account(core, namespace, account("a", labels={"x": "2", "z": "3"}), "two")
    assert refused.value.status == 409
    status = status_of(refused.value)
    assert status["reason"] == "Conflict"
    causes = status["details"]["causes"]
    assert [(cause["reason"], cause["field"]) for cause in causes] == [
        ("FieldManagerConflict", ".metadata.labels.x"),
    ]
    assert '"one"' in causes[0]["message"]


async def test_a_field_that_an_update_wrote_is_a_conflict_too(core: client.CoreV1Api, namespace: str):
    await core.create_namespaced_secret(namespace, secret("s", data={"a": "Yg=="}), field_manager="writer")
    with pytest.raises(client.ApiException) as refused:
        await apply_secret(core, namespace, {"a": "ZA=="})
    assert refused.value.status == 409
    assert status_of(refused.value)["details"]["causes"][0]["field"] == ".data.a"


async def test_an_update_takes_a_field_over_from_an_apply(core: client.CoreV1Api, namespace: str):
    await apply_secret(core, namespace, {"a": "Yg=="})
    await core.patch_namespaced_secret("s", namespace, {"data": {"a": "ZA=="}}, field_manager="writer")
    with pytest.raises(client.ApiException) as refused:
        await apply_secret(core, namespace, {"a": "Yg=="})
    assert refused.value.status == 409


async def test_force_takes_the_field_over(core: client.CoreV1Api, namespace: str):
    await apply_account(core, namespace, account("a", labels={"x": "1"}))
    forced = await apply_account(core, namespace, account("a", labels={"x": "2"}), "two", force=True)
    assert forced.metadata.labels == {"x": "2"}
    with pytest.raises(client.ApiException) as refused:
        await apply_account(core, namespace, account("a", labels={"x": "1"}))
    assert refused.value.status == 409
    freed = await apply_account(core, namespace, account("a"), "two")
    assert not freed.metadata.labels


async def test_the_same_value_is_shared_without_conflict(core: client.CoreV1Api, namespace: str):
    await apply_account(core, namespace, account("a", labels={"x": "1"}))
    shared = await apply_account(core, namespace, account("a", labels={"x": "1"}), "two")
    managers = {entry.manager for entry in shared.metadata.managed_fields}
    assert {"one", "two"} <= managers


async def test_finalizers_of_two_managers_add_up(core: client.CoreV1Api, namespace: str):
    await apply_account(core, namespace, account("a", finalizers=["mooring.example/one"]))
    both = await apply_account(core, namespace, account("a", finalizers=["mooring.example/two"]), "two")
    assert set(both.metadata.finalizers) == {"mooring.example/one", "mooring.example/two"}
    left = await apply_account(core, namespace, account("a"))
    assert left.metadata.finalizers == ["mooring.example/two"]
    await apply_account(core, namespace, account("a"), "two")


async def test_referenced_secrets_of_two_managers_merge_by_name(core: client.CoreV1Api, namespace: str):
    await apply_account(core, namespace, account("a") | {"secrets": [{"name": "x-one"}]})
    both = await apply_account(core, namespace, account("a") | {"secrets": [{"name": "x-two"}]}, "two")
    assert {"x-one", "x-two"} <= {reference.name for reference in both.secrets}
    left = await apply_account(core, namespace, account("a"))
    names = {reference.name for reference in left.secrets}
    assert "x-two" in names
    assert "x-one" not in names


def test_an_applied_deployment_prunes_a_container_variable(cluster: Server, namespace: str):
    def deployment(*variables: str) -> dict[str, Any]:
        env = [{"name": name, "value": "1"} for name in variables]
        container = {"name": "c", "image": "busybox", "env": env}
        return {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": "d"},
            "spec": {
                "selector": {"matchLabels": {"app": "d"}},
                "template": {"metadata": {"labels": {"app": "d"}}, "spec": {"containers": [container]}},
            },
        }

    path = f"/apis/apps/v1/namespaces/{namespace}/deployments/d?fieldManager=one"
    assert cluster.raw("PATCH", path, deployment("A", "B"), Content_Type=APPLY).status == 201
    answer = cluster.raw("PATCH", path, deployment("B"), Content_Type=APPLY)
    containers = answer.body["spec"]["template"]["spec"]["containers"]
    assert [variable["name"] for variable in containers[0]["env"]] == ["B"]


def test_a_dry_run_apply_stores_nothing(cluster: Server, namespace: str):
    path = f"/api/v1/namespaces/{namespace}/serviceaccounts/a"
    query = "?fieldManager=one&dryRun=All"
    assert cluster.raw("PATCH", path + query, account("a"), Content_Type=APPLY).status == 201
    assert cluster.raw("GET", path).status == 404


@pytest.mark.parametrize(
    ("query", "body", "status"),
    [
        ("", account("a"), 422),
        ("?fieldManager=one", {"metadata": {"name": "a"}}, 400),
        ("?fieldManager=one", account("a", managedFields=[{"manager": "x"}]), 400),
        ("?fieldManager=one", account("other"), 400),
        ("?fieldManager=one", account("a", resourceVersion="1"), 409),
    ],
    ids=["no manager", "no kind", "managed fields in the body", "another name", "an old version"],
)
def test_an_apply_that_breaks_a_rule_is_refused(
    cluster: Server, namespace: str, query: str, body: dict[str, Any], status: int
):
    path = f"/api/v1/namespaces/{namespace}/serviceaccounts/a"
    cluster.raw("POST", path.removesuffix("/a"), account("a"))
    assert cluster.raw("PATCH", path + query, body, Content_Type=APPLY).status == status


def test_force_is_for_apply_only(cluster: Server, namespace: str):
    path = f"/api/v1/namespaces/{namespace}/serviceaccounts/default?force=true"
    answer = cluster.raw("PATCH", path, {}, Content_Type="application/merge-patch+json")
    assert answer.status == 422


def test_an_apply_may_be_yaml(cluster: Server, namespace: str):
    text = b"apiVersion: v1\nkind: ServiceAccount\nmetadata:\n  name: a\n  labels: {x: '1'}\n"
    path = f"/api/v1/namespaces/{namespace}/serviceaccounts/a?fieldManager=one"
    answer = cluster.raw("PATCH", path, text, Content_Type=APPLY)
    assert answer.body["metadata"]["labels"] == {"x": "1"}
