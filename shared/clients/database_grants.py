"""What a user is granted in one database, within a transaction that somebody else has opened."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from shared.clients import database_statements as sql
from shared.errors import PermanentError
from shared.ports import Access, DatabaseServer, Privileges


async def run(session: Any, template: str, names: Sequence[str]) -> None:
    """Run a statement with names in it, quoted by the server."""
    await session.execute(await session.fetchval("SELECT format($1, VARIADIC $2::text[])", template, names))


async def give(
    session: Any, server: DatabaseServer, database: str, name: str, privileges: Privileges
) -> None:
    """Grant exactly these privileges.

    Raises:
        PermanentError: ``database-grant-refused``: the app has no power over something, or the user owns more
            than it shall have; the transaction must not be committed.
    """
    relations = _but_its_own(
        database, name, privileges, await session.fetch(sql.RELATIONS, privileges.schema)
    )
    _require_power(server, database, privileges, relations)
    await take(session, name)
    await _grant(session, database, name, privileges, relations)
    lacking = await _lacking(session, name, privileges)
    if lacking:
        raise PermanentError(
            "database-grant-refused",
            f"not granted: {', '.join(lacking)}",
            remedy=f"in database {database}, as its owner: GRANT <owner> TO {sql.quoted(server.admin)};",
        )


async def take(session: Any, name: str) -> None:
    """Revoke whatever the user has been granted in this database, where the app has the power to."""
    granted = await session.fetch(sql.GRANTED, await _quoted(session, name))
    relations = [(one["schema"], one["name"]) for one in granted if one["kind"] == "relation"]
    for template, names in sql.on_relations("REVOKE", "ALL", "TABLE", relations, name):
        await run(session, template, names)
    for one in granted:
        if one["kind"] in sql.REVOKE:
            template, fields = sql.REVOKE[one["kind"]]
            await run(session, template, [*(one[field] for field in fields), name])


async def compare(session: Any, name: str, privileges: Privileges) -> Access:
    """What the user may do, compared with what it should."""
    beyond = await session.fetch(
        sql.BEYOND,
        await _quoted(session, name),
        list(privileges.on_tables),
        list(privileges.on_sequences),
        list(privileges.on_database),
    )
    lacking = await _lacking(session, name, privileges)
    return Access(lacking=tuple(lacking), beyond=tuple(row[0] for row in beyond))


async def _quoted(session: Any, name: str) -> str:
    return str(await session.fetchval("SELECT quote_ident($1)", name))


def _but_its_own(database: str, name: str, privileges: Privileges, relations: Sequence[Any]) -> Sequence[Any]:
    """What belongs to others: on its own tables a user may do everything, and nothing is granted there.

    A user that may make things in the database comes to own some. For any other that is more than it shall
    have, and no grant can take it away.
    """
    own = [one for one in relations if one["owner"] == name]
    if own and "CREATE" not in privileges.on_database:
        raise PermanentError(
            "database-grant-refused",
            f"{len(own)} of schema {privileges.schema} belong to {name} itself",
            remedy=f"in database {database}: REASSIGN OWNED BY {sql.quoted(name)} TO <owner>;",
        )
    return [one for one in relations if one["owner"] != name]


def _require_power(
    server: DatabaseServer, database: str, privileges: Privileges, relations: Sequence[Any]
) -> None:
    """The app may act for the owners of all that it is to grant something on."""
    on = {True: privileges.on_sequences, False: privileges.on_tables}
    theirs = [one for one in relations if not one["ours"] and on[one["sequence"]]]
    if theirs:
        owners = sorted({one["owner"] for one in theirs})
        raise PermanentError(
            "database-grant-refused",
            f"{len(theirs)} of schema {privileges.schema} belong to {', '.join(owners)}",
            remedy=f"in database {database}: "
            + " ".join(f"GRANT {sql.quoted(owner)} TO {sql.quoted(server.admin)};" for owner in owners),
        )


async def _lacking(session: Any, name: str, privileges: Privileges) -> list[str]:
    if await session.fetchrow(sql.MARK, name) is None:
        return ["the role itself"]
    rows = await session.fetch(
        sql.LACKING,
        name,
        list(privileges.on_database),
        list(privileges.on_schema),
        list(privileges.on_tables),
        list(privileges.on_sequences),
        privileges.schema,
    )
    return [row[0] for row in rows]


async def _grant(
    session: Any, database: str, name: str, privileges: Privileges, relations: Sequence[Any]
) -> None:
    if privileges.on_database:
        listed = ", ".join(privileges.on_database)
        await run(session, f"GRANT {listed} ON DATABASE %I TO %I", [database, name])
    if privileges.on_schema:
        listed = ", ".join(privileges.on_schema)
        await run(session, f"GRANT {listed} ON SCHEMA %I TO %I", [privileges.schema, name])
    owners = {one["owner"] for one in relations if one["ours"]}
    owners |= {row[0] for row in await session.fetch(sql.OWNER)}
    for kind, granted in (("TABLE", privileges.on_tables), ("SEQUENCE", privileges.on_sequences)):
        if not granted:
            continue
        listed, sequence = ", ".join(granted), kind == "SEQUENCE"
        those = [(one["schema"], one["name"]) for one in relations if one["sequence"] == sequence]
        for template, names in sql.on_relations("GRANT", listed, kind, those, name):
            await run(session, template, names)
        for owner in sorted(owners) if privileges.lasting else ():
            template = f"ALTER DEFAULT PRIVILEGES FOR ROLE %I IN SCHEMA %I GRANT {listed} ON {kind}S TO %I"
            await run(session, template, [owner, privileges.schema, name])
