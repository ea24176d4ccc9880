"""Each kind of a connection's manifest, on the emulator as on a real API server."""

from __future__ import annotations

import dataclasses

import pytest
import yaml

from shared.manifest import Parts, snippet
from tests.contract.kubernetes_servers import Server

pytest_plugins = ("tests.contract.kubernetes_fixtures",)

PLACES = {
    "pod": "/api/v1/namespaces/{}/pods",
    "deployment": "/apis/apps/v1/namespaces/{}/deployments",
    "job": "/apis/batch/v1/namespaces/{}/jobs",
}


def parts_in(namespace: str, secret: str = "sc-blob-secret", **more: object) -> Parts:
    return Parts(
        service_account="default",
        settings=secret,
        namespace=namespace,
        workload="orders",
        **more,  # type: ignore[arg-type]
    )


@pytest.mark.parametrize("kind", list(PLACES))
def test_a_whole_manifest_is_taken_as_it_is(cluster: Server, namespace: str, kind: str):
    body = yaml.safe_load(snippet(kind, parts_in(namespace)))
    made = cluster.raw("POST", PLACES[kind].format(namespace), body)
    assert made.status == 201, made.body
    pod = made.body if kind == "pod" else made.body["spec"]["template"]
    assert pod["metadata"]["labels"]["azure.workload.identity/use"] == "true"
    assert pod["spec"]["containers"][0]["envFrom"] == [{"secretRef": {"name": "sc-blob-secret"}}]


@pytest.mark.parametrize("kind", list(PLACES))
def test_a_manifest_without_an_identity_and_one_with_a_config_map_are_taken_too(
    cluster: Server, namespace: str, kind: str
):
    keyed = dataclasses.replace(parts_in(namespace), service_account="", workload="keyed")
    mapped = dataclasses.replace(parts_in(namespace), settings="sc-blob-configmap", settings_in="configMap")
    for parts in (keyed, mapped):
        made = cluster.raw("POST", PLACES[kind].format(namespace), yaml.safe_load(snippet(kind, parts)))
        assert made.status == 201, made.body
        pod = made.body if kind == "pod" else made.body["spec"]["template"]
        labels = pod.get("metadata", {}).get("labels") or {}
        assert ("azure.workload.identity/use" in labels) == bool(parts.service_account)
        reference = {f"{parts.settings_in}Ref": {"name": parts.settings}}
        assert pod["spec"]["containers"][0]["envFrom"] == [reference]


def test_a_patch_without_an_identity_leaves_the_account_and_the_labels(cluster: Server, namespace: str):
    place = PLACES["deployment"].format(namespace)
    whole = yaml.safe_load(snippet("deployment", parts_in(namespace)))
    assert cluster.raw("POST", place, whole).status == 201
    parts = dataclasses.replace(parts_in(namespace, keys=("KEY",)), service_account="")
    patch = yaml.safe_load(snippet("patch", parts))
    kind = "application/strategic-merge-patch+json"
    patched = cluster.raw("PATCH", f"{place}/orders", patch, Content_Type=kind)
    assert patched.status == 200, patched.body
    pod = patched.body["spec"]["template"]
    assert pod["metadata"]["labels"] == whole["spec"]["template"]["metadata"]["labels"]
    assert pod["spec"]["serviceAccountName"] == "default"
    assert [one["name"] for one in pod["spec"]["containers"][0]["env"]] == ["KEY"]


def test_patches_for_two_connections_keep_each_others_settings(cluster: Server, namespace: str):
    place = PLACES["deployment"].format(namespace)
    whole = yaml.safe_load(snippet("deployment", parts_in(namespace)))
    assert cluster.raw("POST", place, whole).status == 201
    for secret, key in (("sc-one-secret", "ONE"), ("sc-two-secret", "spring.two")):
        patch = yaml.safe_load(snippet("patch", parts_in(namespace, secret, keys=(key,))))
        kind = "application/strategic-merge-patch+json"
        patched = cluster.raw("PATCH", f"{place}/orders", patch, Content_Type=kind)
        assert patched.status == 200, patched.body
    (container,) = patched.body["spec"]["template"]["spec"]["containers"]
    found = {one["name"]: one["valueFrom"]["secretKeyRef"]["name"] for one in container["env"]}
    assert found == {"ONE": "sc-one-secret", "spring.two": "sc-two-secret"}
    assert container["image"] == "IMAGE"
