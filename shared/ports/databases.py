"""What is asked of a database server itself, where Azure's roles do not reach.

A database user is a role of the server that stands for one Entra principal. Its ``mark`` says which
connection made it; whatever bears another mark is never touched.
"""

from __future__ import annotations

import dataclasses
from typing import Protocol


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseServer:
    """How the app reaches one server."""

    host: str
    admin: str
    """Name of the server's role for the app's own identity, an Entra administrator."""
    token_scope: str


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Privileges:
    """What a user may do in one database; names are PostgreSQL's, in capitals."""

    schema: str
    """The one schema that the rest is for."""
    on_database: tuple[str, ...] = ()
    on_schema: tuple[str, ...] = ()
    on_tables: tuple[str, ...] = ()
    """On tables, views and foreign tables."""
    on_sequences: tuple[str, ...] = ()
    lasting: bool = False
    """Also on tables and sequences that are made later (default privileges of those who own some now)."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseUser:
    """A role of a server."""

    name: str
    object_id: str
    """Of the Entra principal that it stands for, in lower case; empty if it stands for none."""
    mark: str
    """Its comment; empty if it has none."""
    may_sign_in: bool
    owns_in: tuple[str, ...] = ()
    """Databases in which it owns something, sorted; an empty name stands for the server."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """What a user may do, compared with what it should."""

    lacking: tuple[str, ...] = ()
    """Such as ``SELECT on public.orders``; at most twenty."""
    beyond: tuple[str, ...] = ()
    """Granted to it and not asked for, in the same form."""


class Databases(Protocol):
    """Users and grants of PostgreSQL servers.

    Raises from every method that talks to a server, besides what it says itself:
    ``TransientError`` ``database-unreachable``, ``database-busy``, ``database-changed``; ``PermanentError``
    ``database-login-refused``, ``database-access-denied``, ``database-entra-off``, ``database-read-only``.
    """

    async def own_object_id(self, token_scope: str) -> str:
        """Object id of the app's own principal, as its token says; in lower case."""
        ...

    async def look(self, server: DatabaseServer, database: str) -> None:
        """Sign in to the server and to a database, and change nothing.

        Raises:
            PermanentError: ``database-missing``: the server has no such database.
        """
        ...

    async def user(self, server: DatabaseServer, name: str) -> DatabaseUser | None:
        """Read one user."""
        ...

    async def ensure_user(
        self, server: DatabaseServer, name: str, *, object_id: str, mark: str
    ) -> DatabaseUser:
        """Make a user for a principal, with its mark, in one transaction; let it sign in if it may not.

        Raises:
            PermanentError: ``database-user-foreign``: the name is taken, by another mark or principal.
        """
        ...

    async def bar_user(self, server: DatabaseServer, name: str, *, mark: str) -> None:
        """Keep a user from signing in; absent is fine.

        Raises:
            PermanentError: ``database-user-foreign``.
        """
        ...

    async def drop_user(self, server: DatabaseServer, name: str, *, mark: str) -> bool:
        """Drop a user that owns nothing and has been granted nothing; says whether it was there.

        Raises:
            PermanentError: ``database-user-foreign``; ``database-user-bound`` if something depends on it.
        """
        ...

    async def grant(
        self, server: DatabaseServer, database: str, name: str, *, mark: str, privileges: Privileges
    ) -> None:
        """Give a user exactly these privileges in a database, in one transaction: no more and no less.

        Raises:
            PermanentError: ``database-user-foreign``, ``database-missing``; ``database-grant-refused`` if
                the app may not grant one of them; then nothing is changed.
        """
        ...

    async def access(
        self, server: DatabaseServer, database: str, name: str, *, privileges: Privileges
    ) -> Access:
        """Compare what a user may do in a database with what it should.

        Raises:
            PermanentError: ``database-missing``.
        """
        ...

    async def revoke(self, server: DatabaseServer, database: str, name: str, *, mark: str) -> None:
        """Take from a user whatever it has been granted in a database; an absent user or database is fine.

        What somebody granted over whom the app has no power stays. What the user owns stays its own.

        Raises:
            PermanentError: ``database-user-foreign``.
        """
        ...
