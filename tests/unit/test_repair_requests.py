"""Who may ask for a repair of what, by which door, and what the end of one makes of the connection."""

from pathlib import Path

import pytest

from shared import naming
from shared.errors import RefusedError, TransientError
from shared.models import Cause, ConnectionState, Kind
from shared.opening import Answer, Asked
from tests.fakes.http_app import HttpApp
from tests.fakes.journal import Call
from tests.fakes.local_app import CLUSTER, STORAGE, LocalApp, create_body, delete_body, make_app
from tests.fakes.snapshots import SPEC
from tests.unit.test_opening import opened
from tests.unit.test_repair_objects import repair_body

ID = naming.connection_id(CLUSTER, "shop", "orders-blob")
WISH = Asked(kind=Kind.REPAIR, connection_id=ID, key="repair")


async def made(app: LocalApp) -> None:
    await app.send(create_body(), message_id="made")
    await app.settle()


async def put_in(app: LocalApp, state: ConnectionState, **changes: object) -> None:
    """Give the connection's row another state."""
    stored = await app.services.state.connection(ID)
    assert stored is not None
    changed = stored.value.model_copy(update={"state": state, **changes})
    await app.services.state.observe(changed, [], etag=stored.etag)


@pytest.mark.parametrize("state", ["configured", "usable", "failed"])
async def test_a_connection_of_ours_that_was_made_is_repaired(app: LocalApp, state: str):
    await made(app)
    await put_in(app, ConnectionState(state))
    record = await app.send(repair_body(), message_id="r")
    assert (record.outcome, record.action) == ("opened", "repair")
    await app.settle()
    assert await app.state(ID) == "configured", "nothing proves it here"
    operation = await app.services.state.operation(record.operation_id)
    assert operation is not None
    assert operation.value.state == "succeeded"


@pytest.mark.parametrize("state", ["orphaned", "restored"])
async def test_what_was_taken_away_on_purpose_is_a_creates_affair(app: LocalApp, state: str):
    await made(app)
    await put_in(app, ConnectionState(state))
    record = await app.send(repair_body(), message_id="r")
    assert (record.outcome, record.code) == ("rejected", "not-repairable")
    assert "create" in record.remedy
    assert state in record.detail


@pytest.mark.parametrize(("adopted", "code"), [(True, "adopted-connection"), (False, "observed-connection")])
async def test_what_service_connector_made_it_alone_mends(app: LocalApp, adopted: bool, code: str):
    await made(app)
    linker = f"{CLUSTER}/providers/Microsoft.ServiceLinker/linkers/theirs"
    at = app.clock.now() if adopted else None
    state = ConnectionState.ADOPTED if adopted else ConnectionState.OBSERVED
    await put_in(app, state, linker_id=linker, adopted_at=at)
    record = await app.send(repair_body(), message_id="r")
    assert (record.outcome, record.code) == ("rejected", code)
    assert record.remedy == f"az aks connection update --id {linker}"


async def test_what_is_not_there_cannot_be_repaired(app: LocalApp):
    record = await app.send(repair_body(), message_id="r-1")
    assert (record.code, record.remedy) == ("not-found", "send the create request again")
    await made(app)
    await app.send(delete_body(), message_id="d")
    await app.settle()
    record = await app.send(repair_body(), message_id="r-2")
    assert record.code == "not-found"


@pytest.mark.parametrize("state", ["orphaned", "deleted", "observed"])
async def test_who_saw_another_state_than_there_is_now_has_nothing_to_do(app: LocalApp, state: str):
    """A sweep names the life that it saw, and nobody waits for its refusals."""
    await made(app)
    linker = f"{CLUSTER}/providers/Microsoft.ServiceLinker/linkers/x" if state == "observed" else ""
    await put_in(app, ConnectionState(state), linker_id=linker)
    wish = Asked(kind=Kind.REPAIR, connection_id=ID, key="sweep", generation=1)
    assert (await opened(app, wish)).outcome == "nothing-to-do"
    elder = Asked(kind=Kind.REPAIR, connection_id=ID, key="sweep-2", generation=0)
    assert (await opened(app, elder)).outcome == "nothing-to-do"


async def test_the_same_key_is_the_same_repair_and_another_attaches_while_it_runs(app: LocalApp):
    await made(app)
    first = await app.send({**repair_body(), "requestId": "one"})
    assert (await app.send({**repair_body(), "requestId": "one"})).operation_id == first.operation_id
    second = await app.send({**repair_body(), "requestId": "two"})
    assert (second.outcome, second.operation_id) == ("attached", first.operation_id)


async def test_a_create_of_what_failed_overtakes_its_repair(app: LocalApp):
    await made(app)
    await put_in(app, ConnectionState.FAILED)
    repair = await opened(app, WISH)
    answer = await opened(app, Asked(kind=Kind.CREATE, connection_id=ID, key="again", spec=SPEC))
    assert answer.outcome == "opened"
    operations = {one.operation_id: one for one in await app.operations(ID)}
    assert operations[repair.operation_id].code == "superseded-by-create"  # type: ignore[index]
    await app.settle()
    assert await app.state(ID) == "configured"


async def test_a_create_that_differs_is_refused_while_a_repair_runs(app: LocalApp):
    await made(app)
    await opened(app, WISH)
    other = SPEC.model_copy(update={"client_type": "java"})
    with pytest.raises(RefusedError, match="body-differs"):
        await opened(app, Asked(kind=Kind.CREATE, connection_id=ID, key="again", spec=other))


