"""A database's user outlives an update that writes ids in another casing."""

from shared.models import Kind
from tests.fakes.databases import StoredDatabase
from tests.fakes.local_app import LocalApp, create_body
from tests.fakes.postgres import DATABASE, NAME, STEP, USER, add_server, granted, made, up_to_identity


async def test_an_update_that_writes_the_servers_id_in_another_casing_keeps_the_user(
    app: LocalApp,
):
    server = add_server(app)
    bench = await made(app, intent="read")
    role = server.roles[USER]
    server.databases["other"] = StoredDatabase("owner")
    server.databases["other"].make("theirs", USER)
    bench.become(Kind.CREATE)
    other = DATABASE.replace("/flexibleServers/srv/", "/flexibleServers/SRV/")
    assert other != DATABASE
    changed = bench.connection.spec.model_copy(update={"target_id": other, "intent": "write"})
    bench.connection = bench.connection.model_copy(update={"spec": changed})
    await up_to_identity(bench)
    before = len(app.journal.calls)
    await bench.apply(STEP)
    assert server.roles[USER] is role
    assert role.may_sign_in
    assert granted(server) == {"SELECT", "INSERT", "UPDATE", "DELETE"}
    names = {call.name for call in app.journal.calls[before:]}
    assert not names & {"databases.drop_user", "databases.bar_user"}


async def test_an_update_that_writes_the_database_in_another_casing_is_refused(app: LocalApp):
    server = add_server(app)
    wanted = create_body(NAME, target={"type": "postgres-flexible", "id": DATABASE}, intent="read")
    await app.send(wanted, message_id="create")
    await app.settle()
    kept = dict(server.roles)
    for changes in ({"intent": "write"}, {"additionalSettings": {"A": "1"}}):
        other = {"type": "postgres-flexible", "id": DATABASE.replace("/databases/shop", "/databases/SHOP")}
        assert other["id"] != DATABASE
        body = create_body(NAME, **{"intent": "read", **changes}, target=other) | {"action": "update"}
        record = await app.send(body, message_id=repr(changes))
        assert (record.code, record.field) == ("cannot-change", "connection.target.id")
        assert "database shop" in record.detail
        assert record.remedy.startswith("write shop in it; if that is wrong, DELETE /api/connections/")
    await app.settle()
    assert (server.roles, granted(server)) == (kept, {"SELECT"})


async def test_an_update_that_writes_another_part_of_a_databases_id_in_another_casing_is_not(app: LocalApp):
    server = add_server(app)
    wanted = create_body(NAME, target={"type": "postgres-flexible", "id": DATABASE}, intent="read")
    await app.send(wanted, message_id="create")
    await app.settle()
    other = {"type": "postgres-flexible", "id": DATABASE.replace("/databases/", "/DATABASES/")}
    body = create_body(NAME, target=other, intent="write") | {"action": "update"}
    assert (await app.send(body, message_id="update")).outcome == "opened"
    await app.settle()
    assert granted(server) == {"SELECT", "INSERT", "UPDATE", "DELETE"}


async def test_another_casing_alone_changes_nothing(app: LocalApp):
    add_server(app)
    wanted = create_body(NAME, target={"type": "postgres-flexible", "id": DATABASE})
    await app.send(wanted, message_id="create")
    await app.settle()
    other = {"type": "postgres-flexible", "id": DATABASE.replace("/databases/shop", "/databases/SHOP")}
    record = await app.send(create_body(NAME, target=other) | {"action": "update"}, message_id="update")
    assert record.outcome == "unchanged"
