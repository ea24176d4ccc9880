"""The demo sends what a reader would send: the files of ``examples/`` with other ids."""

from __future__ import annotations

import copy
import json

from sandbox.demo import examples
from shared import manifest, requests

GUID = "11111111-2222-3333-4444-555555555555"
GROUP = f"/subscriptions/{GUID}/resourceGroups/rg-shop/providers"
CLUSTER = f"{GROUP}/Microsoft.ContainerService/managedClusters/aks-shop"
ACCOUNT = f"{GROUP}/Microsoft.Storage/storageAccounts/stshop"
VAULT = f"{GROUP}/Microsoft.KeyVault/vaults/kv-shop"
SNIPPET = manifest.pod_snippet(service_account="sc-account-1", settings="sc-blob-secret", namespace="orders")


def test_a_filled_create_request_is_one_that_mooring_takes() -> None:
    request = examples.create_request("r-1", cluster_id=CLUSTER, target_id=ACCOUNT)
    decoded = requests.decode(json.dumps(request))
    assert isinstance(decoded, requests.CreateRequest)
    assert decoded.request_id == "r-1"
    assert decoded.connection.cluster_id == CLUSTER
    assert (decoded.connection.target.type, decoded.connection.target.id) == ("storage-blob", ACCOUNT)


def test_changes_of_a_request_go_where_they_belong() -> None:
    request = examples.create_request(
        "r-2", cluster_id=CLUSTER, target_id=VAULT, target_type="keyvault", name="vault", workload="blob"
    )
    connection = request["connection"]
    assert connection["target"] == {"type": "keyvault", "id": VAULT}
    assert (connection["name"], connection["workload"]) == ("vault", "blob")
    assert "target_type" not in connection


def test_a_filled_delete_request_names_the_connection_that_the_create_request_made() -> None:
    made = requests.decode(json.dumps(examples.create_request("r-3", cluster_id=CLUSTER, target_id=ACCOUNT)))
    gone = requests.decode(json.dumps(examples.delete_request("r-4", cluster_id=CLUSTER)))
    assert isinstance(gone, requests.DeleteRequest)
    assert requests.connection_id_of(gone) == requests.connection_id_of(made)


def test_a_filled_pod_has_the_manifests_names_and_keeps_its_program() -> None:
    example = examples.example_pod()
    before = copy.deepcopy(example)
    pod = examples.filled_pod(example, SNIPPET, name="counting")
    assert pod["metadata"]["name"] == "counting"
    assert pod["metadata"]["namespace"] == "orders"
    assert pod["metadata"]["labels"]["azure.workload.identity/use"] == "true"
    assert pod["spec"]["serviceAccountName"] == "sc-account-1"
    (container,) = pod["spec"]["containers"]
    assert container["envFrom"] == [{"secretRef": {"name": "sc-blob-secret"}}]
    assert container["command"] == before["spec"]["containers"][0]["command"]
    assert example == before, "the example itself stays as it is"


def test_no_placeholder_is_left_in_a_filled_pod_but_the_images() -> None:
    pod = examples.filled_pod(examples.example_pod(), SNIPPET, name="counting")
    del pod["spec"]["containers"][0]["image"]
    assert "PUT-" not in str(pod)
