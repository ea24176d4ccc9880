"""A host dies before or after each call to a database server: the end is the same, and nothing is left."""

from __future__ import annotations

import pytest

from tests.fakes.crash_host import Crash, Host, ask
from tests.fakes.databases import StoredServer
from tests.fakes.journal import Call
from tests.fakes.local_app import LocalApp, create_body, delete_body
from tests.fakes.postgres import DATABASE, NAME, USER, add_server

BODY = create_body(NAME, target={"type": "postgres-flexible", "id": DATABASE}, intent="read")
CREATING = ("own_object_id", "look", "user", "ensure_user", "grant")
REMOVING = ("own_object_id", "user", "revoke", "drop_user")


@pytest.fixture
def server(app: LocalApp) -> StoredServer:
    return add_server(app)


def dies(app: LocalApp, method: str, *, after: bool) -> Host:
    """A host that dies at the first call of a method."""
    host = Host(app, dies_at=0, after=after)

    def strike(call: Call) -> BaseException | None:
        if not host.died and call.name == f"databases.{method}":
            host.dead = host.died = True
        return Crash() if host.dead else None

    def dead(_: Call) -> BaseException | None:
        return Crash() if host.dead else None

    app.journal.before, app.journal.after = (dead, strike) if after else (strike, dead)
    return host


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("method", CREATING)
async def test_a_crash_while_connecting_is_made_up_for(
    app: LocalApp, server: StoredServer, method: str, after: bool
):
    host = dies(app, method, after=after)
    ask(app, BODY, "c")
    await host.settle()
    assert host.died
    assert list(server.roles) == [USER]
    assert server.databases["shop"].grants[USER]["orders"] == {"SELECT"}
    ask(app, delete_body(NAME), "d")
    await host.settle()
    assert server.roles == {}
    assert app.leftovers() == {"identities": [], "assignments": [], "objects": [], "users": []}


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("method", REMOVING)
async def test_a_crash_while_removing_is_made_up_for(
    app: LocalApp, server: StoredServer, method: str, after: bool
):
    ask(app, BODY, "c")
    host = dies(app, method, after=after)
    host.died = True
    await host.settle()
    host = dies(app, method, after=after)
    ask(app, delete_body(NAME), "d")
    await host.settle()
    assert host.died
    assert server.roles == {}
    assert server.databases["shop"].grants == {}
    assert list(server.databases["shop"].relations) == ["orders", "orders_seq"]
    assert app.leftovers() == {"identities": [], "assignments": [], "objects": [], "users": []}
