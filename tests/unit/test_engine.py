"""One step, run once: what is dropped, what is taken, what is recorded, and what is lost."""

import asyncio
import dataclasses
import logging
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any

import pytest

from handlers import timers
from shared import naming
from shared.errors import MooringError, NotYetError, PermanentError, StateConflictError, TransientError
from shared.models import Done, Operation, OperationId, StepMessage, StepRecord
from shared.steps.base import StepContext
from tests.fakes.clock import START, VirtualClock
from tests.fakes.journal import Call
from tests.fakes.local_app import CLUSTER, SUBSCRIPTION, LocalApp, create_body, delete_body
from tests.fakes.scripted_step import script

ID = naming.connection_id(CLUSTER, "shop", "orders-blob")


class Crash(BaseException):
    """The host dies."""


def messages(app: LocalApp) -> list[StepMessage]:
    return [StepMessage.model_validate_json(text) for text in app.queue.take("connection-steps")]


async def first_message(app: LocalApp) -> StepMessage:
    await app.send(create_body())
    [message] = messages(app)
    return message


async def step_of(app: LocalApp, message: StepMessage) -> StepRecord:
    snapshot = await app.services.state.load(message.operation)
    assert snapshot is not None
    return snapshot.steps[message.step].value


async def operation_of(app: LocalApp, message: StepMessage) -> Operation:
    stored = await app.services.state.operation(message.operation)
    assert stored is not None
    return stored.value


def conflicts(times: int, name: str = "state.transact") -> Callable[[Call], BaseException | None]:
    left = [times]

    def rule(call: Call) -> BaseException | None:
        if call.name != name or not left[0]:
            return None
        left[0] -= 1
        return StateConflictError("somebody was faster")

    return rule


# --- what is dropped -----------------------------------------------------------------------------


async def test_a_message_of_an_unknown_operation_or_step_is_dropped(app: LocalApp):
    message = await first_message(app)
    unknown = message.model_copy(update={"operation": naming.operation_id(ID, "other")})
    assert await app.services.engine.run_one(unknown) == "unknown"
    assert await app.services.engine.run_one(message.model_copy(update={"step": "coffee"})) == "unknown"
    assert app.journal.names().count("clusters.describe") == 0


async def test_a_duplicate_of_a_message_that_is_done_runs_nothing(app: LocalApp):
    step = script(app, "preflight")
    message = await first_message(app)
    assert await app.services.engine.run_one(message) == "done"
    assert await app.services.engine.run_one(message) == "finished-already"
    assert step.runs == 1


async def test_a_duplicate_heals_an_announcement_that_was_lost(app: LocalApp):
    script(app, "preflight")
    message = await first_message(app)
    app.journal.before = lambda call: Crash() if call.name == "queue.announce" else None
    with pytest.raises(Crash):
        await app.services.engine.run_one(message)
    app.journal.before = None
    assert messages(app) == []
    assert await app.services.engine.run_one(message) == "finished-already"
    assert [one.step for one in messages(app)] == ["managed_identity"]


async def test_a_message_of_an_earlier_turn_is_stale(app: LocalApp):
    step = script(app, "preflight", NotYetError("closing"))
    message = await first_message(app)
    assert await app.services.engine.run_one(message) == "ready"
    app.clock.advance(60)
    assert await app.services.engine.run_one(message) == "stale"
    assert step.runs == 1


async def test_a_message_that_comes_before_its_time_is_put_back_for_the_rest_of_it(app: LocalApp):
    step = script(app, "preflight", NotYetError("closing", seconds=40))
    message = await first_message(app)
    await app.services.engine.run_one(message)
    early = message.model_copy(update={"turn": 2})
    app.clock.advance(10)
    assert await app.services.engine.run_one(early) == "early"
    assert step.runs == 1
    app.clock.advance(30)
    assert messages(app) == [early, early], "the announced one, and the early one"
    assert await app.services.engine.run_one(early) == "done"


async def test_a_message_less_than_a_second_early_is_on_time(app: LocalApp):
    step = script(app, "preflight", NotYetError("closing", seconds=5.9))
    message = await first_message(app)
    await app.services.engine.run_one(message)
    app.clock.advance(5)
    assert await app.services.engine.run_one(message.model_copy(update={"turn": 2})) == "done"
    assert step.runs == 2


