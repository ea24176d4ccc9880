"""What a removal keeps for a living linker is on record as left to it, and goes once that linker is gone."""

import dataclasses
import json

import pytest

from shared import admission, left_rows, naming, plans
from shared.errors import NotYetError, RefusedError, StateConflictError
from shared.left_rows import left_id
from shared.models import Cause, Connection, ConnectionState, Kind, OperationId
from shared.records import Dependents
from shared.steps.shared_things import all_things_of
from shared.users import User
from tests.fakes.local_app import CLUSTER, STORAGE, LocalApp, create_body, delete_body, deletion_event
from tests.fakes.step_bench import Bench, MemoryRecorder
from tests.fakes.sweeps import put_linker, swept
from tests.fakes.their_linker import IDENTITY, LINKER, SECRET, make_linker

OURS = naming.connection_id(CLUSTER, "shop", "orders-blob")


async def teams(app: LocalApp) -> None:
    """Ours through a team's identity, and on top of it a linker of the same identity, target and account."""
    made = make_linker(app)
    world, objects = app.world, app.world.clusters[naming.fold_id(CLUSTER)].objects
    linker = world.linkers.pop(naming.fold_id(LINKER))
    world.assignments.clear()
    world.credentials[naming.fold_id(IDENTITY)].clear()
    secret = objects.pop(("Secret", "shop", SECRET))
    del objects["ServiceAccount", "shop", made.account]
    await app.send(create_body(identityId=IDENTITY), message_id="create")
    await app.settle()
    assert await app.state(OURS) == "configured"
    world.linkers[naming.fold_id(LINKER)] = linker
    objects["Secret", "shop", SECRET] = secret


async def deleted(app: LocalApp) -> None:
    await app.send(delete_body(), message_id="delete")
    await app.settle(seconds=3600)
    assert await app.state(OURS) == "deleted"


async def left_of(app: LocalApp, linker_id: str = LINKER) -> Connection:
    stored = await app.services.state.connection(OURS)
    assert stored is not None
    left = await app.services.state.connection(left_id(stored.value, linker_id))
    assert left is not None
    return left.value


async def deleted_again(app: LocalApp, target_id: str) -> Connection:
    """Ours, made for a target (or found there) and deleted."""
    if target_id != STORAGE:
        app.world.add_resource(target_id)
        target = {"type": "storage-blob", "id": target_id}
        await app.send(create_body(identityId=IDENTITY, target=target), message_id=target_id)
        await app.settle()
    await app.send(delete_body(), message_id=f"delete {target_id}")
    await app.settle(seconds=3600)
    stored = await app.services.state.connection(OURS)
    assert stored is not None
    assert stored.value.state is ConnectionState.DELETED
    return stored.value


def access(app: LocalApp) -> tuple[int, int]:
    """How many roles and credentials there are."""
    return len(app.world.assignments), sum(map(len, app.world.credentials.values()))


@pytest.mark.parametrize("told", ["by event", "by sweep"])
@pytest.mark.parametrize("adopted", [False, True])
async def test_what_a_delete_left_to_a_linker_goes_once_that_linker_is_gone(
    app: LocalApp, adopted: bool, told: str
):
    await teams(app)
    if adopted:
        await app.send({"action": "adopt", "linkerId": LINKER}, message_id="adopt")
        await app.settle()
    else:
        assert await app.services.events.observer.observe(LINKER, tries=0) == "observed"
    await deleted(app)
    assert access(app) == (1, 1)
    left = await left_of(app)
    assert (left.state, left.left_by, left.linker_id) == (ConnectionState.OBSERVED, OURS, LINKER)
    await swept(app)
    await app.settle(seconds=3600)
    assert access(app) == (1, 1), "the linker lives"
    app.world.remove(LINKER)
    if told == "by event":
        app.queue.put("resource-events", deletion_event(LINKER))
    else:
        await swept(app)
    await app.settle(seconds=3600)
    assert access(app) == (0, 0)
    assert naming.fold_id(IDENTITY) in app.world.identities, "it is its owner's"
    assert (await left_of(app)).state is ConnectionState.PRUNED
    assert app.leftovers()["users"] == []


