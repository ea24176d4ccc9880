"""An update changes what may change: new rights before old ones go, and nothing of the old is left."""

from typing import Any

import pytest

from shared import naming
from shared.errors import PermanentError
from shared.models import ConnectionState
from tests.fakes.http_app import HttpApp
from tests.fakes.journal import Call
from tests.fakes.local_app import CLUSTER, IDENTITY_GROUP, STORAGE, VAULT, LocalApp, create_body, delete_body
from tests.fakes.sweeps import connected
from tests.fakes.their_linker import LINKER, make_linker

ID = naming.connection_id(CLUSTER, "shop", "orders-blob")
CONTAINER = f"{STORAGE}/blobServices/default/containers/orders"
BLOB = {"type": "storage-blob", "id": CONTAINER}
EMPTY: dict[str, list[str]] = {"identities": [], "assignments": [], "objects": [], "users": []}


@pytest.fixture(autouse=True)
def container(app: LocalApp) -> None:
    app.world.add_resource(CONTAINER)


def update(name: str = "orders-blob", **changes: Any) -> dict[str, Any]:
    return {**create_body(name, **changes), "action": "update"}


async def updated(app: LocalApp, **changes: Any) -> Any:
    record = await app.send(update(**changes), message_id=f"update-{len(app.journal.calls)}")
    await app.settle()
    return record


def roles(app: LocalApp) -> set[tuple[str, str]]:
    """Scope and role of each assignment."""
    rows = app.services.catalogue.find("storage-blob")
    names = {role.id: role.name for role in rows.known_roles}
    return {
        (one.scope, names[one.role_definition_id.rsplit("/", 1)[-1]])
        for one in app.world.assignments.values()
    }


def keys(app: LocalApp) -> set[str]:
    objects = app.world.clusters[naming.fold_id(CLUSTER)].objects
    [secret] = [one for key, one in objects.items() if key[0] == "Secret"]
    return set(secret.data)


async def last(app: LocalApp) -> tuple[str, str, bool]:
    operation = (await app.operations(ID))[-1]
    return operation.state.value, operation.code, bool(operation.changes)


async def test_another_intent_gives_the_new_role_before_it_takes_the_old_one(app: LocalApp):
    await connected(app)
    start = len(app.journal.calls)
    record = await updated(app, intent="read")
    assert record.outcome == "opened"
    assert roles(app) == {(STORAGE, "Storage Blob Data Reader")}
    sent = app.journal.names()[start:]
    assert sent.index("roles.ensure") < sent.index("roles.delete")
    assert await app.state(ID) == "configured"
    assert await last(app) == ("succeeded", "", True)


async def test_another_client_type_replaces_the_keys_and_another_part_the_scope(app: LocalApp):
    await connected(app)
    before = keys(app)
    await updated(app, clientType="springBoot", target=BLOB)
    row = app.services.catalogue.find("storage-blob")
    facts = (await app.services.state.intents(naming.ConnectionId(ID)))["preflight"].outputs["facts"]
    assert keys(app) == set(row.settings("springBoot", {**facts, "clientId": "x"}))
    assert keys(app) != before
    assert roles(app) == {(CONTAINER, "Storage Blob Data Contributor")}
    _, shown, _ = await HttpApp(app).call("get_connection", connectionId=ID)
    assert (shown["clientType"], shown["target"]["id"], shown["generation"]) == ("springBoot", CONTAINER, 1)
    await app.send(delete_body(), message_id="delete")
    await app.settle()
    assert app.leftovers() == EMPTY


async def test_own_names_of_settings_and_constants_come_and_go(app: LocalApp):
    await connected(app, customizedKeys={"AZURE_STORAGEBLOB_CLIENTID": "MINE"}, additionalSettings={"A": "1"})
    assert {"MINE", "A"} <= keys(app)
    await updated(app, additionalSettings={"B": "2"})
    assert {"B", "AZURE_STORAGEBLOB_CLIENTID"} <= keys(app)
    assert not {"MINE", "A"} & keys(app)


async def test_there_and_back_again_leaves_what_a_create_had_made(app: LocalApp):
    await connected(app)
    before = (roles(app), keys(app))
    await updated(app, intent="read", clientType="springBoot")
    await updated(app, intent="write")
    await updated(app)
    assert (roles(app), keys(app)) == before
    await app.send(delete_body(), message_id="delete")
    await app.settle()
    assert app.leftovers() == EMPTY


