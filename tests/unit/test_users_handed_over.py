"""Users rows that were lost, and entries of other lives: what others hold on record is handed over."""

from collections.abc import Awaitable, Callable, Mapping

import pytest

from shared.errors import NotYetError, StateConflictError
from shared.models import ConnectionId
from shared.users import Leaving, Shared, User, Users
from tests.fakes.clock import VirtualClock
from tests.fakes.state_store import InMemoryStateStore
from tests.unit.test_users import FIRST, ONE, SECOND, THING, THREE, TWO, Contended, never


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture
def users(clock: VirtualClock) -> Users:
    return Users(InMemoryStateStore(clock), lease_seconds=150)


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


@pytest.mark.parametrize("sure", [True, False])
async def test_an_heir_that_leaves_while_the_heirs_are_asked_is_left_nothing(users: Users, sure: bool):
    await marked(users)
    asked = 0

    async def holders() -> Held:
        nonlocal asked
        asked += 1
        if asked == 1:
            # It was found alive a moment ago, and goes now: on no row, it leaves the thing to others.
            assert (await users.leave(THING, TWO, operation_id=SECOND)).shared
        return {TWO: sure}

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


async def test_the_record_is_asked_about_lives_only_if_another_one_is_on_the_row(users: Users):
    async def present() -> int:
        raise AssertionError

    for user in (ONE, TWO):
        await users.join(THING, user, settled=never)
    assert (await users.leave(THING, ONE, operation_id=FIRST, present=present)).shared
    assert (await users.leave(THING, ONE, operation_id=FIRST, present=present)).shared, "a stranger by now"
    assert (await users.leave(THING, TWO, operation_id=SECOND, present=present)).last
