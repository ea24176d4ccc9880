"""Reading rights from a record of calls: each shape of call, and both kinds of mistake."""

from __future__ import annotations

from typing import Any

import pytest

from tests.e2e import rights

SUBSCRIPTION = "/subscriptions/11111111-2222-3333-4444-555555555555"
GROUP = f"{SUBSCRIPTION}/resourceGroups/rg"
CLUSTER = f"{GROUP}/providers/Microsoft.ContainerService/managedClusters/aks"


def call(method: str, path: str, *, status: int = 200, query: str = "") -> dict[str, Any]:
    return {"method": method, "path": path, "status": status, "query": query}


@pytest.mark.parametrize(
    ("made", "action"),
    [
        (call("GET", CLUSTER), "microsoft.containerservice/managedclusters/read"),
        (call("GET", CLUSTER, status=404), "microsoft.containerservice/managedclusters/read"),
        (call("GET", CLUSTER, status=403), "microsoft.containerservice/managedclusters/read"),
        (
            call("POST", f"{CLUSTER}/listClusterUserCredential"),
            "microsoft.containerservice/managedclusters/listclusterusercredential/action",
        ),
        (
            call("GET", f"{CLUSTER}/providers/Microsoft.ServiceLinker/linkers"),
            "microsoft.servicelinker/linkers/read",
        ),
        (
            call("DELETE", f"{CLUSTER}/providers/Microsoft.Authorization/roleAssignments/a"),
            "microsoft.authorization/roleassignments/delete",
        ),
        (call("HEAD", GROUP), "microsoft.resources/subscriptions/resourcegroups/read"),
        (
            call("GET", f"{SUBSCRIPTION}/resourcegroups"),
            "microsoft.resources/subscriptions/resourcegroups/read",
        ),
        (call("GET", f"{SUBSCRIPTION}/resources"), "microsoft.resources/subscriptions/resources/read"),
    ],
)
def test_a_call_to_resource_manager_needs_its_action(made: dict[str, Any], action: str):
    assert rights.arm_actions([made]) == {action}


def test_polls_and_refused_tokens_need_no_action():
    poll = f"{SUBSCRIPTION}/providers/Microsoft.ContainerService/locations/westeurope/operations/o"
    assert rights.arm_actions([call("GET", poll), call("GET", CLUSTER, status=401)]) == set()


SECRETS = "/clusters/aks/api/v1/namespaces/default/secrets"


@pytest.mark.parametrize(
    ("made", "verbs"),
    [
        (call("GET", f"{SECRETS}/one"), {"/secrets get"}),
        (call("GET", SECRETS), {"/secrets list"}),
        (call("GET", SECRETS, query="watch=true"), {"/secrets watch"}),
        (call("DELETE", SECRETS), {"/secrets deletecollection"}),
        (call("DELETE", f"{SECRETS}/one"), {"/secrets delete"}),
        (call("PATCH", f"{SECRETS}/one"), {"/secrets patch"}),
        (call("PATCH", f"{SECRETS}/one", status=201), {"/secrets patch", "/secrets create"}),
        (
            call("POST", "/clusters/aks/api/v1/namespaces/default/serviceaccounts/a/token", status=201),
            {"/serviceaccounts/token create"},
        ),
        (call("GET", "/clusters/aks/api/v1/pods"), {"/pods list"}),
        (call("GET", "/clusters/aks/version"), set()),
    ],
)
def test_a_call_to_a_cluster_needs_its_verb(made: dict[str, Any], verbs: set[str]):
    assert rights.kubernetes_verbs([made]) == verbs


def test_a_right_too_few_and_a_right_too_many_are_told():
    used, granted = {"a/read", "b/write", "c/read"}, {"a/read", "d/delete", "e/read"}
    assert rights.missing(used, granted, {"C/read": "everybody may"}) == ["b/write"]
    assert rights.needless(used, granted, {"E/read": "no story can show it"}) == ["d/delete"]


def test_an_exception_that_is_seen_after_all_is_told():
    assert rights.needless({"a/read"}, {"a/read"}, {"A/read": "old"}) == ["A/read is listed as unseen"]


def test_infra_grants_something():
    assert len(rights.arm_granted()) > 10
    assert len(rights.kubernetes_granted()) > 5
