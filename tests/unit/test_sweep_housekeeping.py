"""What has had its time goes, and what is still of use stays."""

import json
from collections.abc import Mapping, Sequence
from datetime import timedelta

import pytest

from shared import naming
from shared.errors import PermanentError, TransientError
from shared.models import ConnectionId
from shared.ports import Change, Upsert
from tests.fakes.journal import Call
from tests.fakes.local_app import CLUSTER, LocalApp, create_body, delete_body
from tests.fakes.sweeps import connected, prunes, swept

DAY = 86_400.0
ID = naming.connection_id(CLUSTER, "shop", "orders-blob")


async def orphaned(app: LocalApp) -> str:
    connection_id = await connected(app)
    app.world.credentials[next(iter(app.world.identities))].clear()
    await swept(app)
    await app.settle()
    assert await app.state(connection_id) == "orphaned"
    return connection_id


async def test_an_orphaned_connection_is_kept_for_its_time_and_then_pruned(app: LocalApp):
    connection_id = await orphaned(app)
    app.clock.advance(13.9 * DAY)
    assert "prunes" not in (await swept(app))["totals"]
    app.clock.advance(0.2 * DAY)
    assert (await swept(app))["totals"]["prunes"] == {"expiry": 1}
    assert (await prunes(app, connection_id))[-1] == ("expiry", "sweep")


async def test_an_orphan_whose_prune_failed_stays_one_and_is_tried_again_the_next_day(app: LocalApp):
    connection_id = await orphaned(app)
    stored = await app.services.state.connection(ConnectionId(connection_id))
    assert stored is not None
    app.clock.advance(14.1 * DAY)

    def denied(call: Call) -> PermanentError | None:
        return PermanentError("access-denied") if call.name == "identities.delete" else None

    app.journal.before = denied
    for _ in range(2):
        assert "prunes" in (await swept(app))["totals"]
        await app.settle()
        failed = await app.services.state.connection(ConnectionId(connection_id))
        assert failed is not None
        assert (failed.value.state, failed.value.ended_at) == ("orphaned", stored.value.ended_at)
        assert (await app.operations(connection_id))[-1].state == "failed"
        app.clock.advance(DAY)
    app.journal.before = None
    assert (await swept(app))["totals"]["prunes"] == {"expiry": 1}
    await app.settle()
    assert await app.state(connection_id) == "pruned"
    assert app.leftovers()["identities"] == []


async def test_one_whose_prune_failed_can_be_rebuilt(app: LocalApp):
    connection_id = await orphaned(app)
    app.clock.advance(14.1 * DAY)
    app.journal.before = lambda call: (
        PermanentError("access-denied") if call.name == "identities.delete" else None
    )
    await swept(app)
    await app.settle()
    app.journal.before = None
    await app.send(create_body(), message_id="again")
    await app.settle()
    assert await app.state(connection_id) == "configured"


async def test_one_that_was_rebuilt_in_time_does_not_expire(app: LocalApp):
    connection_id = await orphaned(app)
    await app.send(create_body(), message_id="again")
    await app.settle()
    assert await app.state(connection_id) == "configured"
    app.clock.advance(20 * DAY)
    assert "prunes" not in (await swept(app))["totals"]


async def test_old_operations_go_and_the_last_one_stays(app: LocalApp):
    connection_id = await connected(app)
    for number in range(3):
        await app.send({"action": "validate", "connectionId": connection_id}, message_id=f"v{number}")
        await app.settle()
    assert len(await app.operations(connection_id)) == 4
    app.clock.advance(89 * DAY)
    assert "operationsRemoved" not in (await swept(app))["totals"]
    app.clock.advance(2 * DAY)
    found = (await swept(app))["totals"]
    [kept] = await app.operations(connection_id)
    stored = await app.services.state.connection(ConnectionId(connection_id))
    assert stored is not None
    assert kept.operation_id == stored.value.last_operation
    assert found["operationsRemoved"] == 3
    assert not [
        row
        for row in app.store.rows("connections")
        if row.key.startswith("op|") and kept.operation_id not in row.key
    ]
    assert await app.state(connection_id) == "configured"


async def test_a_prune_goes_with_its_line_in_the_list_of_prunes(app: LocalApp):
    await orphaned(app)
    [prune] = [one for one in await app.operations(ID) if one.cause]
    month = f"{prune.opened_at:%Y-%m}"
    for partition in (month, f"saved|{prune.operation_id}"):
        await app.store.transact("prunes", partition, [Upsert(key=prune.operation_id, columns={"schema": 1})])
    await app.send(create_body(), message_id="again")
    await app.settle()
    app.clock.advance(91 * DAY)
    await swept(app)
    assert [one.kind.value for one in await app.operations(ID)] == ["create"]
    assert app.store.rows("prunes") == []


