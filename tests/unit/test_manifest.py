"""The pod snippet is YAML that says what workload identity needs."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from shared.manifest import pod_snippet

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("namespace", ["shop", "123", "null", "1e3", "no"])
def test_the_snippet_names_account_secret_namespace_and_label_as_strings(namespace: str):
    found = yaml.safe_load(
        pod_snippet(service_account="sc-account-1", secret="sc-blob-secret", namespace=namespace)
    )
    assert found["metadata"]["namespace"] == namespace
    assert found["metadata"]["labels"] == {"azure.workload.identity/use": "true"}
    assert found["spec"]["serviceAccountName"] == "sc-account-1"
    (container,) = found["spec"]["containers"]
    assert container["envFrom"] == [{"secretRef": {"name": "sc-blob-secret"}}]


def test_the_example_manifests_have_the_same_parts():
    pod = yaml.safe_load((ROOT / "examples/pod.yaml").read_text())
    deployment = yaml.safe_load((ROOT / "examples/deployment.yaml").read_text())
    assert (pod["kind"], deployment["kind"]) == ("Pod", "Deployment")
    template = deployment["spec"]["template"]
    assert deployment["spec"]["selector"]["matchLabels"].items() <= template["metadata"]["labels"].items()
    for part in (pod, template):
        assert part["metadata"]["labels"]["azure.workload.identity/use"] == "true"
        assert part["spec"]["serviceAccountName"].startswith("sc-account-")
        assert part["spec"]["containers"][0]["envFrom"][0]["secretRef"]["name"] == "sc-blob-secret"
