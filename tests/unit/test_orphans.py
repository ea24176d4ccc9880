"""Orphans: what a sweep found and nobody owns, recorded under one id for each thing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta

import pytest

from shared.errors import StateConflictError
from shared.models import OperationId
from shared.orphans import Orphan, OrphanKind, Orphans, orphan_id, sound
from shared.ports import Change
from tests.fakes.clock import START, VirtualClock
from tests.fakes.state_store import InMemoryStateStore

CLUSTER = "/subscriptions/S/resourceGroups/g/providers/Microsoft.ContainerService/managedClusters/c1"
OTHER = CLUSTER.replace("c1", "c2")


def orphan(
    name: str = "sc-a-secret", *, cluster_id: str = CLUSTER, uid: str = "u1", minutes: int = 0
) -> Orphan:
    seen = START + timedelta(minutes=minutes)
    return Orphan(
        orphan_id=orphan_id(OrphanKind.SECRET, cluster_id=cluster_id, namespace="default", name=name),
        kind=OrphanKind.SECRET,
        cluster_id=cluster_id,
        namespace="default",
        name=name,
        uid=uid,
        rule="no-record",
        first_seen_at=seen,
        last_seen_at=seen,
    )


@pytest.fixture
def store() -> InMemoryStateStore:
    return InMemoryStateStore(VirtualClock())


@pytest.fixture
def orphans(store: InMemoryStateStore) -> Orphans:
    return Orphans(store)


async def test_a_second_sighting_keeps_the_first_one_and_the_prune_that_was_asked_for(orphans: Orphans):
    await orphans.put(orphan().model_copy(update={"prune": OperationId("op")}))
    await orphans.put(orphan(minutes=5))
    known = await orphans.get(orphan().orphan_id)
    assert known is not None
    assert known.first_seen_at == START
    assert known.last_seen_at == START + timedelta(minutes=5)
    assert known.prune == "op"


async def test_another_incarnation_under_the_name_is_seen_for_the_first_time(orphans: Orphans):
    await orphans.put(orphan().model_copy(update={"prune": OperationId("op")}))
    again = await orphans.put(orphan(uid="u2", minutes=5))
    assert again.first_seen_at == START + timedelta(minutes=5)
    assert again.prune == ""


async def test_the_same_thing_has_the_same_id_in_any_casing_of_its_cluster():
    assert (
        orphan(cluster_id=CLUSTER).orphan_id
        == orphan(cluster_id=CLUSTER.upper().replace("/C1", "/c1")).orphan_id
    )
    ids = {
        orphan().orphan_id,
        orphan("sc-b-secret").orphan_id,
        orphan(cluster_id=OTHER).orphan_id,
        orphan_id(OrphanKind.SERVICE_ACCOUNT, cluster_id=CLUSTER, namespace="default", name="sc-a-secret"),
        orphan_id(OrphanKind.IDENTITY, name="i", resource_id="/x/i"),
    }
    assert len(ids) == 5
    assert all(sound(one) for one in ids)


async def test_orphans_are_listed_by_cluster_or_all_within_a_limit(orphans: Orphans):
    for one in (orphan(), orphan("sc-b-secret"), orphan(cluster_id=OTHER)):
        await orphans.put(one)
    assert {one.name for one in await orphans.list(CLUSTER.upper())} == {"sc-a-secret", "sc-b-secret"}
    assert len(await orphans.list()) == 3
    assert len(await orphans.list(limit=2)) == 2
    assert len(await orphans.list(CLUSTER, limit=1)) == 1


async def test_what_is_forgotten_is_not_found_and_may_be_forgotten_again(orphans: Orphans):
    await orphans.put(orphan())
    await orphans.forget(orphan().orphan_id)
    await orphans.forget(orphan().orphan_id)
    assert await orphans.get(orphan().orphan_id) is None


async def test_a_text_that_is_no_id_is_never_asked_of_the_table(orphans: Orphans):
    assert await orphans.get("a/b#c?") is None


async def test_two_sweeps_that_write_at_once_both_come_through_and_endless_races_are_transient(
    store: InMemoryStateStore, monkeypatch: pytest.MonkeyPatch
):
    orphans, real, races = Orphans(store), store.transact, [True]

    async def raced(table: str, partition: str, changes: Sequence[Change]) -> Mapping[str, str]:
        if races and races.pop():
            await real(table, partition, changes)
        return await real(table, partition, changes)

    monkeypatch.setattr(store, "transact", raced)
    await orphans.put(orphan())
    assert await orphans.get(orphan().orphan_id) == orphan()

    async def never(table: str, partition: str, changes: Sequence[Change]) -> Mapping[str, str]:
        raise StateConflictError("always")

    monkeypatch.setattr(store, "transact", never)
    with pytest.raises(StateConflictError):
        await orphans.put(orphan())