async def test_a_message_of_an_operation_that_has_ended_is_dropped_and_the_end_is_told(app: LocalApp):
    script(app, "preflight", PermanentError("broken"))
    message = await first_message(app)
    app.journal.before = lambda call: Crash() if call.name == "topic.publish" else None
    with pytest.raises(Crash):
        await app.services.engine.run_one(message)
    app.journal.before = None
    assert len(await app.services.state.open_operations()) == 1
    assert await app.services.engine.run_one(message) == "ended"
    assert [event["type"] for event in app.topic.events] == ["Mooring.Operation.Failed"]
    assert await app.services.state.open_operations() == []


# --- leases --------------------------------------------------------------------------------------


async def test_a_step_that_another_run_holds_is_left_to_it(app: LocalApp):
    message = await first_message(app)
    seen = []

    async def meanwhile(ctx: StepContext) -> Done:
        seen.append(await app.services.engine.run_one(message))
        return Done()

    script(app, "preflight", meanwhile)
    assert await app.services.engine.run_one(message) == "done"
    assert seen == ["taken"]


async def test_a_step_whose_run_died_is_taken_when_its_lease_has_expired_and_not_before(app: LocalApp):
    step = script(app, "preflight", Crash())
    message = await first_message(app)
    with pytest.raises(Crash):
        await app.services.engine.run_one(message)
    app.clock.advance(149)
    assert await app.services.engine.run_one(message) == "taken"
    app.clock.advance(1)
    assert await app.services.engine.run_one(message) == "done"
    assert step.runs == 2
    assert (await step_of(app, message)).attempts == 1


async def test_a_step_that_kills_its_host_every_time_is_not_run_for_ever(app: LocalApp):
    step = script(app, "preflight", *(Crash() for _ in range(50)))
    await app.send(create_body())
    for _ in range(60):
        for message in messages(app):
            with pytest.raises(Crash):
                await app.services.engine.run_one(message)
        app.clock.advance(151)
        if step.runs == 12:
            break
        await timers.announce_again(app.services)
    await timers.announce_again(app.services)
    await app.pump()
    [operation] = await app.operations(ID)
    assert (operation.state, operation.code) == ("failed", "host-crash")
    assert step.runs == 12
    assert await app.state(ID) == "failed"


async def test_a_run_that_lost_its_lease_records_nothing(app: LocalApp):
    message = await first_message(app)
    others = []

    async def slow(ctx: StepContext) -> Done:
        app.clock.advance(200)
        others.append(await app.services.engine.run_one(message))
        return Done(outputs={"from": "the slow one"})

    script(app, "preflight", slow, Done(outputs={"from": "the other"}))
    assert await app.services.engine.run_one(message) == "lost"
    assert others == ["done"]
    assert (await step_of(app, message)).outputs == {"from": "the other"}


async def test_a_run_that_lost_its_lease_cannot_save_an_intent_any_more(app: LocalApp):
    message = await first_message(app)

    async def slow(ctx: StepContext) -> Done:
        app.clock.advance(200)
        await app.services.engine.run_one(message)
        await ctx.recorder.intend({"made": "late"})
        raise AssertionError("made something after the lease was lost")

    async def held(ctx: StepContext) -> Done:
        raise NotYetError("closing")

    script(app, "preflight", slow, held)
    assert await app.services.engine.run_one(message) == "lost"
    assert await app.services.state.intents(ID) == {}


async def test_a_run_whose_operation_was_superseded_makes_and_records_nothing(app: LocalApp):
    message = await first_message(app)

    async def overtaken(ctx: StepContext) -> Done:
        await app.send(delete_body(), message_id="d")
        with pytest.raises(StateConflictError, match="has ended"):
            await ctx.recorder.intend({"made": "late"})
        return Done(outputs={"made": "late"})

    script(app, "preflight", overtaken)
    assert await app.services.engine.run_one(message) == "lost"
    assert (await operation_of(app, message)).state == "superseded"
    assert (await step_of(app, message)).state == "running", "frozen as it was overtaken"
    assert (await step_of(app, message)).holder == "", "its lease is given back"
    assert await app.services.state.intents(ID) == {}


