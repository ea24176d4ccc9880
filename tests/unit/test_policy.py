"""The policy denies until listed, tells what is missing, and is read as a whole or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.catalogue import catalogue
from shared.errors import PermanentError, RefusedError
from shared.policy import PROTECTED, Policy
from shared.spec import ConnectionSpec

ROOT = Path(__file__).parents[2]
SUBSCRIPTION = "11111111-2222-3333-4444-555555555555"
GROUP = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/rg"
CLUSTER = f"{GROUP}/providers/Microsoft.ContainerService/managedClusters/aks"
IDENTITY = f"{GROUP}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/id"
SPEC = ConnectionSpec(
    name="blob",
    cluster_id=CLUSTER,
    namespace="shop",
    workload="web",
    target_type="storage-blob",
    target_id=f"{GROUP}/providers/Microsoft.Storage/storageAccounts/acc",
)
ROLES = ["Storage Blob Data Contributor"]
RULE = f"""
[[allow]]
clusters = ["{CLUSTER}"]
namespaces = ["shop"]
subscriptions = ["{SUBSCRIPTION}"]
target_types = ["storage-blob"]
"""


def policy(text: str = RULE) -> Policy:
    return Policy.parse(f"version = 1\n{text}")


def refusal(text: str, spec: ConnectionSpec = SPEC, roles: list[str] = ROLES) -> RefusedError:
    with pytest.raises(RefusedError) as caught:
        policy(text).judge(spec, roles)
    return caught.value


def spec(**changes: str) -> ConnectionSpec:
    return SPEC.model_copy(update=changes)


def test_what_one_rule_lists_is_allowed():
    policy().judge(SPEC, ROLES)


def test_casing_of_ids_and_roles_does_not_matter():
    rule = RULE.replace(CLUSTER, CLUSTER.upper()) + 'roles = ["storage blob data CONTRIBUTOR"]\n'
    policy(rule).judge(spec(cluster_id=CLUSTER.lower(), target_id=SPEC.target_id.upper()), ROLES)


@pytest.mark.parametrize(
    ("text", "changes", "dimension", "field"),
    [
        ("", {}, "cluster", "connection.clusterId"),
        (RULE, {"cluster_id": CLUSTER + "2"}, "cluster", "connection.clusterId"),
        (RULE, {"namespace": "shop2"}, "namespace", "connection.namespace"),
        (RULE, {"target_id": SPEC.target_id.replace("1111", "9999")}, "subscription", "connection.target.id"),
        (RULE, {"target_type": "keyvault"}, "target type", "connection.target.type"),
        (RULE + "roles = []", {}, "role", "connection.target.type"),
        (RULE, {"identity_id": IDENTITY}, "identity", "connection.identityId"),
    ],
)
def test_a_denial_names_the_dimension_and_its_remedy_would_allow_it(
    text: str, changes: dict[str, str], dimension: str, field: str
):
    asked = spec(**changes)
    error = refusal(text, asked)
    assert (error.code, error.field) == ("policy-denied", field)
    assert f"lists the {dimension} " in error.detail
    rule = error.remedy[error.remedy.index("[[allow]]") :]
    policy(rule).judge(asked, ROLES)


def test_what_lies_below_a_listed_cluster_is_not_that_cluster():
    assert "cluster" in refusal(RULE, spec(cluster_id=CLUSTER + "/agentPools/p")).detail


def test_two_rules_do_not_add_up():
    other = RULE.replace('"shop"', '"other"').replace("storage-blob", "keyvault")
    policy(RULE + other).judge(SPEC, ROLES)
    assert "target type keyvault" in refusal(RULE + other, spec(target_type="keyvault")).detail


def test_every_role_must_be_listed():
    rule = RULE.replace("storage-blob", "keyvault") + 'roles = ["Key Vault Secrets User"]'
    asked = spec(target_type="keyvault")
    policy(rule).judge(asked, ["Key Vault Secrets User"])
    error = refusal(rule, asked, ["Key Vault Secrets User", "Key Vault Certificate User"])
    assert "role Key Vault Certificate User" in error.detail


def test_a_listed_identity_is_allowed_for_that_rule_only():
    rule = RULE + f'identities = ["{IDENTITY}"]'
    policy(rule).judge(spec(identity_id=IDENTITY.upper()), ROLES)
    assert "identity" in refusal(rule, spec(identity_id=IDENTITY + "2")).detail


@pytest.mark.parametrize(
    ("pattern", "found", "allowed"),
    [
        ("team-*", "team-a", True),
        ("team-*", "team-", True),
        ("team-*", "my-team-a", False),
        ("team-?", "team-ab", False),
        ("*", "anything", True),
        ("shop", "shop-2", False),
    ],
)
def test_namespaces_may_be_patterns(pattern: str, found: str, *, allowed: bool):
    rule = RULE.replace('"shop"', f'"{pattern}"')
    if allowed:
        policy(rule).judge(spec(namespace=found), ROLES)
    else:
        assert "namespace" in refusal(rule, spec(namespace=found)).detail


@pytest.mark.parametrize(
    ("group", "name", "allowed"),
    [
        ("rg", "aks", True),
        ("rg-2", "aks-7", True),
        ("rg", "other", False),
        ("team/providers/x", "aks", False),
    ],
)
def test_a_star_in_a_cluster_id_stays_within_its_segment(group: str, name: str, *, allowed: bool):
    def with_names(one: str, other: str) -> str:
        return CLUSTER.replace("/rg/", f"/{one}/").removesuffix("aks") + other

    rule = RULE.replace(CLUSTER, with_names("*", "aks*"))
    if allowed:
        policy(rule).judge(spec(cluster_id=with_names(group, name)), ROLES)
    else:
        assert "cluster" in refusal(rule, spec(cluster_id=with_names(group, name))).detail


@pytest.mark.parametrize(
    "namespace", ["kube-system", "kube-public", "sc-system", "azure-arc", "gatekeeper-system"]
)
def test_the_clusters_own_namespaces_are_protected_unless_the_policy_says_otherwise(namespace: str):
    everywhere = RULE.replace('"shop"', '"*"')
    asked = spec(namespace=namespace)
    assert refusal(everywhere, asked).code == "namespace-protected"
    assert refusal("[protected]\n" + everywhere, asked).code == "namespace-protected"
    policy('[protected]\nnamespaces = ["mine"]\n' + everywhere).judge(asked, ROLES)
    assert refusal('[protected]\nnamespaces = ["mine"]\n' + everywhere, spec(namespace="mine")).code == (
        "namespace-protected"
    )


def test_the_sample_parses_and_allows_the_catalogues_own_roles():
    sample = Policy.parse((ROOT / "policy.sample.toml").read_text())
    assert sample.protected == PROTECTED
    group = "/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/rg-demo"
    for name, tail in (
        ("storage-blob", "Storage/storageAccounts/stdemo"),
        ("keyvault", "KeyVault/vaults/kv"),
    ):
        row = catalogue().find(name)
        asked = spec(
            cluster_id=f"{group}/providers/Microsoft.ContainerService/managedClusters/aks-demo",
            namespace="default",
            target_type=row.name,
            target_id=f"{group}/providers/Microsoft.{tail}",
        )
        sample.judge(asked, [role.name for role in row.roles()])


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("", 1, "version"),
        ("version = 2", 1, "version"),
        ("version = true", 1, "version"),
        ("version = 1\nversion = 1", 2, ""),
        ("version = 1\nx = ", 2, ""),
        ("version = 1\n\nextra = 2", 3, "extra"),
        ("version = 1\n[allow]\nclusters = []", 2, "[[allow]]"),
        ("version = 1\nallow = [1]", 2, "[[allow]]"),
        ("version = 1\nprotected = 1", 2, "protected"),
        ("version = 1\n[protected]\nnamespace = []", 3, "namespace"),
        ("version = 1\n[protected]\nnamespaces = 'x'", 3, "list of strings"),
        ("version = 1\n[[allow]]\nclusters = []", 2, "namespaces is missing"),
        (f"version = 1\n{RULE}\n{RULE}role = []\n", 15, "role is not a key"),
        (f"version = 1\n{RULE}\n{RULE.replace('shop', 'Shop')}", 12, "'Shop'"),
        (f"version = 1\n{RULE.replace(CLUSTER, '*')}", 4, "managed cluster"),
        (f"version = 1\n{RULE.replace(CLUSTER, CLUSTER.replace(SUBSCRIPTION, '*'))}", 4, "managed cluster"),
        (f"version = 1\n{RULE.replace(CLUSTER, CLUSTER.replace('aks', '[a]'))}", 4, "managed cluster"),
        (f"version = 1\n{RULE.replace(CLUSTER, CLUSTER.replace('/rg/', '/rg/x/y/'))}", 4, ""),
        (f"version = 1\n{RULE.replace(SUBSCRIPTION + chr(34) + ']', '*' + chr(34) + ']')}", 6, "GUID"),
        (f"version = 1\n{RULE.replace('storage-blob', 'Blob Storage')}", 7, "target type"),
        (f"version = 1\n{RULE}roles = ['']", 8, "role"),
        (f"version = 1\n{RULE}roles = [1]", 8, "list of strings"),
        (f"version = 1\n{RULE}identities = ['*']", 8, "refused"),
        (f"version = 1\n{RULE}[protected]\nnamespaces = ['A']", 9, "namespace"),
    ],
)  # fmt: skip
def test_an_unreadable_policy_is_refused_with_the_line_of_the_fault(text: str, line: int, words: str):
    with pytest.raises(PermanentError) as caught:
        Policy.parse(text)
    assert caught.value.code == "policy-unreadable"
    assert f"line {line}" in caught.value.detail
    assert words in caught.value.detail


@given(st.text(max_size=80))
def test_no_text_but_a_policy_is_read(text: str):
    for body in (text, f"version = 1\n{text}", f"version = 1\n{RULE}{text}"):
        try:
            found = Policy.parse(body)
        except PermanentError as error:
            assert error.code == "policy-unreadable"  # noqa: PT017 - both outcomes are fine, others are not
        else:
            assert found.protected
