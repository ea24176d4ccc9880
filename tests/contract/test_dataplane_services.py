"""Blob accounts and pods of a running sandbox, through the clients people use."""

from __future__ import annotations

import asyncio
import base64
import json
import re
from pathlib import Path

import pytest
from azure.core.exceptions import HttpResponseError, ResourceNotFoundError

from sandbox.control import change_rules
from sandbox.node import Cluster, PodResult
from sandbox.owner import RefusedError
from sandbox.pod import run_pod
from sandbox.pod_spec import PodRefusedError
from tests.contract.dataplane_world import World

REPOSITORY = Path(__file__).parents[2]
BLOB_CONTRIBUTOR = "ba92f5b4-2d11-453d-a403-e96b0029c9fe"
BLOB_READER = "2a2b9908-6ea1-4ae2-8e65-a410df84e7d1"
SECRETS_USER = "4633458b-17de-408a-b874-0445c86b69e6"

PROGRAM = """
import os
from azure.identity import DefaultAzureCredential
from azure.storage.blob import BlobServiceClient
endpoint = os.environ["AZURE_STORAGEBLOB_RESOURCEENDPOINT"]
client = BlobServiceClient(endpoint, credential=DefaultAzureCredential())
print("Find", len(list(client.list_containers())), "containers")
"""


async def test_the_blob_sdk_makes_lists_uploads_downloads_and_deletes(world: World) -> None:
    account = await world.make_account()
    async with world.granted(BLOB_CONTRIBUTOR, account), world.blobs(account) as blobs:
        assert [one.name async for one in blobs.list_containers()] == []
        container = await blobs.create_container("files")
        assert [one.name async for one in blobs.list_containers()] == ["files"]
        content = bytes(range(256)) * 4096
        await container.upload_blob("folder/ä b?.bin", content, metadata={"k": "v"})
        assert [one.name async for one in container.list_blobs()] == ["folder/ä b?.bin"]
        blob = container.get_blob_client("folder/ä b?.bin")
        assert (await blob.get_blob_properties()).metadata == {"k": "v"}
        assert await (await blob.download_blob()).readall() == content
        assert await (await blob.download_blob(offset=255, length=2)).readall() == b"\xff\x00"
        await blob.delete_blob()
        with pytest.raises(ResourceNotFoundError):
            await blob.get_blob_properties()
        await container.delete_container()


async def test_a_container_of_the_blob_service_is_a_resource(world: World) -> None:
    account = await world.make_account()
    files, more = (f"{account}/blobServices/default/containers/{name}" for name in ("files", "more"))
    with pytest.raises(RefusedError, match=r"404.*ContainerNotFound"):
        await world.owner.get_resource(files, "2023-05-01")
    async with world.granted(BLOB_CONTRIBUTOR, account), world.blobs(account) as blobs:
        await blobs.create_container("files")
        await blobs.create_container("more")
        assert (await world.owner.get_resource(files, "2023-05-01"))["id"] == files
        await blobs.delete_container("files")
        with pytest.raises(RefusedError, match=r"404.*ContainerNotFound"):
            await world.owner.get_resource(files, "2023-05-01")
        await world.owner.delete_resource(more, "2023-05-01")
        assert [one.name async for one in blobs.list_containers()] == []


async def test_without_a_data_role_refused_and_a_grant_and_a_revocation_show_at_once(
    world: World,
) -> None:
    account = await world.make_account()
    async with world.blobs(account) as blobs:
        container = await blobs.create_container("files")
        for _ in range(2):
            with pytest.raises(HttpResponseError) as refused:
                await container.upload_blob("one", b"1", overwrite=True)
            assert (refused.value.status_code, refused.value.error_code) == (
                403,
                "AuthorizationPermissionMismatch",
            )
            async with world.granted(BLOB_CONTRIBUTOR, account):
                await container.upload_blob("one", b"1", overwrite=True)


async def test_a_role_on_one_container_opens_that_container_only(world: World) -> None:
    account = await world.make_account()
    async with world.blobs(account) as blobs:
        mine, other = await blobs.create_container("mine"), await blobs.create_container("other")
        async with world.granted(BLOB_READER, f"{account}/blobServices/default/containers/mine"):
            assert [one.name async for one in mine.list_blobs()] == []
            with pytest.raises(HttpResponseError, match="AuthorizationPermissionMismatch"):
                await mine.upload_blob("one", b"1")
            with pytest.raises(HttpResponseError, match="AuthorizationPermissionMismatch"):
                assert [one async for one in other.list_blobs()]


async def test_service_endpoints_in_answers_are_the_accounts_own(world: World) -> None:
    account = await world.make_account()
    token = await world.owner.token("https://storage.azure.com/.default")
    url = f"{world.contract.dataplane_url}/blob/{account.rpartition('/')[2]}"
    headers = {"Authorization": f"Bearer {token}", "x-ms-version": "2025-11-05"}
    async with world.http.get(f"{url}/?comp=list", headers=headers) as response:
        assert f'ServiceEndpoint="{url}' in await response.text()


@pytest.mark.parametrize(
    ("authorization", "code"),
    [
        ("", "NoAuthenticationInformation"),
        ("Bearer abc", "InvalidAuthenticationInfo"),
        ("SharedKey a:b", "InvalidAuthenticationInfo"),
        ("a token for Resource Manager", "InvalidAuthenticationInfo"),
    ],
)
async def test_a_request_without_a_believable_token_is_challenged(
    world: World, authorization: str, code: str
) -> None:
    if authorization == "a token for Resource Manager":
        authorization = f"Bearer {await world.owner.token('https://management.azure.com/.default')}"
    headers = {"Authorization": authorization} if authorization else {}
    async with world.http.get(
        f"{world.contract.storage_account_url}/?comp=list", headers=headers
    ) as response:
        assert (response.status, response.headers["x-ms-error-code"]) == (401, code)
        assert f"authorization_uri={world.contract.entra_url}" in response.headers["WWW-Authenticate"]


