"""A PostgreSQL server in the local app, with the app as its administrator and one database."""

from __future__ import annotations

from tests.fakes.databases import APP_OBJECT_ID, StoredDatabase, StoredServer
from tests.fakes.local_app import GROUP, SUBSCRIPTION, LocalApp
from tests.fakes.step_bench import Bench

SERVER = f"{GROUP}/providers/Microsoft.DBforPostgreSQL/flexibleServers/srv"
DATABASE = f"{SERVER}/databases/shop"
ADMIN = f"{SERVER}/administrators/{APP_OBJECT_ID}"
HOST = "srv.postgres.database.azure.com"
NAME = "orders-db"
USER = f"aad_{NAME}"
STEP = "database_access"


def add_server(app: LocalApp) -> StoredServer:
    """Make the server, in Azure and inside; the policy lets it be connected to."""
    properties = {
        "fullyQualifiedDomainName": HOST,
        "state": "Ready",
        "authConfig": {"activeDirectoryAuth": "Enabled"},
    }
    app.world.add_resource(SERVER, {"properties": properties})
    app.world.add_resource(DATABASE, {"properties": {}})
    app.world.add_resource(ADMIN, {"properties": {"principalName": "mooring-app"}})
    database = StoredDatabase("owner")
    database.make("orders", "owner")
    database.make("orders_seq", "owner")
    stored = StoredServer(databases={"shop": database}, admins={"mooring-app"}, acts_for={"owner"})
    app.world.servers[HOST] = stored
    policy = app.policy_file.read_text().replace('"keyvault"', '"keyvault", "postgres-flexible"')
    app.policy_file.write_text(policy)
    assert SUBSCRIPTION in policy
    return stored


def database_bench(app: LocalApp, name: str = NAME, **spec: str) -> Bench:
    """A connection to the database."""
    return Bench(app, name, **{"target_type": "postgres-flexible", "target_id": DATABASE, **spec})


async def up_to_identity(bench: Bench) -> None:
    """Apply what comes before the user."""
    await bench.apply("preflight")
    await bench.apply("managed_identity")


async def made(app: LocalApp, name: str = NAME, **spec: str) -> Bench:
    """A connection whose user is made."""
    bench = database_bench(app, name, **spec)
    await up_to_identity(bench)
    await bench.apply(STEP)
    return bench


def granted(server: StoredServer, relation: str = "orders", user: str = USER) -> set[str]:
    """What a user may do with a relation."""
    return server.databases["shop"].grants.get(user, {}).get(relation, set())
