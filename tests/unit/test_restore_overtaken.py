"""What becomes of what a restore put back when a create or a delete overtakes it."""

from __future__ import annotations

from pathlib import Path

import pytest

from shared.errors import TransientError
from tests.fakes.journal import Call
from tests.fakes.local_app import STORAGE, LocalApp, create_body, delete_body, make_app
from tests.unit.test_restore import OURS, connection, our_prune, pruned, secret


@pytest.fixture
def app(tmp_path: Path) -> LocalApp:
    return make_app(tmp_path, MOORING_PRUNE_CONFIRM_SECONDS="1", MOORING_PRUNE_GRACE_SECONDS="1")


async def half_way(app: LocalApp) -> None:
    """A restore has put back what we had made, and is to look at its last hop again."""
    prune = await our_prune(app)
    await app.services.restorer.restore(prune.operation_id, key="k")
    app.journal.after = lambda call: TransientError("lost") if call.name == "resources.get" else None
    await app.pump()
    app.journal.after = None
    assert len(app.leftovers()["objects"]) == 2


async def test_a_create_that_overtakes_a_restore_goes_on_with_its_life_and_a_delete_leaves_nothing(
    app: LocalApp,
):
    await half_way(app)
    generation = (await connection(app, OURS)).generation
    app.world.add_resource(
        STORAGE, {"properties": {"primaryEndpoints": {"blob": "https://orders.blob.core.windows.net/"}}}
    )
    await app.send(create_body(), message_id="again")
    present = await connection(app, OURS)
    assert (present.state, present.ended_at) == ("restored", None)
    await app.settle(seconds=3600)
    present = await connection(app, OURS)
    assert (present.state, present.generation) == ("configured", generation)
    await app.send(delete_body(), message_id="d")
    await app.settle(seconds=3600)
    assert app.leftovers() == {"identities": [], "assignments": [], "objects": [], "users": []}


async def test_a_create_that_overtakes_a_restore_and_fails_leaves_what_was_put_back_to_a_delete(
    app: LocalApp,
):
    await half_way(app)
    await app.send(create_body(), message_id="again")  # the target is gone still
    await app.settle(seconds=3600)
    assert await app.state(OURS) == "failed"
    await app.send(delete_body(), message_id="d")
    await app.settle(seconds=3600)
    assert app.leftovers() == {"identities": [], "assignments": [], "objects": [], "users": []}


async def test_a_late_write_of_a_restore_that_a_create_overtook_is_removed_by_the_delete(app: LocalApp):
    prune = await our_prune(app)
    await app.services.restorer.restore(prune.operation_id, key="k")
    late: list[Call] = []

    def lost(call: Call) -> BaseException | None:
        if call.name != "clusters.create":
            return None
        late.append(call)
        return TransientError("cluster-unreachable")

    app.journal.before = lost
    await app.pump()
    app.journal.before = None
    await app.send(create_body(), message_id="again")
    await app.settle(seconds=20, timer=False)
    await app.send(delete_body(), message_id="d")
    await app.settle(seconds=20, timer=False)
    assert (await app.operations(OURS))[-1].waiting == "settle"
    for call in late:
        await app.clusters.create(*call.arguments, **call.options)
    assert app.leftovers()["objects"] != []
    await app.settle(seconds=3600)
    assert app.leftovers() == {"identities": [], "assignments": [], "objects": [], "users": []}


async def test_a_create_with_other_properties_does_not_overtake_a_restore_that_put_something_back(
    app: LocalApp,
):
    await half_way(app)
    record = await app.send(create_body(clientType="springBoot"), message_id="other")
    assert (record.outcome, record.code) == ("rejected", "body-differs")
    await app.settle(seconds=600)
    assert await app.state(OURS) == "restored"


async def test_a_create_with_other_properties_overtakes_a_restore_that_put_nothing_back(app: LocalApp):
    prune = await our_prune(app)
    await app.services.restorer.restore(prune.operation_id, key="k")
    record = await app.send(create_body(clientType="springBoot"), message_id="other")
    assert record.outcome == "opened"
    assert await app.state(OURS) == "pruned"


async def test_a_create_takes_over_what_an_overtaken_restore_put_back_of_a_dead_linker(app: LocalApp):
    prune = await pruned(app)
    await app.services.restorer.restore(prune.operation_id, key="k")
    app.journal.after = lambda call: TransientError("lost") if call.name == "resources.get" else None
    await app.pump()
    app.journal.after = None
    assert await secret(app) is not None
    await app.send(create_body("theirs"), message_id="c")
    await app.settle(seconds=3600)
    present = await connection(app)
    assert (present.state, present.linker_id) == ("configured", "")
    await app.send(delete_body("theirs"), message_id="d")
    await app.settle(seconds=3600)
    assert app.leftovers() == {"identities": [], "assignments": [], "objects": [], "users": []}
