"""What a request leaves on its record: found by breaking intake line by line."""

import base64
import hashlib
import json
from typing import Any

import pytest

from shared import naming
from shared.records import RequestRecord
from tests.fakes.http_app import HttpApp
from tests.fakes.local_app import CLUSTER, LocalApp, create_body

ID = naming.connection_id(CLUSTER, "shop", "orders-blob")
BAD: dict[str, Any] = {**create_body(), "requestId": "r-1", "colour": "blue"}


async def found(app: LocalApp, request_id: str) -> list[dict[str, Any]]:
    return list(await HttpApp(app).operations(requestId=request_id))


async def record_of(app: LocalApp, key: str) -> RequestRecord:
    record = await app.services.intake.log.find(key)
    assert record is not None
    return record


async def test_a_request_that_cannot_be_decoded_is_found_by_the_id_that_its_sender_gave_it(app: LocalApp):
    record = await app.send(BAD)
    assert (record.key, record.request_id, record.source) == ("id:r-1", "r-1", "queue")
    assert [one["code"] for one in await found(app, "r-1")] == ["unknown-property"]
    again = await app.send(BAD, message_id="m-2")
    assert again.operation_id == record.operation_id, "a repeat is the same refusal"


async def test_a_refusal_of_what_cannot_be_decoded_gives_way_to_a_later_one_of_the_same_request(
    app: LocalApp,
):
    await app.send(BAD)
    other = await app.send({**create_body(), "requestId": "r-1", "action": "destroy"}, message_id="m-2")
    assert (await record_of(app, "id:r-1")).code == other.code == "unknown-action"
    opened = await app.send({**create_body(), "requestId": "r-1"}, message_id="m-3")
    assert opened.outcome == "opened", "mended and sent again under the same id"
    assert (await record_of(app, "id:r-1")).outcome == "opened"


async def test_what_cannot_be_decoded_never_takes_the_place_of_a_request_that_was_carried_out(app: LocalApp):
    opened = await app.send({**create_body(), "requestId": "r-1"})
    refused = await app.send(BAD, message_id="m-2")
    body = hashlib.sha256(json.dumps(BAD).encode()).hexdigest()
    assert (refused.key, refused.outcome, refused.request_id) == (f"body:{body}", "rejected", "")
    assert await record_of(app, "id:r-1") == opened


@pytest.mark.parametrize(
    "body",
    [
        b"nonsense",
        json.dumps({**BAD, "requestId": 7}).encode(),
        json.dumps({**BAD, "requestId": "two words"}).encode(),
        json.dumps({**BAD, "requestId": "r" * 129}).encode(),
        json.dumps({**BAD, "requestId": ""}).encode(),
        json.dumps([BAD]).encode(),
    ],
)
async def test_without_a_sound_id_the_bytes_of_the_body_are_its_key(app: LocalApp, body: bytes):
    record = await app.send(body)
    assert record.key == f"body:{hashlib.sha256(body).hexdigest()}"
    assert (record.request_id, record.source) == ("", "queue")
    assert await app.send(body.decode(), message_id="m-2") == record, "as text it is the same body"


async def test_the_longest_sound_id_in_base64_is_seen(app: LocalApp):
    request_id = "r" * 124 + "._:-"
    body = base64.b64encode(json.dumps({**BAD, "requestId": request_id}).encode())
    assert (await app.send(body)).key == f"id:{request_id}"


async def test_the_hash_of_a_body_is_of_what_was_sent_without_its_id_and_outlives_a_deployment(app: LocalApp):
    first = await app.send({**create_body(), "requestId": "r-1"})
    assert (await app.send({**create_body(), "requestId": "r-2"})).body_hash == first.body_hash
    # Stored rows hold it: a version that computes it otherwise would call every repeat another request.
    assert first.body_hash == "f9c0f040319e5c88066723c51833289d"
    spelled = await app.send({**create_body(identityId=""), "requestId": "r-3"})
    assert spelled.body_hash != first.body_hash, "a default that is written out was sent"


async def test_the_record_of_a_request_says_what_it_was_and_where_it_came_from(app: LocalApp):
    opened = await app.send({**create_body(), "requestId": "r-1"})
    assert opened == RequestRecord(
        key="id:r-1",
        request_id="r-1",
        outcome="opened",
        body_hash=opened.body_hash,
        connection_id=ID,
        operation_id=opened.operation_id,
        action="create",
        source="queue",
        received_at=app.clock.now(),
    )


async def test_the_record_of_a_refusal_says_what_it_was_and_whose(app: LocalApp):
    denied = await app.send({**create_body(namespace="kube-system"), "requestId": "r-1"})
    assert denied.model_dump(exclude={"detail", "remedy", "operation_id", "body_hash"}) == {
        "key": "id:r-1",
        "request_id": "r-1",
        "outcome": "rejected",
        "connection_id": naming.connection_id(CLUSTER, "kube-system", "orders-blob"),
        "action": "create",
        "code": "namespace-protected",
        "field": "connection.namespace",
        "source": "queue",
        "received_at": app.clock.now(),
    }
    assert len(denied.body_hash) > 8


async def test_the_envelope_of_a_refusal_tells_all_but_what_only_the_record_needs(app: LocalApp):
    denied = await app.send({**create_body(namespace="kube-system"), "requestId": "r-1"})
    [envelope] = [json.loads(text) for text in app.queue.take("rejected")]
    assert envelope.pop("kind") == "request-rejected"
    assert envelope == denied.model_dump(mode="json", exclude={"key", "body_hash", "outcome"})
    assert not {"key", "body_hash", "outcome"} & set(envelope)


async def test_a_refusal_that_is_lifted_is_replaced_and_its_repeat_is_another_try(app: LocalApp):
    app.policy_file.write_text("version = 1\n")
    body = {**create_body(), "requestId": "r-1"}
    assert (await app.send(body)).code == "policy-denied"
    app.policy_file.unlink()
    later = await app.send(body)
    assert later.code == "policy-unreadable"
    assert (await record_of(app, "id:r-1")).code == "policy-unreadable", "the newest reason is the one shown"