async def test_the_delete_that_overtook_a_running_step_waits_for_its_lease(app: LocalApp):
    message = await first_message(app)

    async def overtaken(ctx: StepContext) -> Done:
        await app.send(delete_body(), message_id="d")
        await app.pump()
        return Done()

    script(app, "preflight", overtaken)
    await app.services.engine.run_one(message)
    delete = (await app.operations(ID))[-1]
    assert (delete.state, delete.waiting) == ("waiting", "quiesce")
    await app.settle()
    assert await app.state(ID) == "deleted"


# --- outcomes ------------------------------------------------------------------------------------


async def test_a_step_without_an_end_is_stopped_at_its_deadline_and_tried_again(app: LocalApp):
    async def endless(ctx: StepContext) -> Done:
        await asyncio.Event().wait()
        return Done()

    script(app, "preflight", endless)
    timing = dataclasses.replace(app.services.engine.timing, step_deadline_seconds=0.01)
    engine = dataclasses.replace(app.services.engine, timing=timing)
    message = await first_message(app)
    assert await engine.run_one(message) == "ready"
    step = await step_of(app, message)
    assert (step.code, step.attempts) == ("step-deadline", 1)
    assert step.detail == "no end after 0.01 s"


async def test_what_no_step_foresaw_is_tried_again_and_only_its_type_is_stored(
    app: LocalApp, caplog: pytest.LogCaptureFixture
):
    script(app, "preflight", RuntimeError("password=hunter2"))
    message = await first_message(app)
    assert await app.services.engine.run_one(message) == "ready"
    step = await step_of(app, message)
    assert (step.code, step.detail, step.attempts) == ("unexpected", "RuntimeError", 1)
    rows = str([row.columns for row in app.store.rows("connections")])
    assert "hunter2" not in rows
    assert any(record.getMessage().startswith("step-unexpected") for record in caplog.records)


@pytest.mark.parametrize("last", [RuntimeError("x"), TransientError("busy")])
async def test_errors_that_never_end_fail_the_operation_after_twelve_attempts(app: LocalApp, last: Exception):
    step = script(app, "preflight", *(last for _ in range(40)))
    await app.send(create_body())
    await app.settle(seconds=7200)
    [operation] = await app.operations(ID)
    assert (operation.state, operation.code) == ("failed", "attempts-exhausted")
    assert step.runs == 12
    assert operation.remedy


async def test_an_error_of_no_known_class_is_permanent(app: LocalApp):
    script(app, "preflight", MooringError("strange", "detail"))
    message = await first_message(app)
    assert await app.services.engine.run_one(message) == "failed"
    assert (await operation_of(app, message)).code == "strange"


async def test_a_wait_is_not_an_attempt(app: LocalApp):
    script(app, "preflight", *(NotYetError("closing") for _ in range(20)))
    await app.send(create_body())
    await app.settle()
    assert await app.state(ID) in {"configured", "failed"}
    snapshot = await app.services.state.load((await app.operations(ID))[0].operation_id)
    assert snapshot is not None
    assert snapshot.steps["preflight"].value.attempts == 0
    assert snapshot.steps["preflight"].value.turn == 21


async def test_a_plan_with_a_step_that_this_version_does_not_know_fails_and_says_so(app: LocalApp):
    message = await first_message(app)
    steps = {name: step for name, step in app.services.engine.steps.items() if name != "preflight"}
    engine = dataclasses.replace(app.services.engine, steps=steps)
    assert await engine.run_one(message) == "failed"
    operation = await operation_of(app, message)
    assert (operation.code, "preflight" in operation.detail) == ("plan-mismatch", True)