async def test_an_account_is_gone_with_its_resource_and_empty_when_made_again(world: World) -> None:
    account = await world.make_account()
    async with world.blobs(account) as blobs:
        await blobs.create_container("files")
        await world.owner.delete_resource(account, "2023-05-01")
        with pytest.raises(ResourceNotFoundError):
            await blobs.create_container("more")
        body = {"location": "westeurope", "kind": "StorageV2", "sku": {"name": "Standard_LRS"}}
        await world.owner.put_resource(account, "2023-05-01", body)
        assert [one.name async for one in blobs.list_containers()] == []


async def test_deletions_and_linker_writes_reach_the_apps_queue_and_other_writes_do_not(world: World) -> None:
    account = await world.make_account()
    await world.owner.delete_resource(account, "2023-05-01")
    token = await world.owner.token("https://storage.azure.com/.default")
    headers = {"Authorization": f"Bearer {token}", "x-ms-version": "2025-11-05"}
    url = f"{world.contract.queue_url}/resource-events/messages?peekonly=true&numofmessages=32"
    about: list[str] = []
    for _ in range(100):
        async with world.http.get(url, headers=headers) as response:
            texts = re.findall(r"<MessageText>(.*?)</MessageText>", await response.text())
        events = [json.loads(base64.b64decode(text)) for text in texts]
        about = [event["eventType"] for event in events if event["subject"].lower() == account.lower()]
        if about:
            break
        await asyncio.sleep(0.05)
    assert about == ["Microsoft.Resources.ResourceDeleteSuccess"]


async def test_the_journal_names_the_caller(world: World) -> None:
    async with world.blobs(world.contract.storage_account_id) as blobs:
        assert [one async for one in blobs.list_containers()] == []
    async with world.http.get(f"{world.contract.dataplane_url}/sandbox/calls") as response:
        calls = await response.json()
    assert calls[-1]["caller"] == world.contract.owner_principal_id


async def test_a_fault_from_the_command_line_meets_the_next_request(world: World) -> None:
    table = f"{world.contract.dataplane_url}/sandbox/faults"
    await change_rules(table, world.contract.ca_file, {"path": "comp=list", "status": 503, "times": 1})
    async with world.blobs(world.contract.storage_account_id) as blobs:
        with pytest.raises(HttpResponseError) as failed:
            assert [one async for one in blobs.list_containers()]
        assert failed.value.status_code == 503
        assert [one async for one in blobs.list_containers()] == []
    assert await change_rules(table, world.contract.ca_file, None) == []


async def test_a_pod_gets_in_with_its_projected_token_and_not_without_the_role(
    world: World, tmp_path: Path
) -> None:
    contract = world.contract
    identities = (
        f"/subscriptions/{contract.subscription_id}/resourceGroups/{contract.identity_resource_group}"
        "/providers/Microsoft.ManagedIdentity/userAssignedIdentities"
    )
    identity = await world.owner.put_resource(f"{identities}/shop", "2024-11-30", {"location": "westeurope"})
    cluster = await world.owner.get_resource(contract.cluster_id, "2025-10-01")
    client_id = identity["properties"]["clientId"]
    account = f"sc-account-{client_id}"
    await world.owner.put_resource(
        f"{identities}/shop/federatedIdentityCredentials/orders",
        "2024-11-30",
        {
            "properties": {
                "issuer": cluster["properties"]["oidcIssuerProfile"]["issuerURL"],
                "subject": f"system:serviceaccount:orders:{account}",
                "audiences": ["api://AzureADTokenExchange"],
            },
        },
    )
    manifest = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": "shop",
            "namespace": "orders",
            "labels": {"azure.workload.identity/use": "true"},
        },
        "spec": {
            "serviceAccountName": account,
            "containers": [
                {
                    "name": "shop",
                    "image": "shop:1",
                    "envFrom": [{"secretRef": {"name": "sc-shop-secret"}}],
                },
            ],
        },
    }
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    images = {"shop:1": ["python", str(program)]}
    api = Cluster(contract, world.http)

    with pytest.raises(PodRefusedError, match="not found"):
        await run_pod(contract, manifest, images=images, once=True)
    annotations = {"azure.workload.identity/client-id": client_id}
    metadata = {"name": account, "annotations": annotations}
    await api.call("POST", "orders/serviceaccounts", {"kind": "ServiceAccount", "metadata": metadata})

    without_secret = await run_pod(contract, manifest, images=images, once=True)
    assert (without_secret.exit_code, "sc-shop-secret" in without_secret.output) == (128, True)
    endpoint = base64.b64encode(f"{contract.storage_account_url}/".encode()).decode()
    data = {"AZURE_STORAGEBLOB_RESOURCEENDPOINT": endpoint}
    secret = {"kind": "Secret", "metadata": {"name": "sc-shop-secret"}, "data": data}
    await api.call("POST", "orders/secrets", secret)

    refused = await run_pod(contract, manifest, images=images, once=True)
    assert refused.exit_code == 1
    assert "AuthorizationPermissionMismatch" in refused.output
    await world.assign(BLOB_READER, contract.storage_account_id, identity["properties"]["principalId"])
    assert await run_pod(contract, manifest, images=images) == PodResult(0, "Find 0 containers\n")
    _, pod = await api.call("GET", "orders/pods/shop")
    assert pod["status"]["phase"] == "Succeeded"
