"""The Resource Manager emulator under the unmodified SDKs: identities and their credentials."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from azure.core.exceptions import ResourceNotFoundError
from azure.identity import ClientSecretCredential
from azure.mgmt.msi import ManagedServiceIdentityClient as SyncIdentityClient
from azure.mgmt.msi.aio import ManagedServiceIdentityClient

IDENTITIES = "providers/Microsoft.ManagedIdentity/userAssignedIdentities"
LINKED = {"issuer": "https://127.0.0.1/issuer/", "subject": "s", "audiences": ["api://AzureADTokenExchange"]}


def error_of(answer: Any) -> tuple[str, str]:
    return answer["error"]["code"], answer["error"]["message"]


async def test_an_identity_is_made_kept_and_deleted(cloud: Any):
    async with cloud.client(ManagedServiceIdentityClient) as client:
        identities = client.user_assigned_identities
        made = await identities.create_or_update(
            cloud.group, "one", {"location": "eastus", "tags": {"a": "b"}}
        )
        again = await identities.create_or_update(cloud.group, "one", {"location": "eastus"})
        assert (made.client_id, made.principal_id) == (again.client_id, again.principal_id)
        assert made.tags == {"a": "b"}
        assert "/resourcegroups/" in made.id
        assert [one.name async for one in identities.list_by_resource_group(cloud.group)] == [
            "id-mooring",
            "one",
        ]
        await identities.delete(cloud.group, "ONE")
        await identities.delete(cloud.group, "one")
        with pytest.raises(ResourceNotFoundError) as refused:
            await identities.get(cloud.group, "one")
        assert refused.value.error.code == "ResourceNotFound"
        fresh = await identities.create_or_update(cloud.group, "one", {"location": "eastus"})
        assert fresh.principal_id != made.principal_id


async def test_the_synchronous_client_works_too(cloud: Any):
    topology = cloud.topology

    def read() -> str:
        credential = ClientSecretCredential(
            topology.tenant_id,
            topology.owner_client_id,
            topology.owner_client_secret,
            authority=topology.entra_url,
            disable_instance_discovery=True,
            **cloud.tls,
        )
        with (
            credential,
            SyncIdentityClient(
                credential, topology.subscription_id, base_url=topology.arm_url, **cloud.tls
            ) as client,
        ):
            return str(
                client.user_assigned_identities.get(topology.resource_group, "id-mooring").principal_id
            )

    assert await asyncio.to_thread(read) == topology.app_principal_id


async def test_status_codes_and_headers_of_identity_and_credential(cloud: Any):
    base = f"/subscriptions/{cloud.topology.subscription_id}/resourceGroups/{cloud.group}/{IDENTITIES}/one"
    status, headers, body = await cloud.arm("PUT", base, {"location": "eastus", "name": "ignored"})
    assert (status, headers["location"]) == (201, body["id"])
    assert body["id"].startswith(f"/subscriptions/{cloud.topology.subscription_id}/resourcegroups/")
    for name in (
        "x-ms-request-id",
        "x-ms-correlation-request-id",
        "x-ms-ratelimit-remaining-subscription-writes",
    ):
        assert headers[name]
    assert int(headers["x-ms-ratelimit-remaining-subscription-global-writes"]) == 2999
    status, headers, _ = await cloud.arm("PUT", base, {"location": "eastus"})
    assert (status, "location" in headers) == (200, False)
    credential = f"{base}/federatedIdentityCredentials/abc"
    assert (await cloud.arm("PUT", credential, {"properties": LINKED}))[0] == 201
    assert (await cloud.arm("PUT", credential, {"properties": LINKED}))[0] == 200
    status, _, answer = await cloud.arm("DELETE", credential)
    assert (status, answer) == (200, None)
    assert (await cloud.arm("DELETE", credential))[0] == 204
    status, headers, answer = await cloud.arm("GET", credential)
    assert status == 404
    assert "x-ms-failure-cause" not in headers
    assert error_of(answer)[0] == "NotFound"
    assert error_of(answer)[1].endswith("/federatedIdentityCredentials/abc' was not found.")
    assert (await cloud.arm("DELETE", base))[0] == 200
    assert (await cloud.arm("DELETE", base))[0] == 204
    status, headers, answer = await cloud.arm("GET", credential)
    assert (status, error_of(answer)[0], headers["x-ms-failure-cause"]) == (
        404,
        "ParentResourceNotFound",
        "gateway",
    )
    status, _, answer = await cloud.arm("DELETE", base.replace(cloud.group, "nowhere"))
    assert (status, error_of(answer)) == (
        404,
        ("ResourceGroupNotFound", "Resource group 'nowhere' could not be found."),
    )


async def test_credentials_are_refused_as_azure_refuses_them(cloud: Any):
    base = f"{cloud.topology.resource_group_id}/{IDENTITIES}/id-mooring/federatedIdentityCredentials"
    assert (await cloud.arm("PUT", f"{base}/abc", {"properties": LINKED}))[0] == 201
    for name, properties, words in (
        ("abd", LINKED, "Issuer and subject combination already exists for this Managed Identity."),
        ("abd", {**LINKED, "audiences": ["a", "b"]}, "exactly one audience"),
        ("abd", {**LINKED, "subject": ""}, "empty properties"),
        ("-a", LINKED, "is invalid"),
    ):
        status, _, answer = await cloud.arm("PUT", f"{base}/{name}", {"properties": properties})
        assert status == 400
        assert words in error_of(answer)[1]


async def test_the_twenty_first_credential_is_refused(cloud: Any):
    await cloud.control("PUT", "/sandbox/throttle", {"enabled": False})
    base = f"{cloud.topology.resource_group_id}/{IDENTITIES}/id-mooring/federatedIdentityCredentials"
    answers = [
        (await cloud.arm("PUT", f"{base}/cred-{n}", {"properties": {**LINKED, "subject": str(n)}}))[0]
        for n in range(21)
    ]
    assert answers == [201] * 20 + [400]
    _, _, page = await cloud.arm("GET", f"{base}?$top=15")
    assert len(page["value"]) == 15
    status, _, rest = await cloud.arm("GET", page["nextLink"])
    assert (status, len(rest["value"])) == (200, 5)


async def test_overlapping_credential_writes_on_one_identity_conflict(cloud: Any):
    await cloud.control(
        "PUT", "/sandbox/latency", [{"method": "PUT", "path": "federatedIdentityCredentials", "seconds": 0.3}]
    )
    base = f"{cloud.topology.resource_group_id}/{IDENTITIES}/id-mooring/federatedIdentityCredentials"

    async def write(name: str, after_seconds: float) -> tuple[int, dict[str, str], Any]:
        await asyncio.sleep(after_seconds)
        return await cloud.arm("PUT", f"{base}/{name}", {"properties": {**LINKED, "subject": name}})

    first, second = await asyncio.gather(write("abc", 0), write("abd", 0.15))
    assert (first[0], second[0]) == (201, 409)
    code, message = error_of(second[2])
    assert code == "ConcurrentFederatedIdentityCredentialsWritesForSingleManagedIdentity"
    assert f"'{cloud.topology.resource_group_id.lower()}" in message
    assert "retry-after" not in second[1]
    assert (await write("abd", 0))[0] == 201