async def test_a_prune_that_only_reports_does_not_end_a_repair(
    tmp_path: Path,
):
    app = make_app(tmp_path, MOORING_PRUNE_MODE="report")
    await made(app)
    repair = await opened(app, WISH)
    cause = Cause(kind="target", resource_id=STORAGE)
    assert (
        await opened(app, Asked(kind=Kind.PRUNE, connection_id=ID, key="p", cause=cause))
    ).outcome == "opened"
    operation = await app.services.state.operation(repair.operation_id)  # type: ignore[arg-type]
    assert operation is not None
    assert not operation.value.state.final


async def test_a_prune_that_comes_in_the_middle_of_a_repair_leaves_nothing_of_what_it_was_writing(
    tmp_path: Path,
):
    app = make_app(tmp_path, MOORING_PRUNE_GRACE_SECONDS="0")
    await made(app)
    app.world.clusters[naming.fold_id(CLUSTER)].objects.clear()
    await opened(app, WISH)
    await app.pump()
    await app.pump()
    app.world.remove(STORAGE)
    cause = Cause(kind="target", resource_id=STORAGE.lower())
    answer = await opened(app, Asked(kind=Kind.PRUNE, connection_id=ID, key="p", cause=cause))
    snapshot = await app.services.state.load(answer.operation_id)  # type: ignore[arg-type]
    assert snapshot is not None
    assert snapshot.operation.value.plan[0].name == "confirm_gone"
    assert snapshot.operation.value.behind
    await app.settle()
    assert await app.state(ID) == "pruned"
    assert app.leftovers() == {"identities": [], "assignments": [], "objects": [], "users": []}


async def test_a_late_event_does_not_leave_half_mended_what_a_repair_is_making_again(tmp_path: Path):
    app = make_app(tmp_path, MOORING_PRUNE_CONFIRM_SECONDS="1", MOORING_PRUNE_GRACE_SECONDS="0")
    await made(app)
    [identity] = app.world.identities.values()
    app.world.remove(identity.resource_id)
    await opened(app, WISH)
    while not app.world.identities:
        await app.pump()
    cause = Cause(kind="identity", resource_id=identity.resource_id.lower())
    await opened(app, Asked(kind=Kind.PRUNE, connection_id=ID, key="p", cause=cause))
    await app.settle()
    ends = [(one.kind.value, one.state.value, one.code) for one in await app.operations(ID)]
    assert ends[1:] == [("repair", "succeeded", ""), ("prune", "succeeded", "resource-alive")]
    objects = app.world.clusters[naming.fold_id(CLUSTER)].objects
    [anew] = app.world.identities.values()
    assert ("ServiceAccount", "shop", f"sc-account-{anew.client_id}") in objects
    assert await app.state(ID) == "configured"


async def test_a_proved_repair_makes_the_connection_usable_and_one_that_is_refused_leaves_it(
    tmp_path: Path,
):
    app = make_app(tmp_path, MOORING_PROVE="on")
    await made(app)
    stored = await app.services.state.connection(ID)
    assert stored is not None
    assert stored.value.state == "usable"
    configured_at, usable_at = stored.value.configured_at, stored.value.usable_at
    app.clock.advance(60)
    await opened(app, WISH)
    await app.settle()
    stored = await app.services.state.connection(ID)
    assert stored is not None
    assert (stored.value.state, stored.value.configured_at) == ("usable", configured_at)
    assert stored.value.usable_at is not None
    assert usable_at is not None
    assert stored.value.usable_at > usable_at
    app.world.data_planes.clear()
    app.journal.before = lambda call: TransientError("weather") if call.name == "roles.ensure" else None
    await opened(app, Asked(kind=Kind.REPAIR, connection_id=ID, key="second"))
    await app.settle(seconds=9000)
    assert [(one.kind.value, one.state.value) for one in await app.operations(ID)][-1] == ("repair", "failed")
    assert await app.state(ID) == "usable"


async def test_a_connection_that_never_came_to_its_settings_is_made_whole(app: LocalApp):
    def refuse(call: Call) -> Exception | None:
        return RefusedError("denied") if call.name in {"clusters.apply", "clusters.create"} else None

    app.journal.before = refuse
    await made(app)
    assert await app.state(ID) == "failed"
    app.journal.before = None
    assert (await opened(app, WISH)).outcome == "opened"
    await app.settle()
    stored = await app.services.state.connection(ID)
    assert stored is not None
    assert stored.value.state == "configured"
    assert stored.value.configured_at is not None


async def test_http_repairs_and_says_where_to_look(app: LocalApp):
    await made(app)
    http = HttpApp(app)
    status, body, headers = await http.call("repair_connection", connectionId=ID)
    assert (status, body["outcome"], body["connectionId"]) == (202, "opened", ID)
    assert headers["Location"].endswith(f"/operations/{body['operationId']}")
    await app.settle()
    await put_in(app, ConnectionState.ORPHANED)
    status, body, _ = await http.call("repair_connection", connectionId=ID)
    assert (status, body["code"]) == (409, "not-repairable")
    status, body, _ = await http.call("repair_connection", connectionId="0" * 24)
    assert (status, body["code"]) == (404, "not-found")


async def test_a_repair_that_is_not_needed_any_more_leaves_the_state(app: LocalApp):
    await made(app)
    await opened(app, Asked(kind=Kind.DELETE, connection_id=ID, key="d"))
    running = (await app.operations(ID))[-1].operation_id
    assert await opened(app, WISH) == Answer("nothing-to-do", running)
