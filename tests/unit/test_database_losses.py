"""Tables lost, or Mooring taken away: what becomes of users inside database servers."""

from __future__ import annotations

import pytest

from tests.fakes.databases import StoredServer
from tests.fakes.http_app import HttpApp
from tests.fakes.local_app import LocalApp, create_body, delete_body
from tests.fakes.postgres import DATABASE, NAME, SERVER, USER, add_server
from tests.fakes.recoveries import lose_tables, outcomes, recovered

BODY = create_body(NAME, target={"type": "postgres-flexible", "id": DATABASE}, intent="read")


@pytest.fixture
def server(app: LocalApp) -> StoredServer:
    return add_server(app)


async def test_a_user_that_stays_is_told(app: LocalApp, server: StoredServer):
    await app.send(BODY)
    await app.settle()
    _, page, _ = await HttpApp(app).call("list_remains")
    [user] = [one for one in page["connections"][0]["remains"] if one["kind"] == "database-user"]
    assert (user["serverId"], user["database"], user["name"], user["ours"]) == (SERVER, "shop", USER, True)


async def test_a_lost_connection_is_not_believed_and_a_create_takes_its_user_over(
    app: LocalApp, server: StoredServer
):
    await app.send(BODY)
    await app.settle()
    role = server.roles[USER]
    lose_tables(app)
    assert outcomes(await recovered(app)) == {NAME: "database-user"}
    await app.send(BODY, message_id="again")
    await app.settle()
    assert server.roles == {USER: role}
    await app.send(delete_body(NAME), message_id="d")
    await app.settle()
    assert server.roles == {}
    assert app.leftovers() == {"identities": [], "assignments": [], "objects": [], "users": []}
