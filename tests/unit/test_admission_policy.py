"""The admission policy refuses the app's identity what Mooring never writes, and nothing that it writes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from shared import naming
from shared.policy import PROTECTED
from tests.fakes import local_app
from tests.fakes.admission import APP, documents, refusal
from tests.fakes.admitted_clusters import AdmittedClusters
from tests.fakes.given_account import ACCOUNT, allow, make_account, remove
from tests.fakes.local_app import CLUSTER, STORAGE, VAULT, LocalApp, deletion_event, make_app
from tests.fakes.sweeps import connected

TOKEN_OF = "kubernetes.io/service-account.name"
CLIENT = "7c0a1b2c-3d4e-4f50-8a6b-7c8d9e0f1a2b"
OURS = "sc-ordersblob-secret"


@pytest.fixture
def app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LocalApp:
    monkeypatch.setattr(AdmittedClusters, "asked", [], raising=False)
    monkeypatch.setattr(local_app, "InMemoryClusters", AdmittedClusters)
    made = make_app(tmp_path, MOORING_PRUNE_CONFIRM_SECONDS="1", MOORING_PRUNE_GRACE_SECONDS="1")
    made.clusters.set_secrets_store(CLUSTER, on=True)
    made.world.resources[naming.fold_id(VAULT)]["properties"]["tenantId"] = CLIENT
    return made


def thing(name: str, *, type_name: str = "", **metadata: Any) -> dict[str, Any]:
    typed = {"type": type_name} if type_name else {}
    return {"metadata": {"name": name, "namespace": "shop", **metadata}, **typed}


def asked(app: LocalApp) -> set[str]:
    assert isinstance(app.clusters, AdmittedClusters)
    return {" ".join(one.split()[:2]) for one in app.clusters.asked}


# --- what Mooring does ---------------------------------------------------------------------------


async def test_settings_of_each_kind_are_made_and_taken_away(app: LocalApp):
    vault = {"target": {"type": "keyvault", "id": VAULT}, "settingsIn": "secretProviderClass"}
    await connected(app, "orders-blob")
    await connected(app, "orders-map", settingsIn="configMap")
    await connected(app, "orders-vault", **vault, vaultObjects=[{"name": "p", "type": "secret"}])
    for name in ("orders-blob", "orders-map", "orders-vault"):
        await remove(app, name)
    kinds = ("Secret", "ConfigMap", "ServiceAccount", "SecretProviderClass")
    assert asked(app) >= {f"{verb} {kind}" for verb in ("CREATE", "DELETE") for kind in kinds}
    assert app.leftovers()["objects"] == []


async def test_an_account_that_a_request_names_is_marked_and_unmarked(app: LocalApp):
    allow(app)
    make_account(app)
    await connected(app, serviceAccount=ACCOUNT)
    await remove(app)
    assert isinstance(app.clusters, AdmittedClusters)
    assert app.clusters.asked.count(f"UPDATE ServiceAccount {ACCOUNT}") == 2


async def test_what_a_prune_removed_is_put_back(app: LocalApp):
    connection = await connected(app)
    app.world.remove(STORAGE)
    app.queue.put("resource-events", deletion_event(STORAGE))
    await app.settle(seconds=600)
    [*_, prune] = await app.operations(connection)
    answer = await app.services.restorer.restore(prune.operation_id, key="k")
    await app.settle(seconds=600)
    stored = await app.services.state.operation(answer.operation_id)  # type: ignore[arg-type]
    assert stored is not None
    assert stored.value.state == "succeeded"
    assert isinstance(app.clusters, AdmittedClusters)
    assert app.clusters.asked.count(f"CREATE Secret {OURS}") == 2


def test_an_object_with_our_label_may_be_deleted_whatever_its_name():
    labelled = thing("copy-of-it", labels={"app.kubernetes.io/managed-by": "mooring"})
    assert refusal("DELETE", "Secret", old=labelled) == ""
    assert refusal("DELETE", "Secret", old=thing("copy-of-it", labels={"team": "shop"})) != ""


def test_the_policy_asks_nobody_but_the_app():
    token = thing("t", type_name="kubernetes.io/service-account-token")
    assert refusal("CREATE", "Secret", new=token, user="somebody-else", namespace="kube-system") == ""


# --- what it never does --------------------------------------------------------------------------


@pytest.mark.parametrize("operation", ["CREATE", "UPDATE"])
@pytest.mark.parametrize(
    "secret",
    [
        thing(OURS, type_name="kubernetes.io/service-account-token", annotations={TOKEN_OF: "default"}),
        thing(OURS, type_name="bootstrap.kubernetes.io/token"),
        thing(OURS, type_name="Opaque", annotations={TOKEN_OF: "default"}),
    ],
)
def test_no_secret_for_the_token_of_an_account(operation: str, secret: dict[str, Any]):
    old = secret if operation == "UPDATE" else None
    assert "Opaque only" in refusal(operation, "Secret", new=secret, old=old)


@pytest.mark.parametrize("namespace", [one.replace("*", "x") for one in PROTECTED])
@pytest.mark.parametrize("kind", ["Secret", "ConfigMap", "ServiceAccount", "SecretProviderClass"])
def test_nothing_in_the_namespaces_that_are_protected_unless_the_policy_says_otherwise(
    namespace: str, kind: str
):
    for operation in ("CREATE", "UPDATE", "DELETE"):
        bodies = {"new": thing(OURS), "old": thing(OURS)}
        assert "namespaces of the cluster" in refusal(operation, kind, namespace=namespace, **bodies)


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("Secret", "db-password"),
        ("Secret", "sc-ordersblob-secret-2"),
        ("Secret", "sc-ordersblob-configmap"),
        ("ConfigMap", "kube-root-ca.crt"),
        ("ConfigMap", OURS),
        ("ServiceAccount", "deployer"),
        ("ServiceAccount", "x-sc-account-x"),
        ("SecretProviderClass", "theirs"),
    ],
)
def test_nothing_of_another_name(kind: str, name: str):
    one = thing(name)
    assert refusal("CREATE", kind, new=one) != ""
    assert refusal("DELETE", kind, old=one) != ""
    changed = thing(name, labels={"app.kubernetes.io/managed-by": "mooring"})
    assert refusal("UPDATE", kind, new=changed, old=one) != ""


@pytest.mark.parametrize(
    "change",
    [
        {"metadata": {"name": ACCOUNT, "annotations": {"eks.amazonaws.com/role-arn": "x"}}},
        {"metadata": {"name": ACCOUNT, "labels": {"a": "b"}}},
        {"metadata": {"name": ACCOUNT, "finalizers": ["a.example/b"]}},
        {"metadata": {"name": ACCOUNT, "ownerReferences": []}},
        {"metadata": {"name": ACCOUNT}, "secrets": [{"name": "x"}]},
        {"metadata": {"name": ACCOUNT}, "imagePullSecrets": [{"name": "x"}]},
        {"metadata": {"name": ACCOUNT}, "automountServiceAccountToken": True},
    ],
)
def test_nothing_else_of_an_account_of_somebodys_own(change: dict[str, Any]):
    assert refusal("UPDATE", "ServiceAccount", new=change, old=thing(ACCOUNT)) != ""
    assert refusal("UPDATE", "ServiceAccount", new=thing(ACCOUNT), old=change) != ""


def test_a_token_is_minted_only_where_the_namespace_says_so():
    minted = {"new": {"spec": {"audiences": [naming.AUDIENCE]}}, "sub_resource": "token"}
    assert "mints tokens only" in refusal("CREATE", "ServiceAccount", **minted)
    on = {"mooring.dev/prove": "on"}
    assert refusal("CREATE", "ServiceAccount", namespace_labels=on, **minted) == ""
    assert refusal("CREATE", "ServiceAccount", namespace="kube-system", namespace_labels=on, **minted) != ""


def test_the_policy_is_bound_and_fails_closed():
    policy, binding = documents()
    assert {one["apiVersion"] for one in (policy, binding)} == {"admissionregistration.k8s.io/v1"}
    assert binding["spec"] == {"policyName": policy["metadata"]["name"], "validationActions": ["Deny"]}
    assert policy["spec"]["failurePolicy"] == "Fail"
    assert {one["reason"] for one in policy["spec"]["validations"]} == {"Forbidden"}
    assert policy["metadata"]["labels"]["mooring.dev/app"] == APP
