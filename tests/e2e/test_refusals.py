"""What cannot be carried out ends as a readable refusal, and nothing of it is half made."""

from __future__ import annotations

import asyncio
import base64
import json
import uuid
from typing import Any

import pytest

from tests.e2e import together
from tests.e2e.together import long_story, story
from tests.e2e.world import Json, World, eventually

pytestmark = [pytest.mark.sandbox, pytest.mark.asyncio(loop_scope="session")]

NAMESPACE = "story-refused"
SECRET_WORDS = "DefaultEndpointsProtocol=https;AccountName=x;AccountKey=c2VjcmV0c2VjcmV0c2VjcmV0;"
POISON_MARK = "refused-poison"


def create(world: World, **connection: Any) -> Json:
    spec = world.spec("refused", namespace=NAMESPACE) | connection
    return {
        "action": "create",
        "connection": {name: value for name, value in spec.items() if value is not None},
    }


def bad_requests(world: World) -> dict[str, tuple[str | Json, str, str, int]]:
    """By what is wrong: the message, its code and field, and the status of HTTP's answer."""
    contract = world.contract
    subscription, foreign = contract.subscription_id, str(uuid.uuid4())
    blob = {"type": "storage-blob", "id": contract.storage_account_id}
    identity = f"{contract.cluster_id.split('/providers/')[0]}/providers/Microsoft.ManagedIdentity"
    identity += "/userAssignedIdentities/somebody"
    spec = world.spec("refused", namespace=NAMESPACE)
    return {
        "not JSON": ("create a connection, please!", "not-json", "", 400),
        "base64 of no JSON": (base64.b64encode(b"hello, world").decode(), "not-json", "", 400),
        "a list": ("[]", "not-an-object", "", 400),
        "wrong type": (create(world, clientType=7), "wrong-type", "connection.clientType", 400),
        "unknown action": ({"action": "explode"}, "unknown-action", "action", 400),
        "unknown target type": (
            create(world, target={**blob, "type": "mainframe"}),
            "unknown-target-type",
            "connection.target.type",
            400,
        ),
        "no ARM id": (create(world, clusterId="my-cluster"), "invalid-id", "connection.clusterId", 400),
        "other resource's id": (
            create(world, target={**blob, "id": contract.vault_id}),
            "target-type-mismatch",
            "connection.target.id",
            400,
        ),
        "foreign subscription": (
            create(world, target={**blob, "id": blob["id"].replace(subscription, foreign)}),
            "subscription-not-listed",
            "connection.target.id",
            403,
        ),
        "unlisted identity": (
            create(world, identityId=identity),
            "policy-denied",
            "connection.identityId",
            403,
        ),
        "protected namespace": (
            create(world, namespace="kube-system"),
            "namespace-protected",
            "connection.namespace",
            403,
        ),
        "no namespace": (create(world, namespace=None), "missing-property", "connection.namespace", 400),
        "unknown property": (create(world, colour="blue"), "unknown-property", "connection.colour", 400),
        "a password": (create(world, name=SECRET_WORDS), "invalid-name", "connection.name", 400),
        "own id": ({"id": "7", **create(world)}, "reserved-property", "id", 400),
        "own popReceipt": ({"popReceipt": "x", **create(world)}, "reserved-property", "popReceipt", 400),
        "key named twice": (
            json.dumps({"action": "delete", "connection": spec})[:-1] + ', "action": "create"}',
            "duplicate-key",
            "",
            400,
        ),
    }


async def refusal(world: World, code: str, field: str) -> Json:
    """Wait for a refusal on today's list."""

    async def look() -> Json | None:
        found = (await world.api("GET", "operations?state=rejected")).body["operations"]
        return next((one for one in found if (one["code"], one["field"] or "") == (code, field)), None)

    try:
        return await eventually(look)
    except TimeoutError:
        raise AssertionError(f"no refusal with {code} {field}") from None


async def envelope(world: World, operation_id: str) -> Json:
    """Wait for a refusal's envelope on the queue ``rejected``."""

    async def look() -> Json | None:
        found = await world.read_rejected()
        return next((one for one in found if one.get("operation_id") == operation_id), None)

    return await eventually(look)


async def assert_nothing_made(world: World, namespace: str) -> None:
    assert await world.cluster.names(namespace) == ([], [])
    listed = (await world.api("GET", f"connections?namespace={namespace}")).body["connections"]
    assert [one for one in listed if one["state"] != "deleted"] == []
    from azure.mgmt.msi.aio import ManagedServiceIdentityClient

    async with world.azure(ManagedServiceIdentityClient) as client:
        group = world.contract.identity_resource_group
        names = [one.name async for one in client.user_assigned_identities.list_by_resource_group(group)]
    assert [name for name in names if namespace in name] == []


