"""Role assignments, definitions and what they allow, under azure-mgmt-authorization."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from azure.core.exceptions import HttpResponseError, ResourceExistsError
from azure.mgmt.authorization.aio import AuthorizationManagementClient

IDENTITIES = "providers/Microsoft.ManagedIdentity/userAssignedIdentities"
BLOB_CONTRIBUTOR = "ba92f5b4-2d11-453d-a403-e96b0029c9fe"
READER = "acdd72a7-3385-48ef-bd42-f606fba81ae7"
BLOB_READ = "Microsoft.Storage/storageAccounts/blobServices/containers/blobs/read"


def role_id(cloud: Any, guid: str) -> str:
    provider = "providers/Microsoft.Authorization"
    return f"/subscriptions/{cloud.topology.subscription_id}/{provider}/roleDefinitions/{guid}"


def grant(cloud: Any, guid: str, principal: str, **more: Any) -> dict[str, Any]:
    properties = {"role_definition_id": role_id(cloud, guid), "principal_id": principal, **more}
    return {
        "properties": {
            "roleDefinitionId": properties.pop("role_definition_id"),
            "principalId": properties.pop("principal_id"),
            **properties,
        }
    }


async def test_an_assignment_is_repeatable_under_its_name_and_unique_by_its_triple(cloud: Any):
    scope = cloud.topology.resource_group_id
    name, principal = str(uuid.uuid4()), cloud.topology.app_principal_id
    wanted = grant(cloud, BLOB_CONTRIBUTOR, principal, principalType="ServicePrincipal")
    path = f"{scope}/providers/Microsoft.Authorization/roleAssignments"
    for _ in range(2):
        status, _, body = await cloud.arm("PUT", f"{path}/{name}", wanted, version="2022-04-01")
        assert (status, body["properties"]["createdBy"]) == (201, None)
    async with cloud.client(AuthorizationManagementClient) as client:
        kept = await client.role_assignments.get(scope, name)
        assert kept.created_by == cloud.topology.owner_principal_id
        with pytest.raises(ResourceExistsError) as refused:
            await client.role_assignments.create(
                scope, str(uuid.uuid4()), {"properties": wanted["properties"]}
            )
        assert refused.value.error.code == "RoleAssignmentExists"
        assert refused.value.error.message.endswith(f"is {name.replace('-', '')}.")
        changed = grant(cloud, READER, principal, principalType="ServicePrincipal")
        status, _, answer = await cloud.arm("PUT", f"{path}/{name}", changed, version="2022-04-01")
        assert (status, answer["error"]["code"]) == (400, "RoleAssignmentUpdateNotPermitted")
        below = f"{scope}/{IDENTITIES}/id-mooring"
        found = client.role_assignments.list_for_scope(below, filter=f"principalId eq '{principal}'")
        assert [one.name async for one in found] == [name]
        assert [one.name async for one in client.role_assignments.list_for_scope(scope, filter="atScope()")]
        deleted = await client.role_assignments.delete(scope, name)
        assert deleted.name == name
    assert (await cloud.arm("DELETE", f"{path}/{name}", version="2022-04-01"))[0] == 204
    status, _, answer = await cloud.arm("GET", f"{path}/{name}", version="2022-04-01")
    assert (status, answer["error"]["message"]) == (404, f"The role assignment '{name}' is not found.")


async def test_a_new_principal_is_unknown_unless_its_type_is_given(cloud: Any):
    group = cloud.topology.resource_group_id
    _, _, body = await cloud.arm("PUT", f"{group}/{IDENTITIES}/fresh", {"location": "eastus"})
    principal = body["properties"]["principalId"]
    path = f"{group}/providers/Microsoft.Authorization/roleAssignments/{uuid.uuid4()}"
    status, _, answer = await cloud.arm("PUT", path, grant(cloud, READER, principal), version="2022-04-01")
    assert (status, answer["error"]["code"]) == (400, "PrincipalNotFound")
    assert answer["error"]["message"].startswith(f"Principal {principal.replace('-', '')} does not exist")
    with_type = grant(cloud, READER, principal, principalType="ServicePrincipal")
    assert (await cloud.arm("PUT", path, with_type, version="2022-04-01"))[0] == 201
    await cloud.control("PUT", "/sandbox/directory", {"replication_seconds": 0})
    path = f"{group}/providers/Microsoft.Authorization/roleAssignments/{uuid.uuid4()}"
    assert (await cloud.arm("PUT", path, grant(cloud, BLOB_CONTRIBUTOR, principal), version="2022-04-01"))[
        0
    ] == 201
    status, _, answer = await cloud.arm("PUT", path, grant(cloud, READER, "nobody"), version="2022-04-01")
    assert (status, answer["error"]["code"]) == (400, "InvalidPrincipalId")


async def test_roles_are_found_by_name_and_custom_ones_are_kept(cloud: Any):
    scope = f"/subscriptions/{cloud.topology.subscription_id}"
    async with cloud.client(AuthorizationManagementClient) as client:
        found = client.role_definitions.list(scope, filter="roleName eq 'Storage Blob Data Contributor'")
        rows = [one async for one in found]
        assert [one.name for one in rows] == [BLOB_CONTRIBUTOR]
        assert BLOB_READ in rows[0].permissions[0].data_actions
        guid = str(uuid.uuid4())
        made = await client.role_definitions.create_or_update(
            scope, guid, {"role_name": "Tiny", "permissions": [], "assignable_scopes": [scope]}
        )
        assert (made.role_name, made.role_type) == ("Tiny", "CustomRole")
        assert (await client.role_definitions.get(scope, guid)).role_name == "Tiny"


async def test_a_caller_without_a_role_is_refused_and_allowed_after_a_grant(cloud: Any):
    topology = cloud.topology
    headers = {"X-IDENTITY-HEADER": topology.msi_header}
    url = f"{topology.entra_url}/msi/token?api-version=2019-08-01&resource=https://management.azure.com"
    async with cloud.session.get(url, headers=headers) as answer:
        token = (await answer.json())["access_token"]
    identity = f"{topology.resource_group_id}/{IDENTITIES}/id-mooring"
    status, answered, body = await cloud.arm("GET", identity, token=token)
    assert (status, answered["x-ms-failure-cause"]) == (403, "gateway")
    assert body["error"] == {
        "code": "AuthorizationFailed",
        "message": f"The client '{topology.app_client_id}' with object id "
        f"'{topology.app_principal_id}' does not "
        "have authorization to perform action "
        "'Microsoft.ManagedIdentity/userAssignedIdentities/read' over scope "
        f"'{identity}' or the scope is invalid. If access was recently granted, please refresh "
        "your credentials.",
    }
    path = f"{topology.resource_group_id}/providers/Microsoft.Authorization/roleAssignments/{uuid.uuid4()}"
    wanted = grant(cloud, READER, topology.app_principal_id, principalType="ServicePrincipal")
    assert (await cloud.arm("PUT", path, wanted, version="2022-04-01"))[0] == 201
    assert (await cloud.arm("GET", identity, token=token))[0] == 200
    assert (await cloud.arm("DELETE", identity, token=token))[0] == 403


async def test_data_planes_learn_who_may_do_what(cloud: Any):
    topology = cloud.topology
    account = f"{topology.resource_group_id}/providers/Microsoft.Storage/storageAccounts/acc"
    await cloud.finished(account, {"location": "eastus"}, version="2023-01-01")
    who = f"principalId={topology.app_principal_id}"
    query = f"/sandbox/access?{who}&dataAction={BLOB_READ}&scope={account.upper()}"
    assert await cloud.control("GET", query) == {"allowed": False}
    path = f"{account}/providers/Microsoft.Authorization/roleAssignments/{uuid.uuid4()}"
    wanted = grant(cloud, BLOB_CONTRIBUTOR, topology.app_principal_id, principalType="ServicePrincipal")
    assert (await cloud.arm("PUT", path, wanted, version="2022-04-01"))[0] == 201
    assert await cloud.control("GET", query) == {"allowed": True}
    assert await cloud.control("GET", query.replace("ACC", "OTHER")) == {"allowed": False}
    assert (await cloud.arm("DELETE", account, version="2023-01-01"))[0] == 200
    assert await cloud.control("GET", query) == {"allowed": False}


async def test_role_definitions_and_subscriptions_are_readable_at_tenant_scope(cloud: Any):
    path = f"/providers/Microsoft.Authorization/roleDefinitions/{READER}"
    status, _, body = await cloud.arm("GET", path, version="2022-04-01")
    assert (status, body["id"], body["properties"]["roleName"]) == (200, path, "Reader")
    status, _, body = await cloud.arm("GET", "/subscriptions", version="2022-12-01")
    assert [one["subscriptionId"] for one in body["value"]] == [cloud.topology.subscription_id]
    provider = f"/subscriptions/{cloud.topology.subscription_id}/providers/Microsoft.ManagedIdentity/register"
    status, _, body = await cloud.arm("POST", provider, version="2022-12-01")
    assert (status, body["registrationState"]) == (200, "Registered")


async def test_deleting_an_identity_leaves_its_role_assignments_behind(cloud: Any):
    group = cloud.topology.resource_group_id
    _, _, body = await cloud.arm("PUT", f"{group}/{IDENTITIES}/gone", {"location": "eastus"})
    path = f"{group}/providers/Microsoft.Authorization/roleAssignments/{uuid.uuid4()}"
    wanted = grant(cloud, READER, body["properties"]["principalId"], principalType="ServicePrincipal")
    assert (await cloud.arm("PUT", path, wanted, version="2022-04-01"))[0] == 201
    assert (await cloud.arm("DELETE", f"{group}/{IDENTITIES}/gone"))[0] == 200
    assert (await cloud.arm("GET", path, version="2022-04-01"))[0] == 200


async def test_a_role_that_does_not_exist_cannot_be_assigned(cloud: Any):
    async with cloud.client(AuthorizationManagementClient) as client:
        with pytest.raises(HttpResponseError) as refused:
            await client.role_assignments.create(
                cloud.topology.resource_group_id,
                str(uuid.uuid4()),
                grant(
                    cloud,
                    str(uuid.uuid4()),
                    cloud.topology.app_principal_id,
                    principalType="ServicePrincipal",
                ),
            )
    assert refused.value.error.code == "RoleDefinitionDoesNotExist"
