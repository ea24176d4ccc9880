"""What stands still is announced again, and what kills its host comes to an end."""

import contextlib
import dataclasses
import logging
from datetime import timedelta

import pytest

from handlers import timers
from shared.errors import NotYetError, PermanentError, StateConflictError, TransientError
from shared.models import Done, OperationId
from shared.steps.base import StepContext
from tests.fakes.clock import START, VirtualClock
from tests.fakes.journal import Call
from tests.fakes.local_app import LocalApp, create_body
from tests.fakes.scripted_step import script
from tests.unit.test_engine import ID, Crash, conflicts, first_message, messages, operation_of, step_of

# --- poison --------------------------------------------------------------------------------------


async def test_a_step_that_is_poisoned_is_announced_once_more_and_then_fails(app: LocalApp):
    script(app, "preflight", Crash())
    message = await first_message(app)
    with pytest.raises(Crash):
        await app.services.engine.run_one(message)
    app.clock.advance(150)
    assert await app.services.engine.poisoned(message) == "again"
    snapshot = await app.services.state.load(message.operation)
    assert snapshot is not None
    assert snapshot.steps[message.step].value.unanswered_at == app.clock.now(), "it may have sent something"
    [again] = messages(app)
    assert again.turn == message.turn + 1
    assert await app.services.engine.poisoned(message) == "stale", "only the current turn counts"
    assert await app.services.engine.poisoned(again) == "failed"
    operation = await operation_of(app, message)
    assert (operation.state, operation.code) == ("failed", "host-crash")
    assert await app.services.engine.poisoned(again) == "ended"
    assert await app.state(ID) == "failed"


@pytest.mark.parametrize(("between", "said"), [(NotYetError("in-use"), "again"), (Crash(), "failed")])
async def test_a_step_that_waited_since_it_was_poisoned_is_announced_once_more_again(
    app: LocalApp, between: BaseException, said: str
):
    script(app, "preflight", between)
    message = await first_message(app)
    assert await app.services.engine.poisoned(message) == "again"
    [again] = messages(app)
    with contextlib.suppress(Crash):
        await app.services.engine.run_one(again)
    app.clock.advance(300)
    [due, *_] = [*messages(app), again]
    assert await app.services.engine.poisoned(due) == said
    assert (await step_of(app, due)).crashes == 1, "a minute without the tables, weeks later"


async def test_a_step_that_runs_elsewhere_is_not_poisoned(app: LocalApp):
    message = await first_message(app)
    seen = []

    async def meanwhile(ctx: StepContext) -> Done:
        seen.append(await app.services.engine.poisoned(message))
        return Done()

    script(app, "preflight", meanwhile)
    await app.services.engine.run_one(message)
    assert seen == ["stale"]
    assert await app.services.engine.poisoned(message) == "stale", "it is done by now"


async def test_poison_of_an_unknown_operation_or_step_ends_there(app: LocalApp):
    message = await first_message(app)
    gone = message.model_copy(update={"operation": OperationId(f"{ID}-ffffffffffff")})
    assert await app.services.engine.poisoned(gone) == "ended"
    assert await app.services.engine.poisoned(message.model_copy(update={"step": "x"})) == "ended"


async def test_a_step_that_was_poisoned_once_can_still_succeed(app: LocalApp):
    message = await first_message(app)
    await app.services.engine.poisoned(message)
    await app.settle()
    assert await app.state(ID) == "configured"


# --- the timer -----------------------------------------------------------------------------------


async def nudge(app: LocalApp, operation_id: OperationId) -> str:
    return (await app.services.announcer.nudge(operation_id, noted_seconds=0)).said


async def test_a_step_whose_announcement_was_lost_is_announced_by_the_timer(app: LocalApp):
    app.journal.before = lambda call: Crash() if call.name == "queue.announce" else None
    with pytest.raises(Crash):
        await app.send(create_body())
    app.journal.before = None
    assert messages(app) == []
    assert (await timers.announce_again(app.services)).open == 1
    assert [one.step for one in messages(app)] == ["preflight"]


async def test_an_announced_step_is_left_alone_until_it_is_overdue(app: LocalApp):
    message = await first_message(app)
    assert await nudge(app, message.operation) == "quiet"
    app.clock.advance(119)
    assert await nudge(app, message.operation) == "quiet"
    app.clock.advance(2)
    assert await nudge(app, message.operation) == "nudged"
    assert messages(app) == [message]
    app.clock.advance(60)
    assert await nudge(app, message.operation) == "quiet", "a long queue is not made longer each minute"


async def test_a_later_step_whose_message_was_lost_is_announced_again_when_it_is_overdue(app: LocalApp):
    message = await first_message(app)
    await app.services.engine.run_one(message)
    [lost] = messages(app)
    app.clock.advance(119)
    assert await nudge(app, message.operation) == "quiet"
    app.clock.advance(2)
    assert await nudge(app, message.operation) == "nudged"
    assert messages(app) == [lost]


async def test_a_mark_that_comes_too_late_changes_nothing(app: LocalApp):
    saves = []

    def rule(call: Call) -> BaseException | None:
        alone = call.name == "state.transact" and len(call.arguments[2]) == 1
        if alone and call.arguments[0] == "connections":
            saves.append(call)
            return StateConflictError("taken already")
        return None

    app.journal.before = rule
    await app.send(create_body())
    await app.settle()
    assert await app.state(ID) == "configured"
    assert saves


async def test_a_step_that_is_running_is_left_alone_until_its_lease_has_expired(app: LocalApp):
    script(app, "preflight", Crash())
    message = await first_message(app)
    with pytest.raises(Crash):
        await app.services.engine.run_one(message)
    app.clock.advance(149)
    assert await nudge(app, message.operation) == "quiet"
    app.clock.advance(1)
    assert await nudge(app, message.operation) == "nudged"
    assert messages(app) == [message]