@story
async def test_every_bad_request_on_the_queue_is_refused_with_its_reason(world: World):
    await world.cluster.new_namespace(NAMESPACE)
    bad = bad_requests(world)
    await world.send(*(message for message, _, _, _ in bad.values()))
    for what, (_, code, field, _) in bad.items():
        refused = await refusal(world, code, field)
        assert (refused["state"], refused["kind"] in {None, "create"}) == ("rejected", True), what
        assert refused["detail"], what
        told = await envelope(world, refused["id"])
        assert (told["kind"], told["code"], told["field"]) == ("request-rejected", code, field), what
        by_id = await world.api("GET", f"operations/{refused['id']}")
        assert by_id.body["code"] == code, what
    assert "c2VjcmV0" not in json.dumps(await world.read_rejected())
    await assert_nothing_made(world, NAMESPACE)


@story
async def test_every_bad_request_over_http_is_refused_with_its_reason(world: World):
    for what, (message, code, field, status) in bad_requests(world).items():
        text = message if isinstance(message, str) else json.dumps(message)
        answer = await world.api("POST", "connections", data=text.encode())
        assert (answer.status, answer.body["code"]) == (status, code), (what, answer.body)
        assert answer.headers["content-type"].startswith("application/problem+json"), what
        assert (answer.body["status"], answer.body.get("field", "")) == (status, field), (what, answer.body)
        assert "c2VjcmV0" not in json.dumps(answer.body), what


@story
async def test_a_message_that_is_too_large_is_refused(world: World):
    padding = "x" * 49_500
    message = json.dumps({"action": "create", "requestId": "large", "padding": padding})
    await world.send(message, message.ljust(64 * 1024))
    refused = await refusal(world, "message-too-large", "")
    assert "at most" in refused["detail"]
    answer = await world.api("POST", "connections", data=message.encode())
    assert (answer.status, answer.body["code"]) == (413, "message-too-large")
    answer = await world.api("POST", "connections", data=b"[" * 200_000)
    assert (answer.status, answer.body["code"]) == (413, "message-too-large")


@long_story
async def test_a_message_that_breaks_its_own_metadata_is_refused_through_the_poison_queue(world: World):
    """``dequeueCount`` in the body fails the worker's binding, five times ten seconds apart."""
    message = {"dequeueCount": "abc", **create(world, name=POISON_MARK), "requestId": POISON_MARK}
    await world.send(message)
    refused = await refusal(world, "reserved-property", "dequeueCount")
    assert refused["source"] == "poison"
    told = await envelope(world, refused["id"])
    assert "top-level" in told["detail"]
    async with world.queue("connection-requests-poison") as queue:
        assert await queue.peek_messages() == []


@story
async def test_names_that_fold_to_one_secret_collide(world: World):
    namespace = await world.cluster.new_namespace("story-folded")
    spec = world.spec("orders-db", namespace=namespace)
    connection = await world.create(spec)
    refused = await world.request("create", {**spec, "name": "Orders.DB"})
    assert (refused["state"], refused["code"]) == ("rejected", "name-collision")
    assert "sc-ordersdb-secret" in refused["detail"]
    refused = await world.request("create", {**spec, "clientType": "springBoot"})
    assert (refused["state"], refused["code"]) == ("rejected", "body-differs")
    assert (await world.connection(connection["id"]))["name"] == "orders-db"
    await world.delete(spec)


@story
async def test_of_two_colliding_names_at_once_exactly_one_wins(world: World):
    namespace = await world.cluster.new_namespace("story-race")
    specs = [world.spec(name, namespace=namespace) for name in ("a-race", "ar-ace")]
    ends = await asyncio.gather(*(world.request("create", spec) for spec in specs))
    assert sorted(one["state"] for one in ends) == ["rejected", "succeeded"]
    (lost,) = [one for one in ends if one["state"] == "rejected"]
    assert lost["code"] == "name-collision"
    (winner,) = [spec for spec, end in zip(specs, ends, strict=True) if end["state"] == "succeeded"]
    assert len((await world.cluster.names(namespace))[1]) == 1
    await world.delete(winner)
    assert await world.cluster.names(namespace) == ([], [])


