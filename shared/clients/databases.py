"""Users and grants of PostgreSQL servers, through asyncpg: the only place that knows it.

The app signs in as an Entra administrator, with its token as the password, over TLS that checks the server's
certificate and name. Every call is one connection and one transaction; a call that is repeated finds its own
work done. Errors are told apart by SQLSTATE (``sqlstates.py``).
"""

from __future__ import annotations

import base64
import contextlib
import json
import ssl
from collections.abc import AsyncIterator, Iterator
from typing import Any

from shared.clients import database_grants as grants
from shared.clients import database_statements as sql
from shared.clients.credentials import AppCredential
from shared.clients.error_rules import Effect
from shared.clients.sqlstates import rule_of
from shared.errors import Pace, PermanentError, TransientError
from shared.ports import Access, DatabaseServer, DatabaseUser, Privileges

CONNECT_SECONDS = 10.0
CLOSE_SECONDS = 2.0
CALL_SECONDS = 25.0
"""More than the server's own patience with a statement."""


class PostgresDatabases:
    """``ports.Databases`` over PostgreSQL.

    Args:
        credential: The app's own.
        ca_file: PEM file of trusted authorities; empty for the system's.
        port: At which servers listen.
    """

    def __init__(self, credential: AppCredential, *, ca_file: str = "", port: int = 5432) -> None:
        self._credential = credential
        self._ca_file = ca_file
        self._port = port
        self._tls: ssl.SSLContext | None = None

    async def own_object_id(self, token_scope: str) -> str:
        """Object id of the app's own principal, as its token says; in lower case."""
        payload = (await self._credential.token(token_scope)).split(".")[1:2]
        try:
            claims = json.loads(base64.urlsafe_b64decode(payload[0] + "=="))
            return str(claims["oid"]).lower()
        except (IndexError, ValueError, KeyError, TypeError) as error:
            raise PermanentError("token-unreadable", "the app's own token names no object id") from error

    async def look(self, server: DatabaseServer, database: str) -> None:
        """Sign in to the server and to a database, and change nothing."""
        async with self._session(server, sql.MAINTENANCE) as session:
            await session.fetch(sql.USER, server.admin)
        async with self._session(server, database) as session:
            await session.fetch("SELECT 1")

    async def user(self, server: DatabaseServer, name: str) -> DatabaseUser | None:
        """Read one user."""
        async with self._session(server, sql.MAINTENANCE) as session:
            return await _user(session, name)

    async def ensure_user(
        self, server: DatabaseServer, name: str, *, object_id: str, mark: str
    ) -> DatabaseUser:
        """Make a user for a principal, with its mark, in one transaction; let it sign in if it may not."""
        async with self._session(server, sql.MAINTENANCE) as session:
            there = await _user(session, name)
            if there is None:
                await session.fetch(sql.CREATE, name, object_id)
                await grants.run(session, "COMMENT ON ROLE %I IS %L", [name, mark])
            elif there.mark != mark or there.object_id != object_id.lower():
                raise _foreign(name)
            elif not there.may_sign_in:
                await grants.run(session, "ALTER ROLE %I LOGIN", [name])
            made = await _user(session, name)
        if made is None:
            raise TransientError("database-changed", name)
        return made

    async def bar_user(self, server: DatabaseServer, name: str, *, mark: str) -> None:
        """Keep a user from signing in; absent is fine."""
        async with self._session(server, sql.MAINTENANCE) as session:
            if await _ours(session, name, mark):
                await grants.run(session, "ALTER ROLE %I NOLOGIN", [name])

    async def drop_user(self, server: DatabaseServer, name: str, *, mark: str) -> bool:
        """Drop a user that owns nothing and has been granted nothing; says whether it was there."""
        async with self._session(server, sql.MAINTENANCE) as session:
            if not await _ours(session, name, mark):
                return False
            await grants.run(session, "DROP ROLE %I", [name])
            return True

    async def grant(
        self, server: DatabaseServer, database: str, name: str, *, mark: str, privileges: Privileges
    ) -> None:
        """Give a user exactly these privileges in a database, in one transaction: no more and no less."""
        async with self._session(server, database) as session:
            if not await _ours(session, name, mark):
                raise TransientError("database-changed", f"{name} is gone")
            await grants.give(session, server, database, name, privileges)

    async def access(
        self, server: DatabaseServer, database: str, name: str, *, privileges: Privileges
    ) -> Access:
        """Compare what a user may do in a database with what it should."""
        async with self._session(server, database) as session:
            return await grants.compare(session, name, privileges)

    async def revoke(self, server: DatabaseServer, database: str, name: str, *, mark: str) -> None:
        """Take from a user whatever it has been granted in a database; what is absent is fine."""
        try:
            async with self._session(server, database) as session:
                if await _ours(session, name, mark):
                    await grants.take(session, name)
        except PermanentError as error:
            if error.code != "database-missing":
                raise

    @contextlib.asynccontextmanager
    async def _session(self, server: DatabaseServer, database: str) -> AsyncIterator[Any]:
        """A connection in a transaction."""
        import asyncpg

        password = await self._credential.token(server.token_scope)
        with _told():
            connection = await asyncpg.connect(
                host=server.host,
                port=self._port,
                user=server.admin,
                password=password,
                database=database,
                ssl=self._trusted(),
                timeout=CONNECT_SECONDS,
                command_timeout=CALL_SECONDS,
                statement_cache_size=0,
                server_settings=sql.SETTINGS,
            )
            try:
                async with connection.transaction():
                    yield connection
                await connection.close(timeout=CLOSE_SECONDS)
            finally:
                # Without a word, unless it is closed by now: an answer that never comes must not hold a step.
                connection.terminate()

    def _trusted(self) -> ssl.SSLContext:
        if self._tls is None:
            self._tls = ssl.create_default_context(cafile=self._ca_file or None)
        return self._tls


