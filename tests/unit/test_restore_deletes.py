"""A delete of what was put back of a Service Connector connection that is gone, and its failure."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from shared.errors import PermanentError
from tests.fakes.local_app import LocalApp, create_body, make_app
from tests.unit.test_restore import THEIRS, pruned, restore, secret


@pytest.fixture
def app(tmp_path: Path) -> LocalApp:
    return make_app(tmp_path, MOORING_PRUNE_CONFIRM_SECONDS="1", MOORING_PRUNE_GRACE_SECONDS="1")


async def delete(app: LocalApp, key: str) -> Any:
    return await app.send({"action": "delete", "connectionId": THEIRS}, message_id=key)


async def test_a_delete_of_what_was_put_back_may_be_asked_for_again_after_it_failed(app: LocalApp):
    await restore(app, await pruned(app))
    app.journal.before = lambda call: PermanentError("locked") if call.name == "clusters.delete" else None
    first = await delete(app, "d")
    await app.pump()
    twice = await delete(app, "d1")
    assert (twice.outcome, twice.operation_id) == ("attached", first.operation_id)
    await app.settle()
    app.journal.before = lambda call: None
    assert (await app.operations(THEIRS))[-1].code == "locked"
    assert await secret(app) is not None
    assert await app.state(THEIRS) == "restored"
    again = await delete(app, "d2")
    assert (again.outcome, again.code) == ("opened", "")
    await app.settle()
    assert await app.state(THEIRS) == "deleted"
    assert app.leftovers()["objects"] == []


async def test_a_create_waits_for_a_delete_of_what_was_put_back_and_takes_the_rest_over(app: LocalApp):
    await restore(app, await pruned(app))
    app.journal.before = lambda call: PermanentError("locked") if call.name == "clusters.delete" else None
    await delete(app, "d")
    await app.pump()
    assert await app.state(THEIRS) == "deleting"
    create = await app.send(create_body("theirs"), message_id="c")
    assert create.outcome == "opened"
    await app.settle()
    assert await app.state(THEIRS) == "configured"
