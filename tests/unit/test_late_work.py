"""What nobody takes is told by its age: steps that are due, requests and events."""

import json
import logging
from datetime import timedelta
from pathlib import Path

import pytest

from handlers import timers
from shared.errors import NotYetError, UnreadableRowError
from shared.models import Done, OperationId
from shared.steps.base import StepContext
from tests.fakes.http_app import handlers_of
from tests.fakes.local_app import STORAGE, SUBSCRIPTION, LocalApp, create_body, deletion_event, make_app
from tests.fakes.scripted_step import script
from tests.fakes.telemetry import Listener
from tests.unit.test_engine import Crash, first_message, messages


@pytest.fixture
def listener() -> Listener:
    return Listener()


@pytest.fixture
def app(tmp_path: Path, listener: Listener) -> LocalApp:
    return make_app(tmp_path, telemetry=listener)


async def late(app: LocalApp) -> int:
    return (await timers.announce_again(app.services)).step_late_seconds


async def test_a_step_that_nobody_takes_grows_older_though_it_is_announced_again(app: LocalApp):
    await first_message(app)
    assert await late(app) == 0
    for minutes in range(1, 12):
        app.clock.advance(60)
        assert await late(app) == minutes * 60
    assert messages(app), "it was announced again meanwhile"


async def test_the_oldest_of_all_operations_counts(app: LocalApp):
    await app.send(create_body("one"), message_id="one")
    app.clock.advance(100)
    await app.send(create_body("two"), message_id="two")
    app.clock.advance(30)
    assert await late(app) == 130


async def test_a_wait_is_not_late_until_it_is_due(app: LocalApp):
    script(app, "preflight", NotYetError("grace", seconds=3600))
    message = await first_message(app)
    await app.services.engine.run_one(message)
    app.clock.advance(3600)
    assert await late(app) == 0
    app.clock.advance(90)
    assert await late(app) == 90


async def test_a_run_that_died_is_late_from_the_end_of_its_lease(app: LocalApp):
    script(app, "preflight", Crash())
    message = await first_message(app)
    with pytest.raises(Crash):
        await app.services.engine.run_one(message)
    app.clock.advance(150)
    assert await late(app) == 0
    app.clock.advance(45)
    assert await late(app) == 45


async def test_a_run_that_gave_its_lease_up_is_late_from_then(app: LocalApp):
    script(app, "preflight", Crash())
    message = await first_message(app)
    with pytest.raises(Crash):
        await app.services.engine.run_one(message)
    snapshot = await app.services.state.load(message.operation)
    assert snapshot is not None
    given_up = snapshot.steps["preflight"].value.model_copy(update={"holder": ""})
    await app.services.state.save_step(snapshot, given_up)
    app.clock.advance(20)
    assert await late(app) == 20


async def test_a_step_that_is_running_is_not_late(app: LocalApp):
    message = await first_message(app)
    app.clock.advance(500)
    seen = []

    async def meanwhile(ctx: StepContext) -> Done:
        app.clock.advance(100)
        seen.append((await app.services.announcer.nudge(message.operation, noted_seconds=0)).late_seconds)
        return Done()

    script(app, "preflight", meanwhile)
    await app.services.engine.run_one(message)
    assert seen == [0.0]
    assert await late(app) < 500, "the next step is due since the last one has ended"


async def test_a_subscription_that_is_left_alone_is_told_each_minute_while_its_steps_only_wait(
    app: LocalApp, caplog: pytest.LogCaptureFixture
):
    until = app.clock.now() + timedelta(seconds=1200)
    await app.services.engine.limits.throttle(SUBSCRIPTION, not_before=until)
    app.clock.advance(100)
    with caplog.at_level(logging.INFO, "mooring"):
        await handlers_of(app)["tend"](None)
    assert " throttled_seconds=1100 " in caplog.text


async def test_a_throttle_that_cannot_be_read_leaves_the_sign_of_life(
    app: LocalApp, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
):
    async def broken(_limits: object) -> float:
        raise UnreadableRowError("newer")

    monkeypatch.setattr("shared.limits.Limits.throttled_seconds", broken)
    with caplog.at_level(logging.INFO, "mooring"):
        await handlers_of(app)["tend"](None)
    assert "census-failed code=row-unreadable" in caplog.text
    assert "tended open=0" in caplog.text
    assert "throttled_seconds" not in caplog.text


async def test_what_has_ended_or_was_never_opened_is_not_late(app: LocalApp):
    record = await app.send(create_body())
    await app.settle()
    for operation_id in (record.operation_id, "0123456789abcdef01234567-ffffffffffff"):
        nudged = await app.services.announcer.nudge(OperationId(operation_id), noted_seconds=0)
        assert nudged.late_seconds == 0


@pytest.mark.parametrize(
    ("queue", "text"),
    [("connection-requests", json.dumps(create_body())), ("resource-events", deletion_event(STORAGE))],
)
async def test_a_message_that_nobody_takes_is_told_by_its_age(app: LocalApp, queue: str, text: str):
    assert await timers.message_late_seconds(app.services) == 0
    app.queue.put(queue, text)
    app.clock.advance(700)
    app.queue.put(queue, text)
    assert await timers.message_late_seconds(app.services) == 700
    app.queue.take(queue)
    assert await timers.message_late_seconds(app.services) == 0


async def test_a_step_that_waits_in_its_queue_is_no_late_message(app: LocalApp):
    await app.send(create_body())
    app.clock.advance(700)
    assert await timers.message_late_seconds(app.services) == 0


async def test_the_timer_tells_both_ages(app: LocalApp, listener: Listener, caplog: pytest.LogCaptureFixture):
    await first_message(app)
    app.clock.advance(100)
    app.queue.put("connection-requests", "{}")
    app.clock.advance(601)
    with caplog.at_level(logging.INFO, "mooring"):
        await handlers_of(app)["tend"](None)
    [line] = [one.getMessage() for one in caplog.records if one.getMessage().startswith("tended")]
    assert line.startswith("tended open=1 step_late_seconds=701 message_late_seconds=601 ")
    values = listener.values()
    assert values[("step_late_seconds", ())] == 701
    assert values[("message_late_seconds", ())] == 601
