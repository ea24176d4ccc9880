"""A database's user outlives an update that writes ids in another casing."""

from shared.models import Kind
from tests.fakes.databases import StoredDatabase
from tests.fakes.local_app import LocalApp
from tests.fakes.postgres import DATABASE, STEP, USER, add_server, granted, made, up_to_identity


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
