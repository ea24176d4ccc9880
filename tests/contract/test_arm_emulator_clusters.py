"""Clusters, linkers and the Service Connector behind them."""

from __future__ import annotations

import asyncio
import base64
import json
from typing import Any

import pytest
from aiohttp import web
from azure.core.exceptions import ResourceNotFoundError
from azure.mgmt.containerservice.aio import ContainerServiceClient
from azure.mgmt.resource.resources.aio import ResourceManagementClient

from tests.contract.arm_clusters import CLUSTER, LINKER_VERSION, kubernetes, linker, make_cluster


class AppRunning:
    """An application started without a port."""

    def __init__(self, app: web.Application) -> None:
        self._runner = web.AppRunner(app)

    async def __aenter__(self) -> None:
        await self._runner.setup()

    async def __aexit__(self, *error: object) -> None:
        await self._runner.cleanup()


async def test_a_cluster_is_created_and_deleted_asynchronously(cloud: Any):
    status, headers, body = await cloud.arm("PUT", cloud.topology.cluster_id, CLUSTER, version="2025-10-01")
    assert (status, body["properties"]["provisioningState"]) == (201, "Creating")
    assert (
        "/providers/Microsoft.ContainerService/locations/eastus/operations/"
        in headers["azure-asyncoperation"]
    )
    assert "retry-after" not in headers
    status, _, answer = await cloud.arm("DELETE", cloud.topology.cluster_id, version="2025-10-01")
    assert (status, answer["code"]) == (409, "OperationNotAllowed")
    await asyncio.sleep(0.3)
    async with cloud.client(ContainerServiceClient) as client:
        cluster = await client.managed_clusters.get(cloud.group, cloud.topology.cluster_name)
        assert "/resourcegroups/" in cluster.id
        issuer = cluster.oidc_issuer_profile.issuer_url
        assert issuer.startswith(f"{cloud.topology.kubernetes_url}/issuers/{cloud.topology.tenant_id}/")
        assert issuer.endswith("/")
        assert cluster.identity_profile["kubeletidentity"].client_id
        assert (cluster.provisioning_state, cluster.power_state.code) == ("Succeeded", "Running")
        await (await client.managed_clusters.begin_delete(cloud.group, cloud.topology.cluster_name)).result()
        with pytest.raises(ResourceNotFoundError):
            await client.managed_clusters.get(cloud.group, cloud.topology.cluster_name)
    assert (await make_cluster(cloud)).oidc_issuer_profile.issuer_url != issuer


async def test_a_restarted_emulator_finishes_what_it_had_begun(cloud: Any):
    from sandbox.arm.application import WORLD, make_app

    await cloud.control("PUT", "/sandbox/operation-seconds", {"cluster-put": 60})
    assert (await cloud.arm("PUT", cloud.topology.cluster_id, CLUSTER, version="2025-10-01"))[0] == 201
    await asyncio.sleep(0.4)
    app = make_app(cloud.topology)
    async with AppRunning(app):
        await asyncio.sleep(0.2)
        found = app[WORLD].store.get(cloud.topology.cluster_id)
        assert found is not None
        assert found["properties"]["provisioningState"] == "Succeeded"


async def test_a_condition_on_a_clusters_etag_is_held(cloud: Any):
    await make_cluster(cloud)
    url = f"{cloud.topology.arm_url}{cloud.topology.cluster_id}?api-version=2025-10-01"
    headers = {"Authorization": f"Bearer {await cloud.token()}", "If-Match": '"another"'}
    async with cloud.session.put(url, json=CLUSTER, headers=headers) as answer:
        assert (answer.status, (await answer.json())["code"]) == (412, "PreconditionFailed")


async def test_kubeconfigs_name_the_server_and_its_authority(cloud: Any):
    await make_cluster(cloud)
    async with cloud.client(ContainerServiceClient) as client:
        name = cloud.topology.cluster_name
        user = await client.managed_clusters.list_cluster_user_credentials(cloud.group, name)
        admin = await client.managed_clusters.list_cluster_admin_credentials(cloud.group, name)
    shown = [json.loads(bytes(one.kubeconfigs[0].value)) for one in (user, admin)]
    for config in shown:
        cluster = config["clusters"][0]["cluster"]
        assert cluster["server"] == f"{cloud.topology.kubernetes_url}/clusters/{name}"
        assert b"BEGIN CERTIFICATE" in base64.b64decode(cluster["certificate-authority-data"])
    assert shown[0]["users"][0]["user"]["exec"]["command"] == "kubelogin"
    assert shown[1]["users"][0]["user"]["token"] == cloud.topology.kubernetes_admin_token


