"""What uses accounts and secrets: pods, what makes pods, and accounts; a refused list is no empty one."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from shared.errors import PermanentError
from tests.contract.ports_azure import NAMESPACE, Azure

pytest_plugins = ("tests.contract.ports_fixtures",)


async def test_pods_say_what_they_use(azure: Azure):
    name = f"pod-{uuid.uuid4().hex[:8]}"
    azure.put_pod(
        name,
        {
            "serviceAccountName": "default",
            "containers": [
                {
                    "name": "main",
                    "image": "example",
                    "envFrom": [{"secretRef": {"name": "from-env"}}, {"configMapRef": {"name": "config"}}],
                    "env": [
                        {"name": "X", "valueFrom": {"secretKeyRef": {"name": "one-key", "key": "k"}}},
                        {"name": "Y", "valueFrom": {"configMapKeyRef": {"name": "one-entry", "key": "k"}}},
                    ],
                },
            ],
            "initContainers": [
                {"name": "init", "image": "example", "envFrom": [{"secretRef": {"name": "from-init"}}]}
            ],
            "volumes": [
                {"name": "a", "secret": {"secretName": "mounted"}},
                {"name": "b", "projected": {"sources": [{"secret": {"name": "projected"}}]}},
                {"name": "c", "configMap": {"name": "mounted-map"}},
                {"name": "d", "projected": {"sources": [{"configMap": {"name": "projected-map"}}]}},
            ],
            "imagePullSecrets": [{"name": "registry"}],
        },
    )
    uses = await azure.clusters.list_uses(azure.cluster_id, NAMESPACE)
    [found] = [use for use in uses if use.name == name]
    assert (found.kind, found.service_account) == ("Pod", "default")
    # A cluster of before 1.24 mounts a token secret into every pod.
    secrets = tuple(one for one in found.secrets if not one.startswith("default-token-"))
    assert secrets == ("from-env", "from-init", "mounted", "one-key", "projected", "registry")
    # A real cluster projects its own CA into every pod.
    maps = tuple(one for one in found.config_maps if one != "kube-root-ca.crt")
    assert maps == ("config", "mounted-map", "one-entry", "projected-map")


def template(name: str, **spec: Any) -> dict[str, Any]:
    container = {"name": "main", "image": "example", "envFrom": [{"secretRef": {"name": f"{name}-secret"}}]}
    return {
        "metadata": {"labels": {"app": name}},
        "spec": {"serviceAccountName": f"{name}-account", "containers": [container], **spec},
    }


def workload(kind: str, name: str) -> dict[str, Any]:
    selector = {"matchLabels": {"app": name}}
    if kind == "Job":
        return {"spec": {"template": template(name, restartPolicy="Never")}}
    if kind == "CronJob":
        job = {"template": template(name, restartPolicy="Never")}
        return {"spec": {"schedule": "0 3 * * *", "suspend": True, "jobTemplate": {"spec": job}}}
    spec = {"selector": selector, "template": template(name)}
    if kind != "DaemonSet":
        spec["replicas"] = 0
    if kind == "StatefulSet":
        spec["serviceName"] = "none"
    return {"spec": spec}


KINDS = ["Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "Job", "CronJob"]


@pytest.mark.parametrize("kind", KINDS)
async def test_what_makes_pods_is_a_user_without_any_pod(azure: Azure, kind: str):
    name = f"w-{uuid.uuid4().hex[:8]}"
    azure.put_workload(kind, name, workload(kind, name))
    uses = await azure.clusters.list_uses(azure.cluster_id, NAMESPACE)
    [found] = [use for use in uses if use.name == name]
    assert (found.kind, found.service_account) == (kind, f"{name}-account")
    assert found.secrets == (f"{name}-secret",)


def owned(body: dict[str, Any], api_version: str, kind: str) -> dict[str, Any]:
    """The same, made by a controller."""
    owner = {"apiVersion": api_version, "kind": kind, "name": "o", "uid": str(uuid.uuid4())}
    return {**body, "metadata": {"ownerReferences": [{**owner, "controller": True}]}}


@pytest.mark.parametrize("kind", KINDS)
async def test_what_a_custom_controller_made_is_a_user_without_any_pod(azure: Azure, kind: str):
    name = f"w-{uuid.uuid4().hex[:8]}"
    body = owned(workload(kind, name), "argoproj.io/v1alpha1", "Rollout")
    azure.put_workload(kind, name, body)
    uses = await azure.clusters.list_uses(azure.cluster_id, NAMESPACE)
    [found] = [use for use in uses if use.name == name]
    assert (found.kind, found.service_account) == (kind, f"{name}-account")


async def test_a_replica_set_of_a_deployment_is_its_past(azure: Azure):
    name = f"w-{uuid.uuid4().hex[:8]}"
    azure.put_workload("ReplicaSet", name, owned(workload("ReplicaSet", name), "apps/v1", "Deployment"))
    uses = await azure.clusters.list_uses(azure.cluster_id, NAMESPACE)
    assert [use for use in uses if use.name == name] == []


async def test_a_job_is_no_user_once_it_is_finished(azure: Azure):
    name = f"w-{uuid.uuid4().hex[:8]}"
    azure.put_workload("Job", name, workload("Job", name))
    azure.finish_job(name)
    uses = await azure.clusters.list_uses(azure.cluster_id, NAMESPACE)
    assert [use for use in uses if use.name == name] == []


async def test_an_account_uses_the_secrets_that_it_lists(azure: Azure):
    name = f"a-{uuid.uuid4().hex[:8]}"
    listed = {"secrets": [{"name": "listed"}], "imagePullSecrets": [{"name": "registry"}]}
    azure.put_workload("ServiceAccount", name, listed)
    uses = await azure.clusters.list_uses(azure.cluster_id, NAMESPACE)
    [found] = [use for use in uses if use.name == name]
    assert (found.kind, found.service_account) == ("ServiceAccount", "")
    # A cluster of before 1.24 lists the account's own token secret too.
    assert {"listed", "registry"} <= set(found.secrets)


async def test_a_refused_list_is_no_empty_list(azure: Azure):
    with azure.without("mooring"), pytest.raises(PermanentError, match="kubernetes-access-denied"):
        await azure.clusters.list_uses(azure.cluster_id, NAMESPACE)
    assert await azure.clusters.list_uses(azure.cluster_id, NAMESPACE) is not None
