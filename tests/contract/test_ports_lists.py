"""Lists and creates: paging, filters, metadata only, and what is not listed without the right to it."""

from __future__ import annotations

import dataclasses
import uuid

import pytest

from shared.errors import PermanentError
from shared.naming import fold_id, role_assignment_name
from shared.ports import RoleAssignment
from tests.contract.ports_azure import NAMESPACE, Azure, credential

pytest_plugins = ("tests.contract.ports_fixtures",)

STORAGE = "Microsoft.Storage/storageAccounts"
IDENTITY = "Microsoft.ManagedIdentity/userAssignedIdentities"


async def made(azure: Azure, count: int) -> set[str]:
    """Identities that are there, by folded id."""
    ids = [azure.identity_id() for _ in range(count)]
    for one in ids:
        await azure.identities.ensure(one, location="westeurope", tags={"managed-by": "mooring"})
    return {fold_id(one) for one in ids}


# --- Azure -----------------------------------------------------------------------------------------


async def test_resources_of_a_type_are_listed_over_all_pages(azure: Azure):
    wanted = await made(azure, 5)
    with azure.small_pages():
        found = await azure.resources.list(azure.subscription, resource_type=IDENTITY)
        storage = await azure.resources.list(azure.subscription, resource_type=STORAGE.lower())
    assert wanted <= {fold_id(one) for one in found}
    assert len(found) == len({fold_id(one) for one in found})
    assert fold_id(azure.storage_id) in {fold_id(one) for one in storage}
    assert not wanted & {fold_id(one) for one in storage}


async def test_resources_are_found_by_name_whatever_its_casing(azure: Azure):
    name = azure.storage_id.rsplit("/", 1)[-1]
    found = await azure.resources.list(azure.subscription, resource_type=STORAGE, name=name.upper())
    assert [fold_id(one) for one in found] == [fold_id(azure.storage_id)]
    assert await azure.resources.list(azure.subscription, resource_type=STORAGE, name="nosuchname") == []
    assert await azure.resources.list(azure.subscription, resource_type=IDENTITY, name=name) == []


async def test_locks_of_every_depth_are_listed_over_all_pages(azure: Azure):
    subscription = f"/subscriptions/{azure.subscription}"
    async with (
        azure.locked(subscription, "CanNotDelete") as whole,
        azure.locked(azure.identity_group, "CanNotDelete") as group,
        azure.locked(azure.storage_id, "ReadOnly") as resource,
    ):
        with azure.small_pages():
            found = await azure.resources.locks(azure.subscription)
        held = {(fold_id(one.resource_id), fold_id(one.scope), one.name, one.level) for one in found}
        for lock in (whole, group, resource):
            assert (fold_id(lock.resource_id), fold_id(lock.scope), lock.name, lock.level) in held
    assert await azure.resources.locks(azure.subscription) == []


async def test_a_filter_cannot_be_broken_out_of(azure: Azure):
    with pytest.raises(PermanentError, match="filter-invalid"):
        await azure.resources.list(azure.subscription, resource_type=STORAGE, name="x' or name ne 'x")


async def test_identities_are_listed_by_group_and_by_subscription(azure: Azure):
    wanted = await made(azure, 3)
    with azure.small_pages():
        of_group = await azure.identities.list(azure.identity_group)
        of_subscription = await azure.identities.list(f"/subscriptions/{azure.subscription}")
    for found in (of_group, of_subscription):
        by_id = {fold_id(one.resource_id): one for one in found}
        assert wanted <= set(by_id)
        one = by_id[min(wanted)]
        assert (one.client_id, one.principal_id, dict(one.tags)) != ("", "", {})
        assert await azure.identities.get(one.resource_id) == one
    assert {fold_id(one.resource_id) for one in of_group} <= {
        fold_id(one.resource_id) for one in of_subscription
    }
    elsewhere = f"/subscriptions/{azure.subscription}/resourceGroups/no-such-group"
    assert await azure.identities.list(elsewhere) == []


async def test_credentials_are_listed_over_all_pages(azure: Azure):
    identity = azure.identity_id()
    await azure.identities.ensure(identity, location="westeurope", tags={})
    for name in ("one", "two", "three"):
        await azure.identities.ensure_credential(identity, credential(name, account=f"sc-account-{name}"))
    with azure.small_pages():
        listed = await azure.identities.list_credentials(identity)
    assert {one.name for one in listed} == {"one", "two", "three"}


async def test_assignments_of_a_subscription_are_listed_with_their_scopes(azure: Azure):
    wanted = []
    for _ in range(3):
        identity = await azure.identities.ensure(azure.identity_id(), location="westeurope", tags={})
        name = role_assignment_name(azure.storage_id, identity.principal_id, azure.role_id())
        assignment = RoleAssignment(
            scope=azure.storage_id,
            name=name,
            principal_id=identity.principal_id,
            role_definition_id=azure.role_id(),
        )
        wanted.append(await azure.roles.ensure(assignment))
    with azure.small_pages():
        found = await azure.roles.list(f"/subscriptions/{azure.subscription}")
        here = await azure.roles.list(azure.storage_id)
    by_name = {one.name: one for one in found}
    for one in wanted:
        assert fold_id(by_name[one.name].scope) == fold_id(azure.storage_id)
        assert by_name[one.name].principal_id == one.principal_id
        assert by_name[one.name].role_definition_id.lower().endswith(azure.role_id().rsplit("/", 1)[-1])
    assert {one.name for one in wanted} <= {one.name for one in here}
    assert {fold_id(one.scope) for one in here} == {fold_id(azure.storage_id)}, "nothing from above"
    assert await azure.roles.list(f"{azure.storage_id}x") == []


# --- Kubernetes ------------------------------------------------------------------------------------


