"""The user inside a database server: made for one identity with the privileges asked for, and taken away."""

from __future__ import annotations

import pytest

from shared import naming
from shared.errors import NotYetError, PermanentError, TransientError
from shared.models import Kind
from tests.fakes.databases import StoredRole, StoredServer
from tests.fakes.local_app import LocalApp
from tests.fakes.postgres import (
    ADMIN,
    DATABASE,
    HOST,
    SERVER,
    STEP,
    USER,
    add_server,
    database_bench,
    granted,
    made,
    up_to_identity,
)


@pytest.fixture
def server(app: LocalApp) -> StoredServer:
    return add_server(app)


def users_rows(app: LocalApp) -> list[str]:
    return [row for row in app.leftovers()["users"] if '"database-user|' in row]


# --- made ---------------------------------------------------------------------------------------------


async def test_the_user_stands_for_the_workloads_identity_and_bears_the_connections_mark(
    app: LocalApp, server: StoredServer
):
    bench = await made(app)
    role = server.roles[USER]
    assert role.object_id == bench.intents["managed_identity"].outputs["principalId"].lower()
    assert role.mark == f"mooring {bench.connection.connection_id}"
    assert len(users_rows(app)) == 1


@pytest.mark.parametrize(
    ("intent", "table", "sequence"),
    [
        ("read", {"SELECT"}, set()),
        ("write", {"SELECT", "INSERT", "UPDATE", "DELETE"}, {"USAGE", "SELECT"}),
        (
            "",
            {"SELECT", "INSERT", "UPDATE", "DELETE", "TRUNCATE", "REFERENCES", "TRIGGER"},
            {"USAGE", "SELECT", "UPDATE"},
        ),
    ],
)
async def test_an_intent_decides_what_the_user_may_do(
    app: LocalApp, server: StoredServer, intent: str, table: set[str], sequence: set[str]
):
    await made(app, intent=intent)
    assert granted(server) == table
    assert granted(server, "orders_seq") == sequence
    server.databases["shop"].make("later", "owner")
    assert granted(server, "later") == (table if intent else set())


async def test_a_repeated_step_changes_nothing(app: LocalApp, server: StoredServer):
    bench = await made(app, intent="read")
    bench.lose_record(STEP)
    await bench.apply(STEP)
    assert granted(server) == {"SELECT"}
    assert list(server.roles) == [USER]


async def test_a_role_of_another_is_refused_before_anything_is_made(app: LocalApp, server: StoredServer):
    server.roles[USER] = StoredRole()
    bench = database_bench(app)
    with pytest.raises(PermanentError, match="database-user-foreign") as refused:
        await bench.apply("preflight")
    assert "DROP ROLE" in refused.value.remedy
    assert app.world.identities == {}


async def test_the_same_name_in_another_namespace_does_not_get_the_first_ones_user(
    app: LocalApp, server: StoredServer
):
    await made(app)
    app.world.clusters[naming.fold_id(database_bench(app).connection.spec.cluster_id)].namespaces.add("b")
    other = database_bench(app, namespace="b")
    with pytest.raises(PermanentError, match="database-user-foreign"):
        await other.apply("preflight")


async def test_an_identity_that_was_made_again_gets_a_new_user(app: LocalApp, server: StoredServer):
    bench = await made(app, intent="read")
    old = server.roles[USER].object_id
    app.world.remove(bench.intents["managed_identity"].outputs["resourceId"])
    await bench.apply("managed_identity")
    await bench.apply(STEP)
    assert server.roles[USER].object_id not in {"", old}
    assert granted(server) == {"SELECT"}
    bench.become(Kind.DELETE)
    await bench.revert(STEP)
    assert server.roles == {}
    assert users_rows(app) == []


async def test_another_database_of_the_same_life_takes_the_first_grants_away(
    app: LocalApp, server: StoredServer
):
    """Such a create is refused today; a revert goes by all plans all the same."""
    bench = await made(app, intent="read")
    bench.lose_record(STEP)
    other = f"{SERVER.replace('/srv', '/other')}/databases/shop"
    spec = bench.connection.spec.model_copy(update={"target_id": other})
    app.world.add_resource(
        SERVER.replace("/srv", "/other"),
        {
            "properties": {
                "fullyQualifiedDomainName": "other.example",
                "authConfig": {"activeDirectoryAuth": "Enabled"},
            }
        },
    )
    app.world.add_resource(other, {"properties": {}})
    app.world.add_resource(
        ADMIN.replace("/srv/", "/other/"), {"properties": {"principalName": "mooring-app"}}
    )
    app.world.servers["other.example"] = StoredServer(
        databases={"shop": type(server.databases["shop"])("owner")},
        admins={"mooring-app"},
        acts_for={"owner"},
    )
    bench.connection = bench.connection.model_copy(update={"spec": spec})
    bench.become(Kind.CREATE)
    await bench.apply("preflight")
    await bench.apply(STEP)
    assert server.roles == {}
    assert list(app.world.servers["other.example"].roles) == [USER]
    assert len(users_rows(app)) == 1


async def test_a_server_that_is_gone_by_now_is_no_target(app: LocalApp, server: StoredServer):
    bench = database_bench(app)
    await up_to_identity(bench)
    app.world.remove(SERVER)
    with pytest.raises(PermanentError, match="target-not-found"):
        await bench.apply(STEP)


# --- taken away ---------------------------------------------------------------------------------------


