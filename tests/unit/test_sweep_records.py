"""Records of orphans: an abandoned one blocks nobody, an old one goes, and what was put back stays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from shared.errors import PermanentError, TransientError
from shared.models import ConnectionState, OperationId
from shared.orphans import OrphanKind, record_id
from shared.ports import Change
from tests.fakes.journal import Call
from tests.fakes.local_app import LocalApp, make_app
from tests.fakes.sweeps import swept
from tests.unit.test_orphans_pruned import ask, everything, reported
from tests.unit.test_restore import restore
from tests.unit.test_unreadable_rows import age

DAY = 86_400.0


@pytest.fixture
def app(tmp_path: Path) -> LocalApp:
    return make_app(tmp_path, MOORING_PRUNE_CONFIRM_SECONDS="1")


def records(app: LocalApp) -> list[str]:
    """Rows of records, and the entries that lead to them."""
    found = [row.partition for row in app.store.rows("connections")]
    entries = [row.key for row in app.store.rows("linkers") if row.columns.get("kind") == "orphan"]
    return sorted({*found, *entries})


async def failed(app: LocalApp, kind: OrphanKind) -> OperationId:
    """The prune of an orphan that may not be deleted."""
    app.journal.before = lambda call: (
        PermanentError("access-denied")
        if call.name in {"clusters.delete", "identities.delete", "identities.delete_credential"}
        else None
    )
    operation_id = await ask(app, await reported(app, kind))
    await app.settle()
    app.journal.before = None
    stored = await app.services.state.operation(operation_id)
    assert stored is not None
    assert stored.value.state == "failed"
    return operation_id


@pytest.mark.parametrize("kind", [OrphanKind.SERVICE_ACCOUNT, OrphanKind.IDENTITY, OrphanKind.CREDENTIAL])
async def test_what_a_failed_prune_of_an_orphan_holds_is_let_go_after_a_day(app: LocalApp, kind: OrphanKind):
    await failed(app, kind)
    assert len(app.leftovers()["users"]) == 1
    app.clock.advance(0.9 * DAY)
    await swept(app)
    assert len(app.leftovers()["users"]) == 1, "somebody may ask again"
    app.clock.advance(0.2 * DAY)
    assert (await swept(app))["totals"]["usersLetGo"] == 1
    assert app.leftovers()["users"] == []
    assert "usersLetGo" not in (await swept(app))["totals"]


async def test_one_that_was_let_go_is_pruned_when_it_is_asked_for_again(app: LocalApp):
    await failed(app, OrphanKind.SERVICE_ACCOUNT)
    app.clock.advance(1.1 * DAY)
    await swept(app)
    orphan = await reported(app, OrphanKind.SERVICE_ACCOUNT)
    await ask(app, orphan, "k2")
    await app.settle()
    assert everything(app) == []


async def test_a_crash_while_it_is_let_go_keeps_nobody_waiting(app: LocalApp):
    await failed(app, OrphanKind.SERVICE_ACCOUNT)
    app.clock.advance(1.1 * DAY)
    crashed = [True]

    def crash(call: Call) -> BaseException | None:
        left = call.name == "state.transact" and call.arguments[0] == "users"
        return TransientError("crash") if left and crashed and crashed.pop() else None

    app.journal.after = crash
    found = await swept(app)
    assert (crashed, found["state"]) == ([], "done")
    assert app.leftovers()["users"] == []


async def test_a_record_goes_with_its_history_as_a_whole(app: LocalApp):
    orphan = await reported(app, OrphanKind.SERVICE_ACCOUNT)
    await ask(app, orphan)
    await app.settle()
    assert record_id(orphan.orphan_id) in records(app)
    app.clock.advance(89 * DAY)
    await swept(app)
    assert len(app.store.rows("prunes")) == 2
    app.clock.advance(2 * DAY)
    await swept(app)
    assert records(app) == []
    assert app.store.rows("prunes") == []
    again = await reported(app, OrphanKind.SERVICE_ACCOUNT)
    await ask(app, again)
    await app.settle()
    assert everything(app) == [], "a record anew"


async def test_one_that_was_never_opened_goes_too(app: LocalApp):
    orphan = await reported(app, OrphanKind.SECRET)
    app.journal.before = lambda call: (
        RuntimeError("crash") if call.name == "state.transact" and call.arguments[0] == "prunes" else None
    )
    with pytest.raises(RuntimeError):
        await ask(app, orphan)
    app.journal.before = None
    assert len(records(app)) == 2
    app.clock.advance(91 * DAY)
    await swept(app)
    assert records(app) == []


async def test_an_entry_that_leads_to_nothing_goes(app: LocalApp):
    orphan = await reported(app, OrphanKind.SECRET)
    app.journal.before = lambda call: (
        RuntimeError("crash")
        if call.name == "state.transact" and call.arguments[0] == "connections"
        else None
    )
    with pytest.raises(RuntimeError):
        await ask(app, orphan)
    app.journal.before = None
    await swept(app)
    assert records(app) == []


async def test_what_was_put_back_stays_known(app: LocalApp):
    orphan = await reported(app, OrphanKind.SERVICE_ACCOUNT)
    operation_id = await ask(app, orphan)
    await app.settle()
    stored = await app.services.state.operation(operation_id)
    assert stored is not None
    await restore(app, stored.value)
    users = app.leftovers()["users"]
    app.clock.advance(200 * DAY)
    await swept(app)
    connection = await app.services.state.connection(record_id(orphan.orphan_id))
    assert connection is not None
    assert connection.value.state is ConnectionState.RESTORED
    assert app.leftovers()["users"] == users != []


async def test_one_whose_prune_is_held_stays_with_its_user(app: LocalApp):
    orphan = await reported(app, OrphanKind.SERVICE_ACCOUNT)
    pod = {"serviceAccountName": orphan.name, "containers": []}
    app.clusters.put_pod(orphan.cluster_id, "shop", "p", pod)
    await ask(app, orphan)
    await app.settle(seconds=60)
    app.clock.advance(200 * DAY)
    await swept(app)
    assert len(app.leftovers()["users"]) == 1
    assert len(app.store.rows("prunes")) == 1


async def test_a_record_of_a_newer_version_is_left_as_it_is(app: LocalApp):
    orphan = await reported(app, OrphanKind.SECRET)
    await ask(app, orphan)
    await app.settle()
    await age(app, "connections", key="a|connection")
    app.clock.advance(91 * DAY)
    found = await swept(app)
    assert found["totals"]["rowsUnreadable"] == 1
    assert record_id(orphan.orphan_id) in records(app)


async def test_one_that_is_asked_for_while_it_is_forgotten_stays(app: LocalApp):
    orphan = await reported(app, OrphanKind.SECRET)
    await ask(app, orphan)
    await app.settle()
    app.clock.advance(91 * DAY)
    await reported(app, OrphanKind.SECRET)
    asked = [True]
    real = app.store.transact

    async def meanwhile(table: str, partition: str, changes: Sequence[Change]) -> Mapping[str, str]:
        if asked and table == "connections" and any(one.key == "a|connection" for one in changes):
            asked.pop()
            await ask(app, orphan, "k2")
        return await real(table, partition, changes)

    app.store.transact = meanwhile  # type: ignore[method-assign]
    await swept(app)
    app.store.transact = real  # type: ignore[method-assign]
    assert asked == []
    await app.settle()
    assert everything(app) == []
    connection = await app.services.state.connection(record_id(orphan.orphan_id))
    assert connection is not None
    assert (connection.value.state, connection.value.generation) == ("pruned", 2)
