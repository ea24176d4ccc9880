"""The Resource Manager emulator under the unmodified SDKs: targets, groups, locks, providers."""

from __future__ import annotations

import asyncio
import uuid
from typing import Any

import pytest
from azure.core.exceptions import ResourceExistsError, ResourceNotFoundError
from azure.mgmt.keyvault.aio import KeyVaultManagementClient
from azure.mgmt.msi.aio import ManagedServiceIdentityClient
from azure.mgmt.resource.resources.aio import ResourceManagementClient
from azure.mgmt.storage.aio import StorageManagementClient

IDENTITIES = "providers/Microsoft.ManagedIdentity/userAssignedIdentities"
LINKED = {"issuer": "https://127.0.0.1/issuer/", "subject": "s", "audiences": ["api://AzureADTokenExchange"]}


def error_of(answer: Any) -> tuple[str, str]:
    return answer["error"]["code"], answer["error"]["message"]


async def test_a_storage_account_is_made_asynchronously(cloud: Any):
    account = f"{cloud.topology.resource_group_id}/providers/Microsoft.Storage/storageAccounts/acc"
    status, headers, body = await cloud.arm("PUT", account, {"location": "eastus"}, version="2023-01-01")
    assert (status, body, headers["retry-after"]) == (202, None, "1")
    assert "/asyncoperations/" in headers["location"]
    async with cloud.client(StorageManagementClient) as client:
        poller = await client.storage_accounts.begin_create(
            cloud.group, "acd", {"location": "eastus", "sku": {"name": "Standard_LRS"}, "kind": "StorageV2"}
        )
        made = await poller.result()
        assert made.primary_endpoints.blob == f"{cloud.topology.dataplane_url}/blob/acd/"
        assert made.provisioning_state == "Succeeded"
        service = await client.blob_services.get_service_properties(cloud.group, "acd")
        assert service.id.endswith("/storageAccounts/acd/blobServices/default")
        await client.storage_accounts.delete(cloud.group, "acd")
        with pytest.raises(ResourceNotFoundError):
            await client.blob_services.get_service_properties(cloud.group, "acd")


async def test_a_deleted_vault_is_soft_deleted_and_recovered(cloud: Any):
    properties = {"tenantId": cloud.topology.tenant_id, "sku": {"family": "A", "name": "standard"}}
    wanted = {"location": "eastus", "properties": properties}
    async with cloud.client(KeyVaultManagementClient) as client:
        made = await (await client.vaults.begin_create_or_update(cloud.group, "vault", wanted)).result()
        assert made.properties.vault_uri == f"{cloud.topology.dataplane_url}/vault/vault/"
        await client.vaults.delete(cloud.group, "vault")
        with pytest.raises(ResourceNotFoundError):
            await client.vaults.get(cloud.group, "vault")
        assert (await client.vaults.get_deleted("vault", "eastus")).properties.vault_id == made.id
        path = f"{cloud.topology.resource_group_id}/providers/Microsoft.KeyVault/vaults/vault"
        assert (await cloud.arm("PUT", path, wanted))[0] == 409
        wanted["properties"] = {**properties, "createMode": "recover"}
        assert (await cloud.arm("PUT", path, wanted))[0] == 200
        await client.vaults.delete(cloud.group, "vault")
        await (await client.vaults.begin_purge_deleted("vault", "eastus")).result()
        with pytest.raises(ResourceNotFoundError):
            await client.vaults.get_deleted("vault", "eastus")


async def test_an_unwritten_resource_type_is_kept_as_posted(cloud: Any):
    resource_id = f"{cloud.topology.resource_group_id}/providers/Contoso.Things/boxes/box"
    async with cloud.client(ResourceManagementClient) as client:
        assert not await client.resources.check_existence_by_id(resource_id, api_version="2024-01-01")
        poller = await client.resources.begin_create_or_update_by_id(
            resource_id,
            parameters={"location": "eastus", "properties": {"size": 3}},
            api_version="2024-01-01",
        )
        assert (await poller.result()).properties["size"] == 3
        assert await client.resources.check_existence_by_id(resource_id.upper(), api_version="2024-01-01")
        names = [one.name async for one in client.resources.list_by_resource_group(cloud.group)]
        assert "box" in names
        await (await client.resources.begin_delete_by_id(resource_id, api_version="2024-01-01")).result()
        with pytest.raises(ResourceNotFoundError):
            await client.resources.get_by_id(resource_id, api_version="2024-01-01")


async def test_deleting_a_group_takes_everything_in_it_along(cloud: Any):
    async with cloud.client(ResourceManagementClient) as client:
        await client.resource_groups.create_or_update("other", {"location": "eastus"})
        assert await client.resource_groups.check_existence("OTHER")
        path = f"/subscriptions/{cloud.topology.subscription_id}/resourceGroups/other"
        await cloud.arm("PUT", f"{path}/{IDENTITIES}/one", {"location": "eastus"})
        status, headers, _ = await cloud.arm("DELETE", path, version="2025-04-01")
        assert (status, headers["retry-after"]) == (202, "1")
        assert "/operationresults/" in headers["location"]
        assert (await cloud.arm("PUT", f"{path}/{IDENTITIES}/two", {"location": "eastus"}))[0] == 409
        await asyncio.sleep(0.3)
        assert (await cloud.arm("GET", headers["location"]))[0] == 200
        assert not await client.resource_groups.check_existence("other")
        with pytest.raises(ResourceNotFoundError):
            await (await client.resource_groups.begin_delete("other")).result()
    events = await cloud.control("GET", "/sandbox/events")
    deleted = [
        one["subject"] for one in events if one["eventType"] == "Microsoft.Resources.ResourceDeleteSuccess"
    ]
    assert deleted == [path.replace("resourceGroups", "resourcegroups") + f"/{IDENTITIES}/one", path]


