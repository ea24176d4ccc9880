"""What a run may save and what a wish may open, at the edges (docs/reference/mutation.md)."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import pytest

from shared import naming
from shared.errors import StateConflictError
from shared.models import ConnectionState, Done, Intent, Kind, OperationState, Plan, StepMessage, StepState
from shared.opening import Answer, Asked
from shared.recording import Run, _merged
from shared.state import Stored
from shared.steps.base import StepContext
from tests.fakes.local_app import CLUSTER, LocalApp, create_body, delete_body
from tests.fakes.scripted_step import script
from tests.fakes.snapshots import SPEC

ID = naming.connection_id(CLUSTER, "shop", "orders-blob")


def messages(app: LocalApp) -> list[StepMessage]:
    return [StepMessage.model_validate_json(text) for text in app.queue.take("connection-steps")]


async def run_of(app: LocalApp, holder: str = "mine") -> Run:
    """A run that holds the first step of a create."""
    record = await app.send(create_body())
    state = app.services.state
    snapshot = await state.load(record.operation_id)
    assert snapshot is not None
    taken = snapshot.steps["preflight"].value.model_copy(
        update={"state": StepState.RUNNING, "holder": holder}
    )
    snapshot = await state.commit(snapshot, snapshot.operation.value, steps=[taken])
    dependents = app.services.engine.dependents
    return Run(state=state, dependents=dependents, snapshot=snapshot, step="preflight", holder=holder)


def intent(planned: Mapping[str, Any], *previous: Plan, generation: int = 0) -> Intent:
    return Intent(
        connection_id=ID, step="preflight", generation=generation, planned=planned, previous=previous
    )


# --- intents -------------------------------------------------------------------------------------


async def test_an_intent_is_saved_though_another_step_has_just_recorded_its_outcome(app: LocalApp):
    run = await run_of(app)
    meanwhile = await app.services.state.load(run.snapshot.operation.value.operation_id)
    assert meanwhile is not None
    await app.services.state.commit(meanwhile, meanwhile.operation.value)
    assert await run.intend({"x": 1}) == {"x": 1}
    assert (await app.services.state.intents(ID))["preflight"].planned == {"x": 1}
    assert await run.intend({"x": 2}) == {"x": 2}, "the newest snapshot is the one that goes on"


async def test_an_intent_of_an_earlier_life_is_no_plan_of_this_one(app: LocalApp):
    run = await run_of(app)
    old = intent({"x": 1, "nonce": "old"}, generation=7)
    run.snapshot = dataclasses.replace(run.snapshot, intents={"preflight": old})
    assert await run.intend({"x": 1, "nonce": "new"}) == {"x": 1, "nonce": "new"}


def test_the_same_things_keep_what_is_known_and_gain_what_is_new():
    merged = _merged(intent({"x": 1, "nonce": "n"}), intent({"x": 1}))
    assert merged.planned == {"x": 1, "nonce": "n"}
    merged = _merged(intent({"x": 1, "nonce": "later"}), intent({"x": 1, "nonce": "first"}))
    assert merged.planned == {"x": 1, "nonce": "first"}


def test_things_that_were_planned_before_come_back_with_what_was_made_of_them():
    first = Plan(planned={"x": 1, "nonce": "a"}, outputs={"uid": "u"})
    merged = _merged(intent({"x": 1, "nonce": "c"}), intent({"x": 2}, first))
    assert (merged.planned, merged.outputs) == (first.planned, first.outputs)
    assert merged.previous == (Plan(planned={"x": 2}),)


# --- other operations ----------------------------------------------------------------------------


async def test_an_operation_that_was_overtaken_is_settled_two_leases_after_its_end(app: LocalApp):
    run = await run_of(app)
    operation_id = run.snapshot.operation.value.operation_id
    state = app.services.state
    assert not await run.settled(operation_id)
    await app.send(delete_body(), message_id="d")
    app.clock.advance(299)
    assert not await state.settled(operation_id, lease_seconds=150), "a run of it may still be sending"
    app.clock.advance(1)
    assert await state.settled(operation_id, lease_seconds=150)
    assert await run.settled(naming.operation_id(ID, "nobody's"))


async def test_a_run_gives_back_its_own_lease_and_nobody_elses(app: LocalApp):
    run = await run_of(app)
    other = dataclasses.replace(run, holder="another")
    await other.let_go(run.snapshot)
    await run.let_go(None)
    operation_id = run.snapshot.operation.value.operation_id
    held = await app.services.state.load(operation_id)
    assert held is not None
    assert held.steps["preflight"].value.holder == "mine"
    await run.let_go(held)
    free = await app.services.state.load(operation_id)
    assert free is not None
    assert free.steps["preflight"].value.holder == ""


async def test_a_lease_that_moved_while_it_was_given_back_is_left(app: LocalApp):
    run = await run_of(app)
    app.journal.before = lambda call: StateConflictError() if call.name == "state.transact" else None
    await run.let_go(run.snapshot)
    app.journal.before = None
    assert await app.services.state.load(run.snapshot.operation.value.operation_id) is not None


# --- wishes --------------------------------------------------------------------------------------


async def opened(app: LocalApp, asked: Asked) -> Answer:
    return await app.services.intake.opener.open(asked)


async def rewrite(app: LocalApp, **changes: object) -> None:
    """Change the connection's row as time would have."""
    stored = await app.services.state.connection(ID)
    assert isinstance(stored, Stored)
    value = stored.value.model_copy(update=changes)
    await app.services.state.observe(value, [], etag=stored.etag)


