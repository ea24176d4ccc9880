"""Rows of connections and operations: what is written together, what conflicts, what is found again."""

import pytest

from shared import naming
from shared.errors import StateConflictError, TransientError
from shared.models import Connection, Intent, Operation, OperationId, StepState
from shared.ports import Upsert
from shared.recording import Run
from shared.records import Dependents
from shared.state import Snapshot, State
from tests.fakes.local_app import CLUSTER, LocalApp, create_body

ID = naming.connection_id(CLUSTER, "shop", "orders-blob")


@pytest.fixture
async def snapshot(app: LocalApp) -> Snapshot:
    record = await app.send(create_body())
    found = await app.services.state.load(record.operation_id)
    assert found is not None
    return found


def intent(step: str) -> Intent:
    return Intent(connection_id=ID, step=step, generation=1, planned={"name": step})


async def test_what_does_not_exist_is_none(app: LocalApp):
    state = app.services.state
    assert await state.connection(ID) is None
    assert await state.operation(OperationId(f"{ID}-x")) is None
    assert await state.load(OperationId(f"{ID}-x")) is None
    assert await state.operations(ID) == []
    assert await state.intents(ID) == {}
    assert await state.connections() == []


async def test_an_operation_is_loaded_with_its_steps_connection_and_intents(
    app: LocalApp, snapshot: Snapshot
):
    written = await app.services.state.commit(
        snapshot, snapshot.operation.value, intents=[intent("settings")]
    )
    loaded = await app.services.state.load(snapshot.operation.value.operation_id)
    assert loaded == written.__class__(
        connection=loaded.connection,  # type: ignore[union-attr]
        operation=loaded.operation,  # type: ignore[union-attr]
        steps=loaded.steps,  # type: ignore[union-attr]
        intents={"settings": intent("settings")},
        read_at=app.clock.now(),
    )
    assert loaded is not None
    assert set(loaded.steps) == {planned.name for planned in loaded.operation.value.plan}
    assert loaded.operation.value.revision == 1
    assert loaded.connection.value.active == (loaded.operation.value.operation_id,)


async def test_operations_of_one_connection_are_listed_without_their_steps_oldest_first(app: LocalApp):
    await app.send(create_body())
    await app.settle()
    for number in range(2):
        app.clock.advance(1)
        await app.send({"action": "validate", "connectionId": ID}, message_id=f"v{number}")
        await app.settle()
    assert [one.kind.value for one in await app.operations(ID)] == ["create", "validate", "validate"]


async def test_two_outcomes_of_one_snapshot_conflict(app: LocalApp, snapshot: Snapshot):
    state = app.services.state
    await state.commit(snapshot, snapshot.operation.value)
    with pytest.raises(StateConflictError):
        await state.commit(snapshot, snapshot.operation.value, intents=[intent("settings")])
    assert await state.intents(ID) == {}, "nothing of a transaction that conflicts is written"


async def test_a_committed_snapshot_can_be_committed_again(app: LocalApp, snapshot: Snapshot):
    state = app.services.state
    step = snapshot.steps["preflight"].value.model_copy(update={"state": StepState.RUNNING})
    connection = snapshot.connection.value.model_copy(update={"linker_id": "x"})
    once = await state.commit(
        snapshot,
        snapshot.operation.value,
        steps=[step],
        connection=connection,
        intents=[intent("settings"), intent("preflight")],
    )
    twice = await state.commit(
        once,
        once.operation.value,
        steps=[step.model_copy(update={"state": StepState.DONE})],
        connection=connection.model_copy(update={"linker_id": "y"}),
        forget=["settings", "never-there"],
    )
    loaded = await state.load(snapshot.operation.value.operation_id)
    assert loaded is not None
    assert loaded.operation.etag == twice.operation.etag
    assert loaded.connection.etag == twice.connection.etag
    assert {name: one.etag for name, one in loaded.steps.items()} == {
        name: one.etag for name, one in twice.steps.items()
    }
    assert set(loaded.intents) == set(twice.intents) == {"preflight"}
    assert loaded.connection.value.linker_id == "y"


async def test_an_unchanged_connection_is_not_written(app: LocalApp, snapshot: Snapshot):
    after = await app.services.state.commit(
        snapshot, snapshot.operation.value, connection=snapshot.connection.value
    )
    assert after.connection.etag == snapshot.connection.etag


async def test_a_connection_changed_by_another_operation_makes_the_outcome_conflict(
    app: LocalApp, snapshot: Snapshot
):
    stored = snapshot.connection
    await app.services.state.observe(stored.value, [], etag=stored.etag)
    with pytest.raises(StateConflictError):
        await app.services.state.commit(
            snapshot,
            snapshot.operation.value,
            connection=stored.value.model_copy(update={"linker_id": "x"}),
        )


async def test_a_mark_on_a_step_that_moved_on_conflicts(app: LocalApp, snapshot: Snapshot):
    step = snapshot.steps["preflight"].value
    await app.services.state.save_step(snapshot, step)
    with pytest.raises(StateConflictError):
        await app.services.state.save_step(snapshot, step)


async def test_of_two_connections_inserted_at_once_one_wins(app: LocalApp, snapshot: Snapshot):
    operation: Operation = snapshot.operation.value.model_copy(update={"operation_id": f"{ID}-other"})
    with pytest.raises(StateConflictError):
        await app.services.state.open(operation, [], connection=snapshot.connection.value, connection_etag="")
    assert await app.services.state.operation(operation.operation_id) is None


