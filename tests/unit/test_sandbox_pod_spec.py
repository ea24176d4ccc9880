"""The sandbox's webhook changes pods as azure-workload-identity's does."""

from __future__ import annotations

from typing import Any

import pytest

from sandbox.node import _expand
from sandbox.pod_spec import (
    TOKEN_FILE,
    USE_LABEL,
    PodRefusedError,
    mutate,
    pod_of,
    token_seconds,
)

ACCOUNT = {"metadata": {"annotations": {"azure.workload.identity/client-id": "client"}}}


def a_pod(**metadata: Any) -> dict[str, Any]:
    return pod_of(
        [
            {
                "kind": "Pod",
                "metadata": {"name": "p", **metadata},
                "spec": {"containers": [{"name": "main", "image": "i"}, {"name": "side", "image": "i"}]},
            },
        ],
    )


def change(pod: dict[str, Any], account: dict[str, Any] = ACCOUNT) -> bool:
    return mutate(pod, account, tenant_id="tenant", authority_host="https://login/")


def variables(pod: dict[str, Any], index: int = 0) -> dict[str, str]:
    return {one["name"]: one["value"] for one in pod["spec"]["containers"][index].get("env", [])}


def test_a_labelled_pod_gets_four_variables_and_the_projected_token() -> None:
    pod = a_pod(labels={USE_LABEL: "true"})
    assert change(pod)
    assert variables(pod) == {
        "AZURE_CLIENT_ID": "client",
        "AZURE_TENANT_ID": "tenant",
        "AZURE_FEDERATED_TOKEN_FILE": TOKEN_FILE,
        "AZURE_AUTHORITY_HOST": "https://login/",
    }
    assert token_seconds(pod) == 3600


@pytest.mark.parametrize("labels", [{}, {USE_LABEL: "True"}, {USE_LABEL: "false"}])
def test_a_pod_without_the_exact_label_stays_as_it_is(labels: dict[str, str]) -> None:
    pod = a_pod(labels=labels)
    assert not change(pod)
    assert variables(pod) == {}
    assert token_seconds(pod) is None


def test_what_the_author_set_wins() -> None:
    pod = a_pod(labels={USE_LABEL: "true"})
    pod["spec"]["containers"][0]["env"] = [{"name": "AZURE_CLIENT_ID", "value": "mine"}]
    change(pod)
    assert variables(pod)["AZURE_CLIENT_ID"] == "mine"


def test_a_skipped_container_gets_nothing() -> None:
    pod = a_pod(labels={USE_LABEL: "true"}, annotations={"azure.workload.identity/skip-containers": "side"})
    change(pod)
    assert variables(pod, 0)
    assert variables(pod, 1) == {}


def test_a_token_lifetime_outside_the_limits_is_refused() -> None:
    expiration = "azure.workload.identity/service-account-token-expiration"
    pod = a_pod(labels={USE_LABEL: "true"}, annotations={expiration: "600"})
    with pytest.raises(PodRefusedError, match="600"):
        change(pod)


def test_changing_a_pod_twice_changes_nothing_more() -> None:
    pod = a_pod(labels={USE_LABEL: "true"})
    change(pod)
    once = str(pod)
    change(pod)
    assert str(pod) == once


def test_the_pod_of_a_deployment_is_its_template() -> None:
    template = {"metadata": {"labels": {"app": "x"}}, "spec": {"containers": [{"name": "c"}]}}
    deployment = {
        "kind": "Deployment",
        "metadata": {"name": "web", "namespace": "orders"},
        "spec": {"template": template},
    }
    pod = pod_of([None, {"kind": "Service", "metadata": {"name": "s"}}, deployment])
    assert pod["metadata"] == {"labels": {"app": "x"}, "name": "web-0", "namespace": "orders"}
    assert pod["spec"]["serviceAccountName"] == "default"


def test_a_manifest_without_a_pod_is_refused() -> None:
    with pytest.raises(PodRefusedError):
        pod_of([{"kind": "Secret", "metadata": {"name": "s"}}])


def test_references_are_expanded_as_kubernetes_does() -> None:
    assert _expand("$(A)-$$(A)-$(B)", {"A": "1"}) == "1-$(A)-$(B)"
