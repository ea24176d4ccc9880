"""The database port under test: the fake, and the adapter against a real PostgreSQL (POSTGRES_URL)."""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import json
import os
import ssl
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import parse_qs, urlsplit

import asyncpg
import pytest

from shared.clients.databases import PostgresDatabases
from shared.ports import Databases, DatabaseServer
from tests.fakes.azure_world import AzureWorld
from tests.fakes.databases import APP_OBJECT_ID, InMemoryDatabases, StoredDatabase, StoredRole, StoredServer

REPOSITORY = Path(__file__).resolve().parents[2]
STAND_IN = REPOSITORY / "sandbox" / "dataplane" / "entra_roles.sql"
SCOPE = "https://ossrdbms-aad.database.windows.net/.default"
NEEDED = "*** TIER NOT RUN: POSTGRES_URL of a real PostgreSQL is not set (.ci/postgres starts one) ***"


class Owner(Protocol):
    """Who runs the database: makes things in it, and looks at what a user may do."""

    async def make(self, relation: str, *, owner: str = "") -> None:
        """Make a table or, if its name ends in ``_seq``, a sequence."""
        ...

    async def give_away(self, relation: str, user: str) -> None:
        """Make a user the owner of something."""
        ...

    async def foreign_role(self, name: str) -> None:
        """Make a role that no connection made."""
        ...

    async def may(self, user: str, privilege: str, relation: str) -> bool:
        """Say whether a user may do something with a table or a sequence."""
        ...

    async def withdraw(self) -> None:
        """Let the app act for the database's owner no more."""
        ...

    async def drop_database(self) -> None:
        """Drop the database."""
        ...


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """The port, a server and a database of it."""

    databases: Databases
    server: DatabaseServer
    database: str
    owner: Owner

    def name(self) -> str:
        """A name that no role has."""
        return f'aad_{uuid.uuid4().hex[:12]} "it\'s"'


class FakeOwner:
    """The owner of a database in a dictionary."""

    def __init__(self, server: StoredServer, database: str) -> None:
        self._server, self._name = server, database
        self._database: StoredDatabase = server.databases[database]

    async def make(self, relation: str, *, owner: str = "") -> None:
        self._database.make(relation, owner or self._database.owner)

    async def give_away(self, relation: str, user: str) -> None:
        self._database.relations[relation] = user

    async def foreign_role(self, name: str) -> None:
        self._server.roles[name] = StoredRole()

    async def may(self, user: str, privilege: str, relation: str) -> bool:
        granted = self._database.grants.get(user, {}).get(relation, set())
        return privilege in granted or self._database.relations.get(relation) == user

    async def withdraw(self) -> None:
        self._server.acts_for.clear()

    async def drop_database(self) -> None:
        del self._server.databases[self._name]


def fake_bench() -> Bench:
    """The fake with one server."""
    world = AzureWorld()
    stored = StoredServer(databases={"shop": StoredDatabase("owner")}, admins={"app"}, acts_for={"owner"})
    world.servers["db.example"] = stored
    server = DatabaseServer(host="db.example", admin="app", token_scope=SCOPE)
    owner = FakeOwner(stored, "shop")
    return Bench(databases=InMemoryDatabases(world), server=server, database="shop", owner=owner)


class FixedToken:
    """A credential whose one token is the app's password at the server."""

    def __init__(self, object_id: str = APP_OBJECT_ID) -> None:
        claims = base64.urlsafe_b64encode(json.dumps({"oid": object_id.upper()}).encode()).decode()
        self.text = f"e30.{claims.rstrip('=')}.signature"

    async def token(self, scope: str) -> str:
        assert scope == SCOPE
        return self.text


