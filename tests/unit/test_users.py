"""Users rows: a shared thing goes with its last user and not before."""

import asyncio
from collections.abc import Sequence

import pytest

from shared.errors import NotYetError, StateConflictError
from shared.models import ConnectionId, OperationId
from shared.ports import Change, Remove, Row
from shared.users import Leaving, User, Users
from tests.fakes.clock import VirtualClock
from tests.fakes.state_store import InMemoryStateStore

THING = "identity|/subscriptions/s/x"
ONE, TWO, THREE = (User(connection_id=ConnectionId(name), generation=1) for name in ("one", "two", "three"))
FIRST, SECOND = OperationId("one-aa"), OperationId("one-bb")


async def never(_: OperationId) -> bool:
    return False


async def always(_: OperationId) -> bool:
    return True


class Contended(InMemoryStateStore):
    """Somebody else changes the row between each read and the write that follows, ``times`` times."""

    def __init__(self, clock: VirtualClock, times: int) -> None:
        super().__init__(clock)
        self.times = times

    async def transact(self, table: str, partition: str, changes: Sequence[Change]) -> dict[str, str]:
        if self.times:
            self.times -= 1
            raise StateConflictError("somebody was faster")
        return dict(await super().transact(table, partition, changes))


class Interleaved(InMemoryStateStore):
    """Lets other tasks run between any two calls, as a network does."""

    async def get(self, table: str, partition: str, key: str) -> Row | None:
        row = await super().get(table, partition, key)
        await asyncio.sleep(0)
        return row


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture
def users(clock: VirtualClock) -> Users:
    return Users(InMemoryStateStore(clock), lease_seconds=150)


async def test_the_first_user_makes_the_row_with_what_it_knows(users: Users):
    joined = await users.join(THING, ONE, settled=never, details={"name": "n"})
    assert joined == await users.get(THING)
    assert (joined.users, joined.details) == ((ONE,), {"name": "n"})


async def test_nobody_uses_a_thing_without_a_row(users: Users):
    assert await users.get(THING) is None


async def test_joining_twice_changes_nothing(users: Users):
    first = await users.join(THING, ONE, settled=never)
    assert await users.join(THING, ONE, settled=never) == first


async def test_a_second_user_is_added_and_adds_what_it_knows(users: Users):
    await users.join(THING, ONE, settled=never, details={"a": 1})
    joined = await users.join(THING, TWO, settled=never, details={"b": 2, "uids": ["x"]})
    assert (joined.users, joined.details) == ((ONE, TWO), {"a": 1, "b": 2, "uids": ["x"]})
    again = await users.join(THING, TWO, settled=never, details={"uids": ["x", "y"]})
    assert again.details == {"a": 1, "b": 2, "uids": ["x", "y"]}


async def test_leaving_a_thing_that_others_use_leaves_it_to_them(users: Users):
    await users.join(THING, ONE, settled=never)
    await users.join(THING, TWO, settled=never)
    assert await users.leave(THING, ONE, operation_id=FIRST) == Leaving(last=False, shared=True, details={})
    left = await users.get(THING)
    assert left is not None
    assert (left.users, left.closing) == ((TWO,), "")


async def test_who_leaves_a_thing_to_others_stays_while_a_write_of_its_own_may_land(users: Users):
    await users.join(THING, ONE, settled=always)
    await users.join(THING, TWO, settled=always)
    left_seconds = [0.5, 7.5]

    async def landing() -> float:
        return left_seconds.pop()

    for seconds in (7.5, 0.5):
        with pytest.raises(NotYetError, match="settle") as waits:
            await users.leave(THING, ONE, operation_id=FIRST, landing=landing)
        assert waits.value.seconds == seconds
    left_seconds.append(0.0)
    assert (await users.leave(THING, ONE, operation_id=FIRST, landing=landing)).shared
    assert (await users.leave(THING, TWO, operation_id=SECOND, landing=landing)).last, "and it is not asked"


async def test_the_last_user_to_leave_is_told_so_again_when_it_asks_again(users: Users):
    await users.join(THING, ONE, settled=never, details={"uid": "u"})
    for _ in range(2):
        assert await users.leave(THING, ONE, operation_id=FIRST) == Leaving(
            last=True, shared=False, details={"uid": "u"}
        )
    closing = await users.get(THING)
    assert closing is not None
    assert closing.closing == FIRST


async def test_leaving_what_was_never_joined_or_is_forgotten_deletes_nothing(users: Users):
    absent = await users.leave(THING, ONE, operation_id=FIRST)
    assert absent == Leaving(last=False, shared=False, details={})
    await users.join(THING, TWO, settled=never)
    stranger = await users.leave(THING, ONE, operation_id=FIRST)
    assert stranger == Leaving(last=False, shared=True, details={})


async def test_who_is_no_user_yet_stays_while_its_joining_may_land(users: Users):
    left_seconds = [0.0, 7.5, 0.0, 7.5]

    async def landing() -> float:
        return left_seconds.pop()

    for shared in (False, True):
        with pytest.raises(NotYetError, match="settle"):
            await users.leave(THING, ONE, operation_id=FIRST, landing=landing)
        left = await users.leave(THING, ONE, operation_id=FIRST, landing=landing)
        assert left == Leaving(last=False, shared=shared, details={})
        await users.join(THING, TWO, settled=never)


