"""A connection to a database from request to removal, on the whole core: its plan, its secret, its end."""

from __future__ import annotations

from typing import Any

import pytest

from shared import plans
from shared.models import Cause, ConnectionState, Kind
from tests.fakes.databases import StoredServer
from tests.fakes.http_app import HttpApp
from tests.fakes.local_app import (
    APP_CLIENT_ID,
    CLUSTER,
    LocalApp,
    create_body,
    delete_body,
    deletion_event,
)
from tests.fakes.postgres import DATABASE, HOST, NAME, SERVER, USER, add_server, database_bench
from tests.fakes.step_bench import Bench


@pytest.fixture
def server(app: LocalApp) -> StoredServer:
    return add_server(app)


def body(**changes: Any) -> dict[str, Any]:
    return create_body(NAME, target={"type": "postgres-flexible", "id": DATABASE}, **changes)


async def test_a_connection_to_a_database_is_made_and_leaves_nothing(app: LocalApp, server: StoredServer):
    record = await app.send(body(clientType="none", intent="write"))
    await app.settle()
    assert await app.state(record.connection_id) == "configured"
    [operation] = await app.operations(record.connection_id)
    names = [step.name for step in operation.plan]
    assert "database_access" in names
    assert "role_assignments" not in names
    [secret] = [one for key, one in app.world.clusters[CLUSTER.lower()].objects.items() if key[0] == "Secret"]
    client_id = secret.data["AZURE_POSTGRESQL_CLIENTID"]
    assert secret.data == {
        "AZURE_POSTGRESQL_HOST": HOST,
        "AZURE_POSTGRESQL_PORT": "5432",
        "AZURE_POSTGRESQL_DATABASE": "shop",
        "AZURE_POSTGRESQL_USERNAME": USER,
        "AZURE_POSTGRESQL_SSL": "true",
        "AZURE_POSTGRESQL_CLIENTID": client_id,
    }
    assert client_id != APP_CLIENT_ID
    assert app.world.assignments == {}
    assert USER in server.roles

    await app.send({"action": "validate", "connection": delete_body(NAME)["connection"]}, message_id="v")
    await app.settle()
    snapshot = [one for one in await app.operations(record.connection_id) if one.kind is Kind.VALIDATE]
    assert [one.state.value for one in snapshot] == ["succeeded"]

    await app.send(delete_body(NAME), message_id="d")
    await app.settle()
    assert await app.state(record.connection_id) == "deleted"
    assert server.roles == {}
    assert app.leftovers() == {"identities": [], "assignments": [], "objects": [], "users": []}


async def test_the_deletion_of_a_server_prunes_the_connection(app: LocalApp, server: StoredServer):
    record = await app.send(body())
    await app.settle()
    app.world.remove(SERVER)
    del app.world.servers[HOST]
    await app.services.events.receive(deletion_event(SERVER))
    await app.settle(seconds=20 * 86400.0)
    assert await app.state(record.connection_id) == "pruned"
    assert app.leftovers()["objects"] == []


async def test_a_delete_that_is_held_by_a_table_goes_on_when_it_has_another_owner(
    app: LocalApp, server: StoredServer
):
    record = await app.send(body())
    await app.settle()
    server.databases["shop"].relations["orders"] = USER
    await app.send(delete_body(NAME), message_id="d")
    await app.settle(seconds=900)
    held = (await app.operations(record.connection_id))[-1]
    assert (held.state.value, held.waiting) == ("held", "owns-data")
    assert "REASSIGN OWNED BY" in held.detail
    server.databases["shop"].relations["orders"] = "owner"
    await app.settle(seconds=900)
    assert await app.state(record.connection_id) == "deleted"
    assert server.databases["shop"].relations["orders"] == "owner"


def test_only_plans_of_connections_to_databases_have_the_step(app: LocalApp):
    ours, blobs = database_bench(app).connection, Bench(app).connection
    for kind in (Kind.CREATE, Kind.REPAIR, Kind.VALIDATE, Kind.DELETE):
        names = {step.name for step in plans.plan(kind, connection=ours)}
        assert {"database_access", "role_assignments"} & names == {"database_access"}
        others = plans.plan(kind, connection=blobs)
        assert "database_access" not in {name for step in others for name in (step.name, *step.needs)}
    wanted = plans.plan(Kind.CREATE, connection=blobs, spec=ours.spec)
    assert "database_access" in {step.name for step in wanted}
    assert "database_access" in wanted[-1].needs
    cause = Cause(kind="target", resource_id=DATABASE)
    names = {step.name for step in plans.plan(Kind.PRUNE, connection=ours, cause=cause)}
    assert "database_access" in names
    theirs = ours.model_copy(update={"linker_id": "/x", "state": ConnectionState.ADOPTED})
    for kind in (Kind.VALIDATE, Kind.DELETE):
        assert "database_access" not in {step.name for step in plans.plan(kind, connection=theirs)}


async def test_a_plan_shows_both_rights_and_a_connection_its_user(app: LocalApp, server: StoredServer):
    http = HttpApp(app)
    status, found, _ = await http.call("plan_connection", body=body(intent="read"))
    assert status == 200
    user = found["databaseUser"]
    assert user["name"] == USER
    assert user["granted"]["tables"] == ["SELECT"]
    assert user["granted"] == user["narrowest"]["read"]
    assert "TRUNCATE" in user["serviceConnector"]["tables"]
    assert found["roleAssignments"]["assigned"] == []
    assert server.roles == {}
    _, blobs, _ = await http.call("plan_connection", body=create_body())
    assert blobs["databaseUser"] is None
    record = await app.send(body(intent="read"))
    await app.settle()
    _, made, _ = await http.call("get_connection", connectionId=record.connection_id)
    assert (made["databaseUser"]["name"], made["databaseUser"]["database"]) == (USER, "shop")
    assert made["databaseUser"]["objectId"] == made["identity"]["principalId"].lower()


async def test_an_update_that_narrows_the_intent_takes_the_wider_rights(app: LocalApp, server: StoredServer):
    record = await app.send(body(intent="write"))
    await app.settle()
    update = body(intent="read") | {"action": "update"}
    await app.send(update, message_id="u")
    await app.settle()
    assert await app.state(record.connection_id) == "configured"
    assert server.databases["shop"].grants[USER]["orders"] == {"SELECT"}
    assert "orders_seq" not in server.databases["shop"].grants[USER]