@dataclasses.dataclass(slots=True)
class Superuser:
    """The server of POSTGRES_URL, as its superuser."""

    host: str
    port: int
    ca_file: str
    options: dict[str, Any]

    @classmethod
    def of_environment(cls) -> Superuser:
        """Read POSTGRES_URL; without it the test is skipped."""
        url = os.environ.get("POSTGRES_URL", "")
        if not url:
            pytest.skip(NEEDED)
        parts = urlsplit(url)
        ca_file = parse_qs(parts.query)["sslrootcert"][0]
        return cls(
            host=parts.hostname or "",
            port=parts.port or 5432,
            ca_file=ca_file,
            options={"user": parts.username, "password": parts.password},
        )

    @contextlib.asynccontextmanager
    async def session(self, database: str = "postgres") -> AsyncIterator[Any]:
        tls = ssl.create_default_context(cafile=self.ca_file)
        connection = await asyncpg.connect(
            host=self.host, port=self.port, database=database, ssl=tls, **self.options
        )
        try:
            yield connection
        finally:
            await connection.close()


class RealOwner:
    """The owner of a database of a real server."""

    def __init__(self, root: Superuser, database: str, role: str, app: str) -> None:
        self._root, self._database, self._role, self._app = root, database, role, app

    async def make(self, relation: str, *, owner: str = "") -> None:
        kind = "SEQUENCE" if relation.endswith("_seq") else "TABLE"
        columns = "" if kind == "SEQUENCE" else "(id int)"
        async with self._root.session(self._database) as session:
            if owner:
                await session.execute(f'CREATE ROLE "{owner}"; GRANT CREATE ON SCHEMA public TO "{owner}"')
            await session.execute(f'SET ROLE "{owner or self._role}"')
            await session.execute(f'CREATE {kind} public."{relation}" {columns}')

    async def give_away(self, relation: str, user: str) -> None:
        quoted = user.replace('"', '""')
        async with self._root.session(self._database) as session:
            await session.execute(f'ALTER TABLE public."{relation}" OWNER TO "{quoted}"')

    async def foreign_role(self, name: str) -> None:
        quoted = name.replace('"', '""')
        async with self._root.session() as session:
            await session.execute(f'CREATE ROLE "{quoted}" LOGIN')

    async def may(self, user: str, privilege: str, relation: str) -> bool:
        async with self._root.session(self._database) as session:
            kind = "sequence" if relation.endswith("_seq") else "table"
            query = f"SELECT has_{kind}_privilege($1::name, $2::text, $3::text)"
            try:
                return bool(await session.fetchval(query, user, f'public."{relation}"', privilege))
            except asyncpg.UndefinedObjectError:
                return False

    async def withdraw(self) -> None:
        async with self._root.session() as session:
            await session.execute(f'REVOKE "{self._role}" FROM "{self._app}"')

    async def drop_database(self) -> None:
        async with self._root.session() as session:
            await session.execute(f'DROP DATABASE "{self._database}" WITH (FORCE)')


@contextlib.asynccontextmanager
async def real_bench() -> AsyncIterator[Bench]:
    """The adapter against the server of POSTGRES_URL, with a database and an administrator of its own."""
    root, tail, credential = Superuser.of_environment(), uuid.uuid4().hex[:8], FixedToken()
    app, owner, database = f"app_{tail}", f"owner_{tail}", f"shop_{tail}"
    async with root.session() as session:
        before = {row[0] for row in await session.fetch("SELECT rolname::text FROM pg_roles")}
        await session.execute(STAND_IN.read_text())
        before.add("azure_pg_admin")
        await session.execute(
            f"CREATE ROLE {app} LOGIN CREATEROLE CREATEDB PASSWORD '{credential.text}' IN ROLE azure_pg_admin"
        )
        await session.execute(f"CREATE ROLE {owner}; GRANT {owner} TO {app}")
        await session.execute(f"CREATE DATABASE {database} OWNER {owner}")
    databases = PostgresDatabases(credential, ca_file=root.ca_file, port=root.port)  # type: ignore[arg-type]
    try:
        yield Bench(
            databases=databases,
            server=DatabaseServer(host=root.host, admin=app, token_scope=SCOPE),
            database=database,
            owner=RealOwner(root, database, owner, app),
        )
    finally:
        async with root.session() as session:
            await session.execute(f'DROP DATABASE IF EXISTS "{database}" WITH (FORCE)')
            for row in await session.fetch("SELECT rolname::text FROM pg_roles"):
                if row[0] not in before:
                    quoted = row[0].replace('"', '""')
                    await session.execute(f'DROP OWNED BY "{quoted}"; DROP ROLE "{quoted}"')
