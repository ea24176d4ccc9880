"""A connection that Service Connector made is taken over without a trace, and pruned once it is deleted."""

from __future__ import annotations

from typing import Any

import pytest

from tests.e2e.test_service_connector import LINKER_VERSION, make_linker
from tests.e2e.together import story
from tests.e2e.world import World

pytestmark = [pytest.mark.sandbox, pytest.mark.asyncio(loop_scope="session")]

READS = {"GET", "HEAD"}


async def allow(world: World, identity_id: str, namespace: str) -> None:
    """Add the rule that an adoption of this identity in this namespace needs."""
    contract = world.contract
    rule = f"""
[[allow]]
clusters = ["{contract.cluster_id}"]
namespaces = ["{namespace}"]
subscriptions = ["{contract.subscription_id}"]
target_types = ["storage-blob"]
identities = ["{identity_id}"]
"""
    text = world.policy_file.read_text()
    world.policy_file.write_text(text + rule)


async def writes(world: World, part: str, *names: str) -> list[tuple[str, str]]:
    """Calls of a part that were no reads and named one of these, oldest first."""
    journal = await world.control("GET", "calls", url=world.contract.framed_parts[part])
    return [
        (one["method"], one["path"])
        for one in journal
        if one["method"] not in READS and any(name.lower() in one["path"].lower() for name in names)
    ]


@story
async def test_a_connection_of_service_connector_is_adopted_without_a_write_and_pruned_when_it_is_deleted(
    world: World,
):
    namespace = await world.cluster.new_namespace("story-adopted")
    linker_id, identity = await make_linker(world, "adopted_blob", namespace)
    secret, account = "sc-adoptedblob-secret", f"sc-account-{identity.client_id}"
    names = (identity.id, identity.principal_id, "adopted_blob", f"namespaces/{namespace}/")

    refused = await world.api("POST", "connections/adopt", {"linkerId": linker_id})
    assert (refused.status, refused.body["code"]) == (403, "policy-denied")
    assert f"lists the identity {identity.id}".lower() in refused.body["detail"].lower()
    await allow(world, identity.id, namespace)

    before = [await writes(world, part, *names) for part in ("arm", "kubernetes")]
    assert before[0], "the journal has the owner's own writes"
    account_id = world.contract.storage_account_id
    grants = [one.id for one in await world.assignments(account_id, identity.principal_id)]
    trusts = [one.name for one in await world.credentials(identity.id)]
    objects = await world.cluster.names(namespace)
    answer = await world.api("POST", "connections/adopt", {"linkerId": linker_id, "requestId": "adopt-1"})
    assert (answer.status, answer.body["outcome"]) == (202, "opened"), answer.body
    operation = await world.ended("adopt-1")
    assert (operation["kind"], operation["state"]) == ("validate", "succeeded")
    not_ok: dict[str, Any] = {one["name"]: one for one in operation["findings"] if one["result"] != "ok"}
    assert set(not_ok) <= {"access-proved"}, not_ok
    assert {"linker-alive", "credential-issuer", "role-assigned", "settings-keys"} <= {
        one["name"] for one in operation["findings"]
    }
    again = await world.api("POST", "connections/adopt", {"linkerId": linker_id})
    assert (again.status, again.body["outcome"]) == (200, "unchanged")
    assert [await writes(world, part, *names) for part in ("arm", "kubernetes")] == before
    assert await world.cluster.names(namespace) == objects == ([secret], [account])
    assert grants == [one.id for one in await world.assignments(account_id, identity.principal_id)] != []
    assert trusts == [one.name for one in await world.credentials(identity.id)] != []

    found = await world.connection_in(answer.body["connectionId"], "adopted")
    assert found["identity"]["provenance"] == "adopted"
    assert found["identity"]["resourceId"].lower() == identity.id.lower()
    refused = await world.api("DELETE", f"connections/{found['id']}")
    assert (refused.status, refused.body["code"]) == (409, "adopted-connection")
    assert refused.body["remedy"].lower() == f"az aks connection delete --id {linker_id}".lower()

    await world.delete_resource(linker_id, LINKER_VERSION)
    await world.connection_in(found["id"], "pruned")
    assert await world.cluster.names(namespace) == ([], [])
    assert await world.identity(identity.id) is not None
    assert await world.credentials(identity.id) == []
    assert await world.assignments(account_id, identity.principal_id) == []
