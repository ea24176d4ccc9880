"""Connections made, used, shared and removed, as a user sees it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from azure.core.exceptions import ClientAuthenticationError
from azure.identity.aio import ClientAssertionCredential

from tests.e2e.together import story
from tests.e2e.world import World

pytestmark = [pytest.mark.sandbox, pytest.mark.asyncio(loop_scope="session")]

BLOB_ROLE = "ba92f5b4-2d11-453d-a403-e96b0029c9fe"


async def exchange(world: World, client_id: str, token: str) -> str:
    """Exchange a service account's token for one of Entra's, as azure-identity does in a pod."""
    contract = world.contract
    credential = ClientAssertionCredential(
        contract.tenant_id,
        client_id,
        lambda: token,
        authority=contract.entra_url,
        disable_instance_discovery=True,
        connection_verify=contract.ca_file,
    )
    async with credential:
        return (await credential.get_token("https://storage.azure.com/.default")).token


def role_of(assignment: Any) -> str:
    return str(assignment.role_definition_id).rsplit("/", 1)[-1]


@story
async def test_a_created_connection_works_and_a_deleted_one_leaves_nothing(world: World):
    namespace = await world.cluster.new_namespace("story-life")
    spec = world.spec("Orders_Blob-1", namespace=namespace, workload="orders")
    connection = await world.create(spec)
    assert (connection["state"], connection["configuredAt"] is None) == ("configured", False)

    client_id = connection["identity"]["clientId"]
    account_name = f"sc-account-{client_id}"
    objects = {kind: name for kind, name in connection["kubernetes"].items() if name is not None}
    assert objects == {"secret": "sc-ordersblob1-secret", "serviceAccount": account_name}
    assert await world.cluster.secret(namespace, "sc-ordersblob1-secret") == {
        "AZURE_STORAGEBLOB_RESOURCEENDPOINT": f"{world.contract.storage_account_url}/",
        "AZURE_STORAGEBLOB_CLIENTID": client_id,
    }
    account = await world.cluster.account(namespace, account_name)
    annotations = account.metadata.annotations
    assert annotations["azure.workload.identity/client-id"] == client_id

    identity_id = connection["identity"]["resourceId"]
    identity = await world.identity(identity_id)
    assert f"/resourceGroups/{world.contract.identity_resource_group}/".lower() in identity.id.lower()
    (credential,) = await world.credentials(identity_id)
    assert credential.issuer == await world.issuer()
    assert credential.subject == f"system:serviceaccount:{namespace}:{account_name}"
    assert credential.audiences == ["api://AzureADTokenExchange"]
    scope, principal_id = world.contract.storage_account_id, connection["identity"]["principalId"]
    assert [role_of(one) for one in await world.assignments(scope, principal_id)] == [BLOB_ROLE]

    ran = await world.cluster.run_blob_program(connection)
    assert (ran.exit_code, "Connect to Azure Storage succeeded" in ran.output) == (0, True), ran.output
    token = await world.cluster.account_token(namespace, account_name)
    assert await exchange(world, client_id, token)

    await world.delete(spec)
    gone = await world.connection(connection["id"])
    assert (gone["state"], gone["operations"]) == ("deleted", [])
    assert await world.cluster.names(namespace) == ([], [])
    assert await world.identity(identity_id) is None
    assert await world.assignments(scope, principal_id) == []
    with pytest.raises(ClientAuthenticationError, match="AADSTS"):
        await exchange(world, client_id, token)


@story
async def test_connections_of_one_workload_share_and_the_last_one_takes_all_with_it(world: World):
    namespace = await world.cluster.new_namespace("story-share")
    blob = world.spec("first", namespace=namespace, workload="api")
    target = {"type": "keyvault", "id": world.contract.vault_id}
    vault = world.spec("second", namespace=namespace, workload="api", target=target)
    spring = world.spec("third", namespace=namespace, workload="api", clientType="springBoot")
    first = await world.create(blob)
    second, third = await asyncio.gather(world.create(vault), world.create(spring))

    for other in (second, third):
        assert other["identity"]["clientId"] == first["identity"]["clientId"]
        assert other["kubernetes"]["serviceAccount"] == first["kubernetes"]["serviceAccount"]
    identity_id, principal_id = first["identity"]["resourceId"], first["identity"]["principalId"]
    assert len(await world.credentials(identity_id)) == 1
    account_id = world.contract.storage_account_id
    assert len(await world.assignments(account_id, principal_id)) == 1
    assert len(await world.assignments(world.contract.vault_id, principal_id)) == 2
    spring_secret = await world.cluster.secret(namespace, "sc-third-secret")
    assert spring_secret is not None
    assert spring_secret["spring.cloud.azure.storage.blob.account-name"] == account_id.rsplit("/", 1)[-1]
    ran = await world.cluster.run_vault_program(second)
    assert (ran.exit_code, "secrets" in ran.output) == (0, True), ran.output

    await world.delete(spring)
    assert await world.cluster.names(namespace) == (
        ["sc-first-secret", "sc-second-secret"],
        [first["kubernetes"]["serviceAccount"]],
    )
    assert len(await world.assignments(account_id, principal_id)) == 1
    ran = await world.cluster.run_blob_program(first)
    assert ran.exit_code == 0, ran.output

    await world.delete(blob)
    assert await world.assignments(account_id, principal_id) == []
    ran = await world.cluster.run_vault_program(second)
    assert ran.exit_code == 0, ran.output

    await world.delete(vault)
    assert await world.cluster.names(namespace) == ([], [])
    assert await world.assignments(world.contract.vault_id, principal_id) == []
    assert await world.identity(identity_id) is None


@story
async def test_a_connection_can_be_made_again_after_it_was_deleted(world: World):
    namespace = await world.cluster.new_namespace("story-again")
    spec = world.spec("again", namespace=namespace)
    first = await world.create(spec)
    deleting = await world.api("DELETE", f"connections/{first['id']}")
    assert deleting.status == 202
    # The second create is taken in while the delete is under way: it waits for it.
    created = await world.create(spec)
    deleted = (await world.api("GET", deleting.headers["location"])).body
    assert (deleted["kind"], deleted["state"]) == ("delete", "succeeded")
    assert (created["id"], created["generation"]) == (first["id"], first["generation"] + 1)
    assert created["identity"]["principalId"] != first["identity"]["principalId"]
    ran = await world.cluster.run_blob_program(created)
    assert ran.exit_code == 0, ran.output
    await world.delete(spec)
    assert await world.cluster.names(namespace) == ([], [])


@story
async def test_a_provided_identity_must_be_listed_and_is_never_deleted(world: World):
    namespace = await world.cluster.new_namespace("story-provided")
    # Mooring may write credentials in its own group only, so that is where its owner puts the identity.
    identity = await world.new_identity("id-provided", world.contract.identity_resource_group)
    spec = world.spec("provided", namespace=namespace, identityId=identity.id)
    refused = await world.request("create", spec)
    assert (refused["state"], refused["code"]) == ("rejected", "policy-denied")
    assert "identities" in refused["remedy"]

    text = world.policy_file.read_text()
    world.policy_file.write_text(text.replace("identities = []", f'identities = ["{identity.id}"]'))
    connection = await world.create(spec)
    assert connection["identity"]["clientId"] == identity.client_id
    assert connection["identity"]["provenance"] == "provided"
    ran = await world.cluster.run_blob_program(connection)
    assert ran.exit_code == 0, ran.output

    await world.delete(spec)
    assert await world.identity(identity.id) is not None
    assert await world.credentials(identity.id) == []
    scope = world.contract.storage_account_id
    assert await world.assignments(scope, identity.principal_id) == []
    assert await world.cluster.names(namespace) == ([], [])


@story
async def test_a_validation_finds_what_was_taken_away(world: World):
    namespace = await world.cluster.new_namespace("story-validate")
    spec = world.spec("looked-at", namespace=namespace)
    connection = await world.create(spec)
    healthy = await world.request("validate", spec)
    assert healthy["state"] == "succeeded"
    assert {one["result"] for one in healthy["findings"]} <= {"ok", "unknown"}, healthy["findings"]

    await world.cluster.core.delete_namespaced_secret("sc-lookedat-secret", namespace)
    broken = await world.request("validate", spec)
    failed = [one["name"] for one in broken["findings"] if one["result"] == "failed"]
    assert (broken["state"], failed) == ("succeeded", ["settings-exist"])
    assert (await world.connection(connection["id"]))["state"] == "configured"
    await world.delete(spec)
    assert await world.cluster.names(namespace) == ([], [])
