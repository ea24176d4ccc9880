"""Bad input, one by one: refused on the record, readable, found again, nothing half-made, nothing retried."""

import base64
import json
from typing import Any

import azure.functions as func
import pytest

from shared import naming
from shared.errors import StateConflictError
from tests.fakes.http_app import HttpApp
from tests.fakes.journal import Call
from tests.fakes.local_app import CLUSTER, GROUP, STORAGE, SUBSCRIPTION, LocalApp, create_body, delete_body

ID = naming.connection_id(CLUSTER, "shop", "orders-blob")
EMPTY = {"identities": [], "assignments": [], "objects": [], "users": []}
FOREIGN = "99999999-9999-4999-8999-999999999999"
IDENTITY = f"{GROUP}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/theirs"


def with_connection(**changes: Any) -> dict[str, Any]:
    return create_body(**changes)


def changed(**changes: Any) -> dict[str, Any]:
    return {**create_body(), **changes}


def without(name: str) -> dict[str, Any]:
    body = create_body()
    del body["connection"][name]
    return body


BAD: dict[str, tuple[Any, str, str, int]] = {
    # what is sent: (body, code, field, HTTP status)
    "not JSON": ("create me a connection, please", "not-json", "", 400),
    "empty": ("", "not-json", "", 400),
    "not UTF-8": (b"\xff\xfe\x00", "not-json", "", 400),
    "cut off": (json.dumps(create_body())[:-5], "not-json", "", 400),
    "not base64": ("eyJhY3Rpb24iOiAiY3JlYXRl!!", "not-json", "", 400),
    "base64 of no JSON": (base64.b64encode(b"hello"), "not-json", "", 400),
    "a list": ("[1]", "not-an-object", "", 400),
    "a number": ("7", "not-an-object", "", 400),
    "too deep": ("[" * 30 + "]" * 30, "too-deep", "", 400),
    "action of a wrong type": (changed(action=1), "wrong-type", "action", 400),
    "unknown action": (changed(action="destroy"), "unknown-action", "action", 400),
    "name of a wrong type": (with_connection(name=7), "wrong-type", "connection.name", 400),
    "connection of a wrong type": (changed(connection="orders"), "wrong-type", "connection", 400),
    "target of a wrong type": (with_connection(target=[]), "wrong-type", "connection.target", 400),
    "no connection": ({"action": "create"}, "missing-property", "connection", 400),
    "no cluster": (without("clusterId"), "missing-property", "connection.clusterId", 400),
    "unknown extra field": (with_connection(colour="blue"), "unknown-property", "connection.colour", 400),
    "unknown extra field on top": (changed(priority=1), "unknown-property", "priority", 400),
    "unknown target type": (
        with_connection(target={"type": "postgresql", "id": STORAGE}),
        "unknown-target-type",
        "connection.target.type",
        400,
    ),
    "target type that is not connected yet": (
        with_connection(target={"type": "cosmos-gremlin", "id": STORAGE}),
        "target-deferred",
        "connection.target.type",
        400,
    ),
    "target type that is retired": (
        with_connection(target={"type": "postgres", "id": STORAGE}),
        "target-not-offered",
        "connection.target.type",
        400,
    ),
    "intent that the target has no role for": (
        with_connection(intent="send"),
        "unknown-intent",
        "connection.intent",
        400,
    ),
    "intent that there is not": (with_connection(intent="all"), "invalid-name", "connection.intent", 400),
    "another type's id": (
        with_connection(target={"type": "keyvault", "id": STORAGE}),
        "target-type-mismatch",
        "connection.target.id",
        400,
    ),
    "unknown client type": (
        with_connection(clientType="cobol"),
        "unknown-client-type",
        "connection.clientType",
        400,
    ),
    "target that is no ARM id": (
        with_connection(target={"type": "storage-blob", "id": "https://orders.blob.core.windows.net"}),
        "invalid-id",
        "connection.target.id",
        400,
    ),
    "cluster that is no ARM id": (
        with_connection(clusterId="aks1"),
        "invalid-id",
        "connection.clusterId",
        400,
    ),
    "cluster of another type": (
        with_connection(clusterId=STORAGE),
        "invalid-id",
        "connection.clusterId",
        400,
    ),
    "identity that is no ARM id": (
        with_connection(identityId="me"),
        "invalid-id",
        "connection.identityId",
        400,
    ),
    "cluster in a subscription that the settings do not list": (
        with_connection(clusterId=CLUSTER.replace(SUBSCRIPTION, FOREIGN)),
        "subscription-not-listed",
        "connection.clusterId",
        403,
    ),
    "target in a subscription that the settings do not list": (
        with_connection(target={"type": "storage-blob", "id": STORAGE.replace(SUBSCRIPTION, FOREIGN)}),
        "subscription-not-listed",
        "connection.target.id",
        403,
    ),
    "cluster that the policy does not list": (
        with_connection(clusterId=f"{CLUSTER}2"),
        "policy-denied",
        "connection.clusterId",
        403,
    ),
    "identity that the policy does not list": (
        with_connection(identityId=IDENTITY),
        "policy-denied",
        "connection.identityId",
        403,
    ),
    "protected namespace": (
        with_connection(namespace="kube-system"),
        "namespace-protected",
        "connection.namespace",
        403,
    ),
    "name of a wrong form": (with_connection(name="-orders"), "invalid-name", "connection.name", 400),
    "a message's own id": (changed(id="x"), "reserved-property", "id", 400),
    "a message's own dequeueCount": (changed(dequeueCount=1), "reserved-property", "dequeueCount", 400),
    "a message's own popReceipt": (changed(popReceipt="x"), "reserved-property", "popReceipt", 400),
    "more than a queue message": ("{" + " " * 65_536 + "}", "message-too-large", "", 413),
    "64 KiB": (" " * (64 * 1024 - 2) + "{}", "message-too-large", "", 413),
    "a property twice": ('{"action":"create","action":"delete"}', "duplicate-key", "", 400),
    "delete by both names": (
        {**delete_body(), "connectionId": ID},
        "unknown-property",
        "",
        400,
    ),
    "delete by neither": ({"action": "delete"}, "missing-property", "", 400),
    "validate of unknown": ({"action": "validate", "connectionId": ID}, "not-found", "connectionId", 404),
}


