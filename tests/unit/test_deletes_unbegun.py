"""What a delete leaves that fails before it has begun: it has overtaken what was under way."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path

import pytest

from shared import naming
from shared.errors import TransientError
from shared.models import Kind, Operation, StepMessage
from tests.fakes.local_app import (
    CLUSTER,
    STORAGE,
    SUBSCRIPTION,
    LocalApp,
    create_body,
    delete_body,
    deletion_event,
    make_app,
)

ID = naming.connection_id(CLUSTER, "shop", "orders-blob")


@pytest.fixture
def app(tmp_path: Path) -> LocalApp:
    return make_app(tmp_path, MOORING_PRUNE_CONFIRM_SECONDS="1", MOORING_PRUNE_GRACE_SECONDS="1")


async def connecting(app: LocalApp) -> None:
    await app.send(create_body())
    await app.pump()
    assert await app.state(ID) == "connecting"


async def configured(app: LocalApp) -> None:
    await app.send(create_body())
    await app.settle()
    assert await app.state(ID) == "configured"


async def pruning(app: LocalApp) -> None:
    await configured(app)
    app.world.remove(STORAGE)
    app.queue.put("resource-events", deletion_event(STORAGE))
    app.journal.before = lambda call: TransientError("busy") if call.name == "roles.delete" else None
    await app.settle(seconds=30)
    app.journal.before = lambda call: None
    assert await app.state(ID) == "pruning"


async def throttled(app: LocalApp) -> None:
    """Azure asks for patience until the wait's deadline."""
    until = app.clock.now() + timedelta(seconds=7300)
    await app.services.engine.limits.throttle(SUBSCRIPTION, not_before=until)
    await app.send(delete_body(), message_id="d")
    await app.settle(seconds=7210)


async def poisoned(app: LocalApp) -> None:
    record = await app.send(delete_body(), message_id="d")
    await crash(app, record.operation_id)


async def crash(app: LocalApp, operation_id: str) -> None:
    """The message of an operation's first step kills one host after the other."""
    for said in ("again", "failed"):
        texts = app.queue.take("connection-steps")
        found = [StepMessage.model_validate_json(text) for text in texts]
        [message] = [one for one in found if one.operation == operation_id]
        assert await app.services.engine.poisoned(message) == said


def found_again(app: LocalApp) -> None:
    endpoints = {"blob": "https://orders.blob.core.windows.net/"}
    app.world.add_resource(STORAGE, {"properties": {"primaryEndpoints": endpoints}})


async def delete_of(app: LocalApp) -> Operation:
    return next(one for one in await app.operations(ID) if one.kind is Kind.DELETE)


Story = Callable[[LocalApp], Awaitable[None]]


@pytest.mark.parametrize(("fails", "code"), [(throttled, "throttled-too-long"), (poisoned, "host-crash")])
@pytest.mark.parametrize(
    ("before", "after"), [(connecting, "failed"), (pruning, "failed"), (configured, "configured")]
)
async def test_a_delete_that_fails_before_it_has_begun_leaves_no_state_that_only_what_it_overtook_would_end(
    app: LocalApp, before: Story, after: str, fails: Story, code: str
):
    await before(app)
    await fails(app)
    delete = await delete_of(app)
    assert (delete.state, delete.code, delete.begun) == ("failed", code, False)
    assert await app.state(ID) == after


@pytest.mark.parametrize("before", [connecting, pruning])
async def test_after_it_a_create_begins(app: LocalApp, before: Story):
    await before(app)
    found_again(app)
    await poisoned(app)
    await app.send(create_body(), message_id="again")
    await app.settle()
    assert await app.state(ID) == "configured"


async def test_after_it_a_prune_begins(app: LocalApp):
    await pruning(app)
    await poisoned(app)
    app.queue.put("resource-events", deletion_event(STORAGE, "again"))
    await app.settle()
    assert await app.state(ID) == "pruned"
    assert app.leftovers()["assignments"] == []


async def test_after_it_a_create_begins_that_has_waited_for_it(app: LocalApp):
    await pruning(app)
    found_again(app)
    record = await app.send(delete_body(), message_id="d")
    await app.send(create_body(), message_id="again")
    await crash(app, record.operation_id)
    await app.settle()
    assert await app.state(ID) == "configured"
