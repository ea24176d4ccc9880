"""What a life relied on whose record was lost says nothing of the connection that has its name by now.

Generations begin anew when table ``connections`` is lost; the rows that lead from a resource to its
connections are in another table.
"""

import dataclasses
from typing import Any

import pytest

from shared import naming
from shared.catalogue import catalogue
from shared.models import Kind, Operation
from shared.ports import Identity
from shared.target_parts import DATABASE_USER
from tests.fakes.databases import StoredDatabase, StoredServer
from tests.fakes.linker_events import receive, written_event
from tests.fakes.local_app import STORAGE, LocalApp, create_body, deletion_event
from tests.fakes.postgres import ADMIN, DATABASE, NAME, SERVER, USER, add_server
from tests.fakes.sweeps import connected
from tests.fakes.their_linker import IDENTITY, LINKER, POLICY, THEIRS, make_linker

OTHER_SERVER, OTHER_HOST = SERVER.replace("/srv", "/other"), "other.postgres.database.azure.com"
BOOKS, ELSEWHERE = f"{SERVER}/databases/books", f"{OTHER_SERVER}/databases/shop"


@pytest.fixture
def server(app: LocalApp) -> StoredServer:
    """A server with two databases, beside another server."""
    made = add_server(app)
    made.databases["books"] = StoredDatabase("owner")
    other = {**app.world.resources[naming.fold_id(SERVER)]["properties"]}
    app.world.add_resource(OTHER_SERVER, {"properties": {**other, "fullyQualifiedDomainName": OTHER_HOST}})
    administrator = {"properties": {"principalName": "mooring-app"}}
    app.world.add_resource(ADMIN.replace("/srv/", "/other/"), administrator)
    app.world.servers[OTHER_HOST] = dataclasses.replace(
        made, databases={"shop": StoredDatabase("owner")}, roles={}
    )
    for resource_id in (BOOKS, ELSEWHERE):
        app.world.add_resource(resource_id, {"properties": {}})
    return made


def database(resource_id: str) -> dict[str, Any]:
    return {"target": {"type": "postgres-flexible", "id": resource_id}, "intent": "read"}


async def made_anew(app: LocalApp, name: str, **changes: Any) -> str:
    """Lose the record of all connections, and make this one by another request; returns its id."""
    app.store._tables["connections"].clear()
    record = await app.send(create_body(name, **changes), message_id="anew")
    await app.settle()
    assert await app.state(record.connection_id) == "configured"
    return str(record.connection_id)


async def told(app: LocalApp, resource_id: str, connection_id: str) -> Operation:
    """Tell of a deletion; returns the prune that came of it."""
    await app.services.events.receive(deletion_event(resource_id))
    await app.settle(seconds=20 * 86400.0)
    operations = await app.operations(connection_id)
    return next(one for one in operations if one.kind is Kind.PRUNE)


def users(app: LocalApp) -> list[str]:
    return [name for server in app.world.servers.values() for name in server.roles]


@pytest.mark.parametrize("now", [BOOKS, ELSEWHERE])
async def test_the_end_of_a_database_of_a_lost_life_leaves_the_user_in_the_one_that_lives(
    app: LocalApp, server: StoredServer, now: str
):
    await connected(app, NAME, **database(DATABASE))
    connection_id = await made_anew(app, NAME, **database(now))
    before, there = app.leftovers(), users(app)
    app.world.remove(DATABASE)
    del server.databases["shop"]
    prune = await told(app, DATABASE, connection_id)
    assert (prune.code, await app.state(connection_id)) == ("resource-alive", "configured")
    assert DATABASE in prune.detail
    assert now in prune.detail
    assert (app.leftovers(), users(app)) == (before, there)
    assert USER in there


async def test_what_the_connection_is_on_by_now_takes_it_along_whatever_the_event_was_of(
    app: LocalApp, server: StoredServer
):
    await connected(app, NAME, **database(DATABASE))
    connection_id = await made_anew(app, NAME, **database(BOOKS))
    for resource_id, name in ((DATABASE, "shop"), (BOOKS, "books")):
        app.world.remove(resource_id)
        del server.databases[name]
    prune = await told(app, DATABASE, connection_id)
    assert (prune.code, await app.state(connection_id)) == ("", "pruned")
    assert app.leftovers()["objects"] == []


async def test_the_end_of_an_identity_of_a_lost_life_takes_nothing_from_what_works_through_another(
    app: LocalApp,
):
    theirs = Identity(
        resource_id=IDENTITY,
        client_id=app.world.guid(),
        principal_id=app.world.guid(),
        location="westeurope",
        tags={},
    )
    app.world.identities[naming.fold_id(IDENTITY)] = theirs
    app.world.credentials[naming.fold_id(IDENTITY)] = {}
    app.policy_file.write_text(POLICY)
    await connected(app, identityId=IDENTITY, target={"type": "storage-blob", "id": STORAGE})
    connection_id = await made_anew(app, "orders-blob", target={"type": "storage-blob", "id": STORAGE})
    app.world.remove(IDENTITY)
    before = app.leftovers()
    prune = await told(app, IDENTITY, connection_id)
    [own] = app.world.identities.values()
    assert (prune.code, own.resource_id in prune.detail) == ("resource-alive", True)
    assert (await app.state(connection_id), app.leftovers()) == ("configured", before)


async def test_where_service_connector_moved_its_own_connection_its_linker_decides(app: LocalApp):
    made = make_linker(app)
    assert await receive(app, written_event(LINKER)) == ["observed"]
    other = f"{STORAGE}2"
    app.world.add_resource(other, dict(app.world.resources[naming.fold_id(STORAGE)]))
    made.change(target_id=f"{other}/blobServices/default")
    await receive(app, written_event(LINKER))
    app.world.remove(STORAGE)
    assert (await told(app, STORAGE, THEIRS)).code == "linker-alive"
    assert await app.state(THEIRS) == "observed"


@pytest.mark.parametrize("wanted", [BOOKS, ELSEWHERE])
async def test_no_update_leads_to_another_database(app: LocalApp, server: StoredServer, wanted: str):
    await connected(app, NAME, **database(DATABASE))
    body = {**create_body(NAME, **database(wanted)), "action": "update"}
    assert (await app.send(body, message_id="update")).code == "cannot-change"
    assert list(server.roles) == [USER]


def test_a_target_with_users_inside_is_one_database_whole():
    """An update changes parts only, so such a user is in what a prune asks for."""
    rows = [row for row in catalogue().rows if row.grants is DATABASE_USER]
    assert [row.name for row in rows] == ["postgres-flexible"]
    assert [(row.existence_template, row.children) for row in rows] == [(rows[0].id_template, ())]
