"""What an outcome of a run becomes: attempts, waits, intents, conflicts, and a subscription left alone."""

import asyncio
import dataclasses
from collections.abc import Mapping
from typing import Any

import pytest

from shared.errors import MooringError, NotYetError, StateConflictError, TransientError
from shared.models import Done
from shared.recording import SIBLING_COMMITS
from shared.steps.base import StepContext
from tests.fakes.local_app import SUBSCRIPTION, LocalApp, create_body, delete_body
from tests.fakes.scripted_step import script
from tests.unit.test_engine import ID, conflicts, first_message, messages, operation_of, step_of

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
        app.journal.before = conflicts(SIBLING_COMMITS - 1)
        return Done()

    async def hopeless(ctx: StepContext) -> Done:
        app.journal.before = conflicts(SIBLING_COMMITS)
        return Done()

    script(app, "preflight", disturbed)
    script(app, "managed_identity", hopeless)
    message = await first_message(app)
    assert await app.services.engine.run_one(message) == "done"
    [following] = messages(app)
    with pytest.raises(StateConflictError, match="outcome of a step"):
        await app.services.engine.run_one(following)
    assert (await step_of(app, following)).state == "running"
    app.clock.advance(10)
    script(app, "managed_identity", Done())
    assert await app.services.engine.run_one(following) == "done", "no lease stands in its way"


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
        app.journal.before = conflicts(SIBLING_COMMITS - 1)
        assert await ctx.recorder.intend({"name": "a"}) == {"name": "a"}
        app.journal.before = conflicts(SIBLING_COMMITS)
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


WEEK_SECONDS = 604800


async def test_a_subscription_is_asked_again_within_the_hour_though_it_asked_for_a_week_of_patience(
    app: LocalApp,
):
    week, real = TransientError("throttled", retry_after_seconds=WEEK_SECONDS), app.services.engine.steps
    script(app, "preflight", week, real["preflight"].apply, real["preflight"].apply)
    await app.services.engine.run_one(await first_message(app))
    until = await app.services.engine.limits.throttled_until(SUBSCRIPTION)
    assert until is not None
    assert (until - app.clock.now()).total_seconds() == 3600
    other = await app.send(create_body("other"), message_id="other")
    await app.settle(seconds=3700)
    states = [(await app.operations(one))[0].state for one in (ID, other.connection_id)]
    assert states == ["succeeded", "succeeded"]


@pytest.mark.parametrize(
    ("patience", "code", "runs"),
    [
        (TransientError("throttled", retry_after_seconds=WEEK_SECONDS), "throttled-too-long", 3),
        (NotYetError("target-updating", retry_after_seconds=WEEK_SECONDS), "target-never-ready", 2),
    ],
)
async def test_a_step_fails_at_the_deadline_of_its_wait_though_a_service_asks_for_a_week_of_patience(
    app: LocalApp, patience: MooringError, code: str, runs: int
):
    step = script(app, "preflight", *[patience] * 10)
    message = await first_message(app)
    await app.services.engine.run_one(message)
    await app.settle(seconds=WEEK_SECONDS)
    operation = await operation_of(app, message)
    assert (operation.state, operation.code, step.runs) == ("failed", code, runs)
    assert operation.ended_at is not None
    assert 7200 <= (operation.ended_at - operation.opened_at).total_seconds() < 7260
