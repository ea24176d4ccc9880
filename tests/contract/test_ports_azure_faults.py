"""The adapters under what Azure does on a bad day; every fault is injected into the sandbox's answers."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from shared.errors import NotYetError, Pace, PermanentError, TransientError
from shared.naming import AUDIENCE
from shared.ports import Credential
from tests.contract.ports_sandbox import Adapters, Contract, adapters, running_sandbox

IDENTITIES = "providers/Microsoft.ManagedIdentity/userAssignedIdentities"
STORAGE_VERSION = "2023-05-01"
LONGEST_SECONDS = 10


@pytest.fixture(scope="module")
def contract(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Contract]:
    with running_sandbox(tmp_path_factory.mktemp("sandbox"), real_cluster=False) as running:
        yield running


@pytest.fixture
async def azure(contract: Contract, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Adapters]:
    async with adapters(contract, monkeypatch) as wired:
        yield wired
        for url in ("arm_url", "kubernetes_url", "entra_url"):
            wired.control(contract[url], "/sandbox/faults", method="PUT", body=[])


def break_arm(azure: Adapters, **rule: Any) -> None:
    """Put one fault before Resource Manager."""
    azure.control(azure.contract["arm_url"], "/sandbox/faults", method="PUT", body=[rule])


def arm_error(code: str, message: str = "said so") -> dict[str, Any]:
    return {"error": {"code": code, "message": message}}


def identity_id(azure: Adapters, name: str = "id-faults") -> str:
    group = azure.contract["identity_resource_group"]
    return f"/subscriptions/{azure.contract['subscription_id']}/resourceGroups/{group}/{IDENTITIES}/{name}"


async def calls(azure: Adapters, part: str) -> list[dict[str, Any]]:
    journal = azure.control(azure.contract["arm_url"], "/sandbox/calls")
    return [call for call in journal if part.lower() in call["path"].lower()]


async def test_throttling_surfaces_at_once_with_the_seconds_asked_for(azure: Adapters):
    body = arm_error("SubscriptionRequestsThrottled")
    break_arm(azure, path="storageAccounts", times=None, status=429, headers={"Retry-After": "17"}, body=body)
    started = time.monotonic()
    with pytest.raises(TransientError) as caught:
        await azure.resources.get(azure.contract["storage_account_id"], api_version=STORAGE_VERSION)
    assert time.monotonic() - started < 2
    assert (caught.value.code, caught.value.retry_after_seconds) == ("throttled", 17)


async def test_a_hiccup_is_bridged_and_does_not_show(azure: Adapters):
    break_arm(azure, path="storageAccounts", times=2, status=503)
    found = await azure.resources.get(azure.contract["storage_account_id"], api_version=STORAGE_VERSION)
    assert found is not None


async def test_a_lasting_failure_surfaces_within_ten_seconds_and_three_tries(azure: Adapters):
    azure.control(azure.contract["arm_url"], "/sandbox/calls", method="DELETE")
    break_arm(azure, path="storageAccounts", times=None, status=503, headers={"Retry-After": "1"})
    started = time.monotonic()
    with pytest.raises(TransientError) as caught:
        await azure.resources.get(azure.contract["storage_account_id"], api_version=STORAGE_VERSION)
    assert time.monotonic() - started < LONGEST_SECONDS
    assert (caught.value.code, caught.value.pace) == ("service-unavailable", Pace.FAST)
    assert len(await calls(azure, "storageAccounts")) == 3


@pytest.mark.parametrize("body", [None, "not found", {"error": {"code": "SomethingElse", "message": ""}}])
async def test_a_404_without_a_definite_code_is_never_absence(azure: Adapters, body: Any):
    break_arm(azure, path="storageAccounts", times=None, status=404, body=body)
    with pytest.raises(TransientError, match="not-found-unproven"):
        await azure.resources.get(azure.contract["storage_account_id"], api_version=STORAGE_VERSION)


async def test_a_refusal_names_the_missing_action(azure: Adapters):
    message = "The client 'x' does not have authorization to perform action 'Microsoft.X/y/read' over scope"
    break_arm(azure, path="storageAccounts", status=403, body=arm_error("AuthorizationFailed", message))
    with pytest.raises(PermanentError, match="access-denied") as caught:
        await azure.resources.get(azure.contract["storage_account_id"], api_version=STORAGE_VERSION)
    assert "Microsoft.X/y/read" in caught.value.remedy


async def test_a_concurrent_credential_write_is_a_wait(azure: Adapters):
    identity = identity_id(azure)
    await azure.identities.ensure(identity, location="westeurope", tags={})
    code = "ConcurrentFederatedIdentityCredentialsWritesForSingleManagedIdentity"
    break_arm(azure, method="PUT", path="federatedIdentityCredentials", status=409, body=arm_error(code))
    wanted = Credential(name="c", issuer="https://i.example/", subject="s", audiences=(AUDIENCE,))
    with pytest.raises(NotYetError) as caught:
        await azure.identities.ensure_credential(identity, wanted)
    assert caught.value.reason == "credential-write-busy"


async def test_an_answer_lost_on_the_way_is_bridged(azure: Adapters):
    break_arm(azure, method="PUT", path="id-lost", times=1, after=True, drop=True)
    identity = identity_id(azure, "id-lost")
    made = await azure.identities.ensure(identity, location="westeurope", tags={})
    assert made == await azure.identities.get(identity)


async def test_a_service_that_drops_every_connection_is_transient(azure: Adapters):
    break_arm(azure, path="storageAccounts", times=None, drop=True)
    started = time.monotonic()
    with pytest.raises(TransientError, match="connection-failed") as caught:
        await azure.resources.get(azure.contract["storage_account_id"], api_version=STORAGE_VERSION)
    assert time.monotonic() - started < LONGEST_SECONDS
    assert caught.value.pace is Pace.FAST


async def test_entra_out_of_order_is_transient_and_named(azure: Adapters):
    rule = {"path": "/msi/token", "times": None, "status": 500, "body": {"error": "server_error"}}
    azure.control(azure.contract["entra_url"], "/sandbox/faults", method="PUT", body=[rule])
    started = time.monotonic()
    with pytest.raises(TransientError, match="token-unavailable") as caught:
        await azure.resources.get(azure.contract["storage_account_id"], api_version=STORAGE_VERSION)
    assert time.monotonic() - started < LONGEST_SECONDS
    assert caught.value.pace is Pace.SLOW


async def test_a_kubernetes_server_that_answers_strangely_is_looked_up_again(azure: Adapters):
    cluster = azure.contract["cluster_id"]
    assert await azure.clusters.namespace_exists(cluster, "orders") is True
    rules = [{"path": "/namespaces/orders", "times": 1, "status": 404, "body": "gateway"}]
    azure.control(azure.contract["kubernetes_url"], "/sandbox/faults", method="PUT", body=rules)
    azure.control(azure.contract["arm_url"], "/sandbox/calls", method="DELETE")
    assert await azure.clusters.namespace_exists(cluster, "orders") is True
    assert len(await calls(azure, "listClusterUserCredential")) == 1


async def test_an_unreachable_kubernetes_server_is_transient(azure: Adapters):
    rules = [{"path": "/api/v1/", "times": None, "drop": True}]
    azure.control(azure.contract["kubernetes_url"], "/sandbox/faults", method="PUT", body=rules)
    with pytest.raises(TransientError, match="cluster-unreachable"):
        await azure.clusters.namespace_exists(azure.contract["cluster_id"], "orders")


async def test_a_throttled_kubernetes_server_keeps_its_retry_after(azure: Adapters):
    body = {"kind": "Status", "reason": "TooManyRequests", "details": {"retryAfterSeconds": 7}}
    rules = [{"path": "/api/v1/", "times": None, "status": 429, "body": body}]
    azure.control(azure.contract["kubernetes_url"], "/sandbox/faults", method="PUT", body=rules)
    with pytest.raises(TransientError) as caught:
        await azure.clusters.namespace_exists(azure.contract["cluster_id"], "orders")
    assert (caught.value.code, caught.value.retry_after_seconds) == ("kubernetes-busy", 7)


async def test_errors_hold_no_token(azure: Adapters):
    break_arm(azure, path="storageAccounts", status=500, times=None)
    with pytest.raises(TransientError) as caught:
        await azure.resources.get(azure.contract["storage_account_id"], api_version=STORAGE_VERSION)
    token = await azure.arm.credential.token(azure.arm.scope)
    assert token not in str(caught.value)
    assert "Bearer" not in caught.value.detail


@pytest.mark.parametrize("listed", ["identities", "roles", "resources"])
async def test_a_list_whose_second_page_is_missing_is_none(azure: Adapters, listed: str):
    subscription = azure.contract["subscription_id"]
    for name in ("id-1", "id-2"):
        await azure.identities.ensure(identity_id(azure, name), location="westeurope", tags={})
    body = arm_error("ResourceGroupNotFound")
    azure.control(azure.contract["arm_url"], "/sandbox/page-size", method="PUT", body={"rows": 1})
    break_arm(azure, path="skiptoken", status=404, body=body)
    ask = {
        "identities": lambda: azure.identities.list(f"/subscriptions/{subscription}"),
        "roles": lambda: azure.roles.list(f"/subscriptions/{subscription}"),
        "resources": lambda: azure.resources.list(
            subscription, resource_type="Microsoft.ManagedIdentity/userAssignedIdentities"
        ),
    }
    try:
        with pytest.raises(TransientError, match="list-broken"):
            await ask[listed]()
    finally:
        azure.control(azure.contract["arm_url"], "/sandbox/page-size", method="PUT", body={"rows": 1000})


async def test_a_list_of_resources_that_is_refused_is_no_empty_list(azure: Adapters):
    break_arm(azure, path="/resources", status=403, body=arm_error("AuthorizationFailed"))
    with pytest.raises(PermanentError, match="access-denied"):
        await azure.resources.list(azure.contract["subscription_id"], resource_type="Microsoft.X/y")


def break_kubernetes(azure: Adapters, **rule: Any) -> None:
    """Put one fault before the cluster."""
    azure.control(azure.contract["kubernetes_url"], "/sandbox/faults", method="PUT", body=[rule])


async def test_a_list_of_users_that_is_missing_is_no_empty_list(azure: Adapters):
    cluster_id = azure.contract["cluster_id"]
    missing = {"kind": "Status", "status": "Failure", "reason": "NotFound", "code": 404}
    break_kubernetes(azure, path="/statefulsets", times=None, status=404, body=missing)
    with pytest.raises(TransientError, match="list-broken"):
        await azure.clusters.list_uses(cluster_id, "orders")
    break_kubernetes(azure, path="/v1/namespaces/orders/cronjobs", times=None, status=404, body=missing)
    with pytest.raises(TransientError, match="cluster-unreachable"):
        await azure.clusters.list_uses(cluster_id, "orders")  # the emulator serves no batch/v1beta1
    refused = {**missing, "reason": "Forbidden", "code": 403}
    break_kubernetes(azure, path="/v1/namespaces/orders/cronjobs", times=None, status=403, body=refused)
    with pytest.raises(PermanentError, match="kubernetes-access-denied"):
        await azure.clusters.list_uses(cluster_id, "orders")
    break_kubernetes(azure, path="/v1/namespaces/orders/cronjobs", times=None, status=503, body={})
    with pytest.raises(TransientError, match="service-unavailable"):
        await azure.clusters.list_uses(cluster_id, "orders")


async def test_cron_jobs_of_an_old_cluster_are_found_under_their_earlier_version(azure: Adapters):
    gone = {"path": "/batch/v1/namespaces/orders/cronjobs", "times": None, "status": 404, "body": {}}
    template = {"spec": {"serviceAccountName": "nightly"}}
    job = {"metadata": {"name": "n"}, "spec": {"jobTemplate": {"spec": {"template": template}}}}
    old = {"path": "/batch/v1beta1/", "times": None, "status": 200, "body": {"items": [job]}}
    azure.control(azure.contract["kubernetes_url"], "/sandbox/faults", method="PUT", body=[gone, old])
    uses = await azure.clusters.list_uses(azure.contract["cluster_id"], "orders")
    assert [(use.kind, use.service_account) for use in uses if use.name == "n"] == [("CronJob", "nightly")]


async def test_an_object_that_others_change_while_it_is_made_is_made_all_the_same(azure: Adapters):
    place = (azure.contract["cluster_id"], "Secret", "orders")
    moved = {"kind": "Status", "status": "Failure", "reason": "Conflict", "code": 409}
    break_kubernetes(azure, method="PATCH", path="/secrets/", times=2, status=409, body=moved)
    made = await azure.clusters.create(
        *place, "sc-contested-secret", labels={}, annotations={}, data={"A": "1"}
    )
    changed = await azure.clusters.apply(*place, "sc-contested-secret", labels={}, annotations={}, data={})
    assert (dict(made.data), dict(changed.data), made.uid) == ({"A": "1"}, {}, changed.uid)
    break_kubernetes(azure, method="PATCH", path="/secrets/", times=3, status=409, body=moved)
    with pytest.raises(TransientError, match="kubernetes-conflict"):
        await azure.clusters.create(
            *place, "sc-contested-2-secret", labels={}, annotations={}, data={"A": "1"}
        )
    assert (await azure.clusters.get(*place, "sc-contested-2-secret")) is not None, "the next run finds it"
    refused = {**moved, "reason": "Forbidden", "code": 403}
    break_kubernetes(azure, method="PATCH", path="/secrets/", times=1, status=403, body=refused)
    with pytest.raises(PermanentError, match="kubernetes-access-denied"):
        await azure.clusters.create(
            *place, "sc-contested-3-secret", labels={}, annotations={}, data={"A": "1"}
        )