async def test_an_operation_that_is_held_is_never_old(app: LocalApp):
    await connected(app)
    app.world.remove(create_body()["connection"]["target"]["id"])
    await swept(app)
    await app.settle()
    app.clock.advance(91 * DAY)
    await swept(app)
    states = {one.kind.value: one.state.value for one in await app.operations(ID)}
    assert states["prune"] == "held"


async def test_a_connection_that_ended_is_looked_at_until_its_history_is_gone(app: LocalApp):
    await connected(app)
    await app.send(delete_body(), message_id="d")
    await app.settle()
    await swept(app)
    entries = [row for row in app.store.rows("linkers") if row.partition != "clusters"]
    assert [row.key[:2] for row in entries] == ["z|"]
    app.clock.advance(91 * DAY)
    found = (await swept(app))["totals"]
    assert found["operationsRemoved"] == 1
    assert [row for row in app.store.rows("linkers") if row.partition != "clusters"] == []
    assert await app.state(ID) == "deleted"
    stored = await app.services.state.connection(ID)
    assert stored is not None
    assert stored.value.generation == 1


async def test_requests_are_forgotten_a_sixteenth_in_each_hour_and_refusals_by_their_day(app: LocalApp):
    connection_id = await connected(app)
    for number in range(20):
        await app.send({"action": "validate", "connectionId": connection_id}, message_id=f"v{number}")
        await app.send({"action": "nonsense", "requestId": f"r{number}"}, message_id=f"n{number}")
    await app.settle()
    assert len(app.store.rows("requests")) == 61
    app.clock.advance(91 * DAY)
    await swept(app)
    assert [row for row in app.store.rows("requests") if row.partition.startswith("rejected")] == []
    left = len(app.store.rows("requests"))
    assert 0 < left < 41
    for _ in range(16):
        app.clock.advance(3600)
        await swept(app)
    assert app.store.rows("requests") == []


async def test_a_young_request_and_one_whose_operation_is_under_way_stay(app: LocalApp):
    await connected(app)
    app.world.clusters[naming.fold_id(CLUSTER)].reachable = False
    await app.send(delete_body(), message_id="d")
    rows = app.store.rows("requests")
    # As if the delete had been asked for a hundred days ago and still waited.
    for row in rows:
        body = json.loads(str(row.columns["body"]))
        body["received_at"] = (app.clock.now() - timedelta(days=100)).isoformat()
        change = Upsert(key=row.key, columns={**row.columns, "body": json.dumps(body)})
        await app.store.transact("requests", row.partition, [change])
    await app.store.transact("requests", "0a", [Upsert(key="request", columns={"schema": 9, "body": "?"})])
    for _ in range(16):
        await swept(app)
        app.clock.advance(3600)
    kept = [
        json.loads(str(row.columns["body"])) for row in app.store.rows("requests") if row.partition != "0a"
    ]
    assert [one["action"] for one in kept] == ["delete"]
    assert len(app.store.rows("requests")) == 2


async def test_more_old_requests_than_a_page_are_forgotten_all_the_same(
    app: LocalApp, monkeypatch: pytest.MonkeyPatch
):
    from shared.sweeping import housekeeping

    monkeypatch.setattr(housekeeping, "ROWS", 3)
    for number in range(10):
        await app.send({"action": "nonsense", "requestId": f"r{number}"}, message_id=f"n{number}")
    app.clock.advance(91 * DAY)
    for _ in range(17):
        await swept(app)
        app.clock.advance(3600)
    assert app.store.rows("requests") == []


async def test_old_sweeps_are_forgotten(app: LocalApp):
    first = (await swept(app))["id"]
    app.clock.advance(91 * DAY)
    await swept(app)
    assert not [row for row in app.store.rows("sweeps") if first in (row.partition, row.key[2:])]


async def test_a_crash_while_a_prune_is_forgotten_leaves_nothing_that_nobody_finds(
    app: LocalApp, monkeypatch: pytest.MonkeyPatch
):
    await orphaned(app)
    [prune] = [one for one in await app.operations(ID) if one.cause]
    saved = f"saved|{prune.operation_id}"
    await app.store.transact("prunes", saved, [Upsert(key="x", columns={"schema": 1})])
    await app.send(create_body(), message_id="again")
    await app.settle()
    app.clock.advance(91 * DAY)
    real = app.store.transact

    async def cut_off(table: str, partition: str, changes: Sequence[Change]) -> Mapping[str, str]:
        if partition == saved:
            monkeypatch.setattr(app.store, "transact", real)
            raise TransientError("crash")
        return await real(table, partition, changes)

    monkeypatch.setattr(app.store, "transact", cut_off)
    await swept(app)
    assert app.store.rows("prunes") == []
