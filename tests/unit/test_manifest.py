"""Manifests are YAML that says what workload identity needs."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import yaml

from shared.errors import RefusedError
from shared.manifest import Parts, pod_snippet, snippet

ROOT = Path(__file__).parents[2]
GOLDEN = ROOT / "tests/data/manifests"
KINDS = ["pod", "deployment", "job", "patch"]
PARTS = Parts(
    service_account="sc-account-1",
    settings="sc-blob-secret",
    namespace="shop",
    workload="orders",
    keys=("spring.b", "A_KEY"),
)


def template_of(found: dict[str, Any]) -> dict[str, Any]:
    """The pod in a manifest of any kind."""
    return found if "containers" in found["spec"] else found["spec"]["template"]


@pytest.mark.parametrize("namespace", ["shop", "123", "null", "1e3", "no"])
def test_the_snippet_names_account_secret_namespace_and_label_as_strings(namespace: str):
    found = yaml.safe_load(
        pod_snippet(service_account="sc-account-1", settings="sc-blob-secret", namespace=namespace)
    )
    assert found["metadata"]["namespace"] == namespace
    assert found["metadata"]["labels"] == {"azure.workload.identity/use": "true"}
    assert found["spec"]["serviceAccountName"] == "sc-account-1"
    (container,) = found["spec"]["containers"]
    assert container["envFrom"] == [{"secretRef": {"name": "sc-blob-secret"}}]


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_is_the_manifest_on_file(kind: str):
    assert snippet(kind, PARTS) == (GOLDEN / f"{kind}.yaml").read_text()


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_takes_its_settings_from_a_config_map_where_they_are_there(kind: str):
    parts = dataclasses.replace(PARTS, settings="sc-blob-configmap", settings_in="configMap")
    expected = (GOLDEN / f"{kind}.yaml").read_text().replace("sc-blob-secret", "sc-blob-configmap")
    assert snippet(kind, parts) == expected.replace("secret", "configMap")


def test_no_kind_is_the_parts_of_a_pod():
    assert snippet("", PARTS) == pod_snippet(
        service_account="sc-account-1", settings="sc-blob-secret", namespace="shop"
    )


@pytest.mark.parametrize("kind", ["", *KINDS])
@pytest.mark.parametrize("odd", ["123", "null", "labels", "spec"])
def test_names_that_read_as_something_else_stay_names_in_each_kind(kind: str, odd: str):
    parts = dataclasses.replace(PARTS, namespace=odd, workload=odd, container=odd, keys=("1.5", "true"))
    found = yaml.safe_load(snippet(kind, parts))
    pod = template_of(found)
    assert pod["metadata"]["labels"]["azure.workload.identity/use"] == "true"
    assert pod["spec"]["serviceAccountName"] == "sc-account-1"
    assert [one["name"] for one in pod["spec"]["containers"]] == [odd]
    if kind != "patch":
        assert found["metadata"]["namespace"] == odd
    if kind in {"pod", "deployment", "job"}:
        assert found["metadata"]["name"] == odd


def test_a_deployment_selects_its_own_pods_and_a_job_ends():
    deployment = yaml.safe_load(snippet("deployment", PARTS))
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    assert deployment["spec"]["selector"]["matchLabels"].items() <= labels.items()
    assert "namespace" not in deployment["spec"]["template"]["metadata"]
    assert yaml.safe_load(snippet("job", PARTS))["spec"]["template"]["spec"]["restartPolicy"] == "Never"


def test_a_patch_names_each_setting_so_that_other_connections_settings_stay():
    (container,) = template_of(yaml.safe_load(snippet("patch", PARTS)))["spec"]["containers"]
    assert [one["name"] for one in container["env"]] == ["A_KEY", "spring.b"]
    assert {one["valueFrom"]["secretKeyRef"]["name"] for one in container["env"]} == {"sc-blob-secret"}
    assert container.keys() == {"name", "env"}, "an image here would replace the program"


def test_a_patch_without_known_keys_takes_the_whole_secret():
    parts = dataclasses.replace(PARTS, keys=())
    (container,) = template_of(yaml.safe_load(snippet("patch", parts)))["spec"]["containers"]
    assert container == {"name": "app", "envFrom": [{"secretRef": {"name": "sc-blob-secret"}}]}


def test_a_kind_that_is_not_offered_is_refused_with_those_that_are():
    with pytest.raises(RefusedError, match="pod, deployment, job, patch") as refused:
        snippet("cronjob", PARTS)
    assert (refused.value.code, refused.value.field) == ("invalid-kind", "kind")


@pytest.mark.parametrize("name", ["", "App", "-a", "a" * 64, 'a"', "a\nb"])
def test_what_cannot_be_a_containers_name_is_refused(name: str):
    with pytest.raises(RefusedError) as refused:
        snippet("pod", dataclasses.replace(PARTS, container=name))
    assert (refused.value.code, refused.value.field) == ("invalid-name", "container")


@pytest.mark.parametrize("kind", ["pod", "deployment"])
def test_the_example_manifests_have_the_same_parts(kind: str):
    example = yaml.safe_load((ROOT / f"examples/{kind}.yaml").read_text())
    made = yaml.safe_load(snippet(kind, PARTS))
    assert [example[name] for name in ("apiVersion", "kind")] == [
        made[name] for name in ("apiVersion", "kind")
    ]
    assert made["metadata"].keys() <= example["metadata"].keys()
    assert made["spec"].keys() <= example["spec"].keys()
    ours, theirs = template_of(made), template_of(example)
    assert ours["metadata"]["labels"].keys() == theirs["metadata"]["labels"].keys()
    assert ours["spec"].keys() <= theirs["spec"].keys()
    assert ours["spec"]["containers"][0].keys() <= theirs["spec"]["containers"][0].keys()
    assert theirs["spec"]["serviceAccountName"].startswith("sc-account-")
    assert theirs["spec"]["containers"][0]["envFrom"][0]["secretRef"]["name"] == "sc-blob-secret"
