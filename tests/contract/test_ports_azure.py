"""Identities, roles, resources, linkers and clusters: fakes and adapters keep the same promises."""

from __future__ import annotations

import dataclasses
import uuid

import pytest

from shared.errors import MooringError, PermanentError, TransientError
from shared.naming import fold_id, role_assignment_name
from shared.ports import RoleAssignment
from tests.contract.ports_azure import (
    BLOB_CONTRIBUTOR,
    MANAGED_IDENTITY_CONTRIBUTOR,
    STORAGE_VERSION,
    Azure,
    credential,
)

pytest_plugins = ("tests.contract.ports_fixtures",)


# --- identities ----------------------------------------------------------------------------------------


async def test_an_identity_is_made_once_and_keeps_its_ids(azure: Azure):
    wanted = azure.identity_id()
    assert await azure.identities.get(wanted) is None
    made = await azure.identities.ensure(wanted, location="westeurope", tags={"managed-by": "mooring"})
    again = await azure.identities.ensure(wanted, location="westeurope", tags={"managed-by": "mooring"})
    assert made == again == await azure.identities.get(wanted)
    assert made.resource_id == wanted
    assert made.client_id
    assert made.principal_id
    assert made.client_id != made.principal_id
    assert (made.location, dict(made.tags)) == ("westeurope", {"managed-by": "mooring"})


async def test_ensuring_an_identity_keeps_other_peoples_tags(azure: Azure):
    wanted = azure.identity_id()
    await azure.identities.ensure(wanted, location="westeurope", tags={"owner": "somebody"})
    changed = await azure.identities.ensure(wanted, location="westeurope", tags={"managed-by": "mooring"})
    assert dict(changed.tags) == {"owner": "somebody", "managed-by": "mooring"}


async def test_deleting_an_identity_takes_its_credentials_and_may_be_repeated(azure: Azure):
    wanted = azure.identity_id()
    await azure.identities.ensure(wanted, location="westeurope", tags={})
    await azure.identities.ensure_credential(wanted, credential("one"))
    await azure.identities.delete(wanted)
    await azure.identities.delete(wanted)
    assert await azure.identities.get(wanted) is None
    assert await azure.identities.list_credentials(wanted) == []
    assert await azure.identities.get_credential(wanted, "one") is None
    await azure.identities.delete_credential(wanted, "one")


async def test_an_identity_in_a_group_that_is_gone_is_absent_to_whom_may_look_there(azure: Azure):
    gone = f"/subscriptions/{azure.subscription}/resourceGroups/no-such-group"
    wanted = f"{gone}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/id-x"
    async with azure.app_granted(MANAGED_IDENTITY_CONTRIBUTOR):
        assert await azure.identities.get(wanted) is None
        await azure.identities.delete(wanted)
        await azure.identities.delete_credential(wanted, "one")


@pytest.mark.parametrize("azure", ["sandbox"], indirect=True)  # the fakes know no rights
async def test_an_identity_in_a_group_that_the_app_may_not_write_to_is_no_absence(azure: Azure):
    elsewhere = f"/subscriptions/{azure.subscription}/resourceGroups/no-such-group"
    wanted = f"{elsewhere}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/id-x"
    with pytest.raises(PermanentError, match="access-denied"):
        await azure.identities.delete(wanted)


@pytest.mark.parametrize(
    "resource_id",
    [
        "",
        "/subscriptions/x",
        "/subscriptions/s/resourceGroups/g/providers/Microsoft.Storage/storageAccounts/a",
    ],
)
async def test_an_id_of_another_type_is_refused(azure: Azure, resource_id: str):
    with pytest.raises(PermanentError, match="resource-id-invalid"):
        await azure.identities.get(resource_id)


async def test_a_credential_is_made_changed_listed_and_removed(azure: Azure):
    identity = azure.identity_id()
    await azure.identities.ensure(identity, location="westeurope", tags={})
    first = await azure.identities.ensure_credential(identity, credential("one"))
    assert first == credential("one") == await azure.identities.get_credential(identity, "one")
    changed = credential("one", issuer="https://issuer.example/b/")
    assert await azure.identities.ensure_credential(identity, changed) == changed
    await azure.identities.ensure_credential(identity, credential("two", account="sc-account-y"))
    listed = await azure.identities.list_credentials(identity)
    assert sorted(listed, key=lambda one: one.name) == [changed, credential("two", account="sc-account-y")]
    await azure.identities.delete_credential(identity, "one")
    await azure.identities.delete_credential(identity, "one")
    assert [one.name for one in await azure.identities.list_credentials(identity)] == ["two"]


