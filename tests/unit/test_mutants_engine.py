"""What one run of a step does to the second, found by breaking the engine (docs/reference/mutation.md)."""

import dataclasses
from datetime import timedelta

import pytest

from shared import naming, retry
from shared.engine import EARLY_SECONDS, Timing
from shared.errors import NotYetError, StateConflictError
from shared.models import Direction, Done, OperationState, StepMessage, StepRecord, StepState
from shared.state import Snapshot
from shared.steps.base import StepContext
from tests.fakes.clock import START
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


async def load(app: LocalApp, message: StepMessage) -> Snapshot:
    snapshot = await app.services.state.load(message.operation)
    assert snapshot is not None
    return snapshot


async def step_of(app: LocalApp, message: StepMessage) -> StepRecord:
    return (await load(app, message)).steps[message.step].value


def test_a_step_is_stopped_well_before_another_run_may_take_it():
    assert Timing() == Timing(step_deadline_seconds=90, step_lease_seconds=150, retry_scale=1)


@pytest.mark.parametrize(("early_seconds", "said"), [(1.5, "done"), (1.75, "early")])
async def test_a_message_counts_as_early_only_beyond_what_the_queue_cannot_tell(
    app: LocalApp, early_seconds: float, said: str
):
    script(app, "preflight", NotYetError("closing", seconds=10))
    message = await first_message(app)
    await app.services.engine.run_one(message)
    app.clock.advance(10 - early_seconds)
    assert EARLY_SECONDS == 1.5
    assert await app.services.engine.run_one(message.model_copy(update={"turn": 2})) == said


async def test_a_claim_survives_conflicts(app: LocalApp):
    step = script(app, "preflight")
    message = await first_message(app)
    left = [7]

    def rule(call: Call) -> BaseException | None:
        if call.name != "state.transact" or not left[0]:
            return None
        left[0] -= 1
        return StateConflictError("somebody was faster")

    app.journal.before = rule
    assert await app.services.engine.run_one(message) == "done"
    assert step.runs == 1


async def test_a_step_that_may_not_begin_is_announced_for_later_and_says_what_the_operation_does(
    app: LocalApp,
):
    message = await first_message(app)
    limits = app.services.engine.limits
    await limits.throttle(SUBSCRIPTION, not_before=app.clock.now() + timedelta(seconds=40))
    assert await app.services.engine.run_one(message) == "waiting"
    assert messages(app) == []
    app.clock.advance(40)
    [later] = messages(app)
    assert (later.step, later.turn) == (message.step, 2)


async def test_a_step_of_a_failing_operation_that_comes_after_its_run_died_ends_the_operation(app: LocalApp):
    script(app, "preflight", Crash())
    message = await first_message(app)
    with pytest.raises(Crash):
        await app.services.engine.run_one(message)
    snapshot = await load(app, message)
    failing = snapshot.operation.value.model_copy(update={"failing": True, "code": "broken"})
    await app.services.state.commit(snapshot, failing)
    app.clock.advance(150)
    assert await app.services.engine.run_one(message) == "failed"
    after = await load(app, message)
    assert (after.operation.value.code, after.operation.value.ended_at) == ("broken", app.clock.now())
    assert after.steps["preflight"].value.state is StepState.PENDING


async def test_a_lease_that_is_over_to_the_second_is_over_for_poison_too(app: LocalApp):
    script(app, "preflight", Crash())
    message = await first_message(app)
    with pytest.raises(Crash):
        await app.services.engine.run_one(message)
    app.clock.advance(149.5)
    assert await app.services.engine.poisoned(message) == "stale"
    app.clock.advance(0.5)
    assert await app.services.engine.poisoned(message) == "again"


async def test_a_step_that_is_poisoned_once_starts_afresh_at_once(app: LocalApp):
    script(app, "preflight", NotYetError("closing", seconds=40), Crash())
    message = await first_message(app)
    await app.services.engine.run_one(message)
    app.clock.advance(40)
    with pytest.raises(Crash):
        await app.services.engine.run_one(message.model_copy(update={"turn": 2}))
    messages(app)
    app.clock.advance(150)
    assert await app.services.engine.poisoned(message.model_copy(update={"turn": 2})) == "again"
    record = await step_of(app, message)
    assert (record.state, record.crashes, record.turn, record.holder) == (StepState.READY, 1, 3, "")
    assert (record.due_at, record.announced) == (app.clock.now(), True)
    [again] = messages(app)
    assert again.turn == 3