async def test_a_stranger_to_a_thing_that_is_being_removed_is_not_its_last_user(users: Users):
    await users.join(THING, ONE, settled=never)
    await users.leave(THING, ONE, operation_id=FIRST)
    assert not (await users.leave(THING, TWO, operation_id=SECOND)).last


async def test_a_late_delete_of_an_earlier_life_changes_nothing(users: Users):
    later = User(connection_id=ONE.connection_id, generation=2)
    await users.join(THING, later, settled=never)
    assert not (await users.leave(THING, ONE, operation_id=FIRST)).last
    left = await users.get(THING)
    assert left is not None
    assert left.users == (later,)


async def test_a_newcomer_waits_while_the_thing_is_being_removed(users: Users, clock: VirtualClock):
    await users.join(THING, ONE, settled=never)
    await users.leave(THING, ONE, operation_id=FIRST)
    clock.advance(10_000)
    with pytest.raises(NotYetError, match="closing") as caught:
        await users.join(THING, TWO, settled=never)
    assert caught.value.reason == "closing"
    assert "/subscriptions" not in caught.value.detail


async def test_the_mark_of_an_operation_that_ended_is_void_only_after_a_whole_lease(
    users: Users, clock: VirtualClock
):
    await users.join(THING, ONE, settled=never)
    await users.leave(THING, ONE, operation_id=FIRST)
    clock.advance(149)
    with pytest.raises(NotYetError):
        await users.join(THING, TWO, settled=always)
    clock.advance(1)
    joined = await users.join(THING, TWO, settled=always)
    assert (joined.users, joined.closing) == ((ONE, TWO), "")


async def test_a_second_delete_takes_the_mark_over_from_one_that_failed(users: Users):
    await users.join(THING, ONE, settled=never)
    await users.leave(THING, ONE, operation_id=FIRST)
    assert (await users.leave(THING, ONE, operation_id=SECOND)).last
    await users.forget(THING, operation_id=FIRST)
    assert await users.get(THING) is not None, "the row is the second delete's now"
    await users.forget(THING, operation_id=SECOND)
    assert await users.get(THING) is None


async def test_forgetting_what_is_used_or_unknown_changes_nothing(users: Users):
    await users.forget(THING, operation_id=FIRST)
    kept = await users.join(THING, ONE, settled=never)
    await users.forget(THING, operation_id=FIRST)
    assert await users.get(THING) == kept


async def test_a_row_that_moves_while_it_is_forgotten_is_tried_again_and_never_left_silently(
    clock: VirtualClock,
):
    store = Contended(clock, times=0)
    users = Users(store, lease_seconds=150)
    await users.join(THING, ONE, settled=never)
    await users.leave(THING, ONE, operation_id=FIRST)
    store.times = 8
    with pytest.raises(StateConflictError, match=r"users of identity$"):
        await users.forget(THING, operation_id=FIRST)
    store.times = 7
    await users.forget(THING, operation_id=FIRST)
    assert await users.get(THING) is None


@pytest.mark.parametrize("times", [1, 3, 7])
async def test_a_contended_row_is_tried_again(clock: VirtualClock, times: int):
    store = Contended(clock, times)
    users = Users(store, lease_seconds=150)
    assert (await users.join(THING, ONE, settled=never)).users == (ONE,)
    store.times = times
    assert (await users.join(THING, TWO, settled=never)).users == (ONE, TWO)
    store.times = times
    assert not (await users.leave(THING, TWO, operation_id=FIRST)).last


async def test_a_row_that_never_stands_still_is_a_transient_error_without_the_things_id(clock: VirtualClock):
    store = Contended(clock, times=0)
    users = Users(store, lease_seconds=150)
    await users.join(THING, ONE, settled=never)
    store.times = 99
    with pytest.raises(StateConflictError, match=r"users of identity$"):
        await users.join(THING, TWO, settled=never)
    store.times = 99
    with pytest.raises(StateConflictError, match=r"users of identity$"):
        await users.leave(THING, ONE, operation_id=FIRST)


async def test_users_who_join_and_leave_at_once_never_lose_an_entry(clock: VirtualClock):
    users = Users(Interleaved(clock), lease_seconds=150)
    many = [User(connection_id=ConnectionId(f"c{number}"), generation=1) for number in range(6)]
    await asyncio.gather(*(users.join(THING, user, settled=never) for user in many))
    leavings = await asyncio.gather(
        *(users.leave(THING, user, operation_id=OperationId(f"o{user.connection_id}")) for user in many)
    )
    assert [leaving.last for leaving in leavings].count(True) == 1
    closing = await users.get(THING)
    assert closing is not None
    assert len(closing.users) == 1


async def test_two_who_make_the_row_at_once_are_both_in_it(clock: VirtualClock):
    users = Users(Interleaved(clock), lease_seconds=150)
    await asyncio.gather(users.join(THING, ONE, settled=never), users.join(THING, TWO, settled=never))
    shared = await users.get(THING)
    assert shared is not None
    assert set(shared.users) == {ONE, TWO}


async def test_a_row_removed_between_two_tries_is_made_anew(clock: VirtualClock):
    store = Interleaved(clock)
    users = Users(store, lease_seconds=0)
    await users.join(THING, ONE, settled=never)
    row = store.rows("users")[0]

    async def remove() -> None:
        await store.transact("users", row.partition, [Remove(key=row.key)])

    joined, _ = await asyncio.gather(users.join(THING, TWO, settled=never), remove())
    assert TWO in joined.users