@story
async def test_the_same_message_five_times_is_one_operation(world: World):
    namespace = await world.cluster.new_namespace("story-five")
    spec = world.spec("five", namespace=namespace)
    message = {"action": "create", "requestId": f"five-{uuid.uuid4().hex}", "connection": spec}
    text = json.dumps(message)
    await world.send(text, text, base64.b64encode(text.encode()).decode(), text, text)
    operation = await world.ended(message["requestId"])
    assert operation["state"] == "succeeded", operation
    connection = await world.connection(operation["connectionId"])
    identity_id = connection["identity"]["resourceId"]
    assert len(await world.calls("arm", "PUT", f"{identity_id}/federatedIdentityCredentials")) == 1
    other = {**message, "connection": {**spec, "clientType": "java"}}
    refused = await world.api("POST", "connections", other)
    assert (refused.status, refused.body["code"]) == (409, "request-id-reused")
    again = await world.request("create", spec)
    assert (again["id"], again["outcome"]) == (operation["id"], "unchanged")
    await world.delete(spec)


@story
async def test_a_base64_message_is_carried_out(world: World):
    namespace = await world.cluster.new_namespace("story-base64")
    spec = world.spec("base64", namespace=namespace)
    message = {"action": "create", "requestId": "base64-1", "connection": spec}
    await world.send(base64.b64encode(json.dumps(message).encode()).decode())
    assert (await world.ended("base64-1"))["state"] == "succeeded"
    await world.delete(spec)


@story
async def test_deleting_what_is_not_there_is_nothing_to_do_by_queue_and_404_by_http(world: World):
    operation = await world.request("delete", world.spec("never-made"))
    assert (operation["state"], operation["outcome"], operation["id"]) == ("succeeded", "nothing-to-do", None)
    answer = await world.api("DELETE", f"connections/{operation['connectionId']}")
    assert (answer.status, answer.body["code"]) == (404, "not-found")
    refused = await world.request("validate", world.spec("never-made"))
    assert (refused["state"], refused["code"]) == ("rejected", "not-found")


@story
async def test_a_create_that_cannot_work_fails_before_anything_is_made(world: World):
    missing = await world.request("create", world.spec("nowhere", namespace="story-nowhere"))
    assert (missing["state"], missing["code"]) == ("failed", "namespace-missing")
    assert missing["remedy"] == "kubectl create namespace story-nowhere"
    namespace = await world.cluster.new_namespace("story-no-target")
    target = {"type": "storage-blob", "id": f"{world.contract.storage_account_id}gone"}
    missing = await world.request("create", world.spec("no-target", namespace=namespace, target=target))
    assert (missing["state"], missing["code"]) == ("failed", "target-not-found")
    assert await world.cluster.names(namespace) == ([], [])
    for operation in (missing,):
        answer = await world.api("DELETE", f"connections/{operation['connectionId']}")
        assert answer.status == 202
        await world.connection_in(operation["connectionId"], "deleted")
    await assert_nothing_made(world, namespace)


async def test_an_unreadable_policy_refuses_requests_and_lets_the_app_live(world: World):
    await together.all_told()
    namespace = await world.cluster.new_namespace("alone-policy")
    spec = world.spec("policy", namespace=namespace)
    text = world.policy_file.read_text()
    world.policy_file.write_text(f"{text}\n[[allow\n")
    try:
        refused = await world.request("create", spec)
        assert (refused["state"], refused["code"]) == ("rejected", "policy-unreadable")
        assert f"line {text.count(chr(10)) + 2}" in refused["detail"]
        answer = await world.api("POST", "connections", {"connection": spec})
        assert (answer.status, answer.body["code"]) == (503, "policy-unreadable")
        assert (await world.api("GET", "connections")).status == 200
    finally:
        world.policy_file.write_text(text)
    assert (await world.create(spec))["state"] == "configured"
    await world.delete(spec)
    await assert_nothing_made(world, namespace)


async def test_no_queue_is_left_with_anything_on_it(world: World):
    await together.all_told()
    for name in ("connection-requests", "connection-steps", "resource-events"):
        for queue_name in (name, f"{name}-poison"):

            async def empty(queue_name: str = queue_name) -> bool | None:
                async with world.queue(queue_name) as queue:
                    properties = await queue.get_queue_properties()
                return True if properties.approximate_message_count == 0 else None

            assert await eventually(empty, patience=30), queue_name
    still_open = (await world.api("GET", "operations")).body["operations"]
    assert still_open == []
