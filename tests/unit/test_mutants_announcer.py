"""What is announced, told and woken, field by field (docs/reference/mutation.md)."""

import json
import logging

import pytest

from shared import announcer, naming, retry
from shared.errors import NotYetError, PermanentError
from shared.models import OperationId, StepMessage, StepRecord, StepState
from shared.state import Snapshot
from tests.fakes.local_app import CLUSTER, LocalApp, create_body, delete_body
from tests.fakes.scripted_step import script

ID = naming.connection_id(CLUSTER, "shop", "orders-blob")


def messages(app: LocalApp) -> list[StepMessage]:
    return [StepMessage.model_validate_json(text) for text in app.queue.take("connection-steps")]


async def run_all(app: LocalApp) -> None:
    for message in messages(app):
        await app.services.engine.run_one(message)


async def load(app: LocalApp, operation_id: str) -> Snapshot:
    snapshot = await app.services.state.load(OperationId(operation_id))
    assert snapshot is not None
    return snapshot


async def step_of(app: LocalApp, operation_id: str, name: str = "preflight") -> StepRecord:
    return (await load(app, operation_id)).steps[name].value


# --- telling -------------------------------------------------------------------------------------


async def test_a_create_that_fails_before_it_made_anything_is_told_where_refusals_are(app: LocalApp):
    script(app, "preflight", PermanentError("broken", "why", remedy="mend it"))
    record = await app.send({**create_body(), "requestId": "r-1"})
    await run_all(app)
    [envelope] = [json.loads(text) for text in app.queue.take("rejected")]
    assert envelope == {
        "kind": "request-rejected",
        "operation_id": record.operation_id,
        "connection_id": ID,
        "request_id": "r-1",
        "action": "create",
        "code": "broken",
        "detail": "preflight: why",
        "remedy": "mend it",
    }


async def test_a_create_that_fails_after_it_made_something_is_no_refusal(app: LocalApp):
    script(app, "managed_identity", PermanentError("broken"))
    await app.send(create_body())
    await app.settle()
    assert await app.state(ID) == "failed"
    assert app.queue.take("rejected") == []


async def test_neither_a_create_that_succeeds_nor_anything_else_that_fails_is_a_refusal(app: LocalApp):
    await app.send(create_body())
    await app.settle()
    assert await app.state(ID) == "configured"
    script(app, "quiesce", PermanentError("broken"))
    await app.send(delete_body(), message_id="d")
    await app.settle()
    assert (await app.operations(ID))[-1].state == "failed"
    assert app.queue.take("rejected") == []


async def test_the_end_of_an_operation_is_told_whole(app: LocalApp):
    script(app, "preflight", PermanentError("broken"))
    record = await app.send({**create_body(), "requestId": "r-1"})
    await run_all(app)
    assert app.topic.events == [
        {
            "id": record.operation_id,
            "type": "Mooring.Operation.Failed",
            "subject": f"/connections/{ID}",
            "data": {
                "operationId": record.operation_id,
                "connectionId": ID,
                "kind": "create",
                "state": "failed",
                "code": "broken",
                "requestId": "r-1",
            },
        }
    ]


async def test_a_topic_that_refuses_is_noted_in_the_log_with_its_operation(
    app: LocalApp, caplog: pytest.LogCaptureFixture
):
    script(app, "preflight", PermanentError("broken"))
    record = await app.send(create_body())
    app.journal.before = lambda call: (
        PermanentError("forbidden", "no right") if call.name == "topic.publish" else None
    )
    with caplog.at_level(logging.WARNING, logger="mooring"):
        await run_all(app)
    [line] = [one for one in caplog.records if "outcome-not-told" in one.getMessage()]
    assert (line.name, vars(line)["code"]) == ("mooring", "forbidden")
    assert vars(line)["detail"] == "no right"
    assert vars(line)["operation_id"] == record.operation_id


# --- waking --------------------------------------------------------------------------------------