@contextlib.contextmanager
def _told() -> Iterator[None]:
    """Turn what the driver raises into our own errors."""
    import asyncpg

    try:
        yield
    except asyncpg.PostgresError as error:
        rule = rule_of(str(error.sqlstate))
        # The message names objects and never a value; a detail may quote what a table holds.
        detail = f"{error.sqlstate}: {error.args[0] if error.args else ''}"
        if rule.effect is Effect.TRANSIENT:
            raise TransientError(rule.code, detail, pace=rule.pace) from error
        raise PermanentError(rule.code, detail, remedy=rule.remedy) from error
    except ssl.SSLCertVerificationError as error:
        raise PermanentError(
            "database-certificate-refused", error.verify_message, remedy="check MOORING_CA_FILE"
        ) from error
    except (asyncpg.InterfaceError, OSError, TimeoutError) as error:
        raise TransientError("database-unreachable", type(error).__name__, pace=Pace.SLOW) from error


async def _user(session: Any, name: str) -> DatabaseUser | None:
    row = await session.fetchrow(sql.USER, name)
    return row and DatabaseUser(
        name=row["rolname"],
        object_id=row["object_id"],
        mark=row["mark"],
        may_sign_in=row["rolcanlogin"],
        owns_in=tuple(row["owns_in"]),
    )


async def _ours(session: Any, name: str, mark: str) -> bool:
    """Say whether the user is there.

    Raises:
        PermanentError: ``database-user-foreign``.
    """
    found = await session.fetchrow(sql.MARK, name)
    if found is not None and found[0] != mark:
        raise _foreign(name)
    return found is not None


def _foreign(name: str) -> PermanentError:
    return PermanentError(
        "database-user-foreign",
        f"the server has a role {name} that this connection did not make",
        remedy=f'choose another name for the connection, or DROP ROLE "{name}" if nothing needs it',
    )