async def test_a_delete_takes_the_user_and_leaves_every_table(app: LocalApp, server: StoredServer):
    bench = await made(app)
    bench.become(Kind.DELETE)
    outputs = (await bench.revert(STEP)).outputs
    assert [(one["kind"], one["rule"]) for one in outputs["removed"]] == [("database-user", "last-user")]
    assert server.roles == {}
    assert list(server.databases["shop"].relations) == ["orders", "orders_seq"]
    assert users_rows(app) == []
    again = await bench.revert(STEP)
    assert [one["rule"] for one in again.outputs["removed"]] == ["already-gone"]


async def test_a_crash_before_anything_was_recorded_leaves_no_user(app: LocalApp, server: StoredServer):
    bench = await made(app)
    bench.lose_record(STEP)
    bench.become(Kind.DELETE)
    await bench.revert(STEP)
    assert server.roles == {}


async def test_a_user_that_owns_a_table_is_shut_out_and_held_with_the_command(
    app: LocalApp, server: StoredServer
):
    bench = await made(app)
    server.databases["shop"].relations["orders"] = USER
    bench.become(Kind.DELETE)
    with pytest.raises(NotYetError, match="owns-data") as held:
        await bench.revert(STEP)
    assert f'REASSIGN OWNED BY "{USER}"' in held.value.detail
    assert not server.roles[USER].may_sign_in
    assert server.databases["shop"].relations["orders"] == USER, "no table is ever dropped"
    server.databases["shop"].relations["orders"] = "owner"
    await bench.revert(STEP)
    assert server.roles == {}


async def test_what_others_granted_holds_the_user_shut_out(app: LocalApp, server: StoredServer):
    bench = await made(app)
    database = server.databases["shop"]
    server.databases["books"] = type(database)("owner", grants={USER: {"books": {"SELECT"}}})
    bench.become(Kind.DELETE)
    with pytest.raises(NotYetError, match="owns-data") as held:
        await bench.revert(STEP)
    assert "REVOKE" in held.value.detail
    assert not server.roles[USER].may_sign_in


async def test_a_role_whose_mark_was_changed_is_not_ours_any_more(app: LocalApp, server: StoredServer):
    bench = await made(app)
    server.roles[USER].mark = "the owner's"
    bench.become(Kind.DELETE)
    [kept] = (await bench.revert(STEP)).outputs["kept"]
    assert kept["rule"] == "not-proven-ours"
    assert granted(server)
    assert users_rows(app) == []


@pytest.mark.parametrize("gone", [SERVER, DATABASE])
async def test_a_prune_of_a_target_revokes_what_there_is(app: LocalApp, server: StoredServer, gone: str):
    bench = await made(app)
    app.world.remove(gone)
    if gone == SERVER:
        del app.world.servers[HOST]
    else:
        del server.databases["shop"]
    bench.become(Kind.PRUNE, resource_id=gone)
    [removed] = (await bench.revert(STEP)).outputs["removed"]
    assert removed["rule"] == ("already-gone" if gone == SERVER else "last-user")
    assert gone == SERVER or server.roles == {}


async def test_a_prune_of_the_identity_takes_the_user_while_the_server_lives(
    app: LocalApp, server: StoredServer
):
    bench = await made(app)
    identity = bench.intents["managed_identity"].outputs["resourceId"]
    app.world.remove(identity)
    bench.become(Kind.PRUNE, cause="identity", resource_id=identity)
    await bench.revert(STEP)
    assert server.roles == {}


async def test_a_prune_that_only_reports_touches_nothing(app: LocalApp, server: StoredServer):
    bench = await made(app)
    bench.become(Kind.PRUNE, report_only=True)
    [would] = (await bench.revert(STEP)).outputs["would"]
    assert would["act"] == "delete"
    assert granted(server)


async def test_a_stopped_server_is_waited_for(app: LocalApp, server: StoredServer):
    bench = await made(app)
    app.world.resources[naming.fold_id(SERVER)]["properties"]["state"] = "Stopped"
    bench.become(Kind.DELETE)
    with pytest.raises(NotYetError, match="target-updating") as waits:
        await bench.revert(STEP)
    assert "flexible-server start" in waits.value.detail
    [finding] = (await bench.check(STEP)).values()
    assert finding.result == "unknown"


async def test_what_landed_late_is_taken_again(app: LocalApp, server: StoredServer):
    bench = await made(app)
    bench.become(Kind.DELETE)
    await bench.revert(STEP)
    await bench.apply("verify_gone")
    mark = f"mooring {bench.connection.connection_id}"
    server.roles[USER] = StoredRole(mark=mark)
    with pytest.raises(TransientError, match="came-back"):
        await bench.apply("verify_gone")
    assert server.roles == {}
    server.roles[USER] = StoredRole(mark="another's")
    await bench.apply("verify_gone")
    assert list(server.roles) == [USER]
    app.world.remove(SERVER)
    await bench.apply("verify_gone")


async def test_a_later_life_keeps_its_user(app: LocalApp, server: StoredServer):
    bench = await made(app)
    earlier = dict(bench.intents)
    operation = bench.operation
    bench.operation = operation.model_copy(update={"generation": 2})
    bench.become(Kind.DELETE)
    bench.operation = bench.operation.model_copy(update={"generation": 2})
    bench.intents = earlier
    [kept] = (await bench.revert(STEP)).outputs["kept"]
    assert kept["rule"] == "still-shared"
    assert granted(server)
