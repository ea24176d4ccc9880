"""The state store: the fake and the adapter on Azurite keep the same promises."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta

import pytest

from sandbox.topology import Topology
from shared.clients.clock import SystemClock
from shared.clients.http_pool import HttpPool
from shared.clients.state_table import StateTable
from shared.errors import PermanentError, StateConflictError
from shared.ports import Insert, Remove, Replace, StateStore, Upsert
from tests.contract.ports_azurite import StorageToken, running_azurite
from tests.fakes.state_store import InMemoryStateStore

TABLE = "connections"


@pytest.fixture(scope="module")
def azurite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Topology]:
    with running_azurite(tmp_path_factory.mktemp("azurite")) as topology:
        yield topology


@pytest.fixture(params=["fake", "azurite"])
async def store(request: pytest.FixtureRequest) -> AsyncIterator[StateStore]:
    if request.param == "fake":
        yield InMemoryStateStore(SystemClock())
        return
    topology: Topology = request.getfixturevalue("azurite")
    pool = HttpPool(ca_file=topology.ca_file)
    table = StateTable(pool, StorageToken(topology.tenant_id), endpoint=topology.table_url)
    yield table
    await table.aclose()
    await pool.aclose()


@pytest.fixture
def partition() -> str:
    return uuid.uuid4().hex


async def test_a_row_that_was_never_written_is_none(store: StateStore, partition: str):
    assert await store.get(TABLE, partition, "a") is None


async def test_a_row_comes_back_as_it_was_written(store: StateStore, partition: str):
    columns = {
        "text": "über 'quoted'",
        "empty": "",
        "number": -7,
        "long": 2**40,
        "edge": 2**31,
        "negative": -(2**31) - 1,
        "yes": True,
        "no": False,
    }
    etags = await store.transact(TABLE, partition, [Insert(key="s|op 1|step's", columns=columns)])
    row = await store.get(TABLE, partition, "s|op 1|step's")
    assert row is not None
    assert dict(row.columns) == columns
    assert {type(row.columns[name]) for name in ("yes", "no")} == {bool}
    assert type(row.columns["long"]) is int
    assert (row.partition, row.key, row.etag) == (partition, "s|op 1|step's", etags["s|op 1|step's"])


async def test_times_are_aware_and_of_the_service(store: StateStore, partition: str):
    await store.transact(TABLE, partition, [Insert(key="a", columns={"n": 1})])
    row = await store.get(TABLE, partition, "a")
    assert row is not None
    assert row.written_at.tzinfo is UTC
    assert row.read_at.tzinfo is UTC
    assert abs(datetime.now(UTC) - row.written_at) < timedelta(seconds=30)
    assert timedelta(seconds=-1) <= row.read_at - row.written_at < timedelta(seconds=30)
    listed = await store.query(TABLE, partition)
    assert listed[0].written_at == row.written_at
    assert listed[0].read_at >= row.read_at


async def test_inserting_a_row_twice_conflicts(store: StateStore, partition: str):
    await store.transact(TABLE, partition, [Insert(key="a", columns={"n": 1})])
    with pytest.raises(StateConflictError):
        await store.transact(TABLE, partition, [Insert(key="a", columns={"n": 2})])
    row = await store.get(TABLE, partition, "a")
    assert row is not None
    assert row.columns["n"] == 1


async def test_replacing_with_the_present_etag_replaces_all_columns(store: StateStore, partition: str):
    etags = await store.transact(TABLE, partition, [Insert(key="a", columns={"old": 1})])
    changed = await store.transact(TABLE, partition, [Replace(key="a", columns={"new": 2}, etag=etags["a"])])
    row = await store.get(TABLE, partition, "a")
    assert row is not None
    assert dict(row.columns) == {"new": 2}
    assert row.etag == changed["a"] != etags["a"]


async def test_replacing_with_a_stale_etag_conflicts(store: StateStore, partition: str):
    etags = await store.transact(TABLE, partition, [Insert(key="a", columns={"n": 1})])
    await store.transact(TABLE, partition, [Replace(key="a", columns={"n": 2}, etag=etags["a"])])
    with pytest.raises(StateConflictError):
        await store.transact(TABLE, partition, [Replace(key="a", columns={"n": 3}, etag=etags["a"])])


async def test_replacing_a_row_that_is_gone_conflicts(store: StateStore, partition: str):
    etags = await store.transact(TABLE, partition, [Insert(key="a", columns={"n": 1})])
    await store.transact(TABLE, partition, [Remove(key="a")])
    with pytest.raises(StateConflictError):
        await store.transact(TABLE, partition, [Replace(key="a", columns={"n": 2}, etag=etags["a"])])


async def test_upsert_writes_whatever_is_there(store: StateStore, partition: str):
    await store.transact(TABLE, partition, [Upsert(key="a", columns={"old": 1})])
    await store.transact(TABLE, partition, [Upsert(key="a", columns={"new": 2})])
    row = await store.get(TABLE, partition, "a")
    assert row is not None
    assert dict(row.columns) == {"new": 2}


async def test_removing_an_absent_row_without_etag_is_fine_beside_other_changes(
    store: StateStore, partition: str
):
    await store.transact(TABLE, partition, [Remove(key="never")])
    etags = await store.transact(
        TABLE, partition, [Insert(key="a", columns={"n": 1}), Remove(key="never"), Remove(key="nor this")]
    )
    assert set(etags) == {"a"}
    assert await store.get(TABLE, partition, "a") is not None


async def test_removing_with_a_stale_etag_conflicts(store: StateStore, partition: str):
    etags = await store.transact(TABLE, partition, [Insert(key="a", columns={"n": 1})])
    await store.transact(TABLE, partition, [Upsert(key="a", columns={"n": 2})])
    with pytest.raises(StateConflictError):
        await store.transact(TABLE, partition, [Remove(key="a", etag=etags["a"])])
    with pytest.raises(StateConflictError):
        await store.transact(TABLE, partition, [Remove(key="gone", etag=etags["a"])])


async def test_a_transaction_changes_all_or_nothing(store: StateStore, partition: str):
    etags = await store.transact(TABLE, partition, [Insert(key="a", columns={"n": 1})])
    with pytest.raises(StateConflictError):
        await store.transact(
            TABLE,
            partition,
            [
                Replace(key="a", columns={"n": 2}, etag=etags["a"]),
                Insert(key="b", columns={"n": 1}),
                Replace(key="c", columns={"n": 1}, etag=etags["a"]),
                Remove(key="absent"),
            ],
        )
    rows = await store.query(TABLE, partition)
    assert [(row.key, dict(row.columns)) for row in rows] == [("a", {"n": 1})]


async def test_of_two_writers_with_one_etag_exactly_one_wins(store: StateStore, partition: str):
    etags = await store.transact(TABLE, partition, [Insert(key="a", columns={"n": 0})])
    tries = [
        store.transact(TABLE, partition, [Replace(key="a", columns={"n": n}, etag=etags["a"])])
        for n in range(1, 6)
    ]
    results = await asyncio.gather(*tries, return_exceptions=True)
    assert sum(isinstance(result, StateConflictError) for result in results) == 4


async def test_no_changes_are_no_changes(store: StateStore, partition: str):
    assert await store.transact(TABLE, partition, []) == {}


async def test_a_row_named_twice_is_refused(store: StateStore, partition: str):
    with pytest.raises(PermanentError, match="transaction-invalid"):
        await store.transact(TABLE, partition, [Upsert(key="a", columns={}), Remove(key="a")])


async def test_more_than_a_hundred_changes_are_refused_and_a_hundred_are_not(
    store: StateStore, partition: str
):
    changes = [Insert(key=f"k{n:03}", columns={"n": n}) for n in range(101)]
    with pytest.raises(PermanentError, match="transaction-invalid"):
        await store.transact(TABLE, partition, changes)
    assert len(await store.transact(TABLE, partition, changes[:100])) == 100


@pytest.mark.parametrize("key", ["a/b", "a\\b", "a#b", "a?b", "a\nb"])
async def test_keys_that_the_service_refuses_are_refused(store: StateStore, partition: str, key: str):
    with pytest.raises(PermanentError, match="transaction-invalid"):
        await store.transact(TABLE, partition, [Upsert(key=key, columns={})])


async def test_columns_of_other_types_are_refused(store: StateStore, partition: str):
    with pytest.raises(PermanentError, match="transaction-invalid"):
        await store.transact(TABLE, partition, [Upsert(key="a", columns={"when": 1.5})])


async def test_a_value_longer_than_the_service_takes_is_permanent(store: StateStore, partition: str):
    await store.transact(TABLE, partition, [Upsert(key="fits", columns={"text": "x" * 32_000})])
    with pytest.raises(PermanentError, match="row-too-large"):
        await store.transact(TABLE, partition, [Upsert(key="a", columns={"text": "x" * 33_000})])


async def test_an_unknown_table_is_permanent(store: StateStore, partition: str):
    with pytest.raises(PermanentError, match="table-missing"):
        await store.transact("nosuchtable", partition, [Upsert(key="a", columns={})])
    with pytest.raises(PermanentError, match="table-missing"):
        await store.get("nosuchtable", partition, "a")


async def test_a_query_gives_its_half_open_range_in_key_order(store: StateStore, partition: str):
    keys = ["s|2", "a|1", "s|1", "t|1", "s|10"]
    await store.transact(TABLE, partition, [Insert(key=key, columns={"n": 1}) for key in keys])
    await store.transact(TABLE, f"{partition}x", [Insert(key="s|1", columns={"n": 2})])
    everything = await store.query(TABLE, partition)
    assert [row.key for row in everything] == ["a|1", "s|1", "s|10", "s|2", "t|1"]
    steps = await store.query(TABLE, partition, key_from="s|", key_to="s}")
    assert [row.key for row in steps] == ["s|1", "s|10", "s|2"]
    assert [row.key for row in await store.query(TABLE, partition, key_from="s|2")] == ["s|2", "t|1"]
    assert [row.key for row in await store.query(TABLE, partition, key_to="s|1")] == ["a|1"]


async def test_a_query_reads_beyond_one_page(store: StateStore, partition: str):
    for start in range(0, 1100, 100):
        changes = [Insert(key=f"k{n:05}", columns={"n": n}) for n in range(start, start + 100)]
        await store.transact(TABLE, partition, changes)
    rows = await store.query(TABLE, partition)
    assert [row.columns["n"] for row in rows] == list(range(1100))


async def test_a_scan_finds_rows_of_all_partitions_by_exact_key(store: StateStore, partition: str):
    for n in range(3):
        await store.transact("users", f"{partition}{n}", [Insert(key=partition, columns={"n": n})])
        await store.transact("users", f"{partition}{n}", [Insert(key=f"{partition}-other", columns={"n": n})])
    found = await store.scan("users", key=partition)
    assert sorted(row.columns["n"] for row in found) == [0, 1, 2]
    assert len(await store.scan("users", key=partition, limit=2)) == 2
    assert len(await store.scan("users", limit=4)) == 4
    assert await store.scan("users", key=partition, limit=0) == []


async def test_a_query_can_be_cut_and_goes_on_behind_its_last_key(store: StateStore, partition: str):
    await store.transact(TABLE, partition, [Insert(key=f"k{n}", columns={"n": n}) for n in range(7)])
    seen: list[str] = []
    while page := await store.query(TABLE, partition, key_from=f"{seen[-1]}~" if seen else "k", limit=3):
        assert len(page) <= 3
        seen += [row.key for row in page]
    assert seen == [f"k{n}" for n in range(7)]


async def test_a_scan_goes_through_the_partitions_in_order(store: StateStore, partition: str):
    for n in range(5):
        await store.transact(TABLE, f"{partition}-{n}", [Insert(key="one", columns={"n": n})])
        await store.transact(TABLE, f"{partition}-{n}", [Insert(key="two", columns={"n": n})])
    found = await store.scan(TABLE, key="one", after=f"{partition}-1", limit=2)
    assert [(row.partition, row.key) for row in found] == [
        (f"{partition}-2", "one"),
        (f"{partition}-3", "one"),
    ]
