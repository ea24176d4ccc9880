"""A connection is changed while its program runs on, under a service account of its owner's."""

from __future__ import annotations

import asyncio
import uuid
from typing import Any

import pytest

from tests.e2e.together import story
from tests.e2e.world import Json, World

pytestmark = [pytest.mark.sandbox, pytest.mark.asyncio(loop_scope="session")]

CLIENT_ID = "azure.workload.identity/client-id"
NAMESPACE, ACCOUNT = "story-updates", "orders-sa"
RULE = """
[[allow]]
clusters = ["{cluster}"]
namespaces = ["story-updates"]
subscriptions = ["{subscription}"]
target_types = ["storage-blob"]
service_accounts = ["orders-*"]
"""


def allow_account(world: World) -> None:
    contract = world.contract
    rule = RULE.format(cluster=contract.cluster_id, subscription=contract.cluster_id.split("/")[2])
    world.policy_file.write_text(world.policy_file.read_text() + rule)


async def annotations(world: World) -> dict[str, str]:
    account = await world.cluster.account(NAMESPACE, ACCOUNT)
    return dict(account.metadata.annotations or {})


async def ended(world: World, answer: Any) -> Json:
    """The operation of an answer, once it has ended."""
    while True:
        shown: Json = (await world.api("GET", f"operations/{answer.body['operationId']}")).body
        if shown["state"] in {"succeeded", "failed", "superseded"}:
            return shown
        await asyncio.sleep(0.3)


@story
async def test_an_intent_is_narrowed_under_an_account_of_its_owners(world: World):
    await world.cluster.new_namespace(NAMESPACE)
    await world.cluster.core.create_namespaced_service_account(
        NAMESPACE, {"metadata": {"name": ACCOUNT, "annotations": {"team": "shop"}}}
    )
    spec = world.spec(f"narrow-{uuid.uuid4().hex[:6]}", namespace=NAMESPACE, serviceAccount=ACCOUNT)
    refused = await world.request("create", spec)
    assert (refused["state"], refused["code"]) == ("rejected", "policy-denied")
    allow_account(world)
    connection = await world.create(spec)
    assert connection["kubernetes"]["serviceAccount"] == ACCOUNT
    assert await annotations(world) == {"team": "shop", CLIENT_ID: connection["identity"]["clientId"]}
    assert (await world.cluster.run_blob_program(connection)).exit_code == 0

    wanted = {**spec, "intent": "read", "clientType": "springBoot"}
    plan = (await world.api("POST", "connections/plan", {"action": "update", "connection": wanted})).body
    assert (plan["result"], plan["changes"]["refusal"]) == ("ok", None), plan
    changes = {"intent": "read", "clientType": "springBoot"}
    operation = await ended(world, await world.api("PATCH", f"connections/{connection['id']}", changes))
    assert (operation["state"], operation["update"]) == ("succeeded", True), operation
    connection = (await world.api("GET", f"connections/{connection['id']}")).body
    roles = [one["role"] for one in connection["roleAssignments"]]
    assert roles == [one["name"] for one in plan["changes"]["roleAssignments"]["add"]]
    held = await world.cluster.secret(NAMESPACE, connection["kubernetes"]["secret"])
    assert held is not None
    assert set(held) >= set(plan["changes"]["keys"]["add"])
    assert not set(held) & set(plan["changes"]["keys"]["remove"])
    refused_change = await world.api("PATCH", f"connections/{connection['id']}", {"workload": "other"})
    assert (refused_change.status, refused_change.body["code"]) == (409, "cannot-change")

    validation = await ended(world, await world.api("POST", f"connections/{connection['id']}/validate"))
    assert "failed" not in {one["result"] for one in validation["findings"]}, validation["findings"]
    await world.delete(spec)
    assert await annotations(world) == {"team": "shop"}
    assert await world.cluster.names(NAMESPACE) == ([], [ACCOUNT])
