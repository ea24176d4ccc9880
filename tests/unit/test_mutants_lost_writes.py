"""Within a lease a write whose answer was lost may still land (docs/reference/mutation.md)."""

import pytest

from shared import naming
from shared.models import ConnectionId, ConnectionState, Kind, OperationId, StepState
from shared.recording import Run
from shared.records import Dependent
from shared.steps.shared_things import things_of
from shared.users import User
from tests.fakes.local_app import LocalApp, create_body, delete_body


async def doubts(
    app: LocalApp,
    age_seconds: float = 100.0,
    *,
    unanswered: bool = True,
    own_unanswered: bool = False,
    removals: bool = False,
    kind: Kind = Kind.DELETE,
    **changes: object,
) -> float:
    """What a delete's last step asks, after the create that it overtook tried its first step in some way."""
    record = await app.send(create_body())
    state = app.services.state
    shot = await state.load(OperationId(record.operation_id))
    assert shot is not None
    tried = {"lease_seconds": 150, **changes}
    if unanswered:
        tried["unanswered_at"] = shot.read_at
    await state.save_step(shot, shot.steps["preflight"].value.model_copy(update=tried))
    deleted = await app.send(delete_body(), message_id="d")
    own = await state.load(OperationId(deleted.operation_id))
    assert own is not None
    own = await state.commit(own, own.operation.value.model_copy(update={"kind": kind}))
    for name, removals_sent in (("verify_gone", own_unanswered), ("quiesce", True)):
        at = {"unanswered_at": own.read_at, "lease_seconds": 9000 if name == "quiesce" else 150}
        if removals_sent:
            await state.save_step(own, own.steps[name].value.model_copy(update=at))
    app.clock.advance(age_seconds)
    dependents = app.services.engine.dependents
    run = Run(state=state, dependents=dependents, snapshot=own, step="verify_gone", holder="h")
    return await run.in_doubt_seconds(removals=removals)


async def test_a_write_whose_answer_was_lost_may_land_within_a_lease(app: LocalApp):
    assert await doubts(app) == 50.0


async def test_nothing_is_in_doubt_once_everything_was_answered(app: LocalApp):
    assert await doubts(app, unanswered=False, attempts=2, crashes=1) == 0.0


async def test_a_write_in_doubt_is_no_delete_in_doubt(app: LocalApp):
    assert await doubts(app, removals=True) == 0.0


@pytest.mark.parametrize("kind", [Kind.DELETE, Kind.PRUNE])
async def test_a_delete_that_an_earlier_run_of_the_step_sent_may_land_within_a_lease(
    app: LocalApp, kind: Kind
):
    assert await doubts(app, removals=True, own_unanswered=True, kind=kind) == 50.0


async def test_after_the_lease_nothing_lands_any_more(app: LocalApp):
    assert await doubts(app, 151.0) == 0.0


async def test_an_overtaken_run_that_ended_may_have_sent_something_just_before(app: LocalApp):
    assert await doubts(app, unanswered=False, state=StepState.RUNNING) == 50.0


async def test_an_overtaken_run_that_may_still_be_on_its_way_has_a_lease_more(app: LocalApp):
    assert await doubts(app, unanswered=False, state=StepState.RUNNING, holder="somebody") == 200.0


async def test_a_run_of_what_goes_on_beside_is_nothing_that_was_overtaken(app: LocalApp):
    record = await app.send(create_body())
    looked = await app.send({**delete_body(), "action": "validate"}, message_id="v")
    state = app.services.state
    own, beside = [await state.load(OperationId(one.operation_id)) for one in (record, looked)]
    assert own is not None
    assert beside is not None
    name = next(iter(beside.steps))
    at_work = {"lease_seconds": 150, "state": StepState.RUNNING, "holder": "somebody"}
    await state.save_step(beside, beside.steps[name].value.model_copy(update=at_work))
    run = Run(state=state, dependents=app.services.engine.dependents, snapshot=own, step="b", holder="h")
    assert await run.in_doubt_seconds(removals=False) == 0.0


async def test_a_connection_whose_row_is_lost_holds_nothing_by_what_it_relied_on(app: LocalApp):
    record = await app.send(create_body())
    shot = await app.services.state.load(OperationId(record.operation_id))
    assert shot is not None
    dependents = app.services.engine.dependents
    lost = Dependent(
        resource_id="/identities/x",
        kind="identity",
        connection_id=ConnectionId(naming.connection_id("/clusters/x", "shop", "lost")),
        generation=1,
    )
    await dependents.add(lost)
    run = Run(state=app.services.state, dependents=dependents, snapshot=shot, step="settings", holder="h")
    assert await run.held_by_others("/identities/x") == {}


@pytest.mark.parametrize(
    ("state", "active", "holds"),
    [
        (ConnectionState.USABLE, (), True),
        (ConnectionState.DELETED, ("x",), True),
        (ConnectionState.USABLE, ("x",), True),
        (ConnectionState.DELETED, (), False),
    ],
)
async def test_a_connection_that_lives_or_is_being_made_may_hold_things(
    app: LocalApp, state: ConnectionState, active: tuple[str, ...], holds: bool
):
    record = await app.send(create_body())
    shot = await app.services.state.load(OperationId(record.operation_id))
    assert shot is not None
    run = Run(
        state=app.services.state,
        dependents=app.services.engine.dependents,
        snapshot=shot,
        step="settings",
        holder="h",
    )
    stored = await app.services.state.connection(shot.connection.value.connection_id)
    assert stored is not None
    value = stored.value.model_copy(update={"state": state, "active": tuple(map(OperationId, active))})
    await app.services.state.observe(value, [], etag=stored.etag)
    assert await run.holds(value.connection_id) is holds
    assert not await run.holds(ConnectionId("nobody"))


async def test_of_two_that_go_at_once_one_does_not_hide_what_a_third_holds(app: LocalApp):
    bodies = [create_body(name) for name in ("one", "two", "three")]
    records = [await app.send(body, message_id=str(index)) for index, body in enumerate(bodies)]
    await app.settle()
    state, dependents = app.services.state, app.services.engine.dependents
    first, *others = records
    ids = sorted(ConnectionId(one.connection_id) for one in others)
    stored = await state.connection(ids[0])
    assert stored is not None
    going = stored.value.model_copy(update={"state": ConnectionState.DELETING})
    await state.observe(going, [], etag=stored.etag)
    shot = await state.load(OperationId(first.operation_id))
    assert shot is not None
    identity_id = str(shot.intents["managed_identity"].outputs["resourceId"])
    run = Run(state=state, dependents=dependents, snapshot=shot, step="settings", holder="h")
    third = await state.connection(ids[1])
    assert third is not None
    user = User(connection_id=ids[1], generation=1)
    things = things_of(third.value, await state.intents(ids[1]))
    assert await run.held_by_others(identity_id) == {thing: {user: True} for thing in things}