def raw(body: Any) -> bytes:
    if isinstance(body, bytes):
        return body
    return body.encode() if isinstance(body, str) else json.dumps(body).encode()


@pytest.mark.parametrize("what", sorted(BAD))
async def test_bad_input_on_the_queue_is_refused_on_the_record_and_makes_nothing(app: LocalApp, what: str):
    body, code, field, _ = BAD[what]
    http = HttpApp(app)
    handler = http.handlers["connection_requests"]
    for _ in range(2):  # a redelivery is the same refusal
        await handler(func.QueueMessage(id="m-7", body=raw(body)))
    await app.settle()
    shown = await http.operations(state="rejected")
    assert len(shown) == 1
    [refusal] = shown
    assert (refusal["state"], refusal["code"], refusal["field"] or "") == ("rejected", code, field)
    assert refusal["detail"]
    assert refusal["source"] == "queue"
    envelopes = [json.loads(text) for text in app.queue.take("rejected")]
    assert {(one["kind"], one["code"], one["operation_id"]) for one in envelopes} == {
        ("request-rejected", code, refusal["id"])
    }
    status, same, _ = await http.call("get_operation", operationId=refusal["id"])
    assert (status, same) == (200, refusal)
    assert app.leftovers() == EMPTY
    assert app.store.rows("connections") == []
    assert await app.services.state.open_operations() == []
    assert app.queue.next_due() is None, "nothing is left to be retried"
    assert not any(name.startswith(("identities.", "roles.", "clusters.")) for name in app.journal.names())


@pytest.mark.parametrize("what", sorted(BAD))
async def test_bad_input_by_http_is_answered_with_a_problem_and_is_on_the_same_record(
    app: LocalApp, what: str
):
    body, code, field, status = BAD[what]
    http = HttpApp(app)
    if (
        isinstance(body, dict)
        and body.get("action") in {"delete", "validate"}
        and what != "validate of unknown"
    ):
        status = 400
    answered, problem, headers = await http.call("post_connection", body=raw(body) or b" ")
    assert (answered, problem["code"], problem.get("field", "")) == (status, code, field)
    assert problem["type"] == f"urn:mooring:error:{code}"
    assert problem["status"] == status
    assert headers["Cache-Control"] == "no-store"
    [refusal] = await http.operations(state="rejected")
    assert problem["operationId"] == refusal["id"]
    assert app.store.rows("connections") == []


async def test_no_secret_of_a_bad_request_is_stored_or_told(app: LocalApp):
    secret = "AccountKey=" + "c2VjcmV0" * 8 + "=="
    await app.send(with_connection(clientType=secret))
    await app.send({**create_body(), secret: 1}, message_id="m-2")
    await app.send(secret, message_id="m-3")
    stored = str([row.columns for table in ("requests", "connections") for row in app.store.rows(table)])
    assert "c2VjcmV0" not in stored
    assert "c2VjcmV0" not in str(app.queue.take("rejected"))


async def test_a_namespace_that_does_not_exist_fails_before_anything_is_made(app: LocalApp):
    record = await app.send({**create_body(namespace="nowhere"), "requestId": "r-2"})
    await app.settle()
    [operation] = await HttpApp(app).operations(requestId="r-2")
    assert (operation["state"], operation["code"]) == ("failed", "namespace-missing")
    assert operation["remedy"] == "kubectl create namespace nowhere"
    assert app.leftovers() == EMPTY
    assert await app.services.state.open_operations() == []
    assert app.queue.next_due() is None
    app.world.clusters[naming.fold_id(CLUSTER)].namespaces.add("nowhere")
    again = await app.send(create_body(namespace="nowhere"), message_id="m-2")
    await app.settle()
    assert (again.outcome, await app.state(record.connection_id)) == ("opened", "configured")


async def test_a_delete_of_the_unknown_is_a_recorded_no_op_by_queue_and_not_found_by_http(app: LocalApp):
    http = HttpApp(app)
    record = await app.send({**delete_body("nobody"), "requestId": "r-3"})
    assert record.outcome == "nothing-to-do"
    [found] = await http.operations(requestId="r-3")
    assert (found["outcome"], found["id"], found["state"]) == ("nothing-to-do", None, "succeeded")
    assert app.queue.take("rejected") == []
    status, problem, _ = await http.call("delete_connection", connectionId=record.connection_id)
    assert (status, problem["code"]) == (404, "not-found")
    assert app.store.rows("connections") == []


async def test_a_crash_between_record_and_rejected_queue_still_tells_of_the_refusal(app: LocalApp):
    def rule(call: Call) -> BaseException | None:
        return StateConflictError() if call.name == "queue.reject" else None

    app.journal.before = rule
    with pytest.raises(StateConflictError):
        await app.send("nonsense")
    app.journal.before = None
    record = await app.send("nonsense")
    assert record.outcome == "rejected"
    assert len(app.queue.take("rejected")) == 1
    assert len(await HttpApp(app).operations(state="rejected")) == 1