async def test_open_operations_are_found_whatever_their_bucket_until_they_are_closed(app: LocalApp):
    names = [f"orders-{number}" for number in range(40)]
    records = [await app.send(create_body(name), message_id=name) for name in names]
    found = await app.services.state.open_operations()
    assert {one for one, _ in found} == {record.operation_id for record in records}
    assert {seconds for _, seconds in found} == {0.0}
    app.clock.advance(7)
    assert {seconds for _, seconds in await app.services.state.open_operations()} == {7.0}
    assert len({row.partition for row in app.store.rows("openoperations")}) > 8
    for one, _ in found:
        await app.services.state.close(one)
        await app.services.state.close(one)
    assert await app.services.state.open_operations() == []


async def test_connections_are_listed_up_to_a_limit(app: LocalApp):
    for number in range(3):
        await app.send(create_body(f"orders-{number}"), message_id=f"m{number}")
    assert len(await app.services.state.connections()) == 3
    assert len(await app.services.state.connections(limit=2)) == 2


async def test_a_lease_is_measured_by_the_stores_own_time_and_only_while_it_is_held(
    app: LocalApp, snapshot: Snapshot
):
    assert snapshot.lease_left_seconds("preflight") == 0.0
    taken = snapshot.steps["preflight"].value.model_copy(update={"holder": "h", "lease_seconds": 150})
    await app.services.state.save_step(snapshot, taken)
    for age, left in ((0, 150.0), (100, 50.0), (50, 0.0), (1, 0.0)):
        app.clock.advance(age)
        loaded = await app.services.state.load(snapshot.operation.value.operation_id)
        assert loaded is not None
        assert loaded.lease_left_seconds("preflight") == left


async def test_every_row_says_its_schema_and_an_unreadable_one_is_an_error(app: LocalApp):
    await app.send(create_body())
    await app.settle()
    for table in ("connections", "requests", "dependents", "users", "subscriptions"):
        rows = app.store.rows(table)
        assert rows, table
        assert {row.columns["schema"] for row in rows} == {1}, table
    row = next(row for row in app.store.rows("connections") if row.key == "a|connection")
    bad = Upsert(key=row.key, columns={**row.columns, "body": '{"unexpected": 1}'})
    await app.store.transact("connections", row.partition, [bad])
    with pytest.raises(ValueError, match="unexpected"):
        await app.services.state.connection(ID)


async def test_observing_replaces_only_what_it_has_read(app: LocalApp, snapshot: Snapshot):
    state = app.services.state
    with pytest.raises(StateConflictError):
        await state.observe(snapshot.connection.value, [], etag="")
    await state.observe(snapshot.connection.value, [intent("settings")], etag=snapshot.connection.etag)
    assert set(await state.intents(ID)) == {"settings"}


# --- one run of one step -------------------------------------------------------------------------


def run_of(app: LocalApp, snapshot: Snapshot) -> Run:
    return Run(
        state=app.services.state,
        dependents=Dependents(app.store),
        snapshot=snapshot,
        step="preflight",
        holder="h",
    )


async def test_a_run_knows_of_other_operations_only_what_is_in_the_table(app: LocalApp, snapshot: Snapshot):
    run = run_of(app, snapshot)
    nobody, own = OperationId(f"{ID}-nobody"), snapshot.operation.value.operation_id
    assert await run.settled(nobody)
    assert not await run.settled(own)
    assert await run.lease_left_seconds(nobody) == 0.0
    assert await run.lease_left_seconds(own) == 0.0
    taken = snapshot.steps["preflight"].value.model_copy(
        update={"holder": "h", "lease_seconds": 150, "state": StepState.RUNNING}
    )
    await app.services.state.save_step(snapshot, taken)
    app.clock.advance(30)
    assert await run.lease_left_seconds(own) == 120.0


async def test_an_intent_that_is_saved_already_is_not_written_again(app: LocalApp, snapshot: Snapshot):
    held = snapshot.steps["preflight"].value.model_copy(update={"holder": "h"})
    snapshot = await app.services.state.commit(snapshot, snapshot.operation.value, steps=[held])
    run = run_of(app, snapshot)
    await run.intend({"a": 1, "nonce": "x"})
    etag = run.snapshot.operation.etag
    assert await run.intend({"a": 1, "nonce": "y"}) == {"a": 1, "nonce": "x"}
    assert run.snapshot.operation.etag == etag


async def test_stored_values_are_the_values_that_were_written(app: LocalApp, snapshot: Snapshot):
    stored: Connection = snapshot.connection.value
    again = await State(app.store).connection(ID)
    assert again is not None
    assert again.value == stored


async def test_a_row_of_another_version_is_left_as_it_is_and_tried_again_later(
    app: LocalApp, snapshot: Snapshot
):
    """An older host that wrote it back would drop what it does not know; the value itself is never told."""
    operation = snapshot.operation.value
    [row] = [one for one in app.store.rows("connections") if one.key == f"op|{operation.operation_id}"]
    body = str(row.columns["body"]).replace('"begun":', '"added_later":"s3cret","begun":')
    newer = Upsert(key=row.key, columns={**row.columns, "body": body})
    await app.store.transact("connections", row.partition, [newer])
    with pytest.raises(TransientError, match="row-unreadable: Operation: added_later") as caught:
        await app.services.state.load(operation.operation_id)
    assert isinstance(caught.value, ValueError)
    assert "s3cret" not in str(caught.value) + repr(caught.value.__context__)
    assert next(one for one in app.store.rows("connections") if one.key == row.key).columns["body"] == body