async def test_an_identity_of_ours_that_was_left_to_a_linker_goes_with_it_and_is_no_orphan(app: LocalApp):
    await app.send(create_body(), message_id="create")
    await app.settle()
    [identity] = app.world.identities.values()
    linker_id = put_linker(app, client_id=identity.client_id)
    app.world.add_resource(linker_id)
    key = naming.fold_id(linker_id)
    app.world.linkers[key] = dataclasses.replace(app.world.linkers[key], target_id=STORAGE)
    await deleted(app)
    assert [*app.world.identities.values()] == [identity]
    await swept(app)
    assert await app.services.orphans.list() == []
    app.world.remove(linker_id)
    app.queue.put("resource-events", deletion_event(linker_id))
    await app.settle(seconds=3600)
    assert (app.world.identities, access(app)) == ({}, (0, 0))


async def test_what_was_left_to_a_linker_goes_once_that_works_through_another_identity(app: LocalApp):
    await teams(app)
    assert await app.services.events.observer.observe(LINKER, tries=0) == "observed"
    await deleted(app)
    assert access(app) == (1, 1)
    key, client_id = naming.fold_id(LINKER), app.world.guid()
    first = app.world.linkers[key]
    app.world.linkers[key] = dataclasses.replace(first, client_id=first.client_id.upper())
    await swept(app)
    await app.settle(seconds=3600)
    assert access(app) == (1, 1), "it is the same identity"
    app.world.linkers[key] = dataclasses.replace(first, client_id=client_id)
    app.clusters.put_object(CLUSTER, "ServiceAccount", "shop", naming.service_account_name(client_id))
    await swept(app)
    await app.settle(seconds=3600)
    assert access(app) == (0, 0)
    assert (await left_of(app)).state is ConnectionState.PRUNED
    linker = await app.services.state.connection(naming.connection_id(CLUSTER, "shop", first.name))
    assert linker is not None
    assert linker.value.state is ConnectionState.OBSERVED


async def test_a_linker_that_works_again_through_what_was_left_to_it_keeps_that(app: LocalApp):
    """It was changed back while the prune was on its way, or the event was late."""
    await teams(app)
    await deleted(app)
    left = await left_of(app)
    app.queue.put("resource-events", deletion_event(LINKER))
    await app.settle(seconds=3600)
    assert access(app) == (1, 1)
    assert (await app.operations(left.connection_id))[-1].code == "resource-alive"


async def test_each_target_has_a_row_of_what_was_left_so_that_none_grows_without_end(app: LocalApp):
    await teams(app)
    connection = await deleted_again(app, STORAGE)
    other = await deleted_again(app, f"{STORAGE}/blobServices/default/containers/more")
    rows = [left_id(one, LINKER) for one in (connection, other)]
    assert len({*rows}) == 2
    for row in rows:
        intent = (await app.services.state.intents(row))["role_assignments"]
        assert len(intent.plans()) == 1
    app.world.remove(LINKER)
    app.queue.put("resource-events", deletion_event(LINKER))
    await app.settle(seconds=3600)
    assert access(app) == (0, 0)


async def test_what_another_linker_works_through_by_then_is_left_to_that_one(app: LocalApp):
    await teams(app)
    await deleted(app)
    second = f"{CLUSTER}/providers/Microsoft.ServiceLinker/linkers/second"
    first = app.world.linkers[naming.fold_id(LINKER)]
    app.world.linkers[naming.fold_id(second)] = dataclasses.replace(first, resource_id=second, name="second")
    app.world.add_resource(second)
    for linker_id, there in ((LINKER, (1, 1)), (second, (0, 0))):
        app.world.remove(linker_id)
        app.queue.put("resource-events", deletion_event(linker_id))
        await app.settle(seconds=3600)
        assert access(app) == there
    assert (await left_of(app, second)).left_by == OURS
    assert app.leftovers()["users"] == []


