"""One step, run once: what is dropped, what is taken, what is recorded, and what is lost."""

from collections.abc import Callable

import pytest

from handlers import timers
from shared import naming
from shared.errors import NotYetError, PermanentError, StateConflictError
from shared.models import Done, Operation, StepMessage, StepRecord
from shared.steps.base import StepContext
from tests.fakes.journal import Call
from tests.fakes.local_app import CLUSTER, LocalApp, create_body, delete_body
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