async def test_what_waited_behind_is_woken_with_a_turn_of_its_own(app: LocalApp):
    await app.send(create_body())
    await app.settle()
    await app.send(delete_body(), message_id="d")
    await app.send(create_body(), message_id="c2")
    delete, create = (await app.operations(ID))[-2:]
    for message in messages(app):
        if message.operation == create.operation_id:
            await app.services.engine.run_one(message)
    before = await step_of(app, create.operation_id)
    assert (before.waiting, before.announced) == ("behind", True)
    messages(app)
    ended = await load(app, delete.operation_id)
    await app.services.announcer.finish(ended)
    after = await step_of(app, create.operation_id)
    assert after == before.model_copy(
        update={"turn": before.turn + 1, "due_at": app.clock.now(), "announced": False}
    )
    woken = [message for message in messages(app) if message.operation == create.operation_id]
    assert [message.turn for message in woken] == [after.turn]


async def test_only_what_waited_behind_the_ended_one_is_woken(app: LocalApp):
    script(app, "preflight", NotYetError("closing", seconds=60))
    record = await app.send(create_body())
    await run_all(app)
    before = await load(app, record.operation_id)
    await app.send({"action": "validate", "connectionId": ID}, message_id="v")
    validate = (await app.operations(ID))[-1]
    messages(app)
    await app.services.announcer.finish(await load(app, validate.operation_id))
    assert messages(app) == []
    assert (await load(app, record.operation_id)).steps == before.steps


async def test_the_steps_of_an_operation_that_was_overtaken_are_not_announced(app: LocalApp):
    record = await app.send(create_body())
    messages(app)
    await app.send(delete_body(), message_id="d")
    messages(app)
    overtaken = await load(app, record.operation_id)
    assert overtaken.operation.value.state == "superseded"
    unannounced = overtaken.steps["preflight"].value.model_copy(update={"announced": False})
    await app.services.state.save_step(overtaken, unannounced)
    assert unannounced.state is StepState.READY
    await app.services.announcer.start(OperationId(record.operation_id))
    assert messages(app) == []


async def test_an_operation_that_is_not_there_is_neither_announced_nor_an_error(app: LocalApp):
    await app.services.announcer.start(OperationId(f"{ID}-ffffffffffff"))
    assert messages(app) == []


# --- the timer's word ----------------------------------------------------------------------------


@pytest.mark.parametrize(("age_seconds", "listed"), [(600.0, 1), (600.5, 0)])
async def test_a_note_without_an_operation_is_dropped_after_a_while(
    app: LocalApp, age_seconds: float, listed: int
):
    record = await app.send(create_body())
    app.store._tables["connections"].clear()
    assert announcer.UNWRITTEN_SECONDS == 600
    said = await app.services.announcer.nudge(OperationId(record.operation_id), noted_seconds=age_seconds)
    assert said == announcer.Nudge("unknown")
    assert len(await app.services.state.open_operations()) == listed


@pytest.mark.parametrize(("seconds", "announced"), [(600.0, True), (600.5, False)])
async def test_a_wait_up_to_the_queues_limit_is_announced_for_its_time(
    app: LocalApp, seconds: float, announced: bool
):
    assert retry.QUEUE_DELAY_LIMIT_SECONDS == 600
    script(app, "preflight", NotYetError("closing", seconds=seconds))
    record = await app.send(create_body())
    await run_all(app)
    assert (await step_of(app, record.operation_id)).announced is announced
    app.clock.advance(seconds - 1)
    assert messages(app) == []
    app.clock.advance(1)
    assert len(messages(app)) == announced


async def test_an_announced_step_is_overdue_to_the_second(app: LocalApp):
    record = await app.send(create_body())
    messages(app)
    assert announcer.OVERDUE_SECONDS == 120
    for seconds, said in ((119.5, "quiet"), (0.5, "nudged")):
        app.clock.advance(seconds)
        operation_id = OperationId(record.operation_id)
        assert (await app.services.announcer.nudge(operation_id, noted_seconds=0)).said == said
