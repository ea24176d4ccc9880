"""A target that an update asked for and never reached takes no access to what the workload is still on."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from shared import naming
from shared.errors import PermanentError, TransientError
from shared.inscription import ANNOTATION_REQUEST
from shared.models import ConnectionId, Kind, Operation
from shared.ports import Linker
from tests.fakes.journal import Call
from tests.fakes.local_app import (
    CLUSTER,
    GROUP,
    POLICY,
    STORAGE,
    LocalApp,
    create_body,
    delete_body,
    deletion_event,
    make_app,
)
from tests.fakes.sweeps import connected, swept
from tests.fakes.their_linker import LINKER

ID = ConnectionId(naming.connection_id(CLUSTER, "shop", "orders-blob"))
ORDERS, OTHER = (f"{STORAGE}/blobServices/default/containers/{name}" for name in ("orders", "other"))
BUS = f"{GROUP}/providers/Microsoft.ServiceBus/namespaces/sb"
ORDERS_QUEUE, OTHER_QUEUE = (f"{BUS}/queues/{name}" for name in ("orders", "other"))
COSMOS = f"{GROUP}/providers/Microsoft.DocumentDB/databaseAccounts/cos"
LINES, NOTES = (f"{COSMOS}/sqlDatabases/orders/containers/{name}" for name in ("lines", "notes"))


@pytest.fixture
def app(tmp_path: Path) -> LocalApp:
    made = make_app(tmp_path, MOORING_PRUNE_GRACE_SECONDS="0")
    made.policy_file.write_text(POLICY.replace('"keyvault"', '"servicebus", "cosmos-sql"'))
    for name in ("Storage/storageAccounts", "ServiceBus/namespaces", "DocumentDB/databaseAccounts"):
        made.world.add_resource(f"{GROUP}/providers/Microsoft.{name}/canary")
    bus = {"serviceBusEndpoint": "https://sb.servicebus.windows.net:443/"}
    cosmos = {"documentEndpoint": "https://cos.documents.azure.com:443/"}
    made.world.add_resource(BUS, {"properties": bus})
    made.world.add_resource(COSMOS, {"kind": "GlobalDocumentDB", "properties": cosmos})
    for resource_id in (ORDERS, OTHER, ORDERS_QUEUE, OTHER_QUEUE, naming.ancestors(LINES)[1], LINES, NOTES):
        made.world.add_resource(resource_id, {"properties": {}})
    return made


def blob(resource_id: str) -> dict[str, Any]:
    return {"target": {"type": "storage-blob", "id": resource_id}}


def queue(resource_id: str) -> dict[str, Any]:
    return {"target": {"type": "servicebus", "id": resource_id}}


def container(resource_id: str) -> dict[str, Any]:
    return {"target": {"type": "cosmos-sql", "id": resource_id}}


async def updated(
    app: LocalApp, target: dict[str, Any], *, refused: int = -1, name: str = "orders-blob"
) -> str:
    """Send an update; of its roles that one is refused for good. Returns how it ended."""
    asked = 0

    def denied(call: Call) -> BaseException | None:
        nonlocal asked
        if call.name not in {"roles.ensure", "cosmos.ensure"}:
            return None
        asked += 1
        return PermanentError("scope-locked", "no") if asked == refused + 1 else None

    app.journal.before = denied
    body = {**create_body(name, **target), "action": "update"}
    record = await app.send(body, message_id=f"update-{len(app.journal.calls)}")
    await app.settle()
    app.journal.before = None
    [ended] = [
        one for one in await app.operations(record.connection_id) if one.operation_id == record.operation_id
    ]
    return ended.code


async def gone(app: LocalApp, *resource_ids: str) -> Operation:
    """Delete them, and let a sweep find it; returns the prune of it."""
    for resource_id in resource_ids:
        app.world.remove(resource_id)
    await swept(app)
    await app.settle(seconds=3600)
    return [one for one in await app.operations(ID) if one.kind is Kind.PRUNE][-1]


def scopes(app: LocalApp) -> set[str]:
    return {scope for scope, _ in (*app.world.assignments, *app.world.grants)}


def held(app: LocalApp) -> tuple[list[str], list[str]]:
    left = app.leftovers()
    return left["identities"], left["objects"]


@pytest.mark.parametrize("there", [True, False])
async def test_a_target_whose_roles_an_update_meant_and_never_made_takes_no_access_to_what_is_there(
    app: LocalApp, *, there: bool
):
    await connected(app, **blob(ORDERS))
    before = held(app)
    assert await updated(app, blob(OTHER), refused=0) == "scope-locked"
    prune = await gone(app, OTHER, *(() if there else (ORDERS,)))
    assert (prune.code, await app.state(ID)) == (("resource-alive", "failed") if there else ("", "pruned"))
    assert (held(app) == before, ORDERS in prune.detail) == (there, there)
    assert scopes(app) == ({naming.fold_id(ORDERS)} if there else set())


@pytest.mark.parametrize("there", [True, False])
async def test_a_role_of_the_new_target_that_was_made_does_not_hide_those_that_stand_on_the_old_one(
    app: LocalApp, *, there: bool
):
    await connected(app, **queue(ORDERS_QUEUE))
    before = held(app)
    assert await updated(app, queue(OTHER_QUEUE), refused=1) == "scope-locked"
    assert scopes(app) == {naming.fold_id(ORDERS_QUEUE), naming.fold_id(OTHER_QUEUE)}
    prune = await gone(app, OTHER_QUEUE, *(() if there else (ORDERS_QUEUE,)))
    assert (prune.code, held(app) == before) == ("resource-alive" if there else "", there)


async def test_an_update_back_that_made_nothing_leaves_the_access_to_where_the_connection_was(app: LocalApp):
    await connected(app, **blob(ORDERS))
    assert await updated(app, blob(OTHER)) == ""
    assert await updated(app, blob(ORDERS), refused=0) == "scope-locked"
    prune = await gone(app, ORDERS)
    assert (prune.code, OTHER in prune.detail) == ("resource-alive", True)
    assert scopes(app) == {naming.fold_id(OTHER)}


async def test_an_equal_role_that_was_there_before_ours_counts_as_access(app: LocalApp):
    await connected(app, **blob(ORDERS))
    [(key, role)] = app.world.assignments.items()
    app.world.assignments = {(key[0], "theirs"): dataclasses.replace(role, name="theirs")}
    await app.send({**delete_body(), "action": "repair"}, message_id="repair")
    await app.settle()
    assert await updated(app, blob(OTHER), refused=0) == "scope-locked"
    assert (await gone(app, OTHER)).code == "resource-alive"


async def test_a_role_that_somebody_took_away_meanwhile_holds_no_prune(app: LocalApp):
    await connected(app, **blob(ORDERS))
    assert await updated(app, blob(OTHER), refused=0) == "scope-locked"
    app.world.assignments.clear()
    assert (await gone(app, OTHER)).code == ""
    assert await app.state(ID) == "pruned"


async def test_a_late_event_of_a_part_that_is_there_again_says_nothing_of_the_role_on_it(app: LocalApp):
    await connected(app, **blob(ORDERS))
    assert await updated(app, blob(OTHER), refused=0) == "scope-locked"
    app.world.remove(OTHER)
    await app.services.events.receive(deletion_event(ORDERS))
    await app.settle(seconds=3600)
    [prune] = [one for one in await app.operations(ID) if one.kind is Kind.PRUNE]
    assert (prune.code, scopes(app)) == ("resource-alive", {naming.fold_id(ORDERS)})


async def test_a_finished_update_holds_no_prune_by_what_it_left_to_another_connection(app: LocalApp):
    await connected(app, **blob(ORDERS))
    await connected(app, "their-blob", **blob(ORDERS))
    assert await updated(app, blob(OTHER)) == ""
    assert (await gone(app, OTHER)).code == ""
    assert (await app.state(ID), scopes(app)) == ("pruned", {naming.fold_id(ORDERS)})


async def test_a_finished_update_holds_no_prune_by_what_it_left_to_a_linker(app: LocalApp):
    await connected(app, **blob(ORDERS))
    [identity] = app.world.identities.values()
    app.world.linkers[naming.fold_id(LINKER)] = Linker(
        resource_id=LINKER,
        name="theirs",
        namespace="other",
        target_id=ORDERS,
        client_id=identity.client_id,
        client_type="none",
        provisioning_state="Succeeded",
    )
    assert await updated(app, blob(OTHER)) == ""
    assert scopes(app) == {naming.fold_id(ORDERS), naming.fold_id(OTHER)}
    assert (await gone(app, OTHER)).code == ""
    assert await app.state(ID) == "pruned"


@pytest.mark.parametrize("refused", [0, -1])
async def test_users_rows_that_were_lost_hold_a_prune_only_while_an_update_has_not_come_to_its_roles(
    app: LocalApp, refused: int
):
    await connected(app, **blob(ORDERS))
    app.store._tables["users"].clear()
    await updated(app, blob(OTHER), refused=refused)
    assert naming.fold_id(ORDERS) in scopes(app), "whose it was is not on record any more"
    assert (await gone(app, OTHER)).code == ("" if refused < 0 else "resource-alive")
    assert (scopes(app) == set()) is (refused < 0)


async def test_rights_that_a_service_keeps_itself_hold_a_prune_as_well(app: LocalApp):
    await connected(app, **container(LINES))
    assert await updated(app, container(NOTES), refused=0) == "scope-locked"
    prune = await gone(app, NOTES)
    assert (prune.code, LINES in prune.detail) == ("resource-alive", True)


async def test_a_right_on_a_part_that_is_gone_holds_no_prune_though_the_account_is_there(app: LocalApp):
    await connected(app, **container(LINES))
    assert await updated(app, container(NOTES), refused=0) == "scope-locked"
    grants = dict(app.world.grants)
    app.world.remove(LINES)
    app.world.grants = grants
    assert (await gone(app, NOTES)).code == ""
    assert await app.state(ID) == "pruned"


async def test_a_right_that_is_anothers_by_now_holds_no_prune_of_a_finished_update(app: LocalApp):
    await connected(app, **container(LINES))
    [key] = app.world.grants
    app.world.grants[key] = dataclasses.replace(app.world.grants[key], principal_id="somebody")
    assert await updated(app, container(NOTES)) == ""
    assert (await gone(app, NOTES)).code == ""
    assert (await app.state(ID), [*app.world.grants]) == ("pruned", [key])


@pytest.mark.parametrize("written", [True, False])
async def test_by_an_identity_the_roles_tell_and_not_what_the_settings_are_for(
    app: LocalApp, *, written: bool
):
    await connected(app, **blob(ORDERS))
    objects = app.world.clusters[naming.fold_id(CLUSTER)].objects

    def settings_for() -> str:
        [settings] = [found for key, found in objects.items() if key[0] == "Secret"]
        return str(json.loads(settings.annotations[ANNOTATION_REQUEST])["target_id"])

    def broken(call: Call) -> BaseException | None:
        if call.name == "roles.ensure" and written:
            there = settings_for() == OTHER
            return PermanentError("scope-locked", "no") if there else TransientError("service-busy", "no")
        return PermanentError("refused", "no") if call.name == "clusters.apply" and not written else None

    app.journal.before = broken
    await app.send({**create_body(**blob(OTHER)), "action": "update"}, message_id="update")
    await app.settle()
    app.journal.before = None
    assert settings_for() == (OTHER if written else ORDERS)
    assert scopes(app) == {naming.fold_id(ORDERS if written else OTHER)}
    assert (await gone(app, OTHER)).code == ("resource-alive" if written else "")