async def test_a_step_is_given_the_outputs_of_those_that_are_done_and_of_no_other(app: LocalApp):
    seen = []

    async def look(ctx: StepContext) -> Done:
        seen.append(dict(ctx.done))
        return Done(outputs={"mine": 1})

    script(app, "preflight", look)
    script(app, "managed_identity", look)
    message = await first_message(app)
    await app.services.engine.run_one(message)
    await app.services.engine.run_one(next(one for one in messages(app) if one.step == "managed_identity"))
    assert seen == [{}, {"preflight": {"mine": 1}}]


async def test_an_outcome_is_dated_when_the_run_ended_by_the_stores_time(app: LocalApp):
    conflict = [StateConflictError("somebody was faster")]

    def rule(call: Call) -> BaseException | None:
        if call.name != "state.transact" or not conflict:
            return None
        app.clock.advance(5)
        return conflict.pop()

    async def slow(ctx: StepContext) -> Done:
        app.clock.advance(30)
        app.journal.before = rule
        return Done()

    script(app, "preflight", slow)
    message = await first_message(app)
    assert await app.services.engine.run_one(message) == "done"
    record = await step_of(app, message)
    assert (record.started_at, record.ended_at) == (START, START + timedelta(seconds=30))


async def test_the_end_of_a_delete_leaves_no_intent_behind(app: LocalApp):
    await app.send(create_body())
    await app.settle()
    assert await app.services.state.intents(ID)
    await app.send(delete_body(), message_id="d")
    await app.settle()
    assert await app.state(ID) == "deleted"
    assert await app.services.state.intents(ID) == {}


async def test_a_next_step_is_announced_only_when_its_row_says_that_it_is_ready(app: LocalApp):
    seen: list[tuple[StepState, int, bool]] = []
    rows = app.services.state
    announce = app.queue.announce

    async def look(message: StepMessage, *, delay_seconds: float = 0) -> None:
        snapshot = await rows.load(message.operation)
        assert snapshot is not None
        stored = snapshot.steps[message.step].value
        seen.append((stored.state, stored.turn - message.turn, stored.announced))
        await announce(message, delay_seconds=delay_seconds)

    app.queue.announce = look  # type: ignore[method-assign]
    await app.send(create_body())
    await app.settle()
    assert await app.state(ID) == "configured"
    assert set(seen) == {(StepState.READY, 0, False)}


async def test_the_engines_own_scale_is_that_of_retries_and_waits(app: LocalApp):
    engine = dataclasses.replace(
        app.services.engine, timing=dataclasses.replace(app.services.engine.timing, retry_scale=0.5)
    )
    app.services = dataclasses.replace(app.services, engine=engine)
    script(app, "preflight", NotYetError("behind"))
    message = await first_message(app)
    await app.services.engine.run_one(message)
    record = await step_of(app, message)
    assert record.due_at is not None
    assert (record.due_at - START).total_seconds() == retry.WAITS["behind"].interval_seconds / 2


async def test_an_operation_behind_one_that_has_ended_begins_at_its_next_message(app: LocalApp):
    await app.send(create_body())
    await app.settle()
    await app.send(delete_body(), message_id="d")
    await app.send(create_body(), message_id="c2")
    create = (await app.operations(ID))[-1]
    assert create.behind
    snapshot = await app.services.state.load(create.behind)
    assert snapshot is not None
    ended = snapshot.operation.value.model_copy(update={"state": OperationState.FAILED})
    await app.services.state.commit(snapshot, ended)
    message = next(one for one in messages(app) if one.operation == create.operation_id)
    assert await app.services.engine.run_one(message) == "done"
    assert (await step_of(app, message)).direction is Direction.APPLY