async def test_an_outcome_survives_conflicts_and_one_that_never_fits_is_delivered_again(app: LocalApp):
    async def disturbed(ctx: StepContext) -> Done:
        app.journal.before = conflicts(7)
        return Done()

    async def hopeless(ctx: StepContext) -> Done:
        app.journal.before = conflicts(8)
        return Done()

    script(app, "preflight", disturbed)
    script(app, "managed_identity", hopeless)
    message = await first_message(app)
    assert await app.services.engine.run_one(message) == "done"
    [following] = messages(app)
    with pytest.raises(StateConflictError, match="outcome of a step"):
        await app.services.engine.run_one(following)
    assert (await step_of(app, following)).state == "running"


async def test_a_claim_that_never_fits_comes_again_in_a_moment(app: LocalApp):
    step = script(app, "preflight")
    message = await first_message(app)
    app.journal.before = conflicts(8)
    assert await app.services.engine.run_one(message) == "contended"
    assert step.runs == 0
    assert messages(app) == []
    app.clock.advance(1)
    assert messages(app) == [message]


async def test_an_intent_survives_conflicts_and_one_that_never_fits_makes_nothing(app: LocalApp):
    message = await first_message(app)

    async def disturbed(ctx: StepContext) -> Done:
        app.journal.before = conflicts(7)
        assert await ctx.recorder.intend({"name": "a"}) == {"name": "a"}
        app.journal.before = conflicts(8)
        with pytest.raises(StateConflictError, match="intent of a step"):
            await ctx.recorder.intend({"other": "b"})
        return Done(outputs={"x": 1})

    script(app, "preflight", disturbed)
    assert await app.services.engine.run_one(message) == "done"
    assert (await app.services.state.intents(ID))["preflight"].planned == {"name": "a"}


async def test_the_nonce_of_the_same_things_stays_and_other_things_are_a_plan_of_their_own(app: LocalApp):
    seen: list[Mapping[str, Any]] = []
    kept = []

    async def plans(ctx: StepContext) -> Done:
        for planned in ({"name": "a"}, {"name": "a"}, {"name": "b"}, {"name": "a"}):
            nonce = f"nonce-{len(seen)}"
            seen.append(await ctx.recorder.intend({**planned, "nonce": nonce}))
        kept.append((await app.services.state.intents(ID))["preflight"])
        return Done()

    script(app, "preflight", plans)
    await app.services.engine.run_one(await first_message(app))
    first, other = {"name": "a", "nonce": "nonce-0"}, {"name": "b", "nonce": "nonce-2"}
    assert seen == [first, first, other, first]
    assert [plan.planned for plan in kept[0].plans()] == [first, other], "a revert removes both"


async def test_intents_of_an_earlier_life_are_not_seen_by_the_next(app: LocalApp):
    await app.send(create_body())
    await app.settle()
    stored = (await app.services.state.intents(ID))["settings"]
    await app.send(delete_body(), message_id="d")
    await app.settle()
    # A row that a crash of an older version might have left.
    seen = []

    async def look(ctx: StepContext) -> Done:
        seen.append((dict(ctx.intents), dict(await ctx.recorder.intend({"nonce": "mine"}))))
        return Done()

    script(app, "preflight", look)
    row = stored.model_copy(update={"step": "preflight"})
    connection = await app.services.state.connection(ID)
    assert connection is not None
    await app.services.state.observe(connection.value, [row], etag=connection.etag)
    await app.send(create_body(), message_id="c2")
    await app.pump()
    assert seen == [({}, {"nonce": "mine"})]


# --- throttling ----------------------------------------------------------------------------------


async def test_a_throttled_subscription_is_left_alone_by_every_later_write(app: LocalApp):
    script(app, "preflight", TransientError("throttled", retry_after_seconds=40))
    message = await first_message(app)
    await app.services.engine.run_one(message)
    until = await app.services.engine.limits.throttled_until(SUBSCRIPTION)
    assert until is not None
    assert (until - app.clock.now()).total_seconds() == 40
    made = []

    async def write(ctx: StepContext) -> Done:
        await ctx.recorder.intend({"x": 1})
        made.append(app.clock.now())
        return Done()

    script(app, "preflight", write, write)
    assert await app.services.engine.run_one(message.model_copy(update={"turn": 2})) == "early"
    other = await app.send(create_body("other"), message_id="other")
    for one in messages(app):
        await app.services.engine.run_one(one)
    operation = (await app.operations(other.connection_id))[0]
    assert (operation.state, operation.waiting) == ("waiting", "throttled")
    assert made == []
    await app.settle(seconds=100)
    assert made
    assert min(made) >= until


