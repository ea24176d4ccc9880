"""A part of a resource that a connection is limited to is its target: without it the connection goes, too."""

import json
from pathlib import Path
from typing import Any

import pytest

from shared import events, naming
from shared.catalogue import catalogue
from shared.errors import PermanentError
from shared.models import ConnectionId
from shared.records import Dependent
from tests.fakes.http_app import HttpApp
from tests.fakes.journal import Call
from tests.fakes.local_app import (
    CLUSTER,
    GROUP,
    STORAGE,
    SUBSCRIPTION,
    LocalApp,
    create_body,
    deletion_event,
    make_app,
)
from tests.fakes.sweeps import connected, prunes, swept
from tests.fakes.target_examples import Example, examples

ID = naming.connection_id(CLUSTER, "shop", "orders-blob")
CONTAINER = f"{STORAGE}/blobServices/default/containers/orders"
OTHER = f"{STORAGE}/blobServices/default/containers/other"
TARGET = {"type": "storage-blob", "id": CONTAINER}


@pytest.fixture
def app(tmp_path: Path) -> LocalApp:
    made = make_app(tmp_path, MOORING_PRUNE_GRACE_SECONDS="120")
    for part in (CONTAINER, OTHER):
        made.world.add_resource(part)
    return made


async def told(app: LocalApp, resource_id: str) -> list[str]:
    outcome = await app.services.events.receive(deletion_event(resource_id))
    await app.settle()
    return outcome


def no_part_is_readable(call: Call) -> BaseException | None:
    about_part = call.name == "resources.get" and "containers" in str(call.arguments)
    return PermanentError("access-denied", "no", remedy="deploy the role") if about_part else None


async def validated(app: LocalApp) -> tuple[str, str]:
    """What a validation finds of the target's existence."""
    body = {"action": "validate", "connectionId": ID}
    record = await app.send(body, message_id=f"look-{len(app.journal.calls)}")
    await app.settle()
    _, shown, _ = await HttpApp(app).call("get_operation", operationId=str(record.operation_id))
    [found] = [one for one in shown["findings"] if one["name"] == "target-exists"]
    return found["result"], found["detail"]


@pytest.mark.parametrize(
    "example",
    [one for row in catalogue().rows if row.id_template for one in examples(row)],
    ids=lambda one: str(one.row.name),
)
def test_the_deletion_of_a_part_is_a_candidate_where_it_is_a_resource(example: Example):
    row, watched = example.row, catalogue().watched_types()
    for child, form in zip(example.children, row.children, strict=True):
        body = json.loads(deletion_event(child))
        body["topic"] = f"/subscriptions/{naming.subscription_of(child)}"
        body["data"]["subscriptionId"] = naming.subscription_of(child)
        [decided] = events.parse(json.dumps(body), subscriptions=None, watched=watched)
        wanted = ("candidate", "deleted") if form.is_resource else ("ignored", "resource-type")
        assert (decided.decision, decided.reason) == wanted
        assert row.part_id(child) == (child if form.is_resource else "")
        assert row.relied_on(child)[0] == row.existence_id(child)
    assert row.relied_on(example.id) == (row.existence_id(example.id),)


def test_a_secret_of_a_vault_is_no_resource_that_azure_tells_of():
    [secret] = catalogue().find("keyvault").children
    assert not secret.is_resource


async def test_a_deleted_part_takes_its_connection_with_it(app: LocalApp):
    await connected(app, target=TARGET)
    app.world.remove(CONTAINER)
    assert await told(app, CONTAINER) == ["prunes:1"]
    assert await app.state(ID) == "pruned"
    assert set(map(tuple, app.leftovers().values())) == {()}
    cause = (await app.operations(ID))[-1].cause
    assert cause is not None
    assert (cause.kind, naming.fold_id(cause.resource_id)) == ("target", naming.fold_id(CONTAINER))


async def test_of_what_stands_above_a_part_only_what_the_app_may_read_is_asked_for_a_witness(app: LocalApp):
    await connected(app, target=TARGET)
    app.world.remove(CONTAINER)
    app.journal.calls.clear()
    assert await told(app, CONTAINER) == ["prunes:1"]
    asked = {
        naming.fold_id(str(one.arguments[0])) for one in app.journal.calls if one.name == "resources.get"
    }
    assert naming.fold_id(STORAGE) in asked
    assert naming.fold_id(f"{STORAGE}/blobServices/default") not in asked


async def test_a_deleted_part_of_a_whole_that_is_connected_concerns_nobody(app: LocalApp):
    await connected(app)
    app.world.remove(CONTAINER)
    assert await told(app, CONTAINER) == ["prunes:0"]
    assert await app.state(ID) == "configured"


