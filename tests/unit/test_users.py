"""Users rows: a shared thing goes with its last user and not before."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence

import pytest

from shared.errors import NotYetError, StateConflictError
from shared.models import ConnectionId, OperationId
from shared.ports import Change, Remove, Row
from shared.users import Leaving, Shared, User, Users
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


async def marked(users: Users) -> None:
    await users.join(THING, ONE, settled=never, details={"uid": "u"})
    assert (await users.leave(THING, ONE, operation_id=FIRST)).last


Held = Mapping[User, bool]


def heirs(found: Held) -> Callable[[], Awaitable[Held]]:
    async def asked() -> Held:
        return found

    return asked


async def nothing() -> float:
    return 0.0


async def unasked() -> Held:
    raise AssertionError


async def hand_over(users: Users, asked: Callable[[], Awaitable[Held]]) -> bool:
    return await users.hand_over(THING, operation_id=FIRST, heirs=asked, landing=nothing)


async def row_of(users: Users) -> Shared:
    row = await users.get(THING)
    assert row is not None
    return row


async def test_what_others_hold_is_handed_over_with_what_is_known_of_it(users: Users):
    await marked(users)
    assert await hand_over(users, heirs({TWO: True, THREE: True}))
    row = await row_of(users)
    assert (row.users, row.closing, row.details) == ((THREE, TWO), "", {"uid": "u"})


async def test_what_nobody_holds_is_not_handed_over_and_stays_marked(users: Users):
    await marked(users)
    assert not await hand_over(users, heirs({}))
    row = await row_of(users)
    assert (row.users, row.closing) == ((ONE,), FIRST)


async def test_who_may_have_left_already_is_handed_nothing_and_the_thing_stays(users: Users):
    await marked(users)
    assert await hand_over(users, heirs({TWO: False}))
    assert await users.get(THING) is None


async def test_one_who_is_sure_to_hold_a_thing_gets_it_alone(users: Users):
    await marked(users)
    assert await hand_over(users, heirs({TWO: False, THREE: True}))
    assert (await row_of(users)).users == (THREE,)


@pytest.mark.parametrize("on_the_row", [True, False])
async def test_who_has_left_is_no_heir_whatever_the_record_says_of_it(users: Users, on_the_row: bool):
    await users.join(THING, ONE, settled=never)
    if on_the_row:
        await users.join(THING, TWO, settled=never)
    assert (await users.leave(THING, TWO, operation_id=SECOND)).shared
    await marked(users)
    assert not await hand_over(users, heirs({TWO: True}))


async def test_who_has_come_back_is_an_heir_again_once_its_row_is_lost(users: Users):
    await users.join(THING, ONE, settled=never)
    await users.leave(THING, TWO, operation_id=SECOND)
    await users.join(THING, TWO, settled=never)
    assert (await row_of(users)).left == ()


async def test_nothing_is_handed_over_while_a_write_of_the_leaver_may_land(users: Users):
    async def landing() -> float:
        return 7.5

    await marked(users)
    with pytest.raises(NotYetError, match="settle") as waits:
        await users.hand_over(THING, operation_id=FIRST, heirs=heirs({TWO: True}), landing=landing)
    assert waits.value.seconds == 7.5
    assert not await users.hand_over(THING, operation_id=FIRST, heirs=heirs({}), landing=landing)


async def test_who_has_lost_the_mark_hands_nothing_over_and_asks_nobody(users: Users):
    with pytest.raises(StateConflictError, match=r"users of identity$"):
        await hand_over(users, unasked)
    await marked(users)
    assert (await users.leave(THING, ONE, operation_id=SECOND)).last
    with pytest.raises(StateConflictError, match=r"users of identity$"):
        await hand_over(users, unasked)


async def test_an_heir_that_leaves_while_the_heirs_are_asked_is_left_nothing(users: Users):
    await marked(users)
    asked = 0

    async def holders() -> Held:
        nonlocal asked
        asked += 1
        if asked == 1:
            # It was found alive a moment ago, and goes now: on no row, it leaves the thing to others.
            assert (await users.leave(THING, TWO, operation_id=SECOND)).shared
        return {TWO: True}

    assert not await hand_over(users, holders)
    row = await row_of(users)
    assert (row.users, row.closing) == ((ONE,), FIRST), "the last of the two still removes it"
    assert asked == 2


async def test_the_last_of_many_that_leave_are_remembered_as_far_as_the_row_has_room(users: Users):
    many = [User(connection_id=ConnectionId(f"c{number:03}"), generation=1) for number in range(400)]
    for user in many[:2]:
        await users.join(THING, user, settled=never)
    for user in many[2:]:
        await users.leave(THING, user, operation_id=SECOND)
    assert (await row_of(users)).left == tuple(many[2:])
    await users.leave(THING, ONE, operation_id=SECOND)
    assert (await row_of(users)).left == (*many[3:], ONE)
    for user in many[2:4]:
        await users.join(THING, user, settled=never)
    assert (await row_of(users)).left == (*many[5:], ONE)
    full = Shared(thing=THING, users=tuple(many[:399]), left=(TWO,)).having(tuple(many), ONE)
    assert (len(full.users), full.left) == (400, ())


async def test_a_stranger_that_cannot_say_that_it_leaves_tries_again(clock: VirtualClock):
    store = Contended(clock, times=0)
    users = Users(store, lease_seconds=150)
    await marked(users)
    store.times = 7
    assert (await users.leave(THING, TWO, operation_id=SECOND)).shared
    store.times = 8
    assert (await users.leave(THING, TWO, operation_id=SECOND)).shared, "it has said so"
    with pytest.raises(StateConflictError, match=r"users of identity$"):
        await users.leave(THING, THREE, operation_id=SECOND)


def on_record(generation: int) -> Callable[[], Awaitable[int]]:
    async def present() -> int:
        return generation

    return present


LATER = User(connection_id=ONE.connection_id, generation=2)


async def test_a_late_run_of_an_earlier_life_writes_nothing_into_a_row_that_a_later_one_is_on(
    clock: VirtualClock,
):
    store = Contended(clock, times=0)
    users = Users(store, lease_seconds=150)
    await users.join(THING, LATER, settled=never)
    store.times = 1
    assert (await users.leave(THING, ONE, operation_id=FIRST, present=on_record(2))).shared
    assert store.times == 1


async def test_the_life_on_record_takes_the_entries_of_other_lives_along(users: Users):
    await users.join(THING, LATER, settled=never, details={"uid": "u"})
    await users.join(THING, ONE, settled=never)
    left = await users.leave(THING, ONE, operation_id=FIRST, present=on_record(1))
    assert left == Leaving(last=True, shared=False, details={"uid": "u"})
    row = await users.get(THING)
    assert row is not None
    assert (row.users, row.closing) == ((ONE,), FIRST)


async def test_the_life_on_record_goes_for_other_lives_that_alone_have_joined(users: Users):
    await users.join(THING, LATER, settled=never)
    assert (await users.leave(THING, ONE, operation_id=FIRST, present=on_record(1))).last


async def test_others_keep_a_thing_of_which_all_lives_of_one_connection_leave(users: Users):
    for user in (LATER, TWO, ONE):
        await users.join(THING, user, settled=never)
    assert (await users.leave(THING, ONE, operation_id=FIRST, present=on_record(1))).shared
    row = await users.get(THING)
    assert row is not None
    assert row.users == (TWO,)


async def test_a_late_run_of_an_earlier_life_takes_its_own_entry_alone(users: Users):
    for user in (ONE, LATER):
        await users.join(THING, user, settled=never)
    assert (await users.leave(THING, ONE, operation_id=FIRST, present=on_record(2))).shared
    row = await users.get(THING)
    assert row is not None
    assert (row.users, row.closing) == ((LATER,), "")


async def test_a_life_that_begins_and_joins_after_the_record_was_asked_keeps_the_thing(users: Users):
    stale = User(connection_id=ONE.connection_id, generation=0)
    for user in (stale, ONE):
        await users.join(THING, user, settled=never)
    answers = [2, 1]

    async def present() -> int:
        answer = answers.pop()
        if answer == 1:
            await users.join(THING, LATER, settled=never)
        return answer

    assert (await users.leave(THING, ONE, operation_id=FIRST, present=present)).shared
    row = await users.get(THING)
    assert row is not None
    assert row.users == (stale, LATER)
    assert answers == []
