"""Names are stable, ids fold once and for all, and types are read from structure."""

from __future__ import annotations

import re
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared import naming
from shared.spec import ConnectionSpec

SUBSCRIPTION = "/subscriptions/11111111-2222-3333-4444-555555555555"
GROUP = f"{SUBSCRIPTION}/resourceGroups/rg"
ACCOUNT = f"{GROUP}/providers/Microsoft.Storage/storageAccounts/acc"
CLUSTER = f"{GROUP}/providers/Microsoft.ContainerService/managedClusters/aks"
LINKER = f"{CLUSTER}/providers/Microsoft.ServiceLinker/linkers/blob"
ids = st.text(alphabet=st.sampled_from("aZ/ \t\n.İKé%-_"), max_size=40) | st.text(max_size=40)
names = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,59}", fullmatch=True)


@given(ids)
def test_folding_an_id_twice_changes_nothing(text: str):
    folded = naming.fold_id(text)
    assert naming.fold_id(folded) == folded
    assert folded.startswith("/")
    assert "//" not in folded
    assert len(folded) == 1 or not folded.endswith("/")


@given(ids)
def test_folding_maps_no_other_letter_onto_an_ascii_letter(text: str):
    outside = [character for character in text if not character.isascii()]
    assert [character for character in naming.fold_id(text) if not character.isascii()] == outside


def test_a_kelvin_sign_is_not_a_k():
    assert naming.fold_id("/\u212aeyvault") != naming.fold_id("/Keyvault")


@pytest.mark.parametrize(
    "written",
    [
        GROUP.replace("resourceGroups", "RESOURCEGROUPS"),
        GROUP + "/",
        GROUP.replace("/rg", "//RG"),
        f" {GROUP}\n",
    ],
)
def test_every_spelling_of_an_id_folds_to_one(written: str):
    assert naming.fold_id(written) == GROUP.lower()


@pytest.mark.parametrize(
    ("resource_id", "expected"),
    [
        (SUBSCRIPTION, "microsoft.resources/subscriptions"),
        (GROUP, "microsoft.resources/resourcegroups"),
        (f"{SUBSCRIPTION}/resourceGroups/providers", "microsoft.resources/resourcegroups"),
        (ACCOUNT, "microsoft.storage/storageaccounts"),
        (f"{ACCOUNT}/blobServices/default", "microsoft.storage/storageaccounts/blobservices"),
        (
            f"{GROUP}/providers/Microsoft.Storage/storageAccounts/providers",
            "microsoft.storage/storageaccounts",
        ),
        (LINKER, "microsoft.servicelinker/linkers"),
        (
            f"{SUBSCRIPTION}/providers/Microsoft.Authorization/roleAssignments/x",
            "microsoft.authorization/roleassignments",
        ),
        (f"{GROUP}/deployments/y", ""),
        (f"{GROUP}/providers/Microsoft.Storage/storageAccounts", "microsoft.storage/storageaccounts"),
        ("/x/y/resourceGroups/z", ""),
        ("", ""),
    ],
)
def test_the_type_of_an_id_comes_from_its_last_provider(resource_id: str, expected: str):
    assert naming.type_of(resource_id) == expected
    assert naming.type_of(resource_id.upper()) == expected


@pytest.mark.parametrize(
    ("resource_id", "above"),
    [
        (LINKER, [CLUSTER, GROUP]),
        (f"{ACCOUNT}/blobServices/default", [ACCOUNT, GROUP]),
        (ACCOUNT, [GROUP]),
        (GROUP, []),
        (SUBSCRIPTION, []),
        (f"{SUBSCRIPTION}/providers/Microsoft.Authorization/locks/x", []),
        (f"{ACCOUNT}/blobServices", [ACCOUNT, GROUP]),
        (f"{GROUP}/providers/Microsoft.Storage/storageAccounts", [GROUP]),
        (
            f"{SUBSCRIPTION}/resourceGroups/providers/providers/Microsoft.Storage/storageAccounts/providers",
            None,
        ),
    ],
)
def test_ancestors_go_up_resource_by_resource_to_the_group(resource_id: str, above: list[str] | None):
    if above is None:
        above = [f"{SUBSCRIPTION}/resourceGroups/providers"]
    assert list(naming.ancestors(resource_id)) == [resource_id.lower(), *(one.lower() for one in above)]