async def test_a_wish_about_another_life_has_nothing_to_do(app: LocalApp):
    record = await app.send(create_body())
    await app.settle()
    answer = await opened(app, Asked(kind=Kind.DELETE, connection_id=ID, key="d", generation=7))
    assert answer == Answer("nothing-to-do", record.operation_id)
    assert len(await app.operations(ID)) == 1


@pytest.mark.parametrize(
    ("state", "outcome"),
    [
        (ConnectionState.CONFIGURED, "unchanged"),
        (ConnectionState.USABLE, "unchanged"),
        (ConnectionState.FAILED, "opened"),
        (ConnectionState.ORPHANED, "opened"),
    ],
)
async def test_a_create_of_what_is_made_changes_nothing_and_of_what_is_broken_makes_it(
    app: LocalApp, state: ConnectionState, outcome: str
):
    await app.send(create_body())
    await app.settle()
    await rewrite(app, state=state)
    assert (await app.send(create_body(), message_id="again")).outcome == outcome


async def test_a_create_in_the_place_of_a_linker_that_is_gone_is_found_by_the_next_one(app: LocalApp):
    await app.send(create_body())
    await app.settle()
    await rewrite(app, state=ConnectionState.PRUNED, linker_id="/linkers/x")
    asked = Asked(kind=Kind.CREATE, connection_id=ID, key="first", spec=SPEC)
    first = await opened(app, asked)
    assert first.outcome == "opened"
    second = await opened(app, dataclasses.replace(asked, key="second"))
    assert second == Answer("attached", first.operation_id)


# --- runs that were overtaken --------------------------------------------------------------------


async def test_a_run_that_ends_after_it_was_overtaken_leaves_its_operation_as_it_ended(app: LocalApp):
    [message] = await first(app)

    async def overtaken(ctx: StepContext) -> Done:
        await app.send(delete_body(), message_id="d")
        return Done(outputs={"made": "late"})

    script(app, "preflight", overtaken)
    assert await app.services.engine.run_one(message) == "lost"
    operation = (await app.operations(ID))[0]
    assert (operation.state, operation.code) == (OperationState.SUPERSEDED, "superseded-by-delete")


async def first(app: LocalApp) -> list[StepMessage]:
    await app.send(create_body())
    return messages(app)
