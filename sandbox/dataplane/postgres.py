"""The data plane of PostgreSQL servers: a real server, if ``POSTGRES_URL`` names one; else there is none.

All servers of the Resource Manager emulator are that one server: their databases must have different names.
What Azure adds to PostgreSQL is stood in for (``entra_roles.sql``), and so is its sign-in: the last token
that Entra issued for a principal becomes the password of its roles. The server does not look into the token.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

VARIABLE = "POSTGRES_URL"
AUDIENCES = frozenset({"https://ossrdbms-aad.database.windows.net"})
"""Of the tokens that PostgreSQL servers take."""
_STAND_IN = Path(__file__).with_name("entra_roles.sql")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class RealServer:
    """The server of ``POSTGRES_URL``, seen by its superuser."""

    host: str
    port: int
    ca_file: str
    user: str
    password: str

    @classmethod
    def of_environment(cls) -> RealServer | None:
        """The server, or nothing if the variable is not set."""
        parts = urlsplit(os.environ.get(VARIABLE, ""))
        if not parts.hostname:
            return None
        return cls(
            host=parts.hostname,
            port=parts.port or 5432,
            ca_file=parse_qs(parts.query)["sslrootcert"][0],
            user=unquote(parts.username or ""),
            password=unquote(parts.password or ""),
        )

    @contextlib.asynccontextmanager
    async def session(self, database: str = "postgres") -> AsyncIterator[Any]:
        """A connection as the superuser."""
        import asyncpg

        connection = await asyncpg.connect(
            host=self.host,
            port=self.port,
            user=self.user,
            password=self.password,
            database=database,
            ssl=ssl.create_default_context(cafile=self.ca_file),
        )
        try:
            yield connection
        finally:
            await connection.close()

    async def make_database(self, name: str) -> None:
        """Make a database as Azure does: it belongs to the administrators."""
        async with self._prepared() as session:
            if not await session.fetchval("SELECT true FROM pg_database WHERE datname = $1", name):
                await session.execute(f"CREATE DATABASE {_quoted(name)} OWNER azure_pg_admin")

    async def drop_database(self, name: str) -> None:
        """Drop a database with all that is in it."""
        async with self.session() as session:
            await session.execute(f"DROP DATABASE IF EXISTS {_quoted(name)} WITH (FORCE)")

    async def make_administrator(self, name: str, object_id: str) -> None:
        """Make the role of an Entra administrator."""
        async with self._prepared() as session:
            if not await session.fetchval("SELECT true FROM pg_roles WHERE rolname = $1", name):
                query = "SELECT pgaadauth_create_principal_with_oid($1, $2, 'service', true, false)"
                await session.fetchval(query, name, object_id)

    async def drop_administrator(self, name: str) -> None:
        """Drop the role of an administrator that is none any more."""
        async with self.session() as session:
            await session.execute(f"DROP ROLE IF EXISTS {_quoted(name)}")

    async def accept(self, object_id: str, token: str) -> None:
        """Let the roles of a principal sign in with the token that it was just given."""
        async with self._prepared() as session:
            await session.execute("SELECT entra_stand_in.accept($1, $2)", object_id, token)

    @contextlib.asynccontextmanager
    async def _prepared(self) -> AsyncIterator[Any]:
        """A session in a database that has the stand-in; several processes may come at once."""
        async with self.session() as session:
            if not await session.fetchval("SELECT to_regproc('entra_stand_in.accept') IS NOT NULL"):
                async with session.transaction():
                    await session.execute("SELECT pg_advisory_xact_lock(7146)")
                    await session.execute(_STAND_IN.read_text())
            yield session


def trust(ca_file: str) -> None:
    """Let whoever trusts the sandbox trust the real server too."""
    real = RealServer.of_environment()
    if real is not None:
        with Path(ca_file).open("a", encoding="ascii") as file:
            file.write(Path(real.ca_file).read_text(encoding="ascii"))


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