@given(ids)
def test_ancestors_are_distinct_prefixes_by_whole_segments(text: str):
    first, *above = naming.ancestors(text)
    assert first == naming.fold_id(text)
    for one in above:
        assert first.startswith(one + "/")
    assert len({first, *above}) == len(above) + 1


def test_a_group_is_no_ancestor_of_one_whose_name_begins_like_it():
    assert f"{SUBSCRIPTION}/resourcegroups/rg" not in naming.ancestors(ACCOUNT.replace("/rg/", "/rg-b/"))


def test_subscription_and_group_are_read_from_any_resource_below():
    assert naming.subscription_of(LINKER.upper()) == "11111111-2222-3333-4444-555555555555"
    assert naming.resource_group_of(LINKER) == GROUP.lower()
    assert naming.subscription_of("/providers/Microsoft.Management/managementGroups/m") == ""
    assert naming.resource_group_of(SUBSCRIPTION) == ""
    assert naming.resource_group_of("/tenants/x/resourceGroups/y") == ""


@given(names)
def test_cluster_object_names_are_valid_kubernetes_names(name: str):
    assert re.fullmatch(r"sc-[a-z0-9]+-secret", naming.secret_name(name))
    assert re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", naming.workload_name(name))


@given(names, names)
def test_two_names_are_one_connection_exactly_when_they_are_one_secret(one: str, other: str):
    same_id = naming.connection_id(CLUSTER, "shop", one) == naming.connection_id(CLUSTER, "shop", other)
    assert same_id == (naming.secret_name(one) == naming.secret_name(other))


def test_a_connection_is_the_same_in_every_spelling_and_another_in_another_place():
    here = naming.connection_id(CLUSTER, "shop", "My_Conn")
    assert naming.connection_id(CLUSTER.upper() + "/", "shop", "myconn") == here
    assert naming.connection_id(CLUSTER, "shop2", "myconn") != here
    assert naming.connection_id(CLUSTER + "2", "shop", "myconn") != here
    assert re.fullmatch("[0-9a-f]{24}", here)


def test_an_operation_names_its_connection_and_its_request():
    here = naming.connection_id(CLUSTER, "shop", "conn")
    operation = naming.operation_id(here, "request-1")
    assert naming.connection_of(operation) == here
    assert naming.operation_id(here, "request-1") == operation
    assert naming.operation_id(here, "request-2") != operation


@given(st.lists(st.text(max_size=5), max_size=4), st.lists(st.text(max_size=5), max_size=4))
def test_different_lists_have_different_digests(one: list[str], other: list[str]):
    assert (naming.digest(one, 64) == naming.digest(other, 64)) == (one == other)


def test_a_body_hash_does_not_depend_on_the_order_of_keys():
    assert naming.body_hash({"a": 1, "b": [2]}) == naming.body_hash({"b": [2], "a": 1})
    assert naming.body_hash({"a": 1}) != naming.body_hash({"a": "1"})


def test_a_wish_is_the_same_whatever_the_casing_of_its_ids():
    spec = ConnectionSpec(
        name="blob",
        cluster_id=CLUSTER,
        namespace="shop",
        workload="web",
        target_type="storage-blob",
        target_id=ACCOUNT,
    )
    same = spec.model_copy(update={"cluster_id": CLUSTER.upper(), "target_id": ACCOUNT.lower() + "/"})
    assert naming.spec_hash(same) == naming.spec_hash(spec)
    for change in (
        {"workload": "job"},
        {"target_id": GROUP},
        {"identity_id": ACCOUNT},
        {"client_type": "java"},
    ):
        assert naming.spec_hash(spec.model_copy(update=change)) != naming.spec_hash(spec)


