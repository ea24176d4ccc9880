"""The Entra emulator serves azure-identity's own classes and refuses in Entra's own words."""

from __future__ import annotations

import asyncio
import time
import uuid
from pathlib import Path
from typing import Any

import jwt
import pytest
from azure.core.exceptions import ClientAuthenticationError
from azure.identity import ClientSecretCredential as SyncClientSecretCredential
from azure.identity import CredentialUnavailableError
from azure.identity.aio import (
    ClientAssertionCredential,
    ClientSecretCredential,
    ManagedIdentityCredential,
    WorkloadIdentityCredential,
)

STORAGE = "https://storage.azure.com/.default"
AUDIENCE = "api://AzureADTokenExchange"
CLUSTER = "2025-10-01"


def claims_of(token: str) -> dict[str, Any]:
    return jwt.decode(token, options={"verify_signature": False})


async def exchange(cloud: Any, client_id: str, assertion: str) -> tuple[int, Any]:
    form = {
        "grant_type": "client_credentials",
        "client_id": client_id,
        "scope": STORAGE,
        "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
        "client_assertion": assertion,
    }
    url = f"{cloud.topology.entra_url}/{cloud.topology.tenant_id}/oauth2/v2.0/token"
    async with cloud.session.post(url, data=form) as answer:
        return answer.status, await answer.json()


async def workload(cloud: Any, *, subject: str = "system:serviceaccount:default:app") -> tuple[str, str, str]:
    """An identity with a credential for the subject; returns client id, server and issuer."""
    made = await cloud.control(
        "PUT", "/sandbox/clusters/one", {"incarnation": str(uuid.uuid4())}, url=cloud.topology.kubernetes_url
    )
    identity = (
        f"{cloud.topology.resource_group_id}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/app"
    )
    _, _, body = await cloud.arm("PUT", identity, {"location": "eastus"})
    status, _, answer = await cloud.arm(
        "PUT",
        f"{identity}/federatedIdentityCredentials/app",
        {"properties": {"issuer": made["issuer"], "subject": subject, "audiences": [AUDIENCE]}},
    )
    assert status == 201, answer
    return body["properties"]["clientId"], made["server"], made["issuer"]


async def account_token(cloud: Any, server: str, *, audience: str = AUDIENCE, name: str = "app") -> str:
    headers = {"Authorization": f"Bearer {cloud.topology.kubernetes_admin_token}"}
    accounts = f"{server}/api/v1/namespaces/default/serviceaccounts"
    async with cloud.session.post(accounts, json={"metadata": {"name": name}}, headers=headers) as made:
        assert made.status in {201, 409}
    request = {"spec": {"audiences": [audience], "expirationSeconds": 600}}
    async with cloud.session.post(f"{accounts}/{name}/token", json=request, headers=headers) as answer:
        assert answer.status == 201, await answer.text()
        return str((await answer.json())["status"]["token"])


async def test_the_owner_gets_a_token_for_its_secret(cloud: Any):
    claims = claims_of(await cloud.token())
    assert claims["aud"] == "https://management.azure.com"
    assert claims["iss"] == f"https://sts.windows.net/{cloud.topology.tenant_id}/"
    assert claims["oid"] == claims["sub"] == cloud.topology.owner_principal_id
    assert claims["appid"] == cloud.topology.owner_client_id
    assert claims["exp"] - claims["iat"] == 3600


async def test_tokens_are_signed_by_the_published_key(cloud: Any):
    token = await cloud.token()
    url = f"/{cloud.topology.tenant_id}/.well-known/openid-configuration"
    document = await cloud.control("GET", url, url=cloud.topology.entra_url)
    assert document["issuer"] == f"{cloud.topology.entra_url}/{cloud.topology.tenant_id}/"
    async with cloud.session.get(document["jwks_uri"]) as answer:
        keys = jwt.PyJWKSet.from_dict(await answer.json())
    key = keys[jwt.get_unverified_header(token)["kid"]]
    assert jwt.decode(token, key.key, algorithms=["RS256"], audience="https://management.azure.com")


async def test_tokens_for_the_cluster_application_name_a_discoverable_issuer(cloud: Any):
    claims = claims_of(await cloud.token("6dae42f8-4368-4678-94ff-3960e28e3630/.default"))
    assert claims["aud"] == "6dae42f8-4368-4678-94ff-3960e28e3630"
    assert claims["iss"] == f"{cloud.topology.entra_url}/{cloud.topology.tenant_id}/"


async def test_the_synchronous_credential_works_too(cloud: Any):
    topology = cloud.topology

    def ask() -> str:
        with SyncClientSecretCredential(
            topology.tenant_id,
            topology.owner_client_id,
            topology.owner_client_secret,
            authority=topology.entra_url,
            disable_instance_discovery=True,
            connection_verify=topology.ca_file,
        ) as credential:
            return credential.get_token(STORAGE).token

    assert claims_of(await asyncio.to_thread(ask))["aud"] == "https://storage.azure.com"


@pytest.mark.parametrize(("client", "code"), [("owner", "AADSTS7000215"), ("nobody", "AADSTS700016")])
async def test_bad_secrets_and_unknown_clients_are_refused(cloud: Any, client: str, code: str):
    topology = cloud.topology
    client_id = topology.owner_client_id if client == "owner" else str(uuid.uuid4())
    async with ClientSecretCredential(
        topology.tenant_id,
        client_id,
        "wrong",
        authority=topology.entra_url,
        disable_instance_discovery=True,
        connection_verify=topology.ca_file,
    ) as credential:
        with pytest.raises(ClientAuthenticationError, match=code):
            await credential.get_token(STORAGE)


