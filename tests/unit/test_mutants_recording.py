"""What a run is told of other connections: it decides what of theirs stays (docs/reference/mutation.md)."""

from typing import Any

import pytest

from shared import naming
from shared.models import ConnectionId, ConnectionState, Direction, Kind, OperationId, PlannedStep, Provenance
from shared.ports import Remove
from shared.recording import Run
from shared.records import Dependent
from shared.state import CONNECTION_KEY, CONNECTIONS
from shared.steps.base import identity_thing
from shared.users import User
from tests.fakes import snapshots
from tests.fakes.local_app import CLUSTER, IDENTITY_GROUP, STORAGE, LocalApp, create_body

IDENTITY = f"{IDENTITY_GROUP}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/ours"
LINKER = f"{CLUSTER}/providers/Microsoft.ServiceLinker/linkers/theirs"
UNKNOWN = User(connection_id=naming.connection_id(CLUSTER, "shop", "unknown"), generation=1)


@pytest.fixture
async def run(app: LocalApp) -> Run:
    """A run of a connection beside those that are put on record."""
    record = await app.send(create_body("orders-more"))
    shot = await app.services.state.load(OperationId(record.operation_id))
    assert shot is not None
    dependents = app.services.engine.dependents
    return Run(state=app.services.state, dependents=dependents, snapshot=shot, step="settings", holder="h")


async def put(run: Run, name: str, **changes: object) -> User:
    """Another connection that relies on the identity."""
    connection_id = naming.connection_id(CLUSTER, "shop", name)
    own = {"connection_id": connection_id, "active": (), "state": ConnectionState.USABLE}
    value = run.snapshot.connection.value.model_copy(update=own | changes)
    await run.state.observe(value, [], etag="")
    await relies(run, connection_id)
    return User(connection_id=connection_id, generation=value.generation)


async def relies(run: Run, connection_id: ConnectionId) -> None:
    await run.dependents.add(
        Dependent(resource_id=IDENTITY, kind="identity", connection_id=connection_id, generation=1)
    )


async def test_of_those_that_work_through_an_identity_only_linkers_are_told_as_such(run: Run):
    await put(run, "ours")
    assert await run.linkers_of(IDENTITY, "") == {}
    await put(run, "theirs", linker_id=LINKER, state=ConnectionState.OBSERVED)
    assert await run.linkers_of(IDENTITY, "") == {LINKER: STORAGE}


async def test_a_connection_whose_row_is_lost_is_in_no_life(run: Run):
    own = run.snapshot.connection
    begun = own.value.model_copy(update={"generation": 2})
    await run.state.observe(begun, [], etag=own.etag)
    assert await run.generation() == 2
    await run.state.store.transact(CONNECTIONS, begun.connection_id, [Remove(key=CONNECTION_KEY)])
    assert await run.generation() == 0, "a run of the first life would take the entries of all others along"


@pytest.mark.parametrize(
    ("kind", "changes", "sure"),
    [
        (Kind.PRUNE, {}, True),
        (Kind.DELETE, {}, True),
        (Kind.PRUNE, {"begun": False}, False),
        (Kind.REPAIR, {}, False),
        (Kind.PRUNE, {"done": ("managed_identity",)}, False),
    ],
)
async def test_of_what_is_being_pruned_a_thing_is_held_for_sure_while_a_removal_has_still_to_leave_it(
    run: Run, kind: Kind, changes: dict[str, Any], sure: bool
):
    plan = (PlannedStep(name="managed_identity", direction=Direction.REVERT),)
    shot = snapshots.snapshot(kind, plan=plan, connection_state=ConnectionState.PRUNING, **changes)
    value = shot.connection.value
    assert OperationId("other") in value.active, "and one whose rows are lost says nothing"
    steps = [stored.value for stored in shot.steps.values()]
    await run.state.open(shot.operation.value, steps, connection=value, connection_etag="")
    stored = await run.state.connection(value.connection_id)
    assert stored is not None
    made = snapshots.intent("managed_identity", resourceId=IDENTITY, provenance=Provenance.CREATED)
    await run.state.observe(value, [made], etag=stored.etag)
    await relies(run, value.connection_id)
    user = User(connection_id=value.connection_id, generation=1)
    assert await run.held_by_others(IDENTITY) == {identity_thing(IDENTITY): {user: sure}}


async def test_a_thing_is_left_to_linkers_alone_if_each_of_its_users_is_on_record_as_one(run: Run):
    theirs = await put(run, "theirs", linker_id=LINKER)
    ours = await put(run, "ours")
    assert await run.only_linkers([theirs])
    assert not await run.only_linkers([theirs, ours])
    assert not await run.only_linkers([theirs, UNKNOWN]), "of whom nothing is known, it may be ours"


async def test_a_thing_is_ours_if_one_of_its_users_is_in_that_life_whoever_else_is_told(run: Run):
    theirs = await put(run, "theirs", linker_id=LINKER)
    ours = await put(run, "ours")
    later = ours.model_copy(update={"generation": 2})
    assert not await run.any_of_ours([UNKNOWN, theirs, later])
    assert await run.any_of_ours([UNKNOWN, theirs, later, ours])


async def test_what_one_of_ours_has_left_to_a_linker_is_ours_still(run: Run):
    left = await put(run, "left", linker_id=LINKER, left_by=ConnectionId("one of ours"))
    assert await run.any_of_ours([left])


@pytest.mark.parametrize(
    ("state", "stands"),
    [
        (ConnectionState.OBSERVED, True),
        (ConnectionState.PRUNING, False),
        (ConnectionState.PRUNED, False),
    ],
)
async def test_nothing_is_left_to_a_user_whose_prune_has_begun(
    run: Run, state: ConnectionState, stands: bool
):
    user = await put(run, "theirs", linker_id=LINKER, state=state)
    assert await run.stands(user) is stands


async def test_nothing_is_left_to_a_user_that_is_not_on_record_in_that_life(run: Run):
    user = await put(run, "theirs", linker_id=LINKER, generation=2)
    assert await run.stands(user)
    assert await run.stands(user.model_copy(update={"generation": 1})) is False
    assert await run.stands(UNKNOWN) is False