async def test_the_timer_does_not_renew_the_lease_of_a_run_that_died(app: LocalApp):
    message = await first_message(app)

    async def taken_before_it_was_marked(ctx: StepContext) -> Done:
        snapshot = await app.services.state.load(message.operation)
        assert snapshot is not None
        unmarked = snapshot.steps["preflight"].value.model_copy(update={"announced": False})
        await app.services.state.save_step(snapshot, unmarked)
        raise Crash

    step = script(app, "preflight", taken_before_it_was_marked)
    with pytest.raises(Crash):
        await app.services.engine.run_one(message)
    app.clock.advance(151)
    assert await nudge(app, message.operation) == "nudged"
    assert await app.pump() == 1
    assert step.runs == 2, "the announced message found the lease expired"


async def test_a_wait_beyond_the_queues_limit_is_left_to_the_timer(app: LocalApp):
    script(app, "preflight", NotYetError("grace", seconds=3600))
    message = await first_message(app)
    await app.services.engine.run_one(message)
    assert await app.queue.depth("connection-steps") == 0
    app.clock.advance(3599)
    assert await nudge(app, message.operation) == "quiet"
    app.clock.advance(1)
    assert await nudge(app, message.operation) == "nudged"
    assert [one.turn for one in messages(app)] == [2]


def topic_is_away(call: Call) -> Exception | None:
    """Event Grid's answer to a right that is not there (yet)."""
    return TransientError("token-refused", "Unauthorized") if call.name == "topic.publish" else None


async def test_an_ended_operation_that_the_topic_did_not_take_is_told_by_the_timer(app: LocalApp):
    script(app, "preflight", PermanentError("broken"))
    message = await first_message(app)
    app.journal.before = topic_is_away
    assert await app.services.engine.run_one(message) == "failed", "the message is done with"
    assert await nudge(app, message.operation) == "ended"
    assert len(await app.services.state.open_operations()) == 1
    assert await app.queue.depth("rejected") == 0
    app.journal.before = None
    assert await nudge(app, message.operation) == "ended"
    assert [event["data"]["code"] for event in app.topic.events] == ["broken"]
    assert await app.services.state.open_operations() == []
    assert await app.queue.depth("rejected") == 1, "once, however often the topic was tried"


async def test_a_topic_that_is_away_for_an_hour_is_given_up_and_that_is_said(
    app: LocalApp, caplog: pytest.LogCaptureFixture
):
    script(app, "preflight", PermanentError("broken"))
    message = await first_message(app)
    app.journal.before = topic_is_away
    await app.services.engine.run_one(message)
    app.clock.advance(3599)
    assert await nudge(app, message.operation) == "ended"
    assert len(await app.services.state.open_operations()) == 1
    assert not any("outcome-not-told" in one.getMessage() for one in caplog.records)
    app.clock.advance(1)
    assert await nudge(app, message.operation) == "ended"
    assert await app.services.state.open_operations() == []
    assert await app.queue.depth("rejected") == 1
    assert [one.getMessage() for one in caplog.records if "outcome-not-told" in one.getMessage()] != []


async def test_a_tick_that_takes_too_long_leaves_the_rest_to_the_next(app: LocalApp):
    for name in ("one", "two", "three"):
        await app.send(create_body(name), message_id=name)
    looked = list[str]()

    def slow(call: Call) -> None:
        if call.name == "state.query" and call.arguments[0] == "connections":
            looked.append(str(call.arguments[1]))
            app.clock.advance(timers.NUDGE_SECONDS + 1)

    app.journal.before = slow
    assert (await timers.announce_again(app.services)).open == 3
    assert len(set(looked)) == 1
    app.clock.advance(1500)
    await timers.announce_again(app.services)
    assert len(set(looked)) > 1, "each tick begins elsewhere"


async def test_an_operation_that_was_never_opened_is_forgotten_after_a_while(app: LocalApp):
    app.journal.after = lambda call: Crash() if call.arguments[:1] == ("openoperations",) else None
    with pytest.raises(Crash):
        await app.send(create_body())
    app.journal.after = None
    ahead = VirtualClock(START + timedelta(hours=1))
    await timers.announce_again(dataclasses.replace(app.services, clock=ahead))
    assert len(await app.services.state.open_operations()) == 1, "the store's time counts, not a host's"
    app.clock.advance(601)
    await timers.announce_again(app.services)
    assert await app.services.state.open_operations() == []


async def test_one_operation_that_cannot_be_nudged_does_not_stop_the_rest(
    app: LocalApp, caplog: pytest.LogCaptureFixture
):
    for name in ("one", "two"):
        await app.send(create_body(name), message_id=name)
    messages(app)
    app.clock.advance(200)
    app.journal.before = conflicts(1, "queue.announce")
    assert (await timers.announce_again(app.services)).open == 2
    assert len(messages(app)) == 1
    assert any("nudge-failed" in record.getMessage() for record in caplog.records)


async def test_a_topic_that_refuses_for_good_keeps_nothing_open(
    app: LocalApp, caplog: pytest.LogCaptureFixture
):
    app.journal.before = lambda call: PermanentError("forbidden") if call.name == "topic.publish" else None
    with caplog.at_level(logging.WARNING, "mooring"):
        await app.send(create_body())
        await app.settle()
    assert await app.state(ID) == "configured"
    assert await app.services.state.open_operations() == []
    assert any("outcome-not-told" in record.getMessage() for record in caplog.records)