@pytest.mark.parametrize("name", ["aks-identity-binding", "AKS-Identity-Binding-1"])
async def test_the_credentials_of_akss_own_identity_bindings_are_never_deleted(azure: Azure, name: str):
    identity = azure.identity_id()
    await azure.identities.ensure(identity, location="westeurope", tags={})
    await azure.identities.ensure_credential(identity, credential(name))
    with pytest.raises(PermanentError, match="credential-protected"):
        await azure.identities.delete_credential(identity, name)
    assert await azure.identities.get_credential(identity, name) is not None


async def test_an_issuer_and_subject_can_stand_under_one_name_only(azure: Azure):
    identity = azure.identity_id()
    await azure.identities.ensure(identity, location="westeurope", tags={})
    await azure.identities.ensure_credential(identity, credential("one"))
    with pytest.raises(MooringError) as refused:
        await azure.identities.ensure_credential(identity, credential("two"))
    assert isinstance(refused.value, PermanentError | TransientError)
    assert [one.name for one in await azure.identities.list_credentials(identity)] == ["one"]


# --- roles ---------------------------------------------------------------------------------------------


async def granted(azure: Azure, name: str = "") -> RoleAssignment:
    identity = await azure.identities.ensure(azure.identity_id(), location="westeurope", tags={})
    return RoleAssignment(
        scope=azure.storage_id,
        name=name or role_assignment_name(azure.storage_id, identity.principal_id, azure.role_id()),
        principal_id=identity.principal_id,
        role_definition_id=azure.role_id(),
        description="mooring",
    )


async def test_an_assignment_is_repeatable_and_read_back(azure: Azure):
    wanted = await granted(azure)
    assert await azure.roles.get(wanted.scope, wanted.name) is None
    made = await azure.roles.ensure(wanted)
    assert (made.name, made.existing) == (wanted.name, False)
    assert (await azure.roles.ensure(wanted)).existing is False
    found = await azure.roles.get(wanted.scope, wanted.name)
    assert found is not None
    assert found.principal_id == wanted.principal_id
    assert found.role_definition_id.lower().endswith(BLOB_CONTRIBUTOR)
    assert found.description == "mooring"


async def test_the_same_grant_under_another_name_is_returned_as_existing(azure: Azure):
    first = await granted(azure)
    await azure.roles.ensure(first)
    second = dataclasses.replace(first, name=str(uuid.uuid4()))
    found = await azure.roles.ensure(second)
    assert (found.name, found.existing) == (first.name, True)
    assert await azure.roles.get(second.scope, second.name) is None


async def test_deleting_an_assignment_may_be_repeated(azure: Azure):
    wanted = await granted(azure)
    await azure.roles.ensure(wanted)
    await azure.roles.delete(wanted.scope, wanted.name)
    await azure.roles.delete(wanted.scope, wanted.name)
    assert await azure.roles.get(wanted.scope, wanted.name) is None
    assert await azure.roles.list_for_principal(wanted.scope, wanted.principal_id) == []


async def test_assignments_below_a_scope_that_is_gone_are_absent(azure: Azure):
    scope = f"/subscriptions/{azure.subscription}/resourceGroups/no-such-group"
    name = str(uuid.uuid4())
    assert await azure.roles.get(scope, name) is None
    await azure.roles.delete(scope, name)


async def test_a_principals_assignments_are_listed(azure: Azure):
    wanted = await granted(azure)
    await azure.roles.ensure(wanted)
    [found] = await azure.roles.list_for_principal(azure.storage_id, wanted.principal_id)
    assert (fold_id(found.scope), found.name) == (fold_id(wanted.scope), wanted.name)


# --- resources and linkers -----------------------------------------------------------------------------


async def test_a_resource_is_read_whatever_the_casing_of_its_id(azure: Azure):
    found = await azure.resources.get(azure.storage_id, api_version=STORAGE_VERSION)
    assert found is not None
    assert fold_id(found["id"]) == fold_id(azure.storage_id)
    assert found["properties"]["primaryEndpoints"]["blob"].startswith("https://")
    shouted = azure.storage_id.replace("resourceGroups", "RESOURCEGROUPS")
    assert await azure.resources.get(shouted, api_version=STORAGE_VERSION) is not None


async def test_a_resource_that_is_gone_is_none(azure: Azure):
    assert await azure.resources.get(f"{azure.storage_id}x", api_version=STORAGE_VERSION) is None
    group = f"/subscriptions/{azure.subscription}/resourceGroups/no-such-group"
    absent = f"{group}/providers/Microsoft.Storage/storageAccounts/x"
    assert await azure.resources.get(absent, api_version=STORAGE_VERSION) is None
    assert await azure.resources.get(group, api_version="2021-04-01") is None


async def test_linkers_of_a_cluster_without_any_are_none(azure: Azure):
    assert await azure.linkers.list(azure.cluster_id) == []
    linker_id = f"{azure.cluster_id}/providers/Microsoft.ServiceLinker/linkers/none"
    assert await azure.linkers.get(linker_id) is None
    assert await azure.linkers.list(f"{azure.cluster_id}x") == []
