"""A write of the settings that lands late changes nothing: what is applied over is what was read."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from shared import naming
from shared.errors import NotYetError, StateConflictError, TransientError
from shared.models import Kind, OperationId, StepState
from shared.recording import Run
from tests.fakes.azure_world import StoredObject
from tests.fakes.journal import Call
from tests.fakes.local_app import CLUSTER, LocalApp, create_body
from tests.fakes.step_bench import Bench

OURS = naming.connection_id(CLUSTER, "shop", "orders-blob")
KEYS = {
    "springBoot": "spring.cloud.azure.storage.blob.endpoint",
    "none": "AZURE_STORAGEBLOB_RESOURCEENDPOINT",
}
steps = pytest.mark.parametrize("step", ["service_account", "settings"])


@pytest.fixture
async def bench(app: LocalApp) -> Bench:
    made = Bench(app)
    await made.up_to("settings")
    return made


def secret(app: LocalApp) -> StoredObject:
    return app.world.clusters[naming.fold_id(CLUSTER)].objects["Secret", "shop", "sc-ordersblob-secret"]


async def update(app: LocalApp, client_type: str, message_id: str) -> None:
    await app.send({**create_body(clientType=client_type), "action": "update"}, message_id=message_id)
    await app.settle(seconds=60, timer=False)


def losing(late: list[Call], name: str = "clusters.apply") -> Callable[[Call], BaseException | None]:
    """A rule by which the first write of a secret gets no answer and is kept, to land later."""

    def rule(call: Call) -> BaseException | None:
        if call.name != name or call.arguments[1] != "Secret" or late:
            return None
        late.append(call)
        return TransientError("cluster-unreachable", "no answer")

    return rule


async def lands(write: Callable[..., Awaitable[Any]], call: Call) -> None:
    """The API server refuses a write that is late."""
    with pytest.raises(TransientError, match="kubernetes-conflict"):
        await write(*call.arguments, **call.options)


async def test_a_lost_write_of_one_update_does_not_undo_the_next(app: LocalApp):
    await app.send(create_body())
    await app.settle()
    late: list[Call] = []
    app.journal.before = losing(late)
    await update(app, "springBoot", "u-1")
    app.journal.before = None
    assert KEYS["springBoot"] in secret(app).data
    await update(app, "none", "u-2")
    assert (await app.operations(OURS))[-1].state == "succeeded"
    await lands(app.clusters.apply, late[0])
    assert KEYS["none"] in secret(app).data
    assert KEYS["springBoot"] not in secret(app).data


async def test_a_lost_write_of_a_repair_does_not_undo_the_update_that_overtook_it(app: LocalApp):
    await app.send(create_body())
    await app.settle()
    late: list[Call] = []
    app.journal.before = losing(late)
    await app.send({"action": "repair", "connectionId": OURS}, message_id="r")
    await app.settle(seconds=0, timer=False)
    assert [call.options["force"] for call in late] == [True]
    await update(app, "springBoot", "u")
    app.journal.before = None
    ended = {one.kind: one.state for one in await app.operations(OURS)}
    assert (ended[Kind.REPAIR], ended[Kind.CREATE]) == ("superseded", "succeeded")
    await lands(app.clusters.apply, late[0])
    assert KEYS["springBoot"] in secret(app).data


@steps
async def test_what_is_there_is_applied_over_as_it_was_read(bench: Bench, step: str):
    def moves(call: Call) -> BaseException | None:
        if call.name == "clusters.apply":
            kind, namespace, name = call.arguments[1:]
            bench.app.journal.before = None
            bench.app.clusters.put_object(CLUSTER, kind, namespace, name, annotations={"theirs": "yes"})
        return None

    bench.app.journal.before = moves
    with pytest.raises(TransientError, match="kubernetes-conflict"):
        await bench.apply(step)
    await bench.apply(step)  # from a fresh look


async def test_settings_that_need_no_change_wait_for_an_earlier_write_that_may_still_land(bench: Bench):
    bench.in_doubt_seconds = 90.0
    with pytest.raises(NotYetError) as caught:
        await bench.apply("settings")
    assert (caught.value.reason, caught.value.seconds) == ("settle", 90.0)
    bench.in_doubt_seconds = 0.0
    await bench.apply("settings")


async def test_settings_that_change_wait_for_nothing(bench: Bench):
    bench.in_doubt_seconds = 90.0
    thing = secret(bench.app)
    thing.data.clear()
    await bench.apply("settings")
    assert KEYS["none"] in thing.data


@pytest.mark.parametrize(
    ("step", "of", "seconds"),
    [("settings", "settings", 150.0), ("prove", "settings", 0.0), ("settings", "preflight", 0.0)],
)
async def test_of_a_step_only_what_it_sent_in_another_operation_is_in_doubt(
    app: LocalApp, step: str, of: str, seconds: float
):
    state, dependents = app.services.state, app.services.engine.dependents
    first = await app.send(create_body())
    shot = await state.load(OperationId(first.operation_id))
    assert shot is not None
    tried = shot.steps[step].value.model_copy(update={"unanswered_at": shot.read_at, "lease_seconds": 150})
    await state.save_step(shot, tried)
    looked = await app.send({"action": "validate", "connectionId": OURS}, message_id="v")
    other = await state.load(OperationId(looked.operation_id))
    assert other is not None
    for own, expected in ((other, seconds), (shot, 0.0)):
        run = Run(state=state, dependents=dependents, snapshot=own, step="settings", holder="h")
        assert await run.in_doubt_seconds(removals=False, of=of) == expected


async def test_a_run_that_was_overtaken_before_it_looked_writes_nothing_though_its_intent_is_saved(
    app: LocalApp,
):
    await app.send(create_body())
    await app.settle()
    answer = await app.send({"action": "repair", "connectionId": OURS}, message_id="r")
    state = app.services.state
    shot = await state.load(OperationId(answer.operation_id))
    assert shot is not None
    at_work = {"state": StepState.RUNNING, "holder": "h"}
    await state.save_step(shot, shot.steps["settings"].value.model_copy(update=at_work))
    shot = await state.load(OperationId(answer.operation_id))
    assert shot is not None
    run = Run(
        state=state,
        dependents=app.services.engine.dependents,
        snapshot=shot,
        step="settings",
        holder="h",
    )
    planned = shot.intents["settings"].planned
    assert await run.intend(planned) == planned
    await app.send({"action": "delete", "connectionId": OURS}, message_id="d")
    with pytest.raises(StateConflictError):
        await run.intend(planned)


@steps
async def test_what_was_made_while_a_run_was_overtaken_is_not_applied_over(
    app: LocalApp, step: str, monkeypatch: pytest.MonkeyPatch
):
    bench = Bench(app)
    await bench.up_to("settings")
    bench.become(Kind.REPAIR)
    context = bench.context(step)
    name = str(bench.intents[step].planned["name"])
    kind = {"service_account": "ServiceAccount", "settings": "Secret"}[step]
    made = app.world.clusters[naming.fold_id(CLUSTER)].objects.pop((kind, "shop", name))
    intend = type(context.recorder).intend

    async def overtaken(self: Any, planned: Any) -> Any:
        if (kind, "shop", name) in app.world.clusters[naming.fold_id(CLUSTER)].objects:
            raise StateConflictError("the operation has ended")
        return await intend(self, planned)

    def comes(call: Call) -> BaseException | None:
        if call.name == "clusters.create":
            app.world.clusters[naming.fold_id(CLUSTER)].objects[kind, "shop", name] = made
        return None

    monkeypatch.setattr(type(context.recorder), "intend", overtaken)
    app.journal.before = comes
    with pytest.raises(StateConflictError):
        await bench.apply(step)
    assert "clusters.apply" not in app.journal.names()