def place(azure: Azure, kind: str) -> tuple[str, str, str, str]:
    return azure.cluster_id, kind, NAMESPACE, f"sc-{uuid.uuid4().hex[:8]}-{kind.lower()}"


@pytest.mark.parametrize("kind", ["Secret", "ServiceAccount"])
async def test_what_is_there_is_not_made_again(azure: Azure, kind: str):
    where = place(azure, kind)
    made = await azure.clusters.create(*where, labels={"n": "1"}, annotations={"a": "b"})
    assert (made.name, dict(made.labels), dict(made.annotations)) == (where[3], {"n": "1"}, {"a": "b"})
    with pytest.raises(PermanentError, match="object-exists"):
        await azure.clusters.create(*where, labels={"n": "2"}, annotations={})
    found = await azure.clusters.get(*where)
    assert found is not None
    # A cluster of before 1.24 writes the name of its token's secret into a young service account.
    made = dataclasses.replace(made, resource_version=found.resource_version, secret_type="")
    assert found == made


async def test_what_was_made_is_changed_and_shortened_by_an_apply_without_force(azure: Azure):
    where = place(azure, "Secret")
    made = await azure.clusters.create(*where, labels={"n": "1"}, annotations={}, data={"A": "1", "B": "1"})
    assert dict(made.data) == {"A": "1", "B": "1"}
    changed = await azure.clusters.apply(*where, labels={}, annotations={}, data={"A": "2"})
    assert (changed.uid, dict(changed.labels), dict(changed.data)) == (made.uid, {}, {"A": "2"})


@pytest.mark.parametrize("data", [{"A": "1"}, {"A": "2"}, {}], ids=["same", "changed", "dropped"])
async def test_an_apply_heals_a_create_that_was_cut_off_after_its_post(azure: Azure, data: dict[str, str]):
    where = place(azure, "Secret")
    azure.post_secret(where[3], {"A": "1", "B": "1"})
    applied = await azure.clusters.apply(*where, labels={"n": "1"}, annotations={}, data=data)
    assert (dict(applied.data), dict(applied.labels)) == (data, {"n": "1"})
    again = await azure.clusters.apply(*where, labels={}, annotations={}, data={"C": "3"})
    assert (dict(again.data), dict(again.labels)) == ({"C": "3"}, {})


async def test_nothing_is_made_in_a_namespace_that_is_missing(azure: Azure):
    with pytest.raises(PermanentError, match="namespace-not-found"):
        await azure.clusters.create(
            azure.cluster_id, "Secret", "no-such-namespace", "s", labels={}, annotations={}, data={}
        )


async def test_force_takes_over_what_another_tool_owns(azure: Azure):
    where = place(azure, "Secret")
    azure.label_secret(where[3], {"team": "shop"})
    with pytest.raises(PermanentError, match="field-conflict"):
        await azure.clusters.apply(*where, labels={"team": "mooring"}, annotations={}, data={})
    forced = await azure.clusters.apply(
        *where, labels={"team": "mooring"}, annotations={}, data={}, force=True
    )
    assert dict(forced.labels) == {"team": "mooring"}
    again = await azure.clusters.apply(*where, labels={"team": "mooring"}, annotations={}, data={})
    assert again.uid == forced.uid


@pytest.mark.parametrize("kind", ["Secret", "ServiceAccount"])
async def test_lists_hold_metadata_and_no_values(azure: Azure, kind: str):
    where = place(azure, kind)
    values = {"K": "do-not-show"} if kind == "Secret" else None
    made = await azure.clusters.create(*where, labels={"n": "1"}, annotations={"a": "b"}, data=values)
    for namespace in (NAMESPACE, ""):
        listed = await azure.clusters.list_objects(azure.cluster_id, kind, namespace)
        [found] = [one for one in listed if one.name == where[3]]
        assert (found.uid, bool(found.resource_version)) == (made.uid, True)
        assert (found.kind, found.namespace, dict(found.labels)) == (kind, NAMESPACE, {"n": "1"})
        assert (dict(found.annotations), dict(found.data)) == ({"a": "b"}, {})
        assert found.created_at
    elsewhere = await azure.clusters.list_objects(azure.cluster_id, kind, "default")
    assert where[3] not in {one.name for one in elsewhere}


async def test_namespaces_are_listed_with_those_that_are_going(azure: Azure):
    found = await azure.clusters.list_namespaces(azure.cluster_id)
    assert (found["default"], found[NAMESPACE]) == (True, True)
    assert "no-such-namespace" not in found


async def test_a_namespace_that_is_going_is_neither_there_nor_gone(azure: Azure):
    with azure.going_namespace() as name:
        assert await azure.clusters.namespace_phase(azure.cluster_id, name) == "Terminating"
        assert await azure.clusters.namespace_exists(azure.cluster_id, name) is False
        assert (await azure.clusters.list_namespaces(azure.cluster_id))[name] is False
        with pytest.raises(PermanentError, match="namespace-terminating"):
            await azure.clusters.create(azure.cluster_id, "Secret", name, "s", labels={}, annotations={})
    assert await azure.clusters.namespace_phase(azure.cluster_id, NAMESPACE) == "Active"
    assert await azure.clusters.namespace_phase(azure.cluster_id, "no-such-namespace") == ""


async def test_secrets_are_not_listed_without_the_right(azure: Azure):
    with azure.without("mooring-sweep"):
        with pytest.raises(PermanentError, match="kubernetes-access-denied"):
            await azure.clusters.list_objects(azure.cluster_id, "Secret", NAMESPACE)
        with pytest.raises(PermanentError, match="kubernetes-access-denied"):
            await azure.clusters.list_namespaces(azure.cluster_id)
        assert await azure.clusters.namespace_exists(azure.cluster_id, NAMESPACE), "the rest still works"
