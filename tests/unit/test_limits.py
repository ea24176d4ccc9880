"""Throttles, caps, canaries and leases on the service's own time."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest

from shared.errors import StateConflictError
from shared.limits import Limits, hour_end
from shared.ports import Change, Row
from tests.fakes.clock import START, VirtualClock
from tests.fakes.local_app import CLUSTER, GROUP, STORAGE, SUBSCRIPTION
from tests.fakes.state_store import InMemoryStateStore

OTHER = STORAGE.replace("orders", "other")


class Disturbed(InMemoryStateStore):
    """Fails the next ``conflicts`` transactions, and lets other tasks run after each read."""

    conflicts = 0

    async def get(self, table: str, partition: str, key: str) -> Row | None:
        row = await super().get(table, partition, key)
        await asyncio.sleep(0)
        return row

    async def transact(self, table: str, partition: str, changes: Sequence[Change]) -> dict[str, str]:
        if self.conflicts:
            self.conflicts -= 1
            raise StateConflictError
        return dict(await super().transact(table, partition, changes))


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture
def store(clock: VirtualClock) -> Disturbed:
    return Disturbed(clock)


@pytest.fixture
def limits(store: Disturbed) -> Limits:
    return Limits(store)


async def test_the_later_of_two_throttles_wins(limits: Limits):
    assert await limits.throttled_until(SUBSCRIPTION) is None
    await limits.throttle(SUBSCRIPTION, not_before=START + timedelta(seconds=60))
    await limits.throttle(SUBSCRIPTION, not_before=START + timedelta(seconds=30))
    assert await limits.throttled_until(SUBSCRIPTION) == START + timedelta(seconds=60)
    await limits.throttle(SUBSCRIPTION, not_before=START + timedelta(seconds=90))
    assert await limits.throttled_until(SUBSCRIPTION) == START + timedelta(seconds=90)


async def test_the_longest_throttle_is_told_by_what_is_left_of_it(limits: Limits, clock: VirtualClock):
    assert await limits.throttled_seconds() == 0
    await limits.throttle(SUBSCRIPTION, not_before=START + timedelta(seconds=900))
    await limits.throttle(SUBSCRIPTION.replace("1", "2"), not_before=START + timedelta(seconds=60))
    assert await limits.throttled_seconds() == 900
    clock.advance(300)
    assert await limits.throttled_seconds() == 600
    clock.advance(601)
    assert await limits.throttled_seconds() == 0


async def test_a_cap_counts_each_operation_once(limits: Limits):
    assert await limits.take_cap(CLUSTER, "a", limit=2, now=START)
    assert await limits.take_cap(CLUSTER.upper(), "a", limit=2, now=START)
    assert await limits.take_cap(CLUSTER, "b", limit=2, now=START)
    assert not await limits.take_cap(CLUSTER, "c", limit=2, now=START)
    assert await limits.take_cap(CLUSTER, "a", limit=2, now=START), "who has taken one keeps it"


async def test_a_cap_is_per_cluster_and_per_hour(limits: Limits):
    assert await limits.take_cap(CLUSTER, "a", limit=1, now=START)
    assert await limits.take_cap(f"{CLUSTER}2", "b", limit=1, now=START)
    assert not await limits.take_cap(CLUSTER, "b", limit=1, now=hour_end(START) - timedelta(seconds=1))
    assert await limits.take_cap(CLUSTER, "b", limit=1, now=hour_end(START))


async def test_many_at_once_never_exceed_the_cap(limits: Limits):
    found = await asyncio.gather(
        *(limits.take_cap(CLUSTER, f"o{number}", limit=3, now=START) for number in range(6))
    )
    assert found.count(True) == 3


async def test_a_cap_that_never_stands_still_is_transient(limits: Limits, store: Disturbed):
    store.conflicts = 7
    assert await limits.take_cap(CLUSTER, "a", limit=1, now=START)
    store.conflicts = 8
    with pytest.raises(StateConflictError, match="cap of the cluster"):
        await limits.take_cap(CLUSTER, "b", limit=2, now=START)


def test_an_hour_ends_where_the_next_begins():
    assert hour_end(datetime(2026, 1, 5, 23, 59, 59, 5, tzinfo=UTC)) == datetime(2026, 1, 6, tzinfo=UTC)
    assert hour_end(START) == START + timedelta(hours=1)


async def test_a_canary_is_another_resource_of_the_same_subscription_and_type(limits: Limits):
    elsewhere = OTHER.replace(SUBSCRIPTION, "99999999-1111-4111-8111-111111111111")
    for one in (STORAGE, OTHER, elsewhere, f"{GROUP}/providers/Microsoft.KeyVault/vaults/v"):
        await limits.remember_canary(one, api_version="2023-05-01")
    found = await limits.canaries(STORAGE.upper(), limit=5)
    assert [one.resource_id for one in found] == [OTHER.lower()]
    assert await limits.canaries(CLUSTER, limit=5) == []


async def test_the_newest_canaries_come_first_and_those_that_fell_silent_are_forgotten(
    limits: Limits, clock: VirtualClock
):
    for number in range(4):
        await limits.remember_canary(f"{STORAGE}{number}", api_version="2023-05-01")
        clock.advance(1)
    newest = await limits.canaries(STORAGE, limit=2)
    assert [one.resource_id[-1] for one in newest] == ["3", "2"]
    await limits.forget_canary(newest[0])
    assert [one.resource_id[-1] for one in await limits.canaries(STORAGE, limit=2)] == ["2", "1"]


async def test_a_lease_has_one_holder_who_may_keep_it(limits: Limits):
    assert await limits.acquire("x", holder="a", seconds=60)
    assert await limits.acquire("x", holder="a", seconds=60)
    assert not await limits.acquire("x", holder="b", seconds=60)
    assert await limits.acquire("y", holder="b", seconds=60)


async def test_an_expired_lease_is_free_and_its_old_holder_cannot_give_it_back(
    limits: Limits, clock: VirtualClock
):
    assert await limits.acquire("x", holder="a", seconds=60)
    clock.advance(59)
    assert not await limits.acquire("x", holder="b", seconds=60)
    clock.advance(1)
    assert await limits.acquire("x", holder="b", seconds=60)
    await limits.release("x", holder="a")
    assert not await limits.acquire("x", holder="a", seconds=60)


async def test_a_lease_given_back_is_free_at_once(limits: Limits):
    await limits.release("x", holder="a")
    await limits.acquire("x", holder="a", seconds=60)
    await limits.release("x", holder="a")
    assert await limits.acquire("x", holder="b", seconds=60)


async def test_of_many_who_want_a_lease_at_once_one_gets_it(limits: Limits):
    found = await asyncio.gather(
        *(limits.acquire("x", holder=f"h{number}", seconds=60) for number in range(5))
    )
    assert found.count(True) == 1


async def test_a_lease_that_is_taken_over_while_it_is_given_back_stays_with_the_new_holder(
    limits: Limits, store: Disturbed
):
    await limits.acquire("x", holder="a", seconds=60)
    store.conflicts = 1
    await limits.release("x", holder="a")
    assert not await limits.acquire("x", holder="b", seconds=60)