async def test_locks_refuse_writes_and_deletes_at_and_below_their_scope(cloud: Any):
    group = cloud.topology.resource_group_id
    lock = f"{group}/providers/Microsoft.Authorization/locks/keep"
    identity = f"{group}/{IDENTITIES}/id-mooring"
    await cloud.arm("PUT", lock, {"properties": {"level": "CanNotDelete"}}, version="2020-05-01")
    async with cloud.client(ManagedServiceIdentityClient) as client:
        with pytest.raises(ResourceExistsError) as refused:
            await client.user_assigned_identities.delete(cloud.group, "id-mooring")
    assert refused.value.error.code == "ScopeLocked"
    assert f"following scope(s) are locked: '{group}'" in refused.value.error.message
    assert (await cloud.arm("DELETE", group))[0] == 409
    assert (await cloud.arm("PUT", identity, {"location": "eastus"}))[0] == 200
    await cloud.arm("PUT", lock, {"properties": {"level": "ReadOnly"}}, version="2020-05-01")
    assert (await cloud.arm("PUT", identity, {"location": "eastus"}))[0] == 409
    assert (await cloud.arm("DELETE", lock, version="2020-05-01"))[0] == 200
    assert (await cloud.arm("PUT", identity, {"location": "eastus"}))[0] == 200
    failures = [one for one in await cloud.control("GET", "/sandbox/events") if "Failure" in one["eventType"]]
    assert "Microsoft.Resources.ResourceDeleteFailure" in {one["eventType"] for one in failures}


async def test_requests_without_token_version_or_tokens_left_are_refused(cloud: Any):
    group = cloud.topology.resource_group_id
    status, headers, answer = await cloud.arm("GET", group, token="")
    assert (status, error_of(answer)[0]) == (401, "AuthenticationFailed")
    assert headers["www-authenticate"].startswith("Bearer ")
    storage = await cloud.token("https://storage.azure.com/.default")
    assert (await cloud.arm("GET", group, token=storage))[0] == 401
    async with cloud.session.get(
        cloud.topology.arm_url + group, headers={"Authorization": f"Bearer {await cloud.token()}"}
    ) as bare:
        assert (bare.status, (await bare.json())["error"]["code"]) == (400, "MissingApiVersionParameter")
    await cloud.control("PUT", "/sandbox/throttle", {"scale": 0.01, "providers": False})
    answers = [await cloud.arm("DELETE", f"{group}/{IDENTITIES}/{uuid.uuid4()}") for _ in range(4)]
    assert [one[0] for one in answers][:2] == [204, 204]
    status, headers, answer = answers[-1]
    assert (status, error_of(answer)[0], headers["retry-after"]) == (
        429,
        "SubscriptionRequestsThrottled",
        "1",
    )


async def test_a_restarted_emulator_keeps_the_world(cloud: Any):
    from sandbox.arm.application import WORLD, make_app

    async with cloud.client(ManagedServiceIdentityClient) as client:
        made = await client.user_assigned_identities.create_or_update(
            cloud.group, "one", {"location": "eastus"}
        )
    await asyncio.sleep(0.4)
    world = make_app(cloud.topology)[WORLD]
    assert world.store.get(made.id)["properties"]["principalId"] == made.principal_id
    assert world.directory.describe(made.client_id)["resourceId"] == made.id


async def test_the_recorded_profile_delays_calls_and_restores_azures_retry_after(cloud: Any):
    await cloud.control("PUT", "/sandbox/latency-profile", {"profile": "recorded-p50"})
    rules = await cloud.control("GET", "/sandbox/latency")
    assert any(rule["seconds"] == 1.851 for rule in rules)
    loop = asyncio.get_running_loop()
    begun = loop.time()
    await cloud.arm("GET", f"{cloud.topology.resource_group_id}/{IDENTITIES}/id-mooring")
    assert 0.389 <= loop.time() - begun < 1.5
    await cloud.control("PUT", "/sandbox/latency-profile", {"profile": "none"})
    assert await cloud.control("GET", "/sandbox/latency") == []


async def test_a_provider_is_unregistered_and_registered_again(cloud: Any):
    # Bare requests: the SDK's pipeline would register what its caller may register.
    subscription = f"/subscriptions/{cloud.topology.subscription_id}"
    provider = f"{subscription}/providers/Microsoft.ManagedIdentity"
    path = f"{subscription}/resourceGroups/{cloud.group}/{IDENTITIES}/unregistered"

    async def state(verb: str = "") -> str:
        method = "POST" if verb else "GET"
        status, _, body = await cloud.arm(method, f"{provider}{verb}", version="2021-04-01")
        assert status == 200
        return str(body["registrationState"])

    assert await state() == "Registered"
    assert await state("/unregister") == "NotRegistered"
    status, _, answer = await cloud.arm("PUT", path, {"location": "eastus"})
    assert (status, error_of(answer)[0]) == (409, "MissingSubscriptionRegistration")
    assert "Microsoft.ManagedIdentity" in error_of(answer)[1]
    assert await state("/register") == await state() == "Registered"
    status, _, _ = await cloud.arm("PUT", path, {"location": "eastus"})
    assert status == 201
    await cloud.arm("DELETE", path)
