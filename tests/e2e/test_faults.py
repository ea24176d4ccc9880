"""Azure and the cluster misbehave while a connection is made; it is made all the same, and once."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.e2e.together import long_story, story
from tests.e2e.world import Json, World, eventually

pytestmark = [pytest.mark.sandbox, pytest.mark.asyncio(loop_scope="session")]

ASSIGNMENTS = "/providers/Microsoft.Authorization/roleAssignments/"


async def assert_made_once(world: World, connection: Json) -> None:
    """One identity, one credential, one assignment, one secret, one account; and the program works."""
    identity = connection["identity"]
    assert len(await world.credentials(identity["resourceId"])) == 1
    scope = connection["target"]["id"]
    assert len(await world.assignments(scope, identity["principalId"])) == 1
    names = await world.cluster.names(connection["namespace"])
    assert [len(some) for some in names] == [1, 1]
    ran = await world.cluster.run_blob_program(connection)
    assert ran.exit_code == 0, ran.output


async def assert_gone(world: World, connection: Json) -> None:
    identity = connection["identity"]
    assert await world.cluster.names(connection["namespace"]) == ([], [])
    assert await world.identity(identity["resourceId"]) is None
    assert await world.assignments(connection["target"]["id"], identity["principalId"]) == []


def step_of(operation: Json, name: str) -> Json:
    return next(dict(step) for step in operation["steps"] if step["name"] == name)


async def survives(world: World, name: str, part: str, fault: Json, **more: Any) -> Json:
    """Create under a fault, check, delete; returns the create's operation."""
    namespace = await world.cluster.new_namespace(f"story-{name}")
    await world.add_fault(part, **fault)
    spec = world.spec(name, namespace=namespace, **more)
    connection = await world.create(spec)
    await assert_made_once(world, connection)
    operation = (await world.api("GET", connection["lastOperation"])).body
    await world.delete(spec)
    await assert_gone(world, connection)
    return dict(operation)


@story
async def test_a_throttled_identity_write_is_repeated_when_azure_allows(world: World):
    path = "userAssignedIdentities/mooring-story-throttled-"
    body = {"error": {"code": "SubscriptionRequestsThrottled", "message": "Number of requests exceeded."}}
    fault = {"method": "PUT", "path": path, "status": 429, "headers": {"Retry-After": "2"}, "body": body}
    await survives(world, "throttled", "arm", fault)
    calls = await world.calls("arm", "PUT", "mooring-story-throttled-")
    refused, made = (one for one in calls if "federated" not in one["path"])
    assert (refused["status"], made["status"]) == (429, 201)
    assert made["at"] - refused["at"] >= 2


@story
async def test_an_unavailable_role_service_is_tried_again(world: World):
    account_id = await world.new_account()
    target = {"type": "storage-blob", "id": account_id}
    path = account_id.rsplit("/", 1)[-1] + ASSIGNMENTS
    fault = {"method": "PUT", "path": path, "status": 503, "times": 3, "body": "upstream connect error"}
    operation = await survives(world, "unavailable", "arm", fault, target=target)
    statuses = [one["status"] for one in await world.calls("arm", "PUT", path)]
    assert statuses == [503, 503, 503, 201]
    assert step_of(operation, "role_assignments")["state"] == "done"


@story
async def test_a_credential_whose_answer_was_lost_is_not_made_twice(world: World):
    path = "mooring-story-lost-.*/federatedIdentityCredentials/"
    fault = {"method": "PUT", "path": path, "status": 500, "after": True, "body": "lost"}
    await survives(world, "lost", "arm", fault)


@story
async def test_a_cluster_that_does_not_answer_for_a_while_is_waited_for(world: World):
    path = "/namespaces/story-silent/(secrets|serviceaccounts)"
    fault = {"path": path, "drop": True, "times": None}
    mending = asyncio.create_task(_mend_after(world, "kubernetes", path, seconds=3))
    await survives(world, "silent", "kubernetes", fault)
    await mending


async def _mend_after(world: World, part: str, path: str, *, seconds: float) -> None:
    await asyncio.sleep(seconds)
    await world.remove_fault(part, path)


@story
async def test_a_missing_right_fails_with_its_remedy_and_a_delete_clears_up(world: World):
    namespace = await world.cluster.new_namespace("story-denied")
    account_id = await world.new_account()
    path = account_id.rsplit("/", 1)[-1] + ASSIGNMENTS
    action = "Microsoft.Authorization/roleAssignments/write"
    message = f"The client 'x' does not have authorization to perform action '{action}' over scope '/s'."
    body = {"error": {"code": "AuthorizationFailed", "message": message}}
    await world.add_fault("arm", method="PUT", path=path, status=403, body=body, times=None)
    spec = world.spec("denied", namespace=namespace, target={"type": "storage-blob", "id": account_id})
    operation = await world.request("create", spec)
    assert (operation["state"], operation["code"]) == ("failed", "access-denied")
    assert action in operation["remedy"]
    connection = await world.connection(operation["connectionId"])
    assert connection["state"] == "failed"
    assert await world.identity(connection["identity"]["resourceId"]) is not None

    await world.remove_fault("arm", path)
    mended = await world.create(spec)
    await assert_made_once(world, mended)
    await world.delete(spec)
    await assert_gone(world, connection)


@story
async def test_what_a_failed_create_made_goes_with_a_delete(world: World):
    namespace = await world.cluster.new_namespace("story-halfway")
    path = "mooring-story-halfway-.*/federatedIdentityCredentials/"
    body = {"error": {"code": "RequestDisallowedByPolicy", "message": "Policy 'no-fic' says no."}}
    await world.add_fault("arm", method="PUT", path=path, status=403, body=body, times=None)
    spec = world.spec("halfway", namespace=namespace)
    operation = await world.request("create", spec)
    assert (operation["state"], operation["code"]) == ("failed", "azure-policy-refused")
    connection = await world.connection(operation["connectionId"])
    identity, scope = connection["identity"], world.contract.storage_account_id
    assert await world.identity(identity["resourceId"]) is not None
    # The role's step runs beside the one that fails: there is exactly what the record says of it.
    given = step_of(operation, "role_assignments")["state"] == "done"
    assert len(await world.assignments(scope, identity["principalId"])) == given
    await world.delete(spec)
    await world.remove_fault("arm", path)
    await assert_gone(world, connection)


@long_story
async def test_a_delete_overtakes_a_create_that_is_stuck(world: World):
    namespace = await world.cluster.new_namespace("story-stuck")
    path = "mooring-story-stuck-.*/federatedIdentityCredentials/"
    await world.add_fault("arm", method="PUT", path=path, status=503, times=None, body="busy")
    spec = world.spec("stuck", namespace=namespace)
    message = {"action": "create", "requestId": "stuck-create", "connection": spec}
    await world.send(message)

    async def tried() -> list[Json] | None:
        calls = await world.calls("arm", "PUT", "mooring-story-stuck-")
        return [one for one in calls if one["status"] == 503] or None

    await eventually(tried)
    deleted = await world.delete(spec)
    created = await world.operation("stuck-create")
    assert created is not None
    assert (created["state"], created["code"]) == ("superseded", "superseded-by-delete")
    await world.remove_fault("arm", path)
    connection = await world.connection(deleted["connectionId"])
    assert (connection["state"], connection["operations"]) == ("deleted", [])
    assert await world.cluster.names(namespace) == ([], [])
