"""Vaults of a running sandbox, through the client people use."""

from __future__ import annotations

import uuid
from pathlib import Path

import pytest
from azure.core.exceptions import ClientAuthenticationError, HttpResponseError, ResourceNotFoundError

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


async def test_the_secrets_sdk_sets_lists_gets_deletes_recovers_and_purges(world: World) -> None:
    role = await _secrets_role(world)
    vault = world.contract.vault_id
    async with world.granted(role, vault), world.secrets(world.contract.vault_url) as secrets:
        first = await secrets.set_secret("password", "one", tags={"a": "b"})
        second = await secrets.set_secret("password", "two", content_type="text/plain")
        assert first.properties.vault_url == f"https://{vault.rpartition('/')[2]}.vault.azure.net"
        assert (await secrets.get_secret("password")).value == "two"
        assert (await secrets.get_secret("password", first.properties.version)).value == "one"
        assert [one.name async for one in secrets.list_properties_of_secrets()] == ["password"]
        versions = [one.version async for one in secrets.list_properties_of_secret_versions("password")]
        assert versions == [first.properties.version, second.properties.version]
        await secrets.delete_secret("password")
        with pytest.raises(ResourceNotFoundError):
            await secrets.get_secret("password")
        with pytest.raises(HttpResponseError) as kept:
            await secrets.set_secret("password", "three")
        assert kept.value.status_code == 409
        await secrets.recover_deleted_secret("password")
        assert (await secrets.get_secret("password")).value == "two"
        await secrets.delete_secret("password")
        await secrets.purge_deleted_secret("password")
        assert [one.name async for one in secrets.list_deleted_secrets()] == []


async def _secrets_role(world: World) -> str:
    """A custom role with every data action on secrets, made once."""
    subscription = f"/subscriptions/{world.contract.subscription_id}"
    guid = str(uuid.uuid5(uuid.NAMESPACE_URL, "all of secrets"))
    properties = {
        "roleName": "All of secrets",
        "type": "CustomRole",
        "assignableScopes": [subscription],
        "permissions": [{"actions": [], "dataActions": ["Microsoft.KeyVault/vaults/secrets/*"]}],
    }
    path = f"{subscription}/providers/Microsoft.Authorization/roleDefinitions/{guid}"
    await world.owner.put_resource(path, "2022-04-01", {"properties": properties})
    return guid


async def test_a_secrets_user_reads_and_may_not_write(world: World) -> None:
    vault = world.contract.vault_id
    async with world.secrets(world.contract.vault_url) as secrets:
        with pytest.raises(HttpResponseError, match="Forbidden") as refused:
            await secrets.get_secret("anything")
        assert refused.value.status_code == 403
        async with world.granted(SECRETS_USER, vault):
            with pytest.raises(ResourceNotFoundError, match="SecretNotFound"):
                await secrets.get_secret("anything")
            with pytest.raises(HttpResponseError) as read_only:
                await secrets.set_secret("anything", "1")
            assert read_only.value.status_code == 403


async def test_a_vault_in_access_policy_mode_gives_nothing_for_a_role(world: World) -> None:
    name = f"kv{uuid.uuid4().hex[:16]}"
    vault = f"{world.contract.vault_id.rpartition('/')[0]}/{name}"
    properties = {"tenantId": world.contract.tenant_id, "sku": {"family": "A", "name": "standard"}}
    async with world.secrets(f"{world.contract.dataplane_url}/vault/{name}") as secrets:
        for by_roles, status in ((False, 403), (True, 404)):
            body = {
                "location": "westeurope",
                "properties": {**properties, "enableRbacAuthorization": by_roles},
            }
            await world.owner.put_resource(vault, "2023-07-01", body)
            async with world.granted(SECRETS_USER, vault):
                with pytest.raises(HttpResponseError) as refused:
                    await secrets.get_secret("anything")
            assert refused.value.status_code == status


async def test_the_vault_challenges_and_a_vault_that_does_not_exist_is_not_found(world: World) -> None:
    async with world.http.get(f"{world.contract.vault_url}/secrets?api-version=7.6") as response:
        tenant_url = f"{world.contract.entra_url}/{world.contract.tenant_id}"
        assert response.status == 401
        assert response.headers["WWW-Authenticate"] == (
            f'Bearer authorization="{tenant_url}", resource="https://vault.azure.net"'
        )
    async with world.secrets(f"{world.contract.dataplane_url}/vault/kv-nowhere") as secrets:
        with pytest.raises((ResourceNotFoundError, ClientAuthenticationError)) as missing:
            await secrets.get_secret("anything")
        assert missing.value.status_code == 404
