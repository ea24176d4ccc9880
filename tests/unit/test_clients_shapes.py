"""Parsers and guards of the adapters that need no service; and that importing them is cheap."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from azure.mgmt.containerservice.models import ManagedCluster

from shared.clients.arm_connection import ArmConnection, safe_path, split_id
from shared.clients.cluster_facts import cluster_of
from shared.clients.kube_objects import applied, object_of
from shared.clients.kube_uses import USERS, use_of
from shared.clients.linkers import linker_of
from shared.errors import PermanentError

REPOSITORY = Path(__file__).parents[2]
CLUSTER = "/subscriptions/s/resourceGroups/g/providers/Microsoft.ContainerService/managedClusters/c"


def test_importing_every_adapter_and_wiring_them_imports_no_sdk():
    modules = sorted(path.stem for path in (REPOSITORY / "shared" / "clients").glob("[a-z]*.py"))
    program = (
        "import importlib, sys\n"
        f"for name in {modules!r}: importlib.import_module('shared.clients.' + name)\n"
        "from shared.clients.http_pool import HttpPool\n"
        "from shared.clients.credentials import AppCredential\n"
        "from shared.clients.arm_connection import ArmConnection\n"
        "from shared.clients.clusters import AksClusters\n"
        "from shared.clients.state_table import StateTable\n"
        "from shared.clients.telemetry_export import opened\n"
        "opened()\n"
        "pool = HttpPool(); credential = AppCredential(pool); arm = ArmConnection(pool, credential)\n"
        "AksClusters(arm, credential); StateTable(pool, credential, endpoint='https://t')\n"
        "sdks = {'azure', 'kubernetes', 'aiohttp', 'msal', 'opentelemetry'}\n"
        "heavy = [m for m in sys.modules if m.split('.')[0] in sdks]\n"
        "assert not heavy, heavy\n"
    )
    subprocess.run([sys.executable, "-c", program], cwd=REPOSITORY, check=True)


@pytest.mark.parametrize(
    "resource_id",
    ["", "x", "/", "//subscriptions/s", "/subscriptions/s/../t", "/subscriptions/s/./t", "/subscriptions/s/"],
)
def test_ids_that_would_name_something_else_in_a_url_are_refused(resource_id: str):
    with pytest.raises(PermanentError, match="resource-id-invalid"):
        safe_path(resource_id)


def test_an_id_cannot_smuggle_a_query_or_a_host():
    assert safe_path("/subscriptions/s/x?api-version=1#f") == "/subscriptions/s/x%3Fapi-version=1%23f"


def test_an_id_is_split_whatever_its_casing():
    assert split_id(CLUSTER.upper(), "Microsoft.ContainerService", "managedClusters") == ("S", "G", "C")
    with pytest.raises(PermanentError):
        split_id(f"{CLUSTER}/agentPools/p", "Microsoft.ContainerService", "managedClusters")


@pytest.mark.parametrize(
    ("endpoint", "scope"),
    [
        ("https://management.azure.com/", "https://management.azure.com/.default"),
        ("https://management.usgovcloudapi.net", "https://management.usgovcloudapi.net/.default"),
        ("https://127.0.0.1:1", "https://management.azure.com/.default"),
    ],
)
def test_tokens_are_asked_for_the_clouds_own_scope(endpoint: str, scope: str):
    arm: Any = ArmConnection(None, None, endpoint=endpoint)  # type: ignore[arg-type]
    assert arm.scope == scope


async def test_a_next_page_elsewhere_gets_no_token():
    arm: Any = ArmConnection(None, None, endpoint="https://management.azure.com")  # type: ignore[arg-type]
    for link in ("https://evil.example/x", "https://management.azure.com.evil.example/x"):
        with pytest.raises(PermanentError, match="next-link-foreign"):
            await arm.get_json(link, api_version="1")


def test_a_linker_is_read_with_its_defaults():
    body = {
        "id": f"{CLUSTER}/providers/Microsoft.ServiceLinker/linkers/blob_1",
        "name": "blob_1",
        "type": "microsoft.servicelinker/linkers",
        "properties": {
            "authInfo": {"authType": "userAssignedIdentity", "clientId": "ABC"},
            "targetService": {"type": "AzureResource", "id": "/subscriptions/s/x"},
            "provisioningState": "Succeeded",
        },
    }
    found = linker_of(body)
    assert (found.name, found.namespace, found.client_id, found.client_type) == (
        "blob_1",
        "default",
        "abc",
        "none",
    )
    assert found.target_id == "/subscriptions/s/x"
    assert linker_of({"properties": {"authInfo": {"authType": "secret"}}}).client_id == ""


def test_a_clusters_own_identities_are_forbidden_and_a_switched_off_issuer_is_empty():
    body = SimpleNamespace(
        location="westeurope",
        provisioning_state="Updating",
        power_state=SimpleNamespace(code="Stopped"),
        aad_profile=None,
        oidc_issuer_profile=SimpleNamespace(enabled=False, issuer_url="https://old/"),
        security_profile=None,
        identity_profile={"kubeletidentity": SimpleNamespace(resource_id="/Subscriptions/K", client_id="KC")},
        addon_profiles={
            "azurepolicy": SimpleNamespace(identity=None),
            "omsagent": SimpleNamespace(
                identity=SimpleNamespace(resource_id="/subscriptions/o", client_id="oc")
            ),
        },
        identity=SimpleNamespace(
            user_assigned_identities={"/subscriptions/P": SimpleNamespace(client_id="pc")}
        ),
        service_principal_profile=SimpleNamespace(client_id="msi"),
    )
    found = cluster_of(body, CLUSTER)
    assert (found.issuer, found.workload_identity, found.power_state) == ("", False, "Stopped")
    assert found.forbidden_identities == (
        "/subscriptions/k",
        "/subscriptions/o",
        "/subscriptions/p",
        "kc",
        "oc",
        "pc",
    )


@pytest.mark.parametrize(
    ("profile", "takes"),
    [(None, False), ({"managed": True}, True), ({"serverAppID": "a", "clientAppID": "b"}, False)],
    ids=["local accounts only", "managed", "legacy"],
)
def test_a_cluster_takes_entras_tokens_with_aks_managed_integration_alone(
    profile: dict[str, object] | None, *, takes: bool
):
    properties = {} if profile is None else {"aadProfile": profile}
    body = ManagedCluster({"location": "westeurope", "properties": properties})
    assert cluster_of(body, CLUSTER).entra is takes


def test_secret_values_go_out_as_data_and_come_back_decoded():
    body = applied("Secret", "ns", "s", labels={"a": "b"}, annotations={}, data={"K": "ü"})
    assert "stringData" not in body
    assert body["data"] == {"K": "w7w="}
    assert object_of("Secret", body).data == {"K": "ü"}
    with pytest.raises(PermanentError):
        applied("ServiceAccount", "ns", "s", labels={}, annotations={}, data={"K": "v"})


@pytest.mark.parametrize("phase", ["Succeeded", "Failed"])
def test_finished_pods_use_nothing(phase: str):
    assert use_of("Pod", {"metadata": {"name": "p"}, "spec": {}, "status": {"phase": phase}}) is None


def test_a_pod_without_an_account_uses_the_default_one():
    use = use_of("Pod", {"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c"}]}})
    assert use is not None
    assert (use.service_account, use.secrets) == ("default", ())


TEMPLATE = {"spec": {"serviceAccountName": "a", "containers": [{"envFrom": [{"secretRef": {"name": "s"}}]}]}}


@pytest.mark.parametrize("kind", ["Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "Job", "CronJob"])
def test_what_makes_pods_uses_what_its_pods_would(kind: str):
    spec = {"replicas": 0, "template": TEMPLATE}
    body = {"metadata": {"name": "w"}, "spec": {"jobTemplate": {"spec": spec}} if kind == "CronJob" else spec}
    use = use_of(kind, body)
    assert use is not None
    assert (use.kind, use.name, use.service_account, use.secrets) == (kind, "w", "a", ("s",))
    bare = use_of(kind, {"metadata": {"name": "w"}})
    assert bare is not None
    assert (bare.service_account, bare.secrets) == ("default", ())


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        ({"conditions": [{"type": "Complete", "status": "True"}]}, False),
        ({"conditions": [{"type": "Failed", "status": "True"}]}, False),
        ({"conditions": [{"type": "Complete", "status": "False"}]}, True),
        ({"conditions": [{"type": "Suspended", "status": "True"}]}, True),
        ({}, True),
    ],
)
def test_a_job_uses_until_it_is_finished(status: dict[str, Any], expected: bool):
    body = {"metadata": {"name": "j"}, "spec": {"template": TEMPLATE}, "status": status}
    assert (use_of("Job", body) is not None) is expected


@pytest.mark.parametrize(
    ("api_version", "owner", "controller", "passed_over"),
    [
        ("apps/v1", "Deployment", True, True),
        ("extensions/v1beta1", "Deployment", True, True),
        ("apps/v1", "Deployment", False, False),
        ("apps.example/v1", "Deployment", True, False),
        ("argoproj.io/v1alpha1", "Rollout", True, False),
        ("example.com/v1", "Rollout", False, False),
        ("", "Deployment", True, False),
    ],
)
def test_a_replica_set_is_passed_over_only_as_a_deployments_past(
    api_version: str, owner: str, controller: bool, passed_over: bool
):
    reference = {"apiVersion": api_version, "kind": owner, "name": "o", "uid": "u", "controller": controller}
    body = {"metadata": {"name": "r", "ownerReferences": [reference]}, "spec": {"template": TEMPLATE}}
    assert (use_of("ReplicaSet", body) is None) is passed_over


@pytest.mark.parametrize("kind", ["Pod", "Deployment", "StatefulSet", "DaemonSet", "Job", "CronJob"])
@pytest.mark.parametrize(
    "owner", [("apps/v1", "Deployment"), ("batch/v1", "CronJob"), ("argoproj.io/v1alpha1", "Rollout")]
)
def test_no_other_kind_is_passed_over_for_its_owner(kind: str, owner: tuple[str, str]):
    reference = {"apiVersion": owner[0], "kind": owner[1], "name": "o", "uid": "u", "controller": True}
    assert use_of(kind, {"metadata": {"name": "w", "ownerReferences": [reference]}, "spec": {}}) is not None


def test_a_service_account_uses_the_secrets_that_it_lists():
    body = {"metadata": {"name": "a"}, "secrets": [{"name": "s"}, {}], "imagePullSecrets": [{"name": "r"}]}
    use = use_of("ServiceAccount", body)
    assert use is not None
    assert (use.service_account, use.secrets) == ("", ("r", "s"))
    assert use_of("ServiceAccount", {"metadata": {"name": "a"}}) is None
    assert "ServiceAccount" in USERS


@pytest.mark.parametrize(
    "volume",
    [
        {"secret": {"secretName": "s"}},
        {"azureFile": {"secretName": "s"}},
        {"csi": {"nodePublishSecretRef": {"name": "s"}}},
        {"projected": {"sources": [{"configMap": {"name": "c"}}, {"secret": {"name": "s"}}]}},
        {"flexVolume": {"secretRef": {"name": "s"}}},
    ],
)
def test_every_kind_of_volume_that_names_a_secret_counts(volume: dict[str, Any]):
    use = use_of("Pod", {"metadata": {"name": "p"}, "spec": {"volumes": [{"name": "v", **volume}]}})
    assert use is not None
    assert use.secrets == ("s",)


def test_container_of_a_kind_that_is_added_later_counts_too():
    spec = {"ephemeralContainers": [{"env": [{"valueFrom": {"secretKeyRef": {"name": "s"}}}]}]}
    use = use_of("Pod", {"metadata": {"name": "p"}, "spec": spec})
    assert use is not None
    assert use.secrets == ("s",)
