"""What a run that died had sent may land within a lease, whatever becomes of its step."""

from collections.abc import Awaitable, Callable
from datetime import timedelta

import pytest

from handlers import timers
from shared import naming
from shared.errors import PermanentError
from shared.models import ConnectionState, Kind, StepMessage, StepState
from shared.retry import MAX_ATTEMPTS
from shared.state import Snapshot
from tests.fakes.clock import START
from tests.fakes.journal import Call
from tests.fakes.local_app import CLUSTER, SUBSCRIPTION, VAULT, LocalApp, create_body, delete_body
from tests.fakes.roles import InMemoryRoles
from tests.fakes.scripted_step import script

ID = naming.connection_id(CLUSTER, "shop", "orders-blob")
Way = Callable[[LocalApp, StepMessage, Snapshot], Awaitable[str]]


class Crash(BaseException):
    """The host dies."""


def messages(app: LocalApp) -> list[StepMessage]:
    return [StepMessage.model_validate_json(text) for text in app.queue.take("connection-steps")]


async def load(app: LocalApp, message: StepMessage) -> Snapshot:
    snapshot = await app.services.state.load(message.operation)
    assert snapshot is not None
    return snapshot


async def left(app: LocalApp, shot: Snapshot, **changes: object) -> None:
    """Change the step that was left, and let its lease run out."""
    step = shot.steps["preflight"].value.model_copy(update={"unanswered_at": START, **changes})
    await app.services.state.save_step(shot, step)
    app.clock.advance(150)


async def failing_sibling(app: LocalApp, message: StepMessage, shot: Snapshot) -> str:
    failing = shot.operation.value.model_copy(update={"failing": True, "code": "broken"})
    await left(app, await app.services.state.commit(shot, failing))
    return await app.services.engine.run_one(message)


async def last_attempt(app: LocalApp, message: StepMessage, shot: Snapshot) -> str:
    await left(app, shot, attempts=MAX_ATTEMPTS - 1)
    return await app.services.engine.run_one(message)


async def first_poison(app: LocalApp, message: StepMessage, shot: Snapshot) -> str:
    await left(app, shot)
    return await app.services.engine.poisoned(message)


async def second_poison(app: LocalApp, message: StepMessage, shot: Snapshot) -> str:
    await left(app, shot, crashes=1)
    return await app.services.engine.poisoned(message)


async def throttled(app: LocalApp, message: StepMessage, shot: Snapshot) -> str:
    until = app.clock.now() + timedelta(seconds=190)
    await app.services.engine.limits.throttle(SUBSCRIPTION, not_before=until)
    await left(app, shot)
    return await app.services.engine.run_one(message)


async def nothing_to_prune(app: LocalApp, message: StepMessage, shot: Snapshot) -> str:
    prune = shot.operation.value.model_copy(update={"kind": Kind.PRUNE, "confirmed": True})
    gone = shot.connection.value.model_copy(update={"state": ConnectionState.DELETED})
    await left(app, await app.services.state.commit(shot, prune, connection=gone))
    return await app.services.engine.run_one(message)


@pytest.mark.parametrize(
    ("way", "said", "state"),
    [
        (failing_sibling, "failed", StepState.PENDING),
        (last_attempt, "failed", StepState.FAILED),
        (first_poison, "again", StepState.READY),
        (second_poison, "failed", StepState.FAILED),
        (throttled, "waiting", StepState.READY),
        (nothing_to_prune, "succeeded", StepState.DONE),
    ],
)
async def test_what_a_run_that_died_had_sent_is_in_doubt_also_where_its_step_is_not_taken_again(
    app: LocalApp, way: Way, said: str, state: StepState
):
    script(app, "preflight", Crash())
    await app.send(create_body())
    [message] = messages(app)
    with pytest.raises(Crash):
        await app.services.engine.run_one(message)
    assert await way(app, message, await load(app, message)) == said
    step = (await load(app, message)).steps["preflight"].value
    assert (step.state, step.unanswered_at) == (state, app.clock.now())


@pytest.mark.parametrize("poisoned", [False, True])
async def test_nothing_new_is_in_doubt_of_a_step_that_no_run_has_left(app: LocalApp, poisoned: bool):
    script(app, "preflight", Crash())
    await app.send(create_body())
    [message] = messages(app)
    shot = await load(app, message)
    await left(app, shot)
    if poisoned:
        assert await app.services.engine.poisoned(message) == "again"
    else:
        with pytest.raises(Crash):
            await app.services.engine.run_one(message)
    assert (await load(app, message)).steps["preflight"].value.unanswered_at == START


async def test_a_role_that_a_dead_host_had_asked_for_does_not_outlive_the_delete(app: LocalApp):
    """The workload's identity stays for another connection, and so would the role of a living principal."""
    await app.send(create_body("orders-keys", target={"type": "keyvault", "id": VAULT}), message_id="k")
    await app.settle()
    sent: list[Call] = []

    def dies(call: Call) -> BaseException | None:
        if call.name != "roles.ensure" or sent:
            return None
        sent.append(call)
        return Crash()

    app.journal.before = dies
    script(app, "settings", PermanentError("broken"))
    await app.send(create_body())
    while not sent:
        for message in messages(app):
            try:
                await app.services.engine.run_one(message)
            except Crash:
                app.clock.advance(1)
    app.clock.advance(150)
    await timers.announce_again(app.services)
    await app.pump()
    assert await app.state(ID) == "failed"
    await app.send(delete_body(), message_id="d")
    await app.settle(seconds=60)
    [write] = sent
    await InMemoryRoles(app.world).ensure(*write.arguments)
    await app.settle()
    assert await app.state(ID) == "deleted"
    assert {scope for scope, _ in app.world.assignments} == {naming.fold_id(VAULT)}