async def test_a_role_that_another_connection_of_the_workload_uses_stays(app: LocalApp):
    await connected(app)
    await connected(app, "orders-more")
    await updated(app, intent="read")
    contributor = (STORAGE, "Storage Blob Data Contributor")
    assert roles(app) == {contributor, (STORAGE, "Storage Blob Data Reader")}
    await app.send(delete_body("orders-more"), message_id="delete-more")
    await app.settle()
    assert roles(app) == {(STORAGE, "Storage Blob Data Reader")}


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"workload": "other"}, "connection.workload"),
        ({"target": {"type": "keyvault", "id": VAULT}, "clientType": "none"}, "connection.target.type"),
        ({"target": {"type": "storage-blob", "id": f"{STORAGE}2"}}, "connection.target.id"),
        (
            {"identityId": f"{IDENTITY_GROUP}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/x"},
            "connection.identityId",
        ),
        ({"name": "Orders.Blob"}, "connection.name"),
    ],
)
async def test_what_a_connection_is_made_around_is_refused_with_its_field_and_the_command(
    app: LocalApp, changes: dict[str, Any], field: str
):
    listed = f'identities = ["{changes["identityId"]}"]\n' if "identityId" in changes else ""
    app.policy_file.write_text(app.policy_file.read_text() + listed)
    await connected(app)
    before = app.leftovers()
    record = await app.send({**create_body(), "action": "update"} | update(**changes), message_id="u")
    await app.settle()
    assert (record.outcome, record.code, record.field) == ("rejected", "cannot-change", field)
    assert record.remedy == f"DELETE /api/connections/{ID}, then create it"
    assert app.leftovers() == before
    assert len(await app.operations(ID)) == 1


async def test_an_update_of_nothing_is_refused_and_one_without_a_change_is_unchanged(app: LocalApp):
    record = await updated(app, intent="read")
    assert (record.outcome, record.code) == ("rejected", "not-found")
    await connected(app)
    record = await updated(app)
    assert record.outcome == "unchanged"
    record = await updated(app, target={"type": "storage-blob", "id": STORAGE.upper()})
    assert record.outcome == "unchanged"
    await app.send(delete_body(), message_id="delete")
    record = await app.send(update(intent="read"), message_id="too-late")
    assert (record.outcome, record.code) == ("rejected", "not-found")


async def test_a_create_with_another_body_is_told_of_the_update(app: LocalApp):
    await connected(app)
    record = await app.send(create_body(intent="read"), message_id="again")
    assert (record.outcome, record.code) == ("rejected", "body-differs")
    assert "another intent" in record.detail
    assert "action update" in record.remedy


async def test_an_update_waits_for_the_create_and_for_the_update_before_it(app: LocalApp):
    await app.send(create_body(), message_id="c")
    first = await app.send(update(intent="read"), message_id="u1")
    again = await app.send(update(intent="read"), message_id="u2")
    second = await app.send(update(intent="manage"), message_id="u3")
    assert (first.outcome, again.outcome, second.outcome) == ("opened", "attached", "opened")
    assert again.operation_id == first.operation_id
    await app.settle()
    assert roles(app) == {(STORAGE, "Storage Blob Data Owner")}
    assert [one.state.value for one in await app.operations(ID)] == ["succeeded"] * 3


async def test_an_update_whose_connection_went_meanwhile_makes_nothing(app: LocalApp):
    await app.send(create_body(), message_id="c")
    await app.send(update(intent="read"), message_id="u")
    await app.send(delete_body(), message_id="d")
    await app.settle(seconds=4000)
    assert app.leftovers() == EMPTY
    ends = sorted((one.kind.value, one.state.value) for one in await app.operations(ID))
    assert ends == [("create", "superseded"), ("create", "superseded"), ("delete", "succeeded")]


async def test_an_update_behind_one_that_failed_goes_on_from_it(app: LocalApp):
    await connected(app)

    def rule(call: Call) -> BaseException | None:
        return PermanentError("locked", "a lock") if call.name == "roles.ensure" else None

    app.journal.before = rule
    await updated(app, intent="read")
    assert (await last(app))[:2] == ("failed", "locked")
    assert roles(app) == {(STORAGE, "Storage Blob Data Contributor")}, "what worked still works"
    app.journal.before = None
    await updated(app, intent="manage")
    assert roles(app) == {(STORAGE, "Storage Blob Data Owner")}
    await app.send(delete_body(), message_id="delete")
    await app.settle()
    assert app.leftovers() == EMPTY


@pytest.mark.parametrize(
    ("state", "body_hash", "code"),
    [
        (ConnectionState.DELETED, "", "not-found"),
        (ConnectionState.CONFIGURED, "another", "body-differs"),
        (ConnectionState.ORPHANED, "", "body-differs"),
    ],
)
async def test_an_update_begins_only_on_what_it_was_judged_by(
    app: LocalApp, state: ConnectionState, body_hash: str, code: str
):
    await connected(app)
    record = await app.send(update(intent="read"), message_id="u")
    stored = await app.services.state.connection(naming.ConnectionId(ID))
    assert stored is not None
    changed = stored.value.model_copy(
        update={"state": state, "body_hash": body_hash or stored.value.body_hash}
    )
    snapshot = await app.services.state.load(record.operation_id)
    assert snapshot is not None
    await app.services.state.commit(snapshot, snapshot.operation.value, connection=changed)
    await app.settle()
    assert (await last(app))[:2] == ("failed", code)


async def test_what_is_service_connectors_is_updated_there(app: LocalApp):
    make_linker(app)
    await app.send({"action": "adopt", "linkerId": LINKER}, message_id="adopt")
    await app.settle()
    [connection] = await app.services.state.connections()
    status, problem, _ = await HttpApp(app).call(
        "update_connection", connectionId=connection.connection_id, body={"clientType": "java"}
    )
    assert (status, problem["code"]) == (409, "adopted-connection")
    assert problem["remedy"].startswith("az aks connection update")
