"""An orphaned identity that something trusts is kept, and the prune says why."""

from __future__ import annotations

from pathlib import Path

import pytest

from shared import naming
from shared.errors import TransientError
from shared.models import OperationId, StepState
from shared.orphans import OrphanKind
from shared.ports import Credential
from tests.fakes.journal import Call
from tests.fakes.local_app import LocalApp, make_app
from tests.unit.test_orphans_pruned import IDENTITY, ask, reported


@pytest.fixture
def app(tmp_path: Path) -> LocalApp:
    return make_app(tmp_path, MOORING_PRUNE_CONFIRM_SECONDS="1")


async def asked_of_a_trusted_one(app: LocalApp) -> OperationId:
    """The prune of a reported identity in which somebody's credential trusts."""
    orphan = await reported(app, OrphanKind.IDENTITY)
    operation_id = await ask(app, orphan)
    identities = app.services.engine.outside.identities
    credential = Credential(name="c", issuer="https://x", subject="s", audiences=(naming.AUDIENCE,))
    await identities.ensure_credential(IDENTITY, credential)
    return operation_id


async def test_an_identity_that_something_trusts_is_kept(app: LocalApp):
    operation_id = await asked_of_a_trusted_one(app)
    await app.settle()
    assert await app.services.engine.outside.identities.get(IDENTITY) is not None
    snapshot = await app.services.state.load(operation_id)
    assert snapshot is not None
    step = snapshot.steps["managed_identity"].value
    assert step.state is StepState.DONE
    assert [one["rule"] for one in step.outputs["kept"]] == ["in-use"]


async def test_a_run_that_could_not_say_why_an_identity_stays_is_followed_by_one_that_can(app: LocalApp):
    operation_id = await asked_of_a_trusted_one(app)
    writes: list[str] = []

    def lose_the_outcome(call: Call) -> TransientError | None:
        if call.name != "state.transact":
            return None
        writes.append(str(call.arguments[0]))
        # It was marked as closing, and is given up: then the step would say why it stays.
        return TransientError("weather") if writes[-3:] == ["users", "users", "connections"] else None

    app.journal.before = lose_the_outcome
    with pytest.raises(TransientError, match="weather"):
        await app.settle()
    app.journal.before = None
    await app.settle(seconds=600)
    snapshot = await app.services.state.load(operation_id)
    assert snapshot is not None
    step = snapshot.steps["managed_identity"].value
    assert (step.state, step.attempts) == (StepState.DONE, 1)
    assert [one["rule"] for one in step.outputs["kept"]] == ["in-use"]