async def test_a_throttle_without_a_time_lasts_as_long_as_its_wait(app: LocalApp):
    script(app, "preflight", TransientError("throttled"))
    await app.services.engine.run_one(await first_message(app))
    until = await app.services.engine.limits.throttled_until(SUBSCRIPTION)
    assert until is not None
    assert (until - app.clock.now()).total_seconds() == 30


# --- poison --------------------------------------------------------------------------------------


async def test_a_step_that_is_poisoned_is_announced_once_more_and_then_fails(app: LocalApp):
    script(app, "preflight", Crash())
    message = await first_message(app)
    with pytest.raises(Crash):
        await app.services.engine.run_one(message)
    app.clock.advance(150)
    assert await app.services.engine.poisoned(message) == "again"
    [again] = messages(app)
    assert again.turn == message.turn + 1
    assert await app.services.engine.poisoned(message) == "stale", "only the current turn counts"
    assert await app.services.engine.poisoned(again) == "failed"
    operation = await operation_of(app, message)
    assert (operation.state, operation.code) == ("failed", "host-crash")
    assert await app.services.engine.poisoned(again) == "ended"
    assert await app.state(ID) == "failed"


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
    return await app.services.announcer.nudge(operation_id, noted_seconds=0)


async def test_a_step_whose_announcement_was_lost_is_announced_by_the_timer(app: LocalApp):
    app.journal.before = lambda call: Crash() if call.name == "queue.announce" else None
    with pytest.raises(Crash):
        await app.send(create_body())
    app.journal.before = None
    assert messages(app) == []
    assert await timers.announce_again(app.services) == 1
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


async def test_an_ended_operation_that_is_still_listed_is_told_and_closed(app: LocalApp):
    script(app, "preflight", PermanentError("broken"))
    message = await first_message(app)
    app.journal.before = lambda call: TransientError("busy") if call.name == "topic.publish" else None
    with pytest.raises(TransientError):
        await app.services.engine.run_one(message)
    app.journal.before = None
    assert await nudge(app, message.operation) == "ended"
    assert [event["data"]["code"] for event in app.topic.events] == ["broken"]
    assert await app.services.state.open_operations() == []


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
    assert await timers.announce_again(app.services) == 2
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


# --- one operation behind another ----------------------------------------------------------------


async def test_an_operation_behind_another_waits_and_is_woken_by_its_end(app: LocalApp):
    await app.send(create_body())
    await app.settle()
    await app.send(delete_body(), message_id="d")
    await app.send(create_body(), message_id="c2")
    await app.pump()
    delete, create = (await app.operations(ID))[-2:]
    assert (create.state, create.waiting, create.behind) == ("waiting", "behind", delete.operation_id)
    await app.settle(seconds=10)
    assert (await app.operations(ID))[-2].state == "succeeded"
    assert await app.state(ID) == "configured", "no poll of 15 s was waited for"


async def test_a_follower_that_moves_while_it_is_woken_is_left_to_its_own_message(app: LocalApp):
    await app.send(create_body())
    await app.settle()
    await app.send(delete_body(), message_id="d")
    await app.send(create_body(), message_id="c2")
    delete, create = (await app.operations(ID))[-2:]

    def rule(call: Call) -> BaseException | None:
        saved_alone = call.name == "state.transact" and len(call.arguments[2]) == 1
        of_create = saved_alone and call.arguments[2][0].key == f"op|{create.operation_id}|preflight"
        snapshot_final = any(
            '"state":"succeeded"' in str(row.columns["body"])
            for row in app.store.rows("connections")
            if row.key == f"op|{delete.operation_id}"
        )
        return StateConflictError() if of_create and snapshot_final else None

    app.journal.before = rule
    await app.settle(seconds=5)
    app.journal.before = None
    assert await app.state(ID) == "deleted"
    await app.settle(seconds=60)
    assert await app.state(ID) == "configured"
