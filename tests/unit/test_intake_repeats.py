"""A request that comes again is one request: one operation, one answer, started if a crash left it."""

import asyncio
import base64
import json

import pytest

from shared import naming
from shared.errors import StateConflictError
from tests.fakes.http_app import HttpApp
from tests.fakes.journal import Call
from tests.fakes.local_app import CLUSTER, LocalApp, create_body
from tests.unit.test_intake_collisions import Interleaved

ID = naming.connection_id(CLUSTER, "shop", "orders-blob")


@pytest.mark.parametrize("parallel", [True, False])
async def test_the_same_message_five_times_is_one_operation(
    app: LocalApp, parallel: bool, monkeypatch: pytest.MonkeyPatch
):
    if parallel:
        monkeypatch.setattr(app.store, "__class__", Interleaved)
        records = await asyncio.gather(*(app.send(create_body()) for _ in range(5)))
    else:
        records = [await app.send(create_body()) for _ in range(5)]
    assert {record.outcome for record in records} == {"opened"}
    assert len({record.operation_id for record in records}) == 1
    await app.settle()
    assert (await app.send(create_body())).outcome == "opened", "still the same answer"
    assert len(await app.operations(ID)) == 1
    assert len(await HttpApp(app).operations(requestId="m-1")) == 1


async def test_the_same_message_as_text_and_as_base64_is_one_request(app: LocalApp):
    body = {**create_body(), "requestId": "r-1"}
    first = await app.send(body, message_id="m-1")
    second = await app.send(base64.b64encode(json.dumps(body).encode()), message_id="m-2")
    assert second == first


async def test_a_repeat_starts_what_a_crash_left_unannounced(app: LocalApp):
    app.journal.before = lambda call: StateConflictError() if call.name == "queue.announce" else None
    with pytest.raises(StateConflictError):
        await app.send(create_body())
    app.journal.before = None
    assert await app.queue.depth("connection-steps") == 0
    await app.send(create_body())
    assert await app.queue.depth("connection-steps") == 1
    await app.send(create_body())
    assert await app.queue.depth("connection-steps") == 1, "it is announced, so not again"


async def test_a_repeat_announces_again_what_was_never_marked_as_announced(app: LocalApp):
    def rule(call: Call) -> BaseException | None:
        mark = (
            call.name == "state.transact"
            and call.arguments[0] == "connections"
            and len(call.arguments[2]) == 1
        )
        return StateConflictError() if mark else None

    app.journal.before = rule
    await app.send(create_body())
    app.journal.before = None
    lost = app.queue.take("connection-steps")
    await app.send(create_body())
    assert app.queue.take("connection-steps") == lost


async def test_a_repeat_of_a_request_that_attached_is_answered_as_before(app: LocalApp):
    await app.send(create_body())
    attached = await app.send(create_body(), message_id="m-2")
    await app.settle()
    assert await app.send(create_body(), message_id="m-2") == attached
    assert attached.outcome == "attached"


async def test_a_request_id_belongs_to_one_request(app: LocalApp):
    first = await app.send({**create_body(), "requestId": "r-1"})
    reused = await app.send({**create_body("other"), "requestId": "r-1"}, message_id="m-2")
    assert (reused.outcome, reused.code, reused.field) == ("rejected", "request-id-reused", "requestId")
    [found] = await HttpApp(app).operations(requestId="r-1")
    assert found["id"] == first.operation_id, "the first stays findable"
    assert len(app.queue.take("rejected")) == 1
