"""What preflight and a validation say of a database server and of the user in it."""

from __future__ import annotations

import pytest

from shared import naming
from shared.errors import PermanentError, TransientError
from shared.models import Kind
from tests.fakes.databases import StoredServer
from tests.fakes.local_app import LocalApp
from tests.fakes.postgres import ADMIN, SERVER, STEP, USER, add_server, database_bench, granted, made


@pytest.fixture
def server(app: LocalApp) -> StoredServer:
    return add_server(app)


async def test_a_validation_says_each_thing_by_itself(app: LocalApp, server: StoredServer):
    bench = await made(app, intent="read")
    found = await bench.check(STEP)
    assert {name: one.result for name, one in found.items()} == {
        "database-user": "ok",
        "database-privileges": "ok",
        "database-privileges-narrow": "ok",
    }
    server.databases["shop"].make("theirs", "somebody")
    granted(server).add("INSERT")
    found = await bench.check(STEP)
    assert found["database-privileges"].result == "failed"
    assert "SELECT on public.theirs" in found["database-privileges"].detail
    assert found["database-privileges-narrow"].result == "warning"
    assert "INSERT on public.orders" in found["database-privileges-narrow"].detail
    server.roles[USER].may_sign_in = False
    assert (await bench.check(STEP))["database-user"].result == "failed"
    server.roles.clear()
    found = await bench.check(STEP)
    assert found["database-user"].result == "failed"
    assert found["database-privileges"].result == "failed"


async def test_a_validation_says_what_keeps_it_from_looking(app: LocalApp, server: StoredServer):
    bench = database_bench(app)
    assert (await bench.check(STEP))["database-user"].detail == "none recorded"
    bench = await made(app)
    app.world.remove(ADMIN)
    found = await bench.check(STEP)
    assert "microsoft-entra-admin create" in found["database-user"].remedy
    app.world.remove(SERVER)
    assert (await bench.check(STEP))["database-user"].detail == "the server is gone"


@pytest.mark.parametrize(
    ("fault", "code", "command"),
    [
        ("entra", "target-entra-off", "az postgres flexible-server update"),
        ("stopped", "target-stopped", "az postgres flexible-server start"),
        ("admin", "database-admin-missing", "microsoft-entra-admin create"),
        ("login", "database-login-refused", "administrator"),
        ("firewall", "database-unreachable", "az postgres flexible-server firewall-rule create"),
        ("database", "database-missing", "name a database"),
    ],
)
async def test_what_would_fail_is_found_before_anything_is_made(
    app: LocalApp, server: StoredServer, fault: str, code: str, command: str
):
    properties = app.world.resources[naming.fold_id(SERVER)]["properties"]
    if fault == "entra":
        properties["authConfig"] = {"activeDirectoryAuth": "Disabled"}
    elif fault == "stopped":
        properties["state"] = "Stopped"
    elif fault == "admin":
        app.world.remove(ADMIN)
    elif fault == "login":
        server.admins.clear()
    elif fault == "database":
        server.databases.clear()
    else:
        server.reachable = False
    bench = database_bench(app)
    with pytest.raises(PermanentError, match=code) as refused:
        await bench.apply("preflight")
    assert command in refused.value.remedy
    assert app.world.identities == {}
    if code.startswith("database"):
        found = await bench.check("preflight")
        assert "failed" in {one.result for one in found.values() if one.remedy == refused.value.remedy}
    assert server.roles == {}


async def test_a_server_that_is_busy_is_asked_again(app: LocalApp, server: StoredServer):
    async def busy(*_: object) -> None:
        raise TransientError("database-busy")

    bench = database_bench(app)
    databases = app.services.engine.outside.databases
    databases.look = busy  # type: ignore[method-assign]
    with pytest.raises(TransientError, match="database-busy"):
        await bench.apply("preflight")


async def test_another_error_of_a_drop_is_passed_on(app: LocalApp, server: StoredServer):
    bench = await made(app)

    async def denied(*_: object, **__: object) -> bool:
        raise PermanentError("database-access-denied")

    databases = app.services.engine.outside.databases
    databases.drop_user = denied  # type: ignore[method-assign]
    bench.become(Kind.DELETE)
    with pytest.raises(PermanentError, match="database-access-denied"):
        await bench.revert(STEP)