async def test_a_service_account_token_is_exchanged(cloud: Any):
    client_id, server, _ = await workload(cloud)
    assertion = await account_token(cloud, server)

    topology = cloud.topology
    async with ClientAssertionCredential(
        topology.tenant_id,
        client_id,
        lambda: assertion,
        authority=topology.entra_url,
        disable_instance_discovery=True,
        connection_verify=topology.ca_file,
    ) as credential:
        claims = claims_of((await credential.get_token(STORAGE)).token)
    assert (claims["appid"], claims["aud"]) == (client_id, "https://storage.azure.com")


async def test_workload_identity_credential_reads_its_token_file(cloud: Any, tmp_path: Any):
    client_id, server, _ = await workload(cloud)
    file = tmp_path / "token"
    file.write_text(await account_token(cloud, server))
    async with WorkloadIdentityCredential(
        tenant_id=cloud.topology.tenant_id,
        client_id=client_id,
        token_file_path=str(file),
        authority=cloud.topology.entra_url,
        disable_instance_discovery=True,
        connection_verify=cloud.topology.ca_file,
    ) as credential:
        assert claims_of((await credential.get_token(STORAGE)).token)["appid"] == client_id


async def test_each_mismatch_of_an_assertion_has_its_own_code(cloud: Any):
    client_id, server, issuer = await workload(cloud)
    good = await account_token(cloud, server)
    assert (await exchange(cloud, client_id, good))[0] == 200
    wrong_subject = await account_token(cloud, server, name="other")
    wrong_audience = await account_token(cloud, server, audience="api://other")
    claims = {**claims_of(good), "iss": issuer.upper()}
    wrong_issuer = jwt.encode(claims, "k" * 32, algorithm="HS256")
    forged = jwt.encode(
        claims_of(good), "k" * 32, algorithm="HS256", headers={"kid": jwt.get_unverified_header(good)["kid"]}
    )
    cases = [
        (wrong_issuer, 700211),
        (wrong_subject, 700213),
        (wrong_audience, 700212),
        (forged, 50027),
        ("x.y.z", 50027),
    ]
    for assertion, code in cases:
        status, body = await exchange(cloud, client_id, assertion)
        assert (status, body["error"], body["error_codes"]) == (400, "invalid_request", [code])
        assert body["error_description"].startswith(f"AADSTS{code}: ")
        assert {"timestamp", "trace_id", "correlation_id"} <= body.keys()


async def test_an_expired_assertion_is_refused(cloud: Any):
    client_id, _, _ = await workload(cloud)
    identity = (
        f"{cloud.topology.resource_group_id}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/app"
    )
    own = f"{cloud.topology.entra_url}/{cloud.topology.tenant_id}/"
    await cloud.arm(
        "PUT",
        f"{identity}/federatedIdentityCredentials/own",
        {"properties": {"issuer": own, "subject": "old", "audiences": [AUDIENCE]}},
    )
    pem = (Path(cloud.topology.state_dir) / "entra-key.pem").read_text()
    url = f"/{cloud.topology.tenant_id}/discovery/v2.0/keys"
    kid = (await cloud.control("GET", url, url=cloud.topology.entra_url))["keys"][0]["kid"]
    old = {"iss": own, "sub": "old", "aud": AUDIENCE, "iat": 1, "exp": int(time.time()) - 60}
    status, body = await exchange(
        cloud, client_id, jwt.encode(old, pem, algorithm="RS256", headers={"kid": kid})
    )
    assert (status, body["error_codes"]) == (401, [700024])


async def test_a_new_credential_is_unknown_until_it_has_propagated(cloud: Any):
    await cloud.control(
        "PUT", "/sandbox/propagation", {"credential_seconds": 0.6}, url=cloud.topology.entra_url
    )
    client_id, server, _ = await workload(cloud)
    assertion = await account_token(cloud, server)
    status, body = await exchange(cloud, client_id, assertion)
    assert (status, body["error_codes"]) == (400, [70021])
    await asyncio.sleep(0.7)
    assert (await exchange(cloud, client_id, assertion))[0] == 200


async def test_the_managed_identity_endpoint_serves_the_apps_identity(cloud: Any, monkeypatch: Any):
    topology = cloud.topology
    monkeypatch.setenv("IDENTITY_ENDPOINT", f"{topology.entra_url}/msi/token")
    monkeypatch.setenv("IDENTITY_HEADER", topology.msi_header)
    async with ManagedIdentityCredential(client_id=topology.app_client_id, **cloud.tls) as credential:
        claims = claims_of((await credential.get_token("https://management.azure.com/.default")).token)
    assert claims["oid"] == topology.app_principal_id
    assert claims["xms_mirid"].endswith("/id-mooring")


async def test_the_managed_identity_endpoint_knows_no_other_identity(cloud: Any, monkeypatch: Any):
    topology = cloud.topology
    monkeypatch.setenv("IDENTITY_ENDPOINT", f"{topology.entra_url}/msi/token")
    monkeypatch.setenv("IDENTITY_HEADER", topology.msi_header)
    async with ManagedIdentityCredential(client_id=str(uuid.uuid4()), **cloud.tls) as credential:
        with pytest.raises((ClientAuthenticationError, CredentialUnavailableError)):
            await credential.get_token(STORAGE)
    async with cloud.session.get(
        f"{topology.entra_url}/msi/token?resource=x&api-version=2019-08-01"
    ) as answer:
        assert answer.status == 401
