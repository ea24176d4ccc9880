"""To whom a thing goes that its last user leaves, or that has no user (docs/reference/mutation.md)."""

import pytest

from shared import naming
from shared.models import ConnectionId, Kind, OperationId
from shared.steps.base import StepContext
from shared.steps.removal import hand_to, take_up
from shared.users import Shared, User
from tests.fakes.local_app import LocalApp
from tests.fakes.step_bench import Bench

THING = "role|x"
HEIR, OTHER = (User(connection_id=ConnectionId(name), generation=1) for name in ("heir", "other"))


@pytest.fixture
async def bench(app: LocalApp) -> Bench:
    made = Bench(app)
    await made.up_to("managed_identity")
    made.become(Kind.DELETE)
    return made


async def joined(ctx: StepContext, *users: User) -> None:
    for user in users:
        await ctx.users.join(THING, user, settled=ctx.recorder.settled)


async def leave(ctx: StepContext, user: User, *, operation_id: OperationId | None = None) -> bool:
    """Leave the thing; says whether that user was the last."""
    operation_id = operation_id or ctx.operation.operation_id
    return (await ctx.users.leave(THING, user, operation_id=operation_id)).last


async def row(ctx: StepContext) -> Shared:
    found = await ctx.users.get(THING)
    assert found is not None
    return found


async def test_the_last_that_leaves_a_thing_hands_it_to_its_heir(bench: Bench):
    ctx = bench.context("role_assignments")
    await joined(ctx, ctx.user)
    assert await leave(ctx, ctx.user)
    await hand_to(ctx, THING, HEIR)
    shared = await row(ctx)
    assert (shared.users, shared.closing, shared.left) == ((HEIR,), "", (ctx.user,))


async def test_an_heir_that_has_left_the_thing_before_finds_its_name_free_and_may_join_anew(bench: Bench):
    ctx = bench.context("role_assignments")
    await joined(ctx, HEIR, ctx.user)
    assert not await leave(ctx, HEIR)
    assert await leave(ctx, ctx.user)
    await hand_to(ctx, THING, HEIR)
    assert await ctx.users.get(THING) is None
    await joined(ctx, HEIR)
    assert (await row(ctx)).users == (HEIR,)


async def test_nothing_is_handed_to_an_heir_that_others_use(bench: Bench):
    ctx = bench.context("role_assignments")
    await joined(ctx, OTHER)
    before = await row(ctx)
    await hand_to(ctx, THING, HEIR)
    assert await row(ctx) == before


async def test_nothing_is_handed_to_an_heir_that_another_operation_is_about_to_delete(bench: Bench):
    ctx = bench.context("role_assignments")
    await joined(ctx, OTHER)
    assert await leave(ctx, OTHER, operation_id=OperationId("other-aa"))
    before = await row(ctx)
    await hand_to(ctx, THING, HEIR)
    assert await row(ctx) == before


async def test_a_thing_without_a_row_is_taken_up_to_be_removed_and_keeps_newcomers_out(bench: Bench):
    ctx = bench.context("role_assignments")
    assert await take_up(ctx, THING) is True
    shared = await row(ctx)
    assert (shared.users, shared.closing) == ((ctx.user,), ctx.operation.operation_id)


async def test_a_thing_without_a_row_that_another_holds_on_record_is_not_taken_up(bench: Bench):
    identity_id = str(bench.intents["managed_identity"].planned["resourceId"])
    bench.held_by_others[naming.fold_id(identity_id)] = {THING: {OTHER: False}}
    ctx = bench.context("role_assignments")
    assert await take_up(ctx, THING) is False
    assert await ctx.users.get(THING) is None