async def test_what_was_left_goes_though_others_that_left_it_before_are_being_pruned_still(app: LocalApp):
    await teams(app)
    await app.send(create_body(name="orders-more", identityId=IDENTITY), message_id="more")
    await app.settle()
    state, users = app.services.state, app.services.engine.users
    more = await state.connection(naming.connection_id(CLUSTER, "shop", "orders-more"))
    assert more is not None
    connection_id, generation = more.value.connection_id, more.value.generation
    for thing in all_things_of(more.value, await state.intents(connection_id)):
        user = User(connection_id=connection_id, generation=generation)
        await users.leave(thing, user, operation_id=OperationId("prune"))
    pruning = more.value.model_copy(update={"state": ConnectionState.PRUNING})
    await state.observe(pruning, [], etag=more.etag)
    await deleted(app)
    assert access(app) == (1, 1)
    app.world.remove(LINKER)
    app.queue.put("resource-events", deletion_event(LINKER))
    await app.settle(seconds=3600)
    assert access(app) == (0, 0)
    assert app.leftovers()["users"] == []


async def test_what_was_left_stays_while_ours_is_there_again(app: LocalApp):
    await teams(app)
    await deleted(app)
    await app.send(create_body(identityId=IDENTITY), message_id="again")
    await app.settle()
    app.world.remove(LINKER)
    app.queue.put("resource-events", deletion_event(LINKER))
    await app.settle(seconds=3600)
    assert (await app.state(OURS), access(app)) == ("configured", (1, 1))
    await app.send(delete_body(), message_id="delete-again")
    await app.settle(seconds=3600)
    assert access(app) == (0, 0)


async def test_a_prune_that_only_reports_leaves_nothing_to_anybody(app: LocalApp):
    await teams(app)
    bench = Bench(app, identity_id=IDENTITY)
    for step in ("role_assignments", "federated_credential"):
        await bench.up_to(step)
    bench.become(Kind.PRUNE, cause="namespace")
    bench.operation = bench.operation.model_copy(update={"report_only": True})
    for step in ("role_assignments", "federated_credential"):
        await bench.revert(step)
    assert await app.services.state.connection(left_id(bench.connection, LINKER)) is None


async def test_nothing_is_left_to_a_linker_whose_prune_has_begun(app: LocalApp):
    await teams(app)
    await deleted(app)
    left, state = await left_of(app), app.services.state
    stored = await state.connection(left.connection_id)
    assert stored is not None
    pruning = left.model_copy(update={"state": ConnectionState.PRUNING})
    await state.observe(pruning, [], etag=stored.etag)
    ours = await state.connection(OURS)
    assert ours is not None
    with pytest.raises(NotYetError, match="behind"):
        await left_rows.leave_to(state, Dependents(app.store), ours.value, LINKER, {}, now=app.clock.now())


async def test_whoever_joins_behind_the_prune_of_a_linker_leaves_again_and_looks_again(
    app: LocalApp, monkeypatch: pytest.MonkeyPatch
):
    await teams(app)
    bench = Bench(app, identity_id=IDENTITY)
    await bench.up_to("role_assignments")
    bench.become(Kind.DELETE)

    async def ended(self: object, user: object) -> bool:
        return False

    monkeypatch.setattr(MemoryRecorder, "stands", ended)
    with pytest.raises(StateConflictError, match="gone meanwhile"):
        await bench.revert("role_assignments")
    left = left_id(bench.connection, LINKER)
    rows = [json.loads(str(row.columns["body"]))["users"] for row in app.store.rows("users")]
    assert rows
    assert left not in str(rows)


async def test_what_was_left_is_told_as_such_and_only_pruned(app: LocalApp):
    await teams(app)
    await deleted(app)
    left = await left_of(app)
    with pytest.raises(RefusedError, match="had to leave to a linker") as refused:
        admission.refuse_orphans(left)
    assert refused.value.code == "observed-connection"
    cause = Cause(kind="linker", resource_id=LINKER)
    planned = [step.name for step in plans.plan(Kind.PRUNE, left, cause=cause)]
    assert planned == ["confirm_gone", *plans.PRUNED_OF_LEFT, "verify_gone"]