async def test_a_cluster_without_entra_says_so_and_hands_out_a_credential_until_it_is_switched_on(cloud: Any):
    properties = {name: value for name, value in CLUSTER["properties"].items() if name != "aadProfile"}
    async with cloud.client(ContainerServiceClient) as client:
        clusters, place = client.managed_clusters, (cloud.group, cloud.topology.cluster_name)
        poller = await clusters.begin_create_or_update(*place, {**CLUSTER, "properties": properties})
        assert (await poller.result()).aad_profile is None
        found = await clusters.list_cluster_user_credentials(*place, format="exec")
        user = json.loads(bytes(found.kubeconfigs[0].value))["users"][0]["user"]
        assert user == {"token": cloud.topology.kubernetes_admin_token}
        made = await make_cluster(cloud)
        assert (made.aad_profile.managed, made.aad_profile.tenant_id) == (True, cloud.topology.tenant_id)
        found = await clusters.list_cluster_user_credentials(*place, format="exec")
        assert list(json.loads(bytes(found.kubeconfigs[0].value))["users"][0]["user"]) == ["exec"]


async def test_service_connector_leaves_its_kubernetes_objects_behind(cloud: Any):
    linker_id, body = await linker(cloud)
    account = body["properties"]["targetService"]["id"].removesuffix("/blobServices/default")
    secret, service_account = (
        "secrets/sc-myconn-secret",
        f"serviceaccounts/sc-account-{cloud.topology.app_client_id}",
    )
    async with cloud.client(ResourceManagementClient) as client:
        poller = await client.resources.begin_create_or_update_by_id(
            linker_id, parameters=body, api_version=LINKER_VERSION
        )
        made = await poller.result()
        assert (made.type, made.properties["provisioningState"]) == (
            "microsoft.servicelinker/linkers",
            "Succeeded",
        )
        status, found = await kubernetes(cloud, secret)
        assert status == 200
        values = {key: base64.b64decode(value).decode() for key, value in found["data"].items()}
        assert values == {
            "AZURE_STORAGEBLOB_RESOURCEENDPOINT": f"{cloud.topology.dataplane_url}/blob/acc/",
            "AZURE_STORAGEBLOB_CLIENTID": cloud.topology.app_client_id,
        }
        status, found = await kubernetes(cloud, service_account)
        assert (
            found["metadata"]["annotations"]["azure.workload.identity/client-id"]
            == cloud.topology.app_client_id
        )
        identity = await cloud.control("GET", f"/sandbox/principals/{cloud.topology.app_client_id}")
        subject = f"system:serviceaccount:default:sc-account-{cloud.topology.app_client_id}"
        assert [one["subject"] for one in identity["credentials"]] == [subject]
        roles = f"{account}/providers/Microsoft.Authorization/roleAssignments"
        mine = f"{roles}?$filter=principalId eq '{cloud.topology.app_principal_id}'"
        assert len((await cloud.arm("GET", mine, version="2022-04-01"))[2]["value"]) == 1
        poller = await client.resources.begin_delete_by_id(linker_id, api_version=LINKER_VERSION)
        await poller.result()
        with pytest.raises(ResourceNotFoundError):
            await client.resources.get_by_id(linker_id, api_version=LINKER_VERSION)
    identity = await cloud.control("GET", f"/sandbox/principals/{cloud.topology.app_client_id}")
    assert identity["credentials"] == []
    assert (await cloud.arm("GET", mine, version="2022-04-01"))[2]["value"] == []
    assert (await kubernetes(cloud, secret))[0] == 200
    assert (await kubernetes(cloud, service_account))[0] == 200


async def test_validation_does_not_look_into_the_cluster(cloud: Any):
    linker_id, body = await linker(cloud)
    await cloud.finished(linker_id, body, version=LINKER_VERSION)
    _, _, listed = await cloud.arm("POST", f"{linker_id}/listConfigurations", version=LINKER_VERSION)
    assert [one["name"] for one in listed["configurations"]][1] == "AZURE_STORAGEBLOB_CLIENTID"
    status, headers, answer = await cloud.arm("POST", f"{linker_id}/validateLinker", version=LINKER_VERSION)
    assert (status, answer) == (202, None)
    assert (
        f"/locations/{cloud.topology.location.upper()}/operationStatuses/" in headers["azure-asyncoperation"]
    )
    assert "/operationStatuses/" in headers["location"]
    assert "retry-after" not in headers
    report = await cloud.finished(f"{linker_id}/validateLinker", None, version=LINKER_VERSION, method="POST")
    assert report["status"] == "Succeeded"
    assert [one["result"] for one in report["properties"]["validationDetail"]] == ["success"] * 5


async def test_a_linker_to_a_missing_target_fails_and_leaves_nothing(cloud: Any):
    linker_id, body = await linker(cloud)
    body["properties"]["targetService"]["id"] = body["properties"]["targetService"]["id"].replace(
        "/acc/", "/gone/"
    )
    operation = await cloud.finished(linker_id, body, version=LINKER_VERSION)
    assert (operation["status"], operation["error"]["code"]) == ("Failed", "ResourceNotFound")
    assert (await kubernetes(cloud, "secrets/sc-myconn-secret"))[0] == 404
