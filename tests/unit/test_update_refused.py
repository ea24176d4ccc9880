"""An update that could make nothing leaves the connection as it was; one that broke off half-way does not."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from shared import endings, naming
from shared.errors import PermanentError
from shared.models import Connection, ConnectionId, ConnectionState, Kind, Operation, Replaced
from tests.fakes.journal import Call
from tests.fakes.local_app import CLUSTER, GROUP, STORAGE, LocalApp, create_body, delete_body, make_app
from tests.fakes.sweeps import connected, prunes, swept
from tests.unit.test_sweep_drift import drift_of

ID = naming.connection_id(CLUSTER, "shop", "orders-blob")
ORDERS, GONE, OTHER = (
    f"{STORAGE}/blobServices/default/containers/{name}" for name in ("orders", "gone", "other")
)


@pytest.fixture
def app(tmp_path: Path) -> LocalApp:
    made = make_app(tmp_path, MOORING_PRUNE_GRACE_SECONDS="0", MOORING_DRIFT="repair")
    for resource_id in (f"{GROUP}/providers/Microsoft.Storage/storageAccounts/canary", ORDERS, OTHER):
        made.world.add_resource(resource_id)
    return made


def part(resource_id: str) -> dict[str, Any]:
    return {"target": {"type": "storage-blob", "id": resource_id}}


async def asked(app: LocalApp, action: str = "update", *, settle: bool = True, **changes: Any) -> str:
    body = {**(create_body(**changes) if action == "update" else delete_body()), "action": action}
    record = await app.send(body, message_id=f"{action}-{len(app.journal.calls)}")
    if settle:
        await app.settle()
    return str(record.operation_id)


async def row(app: LocalApp) -> Connection:
    stored = await app.services.state.connection(ConnectionId(ID))
    assert stored is not None
    return stored.value


async def ended(app: LocalApp, operation_id: str) -> tuple[str, str]:
    [found] = [one for one in await app.operations(ID) if one.operation_id == operation_id]
    return found.state.value, found.code


async def test_an_update_to_a_part_that_is_not_there_changes_nothing_and_no_sweep_prunes_for_it(
    app: LocalApp,
):
    await connected(app, **part(ORDERS))
    before, held = await row(app), app.leftovers()
    operation_id = await asked(app, **part(GONE), intent="read")
    assert await ended(app, operation_id) == ("failed", "target-not-found")
    after = await row(app)
    assert after == before.model_copy(update={"last_operation": operation_id})
    await swept(app)
    await app.settle(seconds=30 * 86400.0)
    assert await prunes(app, ID) == []
    assert (app.leftovers(), await app.state(ID)) == (held, "configured")


async def test_a_prune_that_a_sweep_opened_for_such_a_part_meanwhile_finds_the_present_one_alive(
    app: LocalApp,
):
    await connected(app, **part(ORDERS))
    held = app.leftovers()
    cluster = app.world.clusters[naming.fold_id(CLUSTER)]
    ready = cluster.described
    cluster.described = dataclasses.replace(ready, provisioning_state="Updating")
    operation_id = await asked(app, **part(GONE), settle=False)
    await app.pump()
    assert await app.state(ID) == "connecting"
    await swept(app)
    assert await prunes(app, ID) == [("target", "sweep")]
    cluster.described = ready
    await app.settle()
    assert await ended(app, operation_id) == ("failed", "target-not-found")
    assert [one.code for one in await app.operations(ID) if one.kind is Kind.PRUNE] == ["resource-alive"]
    assert (app.leftovers(), await app.state(ID)) == (held, "configured")


async def test_an_update_that_breaks_off_after_its_first_step_leaves_its_wish_on_record(app: LocalApp):
    await connected(app, **part(ORDERS))

    def denied(call: Call) -> BaseException | None:
        return PermanentError("access-denied", "no") if call.name == "roles.ensure" else None

    app.journal.before = denied
    operation_id = await asked(app, **part(OTHER))
    assert await ended(app, operation_id) == ("failed", "access-denied")
    after = await row(app)
    assert (after.state, after.spec.target_id, after.configured_at) == (ConnectionState.FAILED, OTHER, None)


@pytest.mark.parametrize("there", [True, False])
async def test_a_target_that_goes_after_an_update_to_it_broke_off_takes_no_access_to_what_is_there(
    app: LocalApp, *, there: bool
):
    await connected(app, **part(ORDERS))
    held = app.leftovers()

    def missing(call: Call) -> BaseException | None:
        users = call.name == "state.get" and call.arguments[0] == "users"
        return PermanentError("table-missing") if users else None

    app.journal.before = missing
    operation_id = await asked(app, **part(OTHER))
    app.journal.before = None
    assert await ended(app, operation_id) == ("failed", "table-missing")
    app.world.remove(OTHER)
    if not there:
        app.world.remove(ORDERS)
    await swept(app)
    await app.settle(seconds=3600)
    [prune] = [one for one in await app.operations(ID) if one.kind is Kind.PRUNE]
    assert (prune.code, await app.state(ID)) == (("resource-alive", "failed") if there else ("", "pruned"))
    assert (app.leftovers() == held) is there
    if there:
        assert ORDERS in prune.detail


async def test_a_second_update_begins_from_what_the_refused_one_left(app: LocalApp):
    await connected(app, **part(ORDERS))
    refused = await asked(app, **part(GONE), settle=False)
    early = await asked(app, **part(OTHER), settle=False)
    await app.settle()
    assert await ended(app, refused) == ("failed", "target-not-found")
    assert await ended(app, early) == ("failed", "body-differs"), "it was judged by what never came to be"
    assert (await row(app)).spec.target_id == ORDERS
    again = await asked(app, **part(OTHER))
    assert await ended(app, again) == ("succeeded", "")


@pytest.mark.parametrize(
    "state", [ConnectionState.USABLE, ConnectionState.FAILED, ConnectionState.CONNECTING]
)
async def test_the_state_before_comes_back_unless_nothing_would_end_it(app: LocalApp, state: ConnectionState):
    await connected(app, **part(ORDERS))
    connection = (await row(app)).model_copy(update={"state": state})
    operation = Operation.model_validate({**(await app.operations(ID))[-1].model_dump(), "changes": "hash"})
    replaced = Replaced(spec=connection.spec, state=state)
    left = endings._refused(operation.model_copy(update={"replaced": replaced}))
    wanted = ConnectionState.FAILED if state is ConnectionState.CONNECTING else state
    assert (left["state"], left["body_hash"], left["spec"]) == (wanted, "hash", connection.spec)
    assert endings._refused(operation) == {}
    assert operation.kind is Kind.CREATE


async def test_a_repair_that_made_another_identity_and_failed_is_told_as_drift_and_mended(app: LocalApp):
    await connected(app)
    [identity] = app.world.identities.values()
    app.world.remove(identity.resource_id)

    def denied(call: Call) -> BaseException | None:
        return PermanentError("forbidden", "no") if call.name == "clusters.apply" else None

    app.journal.before = denied
    broken = await asked(app, "repair")
    assert (await ended(app, broken))[0] == "failed"
    app.journal.before = lambda call: None
    assert await drift_of(app, ID) == []
    found = await swept(app)
    assert found["totals"]["drift"]["values-edited"] == 1
    assert ("values-edited", "AZURE_STORAGEBLOB_CLIENTID") in await drift_of(app, ID)
    await app.settle()
    assert "drift" not in (await swept(app))["totals"]
    [anew] = app.world.identities.values()
    objects = app.world.clusters[naming.fold_id(CLUSTER)].objects
    assert (
        objects["Secret", "shop", "sc-ordersblob-secret"].data["AZURE_STORAGEBLOB_CLIENTID"] == anew.client_id
    )
    reads = app.journal.names().count("clusters.get")
    await swept(app)
    assert app.journal.names().count("clusters.get") == reads