async def test_a_deleted_account_opens_one_prune_whatever_part_of_it_is_connected(app: LocalApp):
    await connected(app, target=TARGET)
    app.world.remove(STORAGE)
    assert await told(app, STORAGE) == ["prunes:1"]
    assert await app.state(ID) == "pruned"


async def test_a_part_that_is_there_again_keeps_its_connection(app: LocalApp):
    await connected(app, target=TARGET)
    assert await told(app, CONTAINER) == ["prunes:1"]
    assert await app.state(ID) == "configured"
    assert (await app.operations(ID))[-1].code == "resource-alive"


@pytest.mark.parametrize("gone", [(OTHER,), (OTHER, CONTAINER)])
async def test_a_part_that_an_update_has_left_says_nothing_any_more(app: LocalApp, gone: tuple[str, ...]):
    await connected(app, target={**TARGET, "id": OTHER})
    await app.send({**create_body(target=TARGET), "action": "update"}, message_id="update")
    await app.settle()
    for one in gone:
        app.world.remove(one)
    assert await told(app, OTHER) == ["prunes:1"]
    assert await app.state(ID) == ("pruned" if CONTAINER in gone else "configured")


async def test_a_sweep_finds_a_part_that_no_event_told_of(app: LocalApp):
    await connected(app, target=TARGET)
    # As an older version left it: nothing leads from the part to the connection.
    rows = await app.services.events.dependents.of(CONTAINER)
    assert rows == [
        Dependent(resource_id=CONTAINER, kind="target", connection_id=ConnectionId(ID), generation=1)
    ]
    await app.services.events.dependents.remove(rows[0])
    assert "prunes" not in (await swept(app))["totals"]
    app.clock.advance(86400)
    app.world.remove(CONTAINER)
    assert (await swept(app))["totals"]["prunes"] == {"target": 1}
    await app.settle()
    assert await app.state(ID) == "pruned"


async def test_a_part_that_may_not_be_read_is_not_gone(app: LocalApp):
    await connected(app, target=TARGET)
    app.journal.before = no_part_is_readable
    found = await swept(app)
    assert found["details"] == {"target-not-readable": 1}
    assert await prunes(app, ConnectionId(ID)) == []
    assert await validated(app) == ("unknown", "access-denied: no")


async def test_a_validation_names_the_part_that_is_gone(app: LocalApp):
    await connected(app, target=TARGET)
    assert await validated(app) == ("ok", CONTAINER)
    app.world.remove(CONTAINER)
    assert await validated(app) == ("failed", CONTAINER)


async def test_nothing_is_made_at_a_part_that_is_not_there(app: LocalApp):
    app.world.remove(CONTAINER)
    await app.send(create_body(target=TARGET))
    await app.settle()
    failed = (await app.operations(ID))[-1]
    assert (failed.state, failed.code) == ("failed", "target-not-found")
    assert failed.detail == f"preflight: {CONTAINER}"
    assert f"az resource show --ids {CONTAINER} --api-version" in failed.remedy
    assert app.world.identities == {}


async def test_a_plan_says_that_the_part_is_not_there(app: LocalApp):
    app.world.remove(CONTAINER)
    _, plan, _ = await HttpApp(app).call("plan_connection", body=create_body(target=TARGET))
    [found] = [one for one in plan["findings"] if one["name"] == "target-exists"]
    assert (found["result"], found["detail"]) == ("failed", f"target-not-found: {CONTAINER}")


@pytest.mark.parametrize("with_part", [True, False])
async def test_a_part_that_moved_with_its_account_lives_on(app: LocalApp, with_part: bool):
    await connected(app, target=TARGET)
    elsewhere = STORAGE.replace(GROUP, f"/subscriptions/{SUBSCRIPTION}/resourceGroups/other")
    endpoint: dict[str, Any] = {"primaryEndpoints": {"blob": "https://orders.blob.core.windows.net/"}}
    app.world.remove(STORAGE)
    app.world.add_resource(elsewhere, {"properties": endpoint})
    if with_part:
        app.world.add_resource(CONTAINER.replace(STORAGE, elsewhere))
    assert await told(app, CONTAINER) == ["prunes:1"]
    assert (await app.operations(ID))[-1].code == ("resource-moved" if with_part else "")
    assert await app.state(ID) == ("configured" if with_part else "pruned")


def test_the_read_that_proves_access_goes_to_the_part_of_the_id_whatever_was_recorded_before():
    row = catalogue().find("storage-blob")
    endpoint = {str(row.read_check.fact): "https://account1.blob.core.windows.net/"} if row.read_check else {}
    for facts in (endpoint, {**endpoint, "container": "other"}):
        read = row.read(CONTAINER, facts)
        assert read is not None
        assert read.url.startswith("https://account1.blob.core.windows.net/orders?")