def test_azure_names_stay_inside_azures_limits_at_their_longest():
    identity = naming.identity_name(CLUSTER, "n" * 63, "w" * 63)
    account = naming.service_account_name(str(uuid.UUID(int=0)))
    credential = naming.credential_name(CLUSTER, "n" * 63, account, "https://" + "i" * 500)
    assert 3 <= len(identity) <= 128
    assert re.fullmatch(r"[a-zA-Z0-9][a-zA-Z0-9_-]*", identity)
    assert 3 <= len(credential) <= 120
    assert naming.identity_name(CLUSTER, "n" * 63, "w" * 62) != identity


def test_the_service_account_and_its_subject_are_service_connectors():
    account = naming.service_account_name("AAAAAAAA-0000-0000-0000-000000000000")
    assert account == "sc-account-aaaaaaaa-0000-0000-0000-000000000000"
    assert naming.subject("shop", account) == f"system:serviceaccount:shop:{account}"


def test_a_role_assignments_name_follows_its_triple_and_nothing_else():
    role = "/subscriptions/s/providers/Microsoft.Authorization/roleDefinitions/ABC"
    name = naming.role_assignment_name(ACCOUNT, "P1", role)
    assert uuid.UUID(name).version == 5
    assert naming.role_assignment_name(ACCOUNT.upper(), "p1", role.lower() + "/") == name
    others = [
        (GROUP, "P1", role),
        (ACCOUNT, "P2", role),
        (ACCOUNT, "P1", role + "D"),
        (ACCOUNT, "P1", role[:-3] + "X/"),
    ]
    assert name not in {naming.role_assignment_name(*other) for other in others}


@pytest.mark.parametrize(
    ("resource_id", "kind", "fault"),
    [
        (ACCOUNT, "", ""),
        (f"{ACCOUNT}/blobServices/default", "", ""),
        (CLUSTER.upper(), "Microsoft.ContainerService/managedClusters", ""),
        (ACCOUNT, "Microsoft.ContainerService/managedClusters", "of type"),
        (LINKER, "Microsoft.ServiceLinker/linkers", "of type"),
        (ACCOUNT + "a" * 1024, "", "at most 1024"),
        (ACCOUNT.replace("Key", "\u212aey") + "\u212a", "", "ASCII"),
        (ACCOUNT + "\n", "", "ASCII"),
        (ACCOUNT + "%2e", "", "percent"),
        (ACCOUNT + "/../x", "", "percent"),
        (ACCOUNT[1:], "", "starts with"),
        ("", "", "starts with"),
        ("/", "", "starts with"),
        ("/subscriptions", "", "starts with"),
        (ACCOUNT + "/", "", "segment"),
        (ACCOUNT.replace("/rg/", "//"), "", "segment"),
        (ACCOUNT + "?x", "", "segment"),
        (ACCOUNT.replace("1111", "zzzz"), "", "GUID"),
        (GROUP, "", "reads"),
        (f"{ACCOUNT}/blobServices", "", "reads"),
        (ACCOUNT.replace("/providers/", "/x/"), "", "reads"),
        (ACCOUNT.replace("resourceGroups", "groups"), "", "reads"),
        (ACCOUNT.replace("Microsoft.Storage", "Storage"), "", "reads"),
    ],
)  # fmt: skip
def test_an_id_from_outside_is_checked_rule_by_rule(resource_id: str, kind: str, fault: str):
    found = naming.id_fault(resource_id, kind)
    assert (fault in found) if fault else found == ""


@given(st.text(max_size=60), st.sampled_from(["", "Microsoft.ContainerService/managedClusters"]))
def test_checking_an_id_never_raises(text: str, kind: str):
    assert isinstance(naming.id_fault(text, kind), str)
    assert naming.id_fault(f"/subscriptions/{text}", kind)
