"""What outlives its operation, or never had one, goes by its age: saved objects, lines of prunes, orphans."""

import json
from pathlib import Path

import pytest

from shared import naming
from shared.errors import RefusedError
from shared.orphans import Orphan, OrphanKind, orphan_id
from shared.ports import Upsert
from tests.fakes.journal import Call
from tests.fakes.local_app import CLUSTER, LocalApp, create_body, make_app
from tests.fakes.sweeps import connected, swept
from tests.unit.test_sweep_housekeeping import DAY, ID, orphaned


async def test_what_the_last_prune_of_a_connection_saved_goes_by_its_age(tmp_path: Path):
    """The operation itself stays: it says how the connection came to be what it is."""
    app = make_app(tmp_path, MOORING_PRUNE_GRACE_SECONDS="0")
    await connected(app)
    app.world.remove(create_body()["connection"]["target"]["id"])
    await swept(app)
    await app.settle()
    assert await app.state(ID) == "pruned"
    prune = (await app.operations(ID))[-1]
    saved = [row for row in app.store.rows("prunes") if row.partition == f"saved|{prune.operation_id}"]
    assert len(saved) == 2
    app.clock.advance(89 * DAY)
    await swept_all_day(app)
    assert len(app.store.rows("prunes")) == 3
    app.clock.advance(40 * DAY)
    await swept_all_day(app)
    assert app.store.rows("prunes") == []
    assert [one.operation_id for one in await app.operations(ID)] == [prune.operation_id]
    with pytest.raises(RefusedError, match="not saved any more"):
        await app.services.restorer.restore(prune.operation_id, key="k")


async def swept_all_day(app: LocalApp) -> None:
    for _ in range(16):
        await swept(app)
        app.clock.advance(3600)


async def test_the_line_of_a_prune_that_was_never_opened_goes_and_that_of_a_held_one_stays(app: LocalApp):
    await connected(app)
    app.world.remove(create_body()["connection"]["target"]["id"])
    await swept(app)
    await app.settle()
    [held] = [one for one in await app.operations(ID) if one.cause]
    month, never = f"{held.opened_at:%Y-%m}", naming.operation_id(ID, "never-opened")
    await app.store.transact("prunes", month, [Upsert(key=never, columns={"schema": 1})])
    await app.store.transact("prunes", f"saved|{held.operation_id}", [Upsert(key="x", columns={"schema": 1})])
    app.clock.advance(130 * DAY)
    await swept_all_day(app)
    assert {row.key for row in app.store.rows("prunes")} == {held.operation_id, "x"}


async def test_an_old_line_whose_operation_cannot_be_read_stays(app: LocalApp):
    await orphaned(app)
    [prune] = [one for one in await app.operations(ID) if one.cause]
    change = Upsert(key=f"op|{prune.operation_id}", columns={"body": "{}"})
    await app.store.transact("connections", ID, [change])
    before = len(app.store.rows("prunes"))
    app.clock.advance(130 * DAY)
    await swept_all_day(app)
    assert len(app.store.rows("prunes")) == before


async def test_more_lines_than_a_transaction_takes_go_all_the_same(app: LocalApp):
    for number in range(205):
        key = naming.operation_id(ID, str(number))
        await app.store.transact("prunes", "2020-01", [Upsert(key=key, columns={"schema": 1})])
    await swept(app)
    assert app.store.rows("prunes") == []


async def test_orphans_that_no_sweep_looks_for_any_more_are_forgotten(app: LocalApp):
    await connected(app)
    app.clusters.put_object(CLUSTER, "Secret", "shop", "sc-lost-secret")
    await swept(app)
    [row] = app.store.rows("orphans")
    body = json.loads(str(row.columns["body"]))
    known = Orphan.model_validate_json(str(row.columns["body"]))
    elsewhere = known.model_copy(
        update={
            "cluster_id": f"{CLUSTER}9",
            "orphan_id": orphan_id(OrphanKind.SECRET, cluster_id=f"{CLUSTER}9", name="x"),
        }
    )
    await app.services.orphans.put(elsewhere)
    partition = elsewhere.orphan_id.partition("-")[0]
    await app.store.transact("orphans", partition, [Upsert(key="unreadable", columns={"body": "?"})])
    app.clock.advance(89 * DAY)
    await swept(app)
    assert len(app.store.rows("orphans")) == 3
    app.clock.advance(2 * DAY)
    await swept(app)
    assert {row.key for row in app.store.rows("orphans")} == {body["orphan_id"], "unreadable"}, (
        "one is still there and seen, one is for a person to look at"
    )


@pytest.mark.parametrize("stage", ["prunes", "saved", "orphans"])
async def test_a_stage_whose_time_is_up_goes_on_behind_what_it_did(app: LocalApp, stage: str):
    keys = [naming.operation_id(ID, str(number)) for number in range(3)]
    digit = "0123456789abcdef"[int((app.clock.now().timestamp() + 200 * DAY) // 3600) % 16]
    for number, key in enumerate(keys):
        partitions = {
            "prunes": f"202{number}-01",
            "saved": f"saved|{digit}{number}",
            "orphans": f"{number:024x}",
        }
        table = "orphans" if stage == "orphans" else "prunes"
        columns = {"schema": 1, "body": _orphan(app, number) if stage == "orphans" else ""}
        row_key = f"{number:024x}-{number:024x}" if stage == "orphans" else key
        await app.store.transact(table, partitions[stage], [Upsert(key=row_key, columns=columns)])
    app.clock.advance(200 * DAY)

    def slow(call: Call) -> None:
        if call.name == "state.scan" and call.arguments[0] in {"orphans", "prunes"}:
            app.clock.advance(61)

    app.journal.after = slow
    found = await swept(app)
    app.journal.after = None
    [slice_] = [one for one in found["slices"] if one["kind"] == "housekeeping"]
    assert (slice_["state"], slice_["messages"] > 3) == ("done", True)
    assert app.store.rows("prunes") == app.store.rows("orphans") == []


def _orphan(app: LocalApp, number: int) -> str:
    return Orphan(
        orphan_id=f"{number:024x}-{number:024x}",
        kind=OrphanKind.SECRET,
        name="x",
        rule="no-record",
        first_seen_at=app.clock.now(),
        last_seen_at=app.clock.now(),
    ).model_dump_json()
