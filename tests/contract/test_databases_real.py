"""What only a real PostgreSQL can answer: sign-in, TLS, who may fool the app, whose rights stay."""

from __future__ import annotations

import dataclasses
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from sandbox.certificates import make_certificates
from shared.clients.databases import PostgresDatabases
from shared.errors import PermanentError, TransientError
from shared.ports import Privileges
from tests.contract.ports_databases import Bench, FixedToken, Superuser, real_bench

OBJECT_ID, MARK = "aaaaaaaa-0000-4000-8000-00000000000a", "mooring c-1"
READ = Privileges(
    schema="public", on_database=("CONNECT",), on_schema=("USAGE",), on_tables=("SELECT",), lasting=True
)


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    async with real_bench() as real:
        yield real


def another(credential: Any = None, *, ca_file: str = "", port: int = 0) -> PostgresDatabases:
    """The adapter with something else than what the server wants."""
    root = Superuser.of_environment()
    return PostgresDatabases(
        credential or FixedToken(), ca_file=ca_file or root.ca_file, port=port or root.port
    )


async def test_another_token_does_not_let_the_app_in(bench: Bench):
    with pytest.raises(PermanentError, match="database-login-refused") as refused:
        await another(FixedToken("bbbbbbbb-0000-4000-8000-00000000000b")).look(bench.server, bench.database)
    assert "28P01" in refused.value.detail
    assert "eyJ" not in str(refused.value), "no part of a token is told"


async def test_a_server_whose_certificate_is_not_trusted_is_not_signed_in_to(bench: Bench, tmp_path: Path):
    ca_file, _, _ = make_certificates(tmp_path)
    with pytest.raises(PermanentError, match="database-certificate-refused"):
        await another(ca_file=ca_file).look(bench.server, bench.database)


async def test_a_certificate_for_another_name_is_not_enough(bench: Bench):
    elsewhere = dataclasses.replace(bench.server, host="127.0.0.2")
    with pytest.raises((PermanentError, TransientError)) as refused:
        await another().look(elsewhere, bench.database)
    assert refused.value.code in {"database-certificate-refused", "database-unreachable"}


async def test_nobody_who_answers_is_a_server_that_cannot_be_reached(bench: Bench):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        with pytest.raises(TransientError, match="database-unreachable"):
            await another(port=closed.getsockname()[1]).look(bench.server, bench.database)


async def test_a_function_of_the_same_name_in_the_database_is_not_run(bench: Bench):
    """Whoever may make functions in a database must not have an administrator run them."""
    root = Superuser.of_environment()
    await bench.owner.make("orders")
    trap = "LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'ran'; END $$"
    async with root.session(bench.database) as session:
        await session.execute(f"CREATE FUNCTION public.format(text, VARIADIC text[]) RETURNS text {trap}")
        await session.execute(f"CREATE FUNCTION public.quote_ident(text) RETURNS text {trap}")
        await session.execute(f'ALTER DATABASE "{bench.database}" SET search_path = public, pg_catalog')
    name = bench.name()
    await bench.databases.ensure_user(bench.server, name, object_id=OBJECT_ID, mark=MARK)
    await bench.databases.grant(bench.server, bench.database, name, mark=MARK, privileges=READ)
    assert await bench.owner.may(name, "SELECT", "orders")


async def test_what_an_extension_brought_is_neither_granted_nor_in_the_way(bench: Bench):
    root, name = Superuser.of_environment(), bench.name()
    async with root.session(bench.database) as session:
        available = "SELECT true FROM pg_available_extensions WHERE name = 'pg_buffercache'"
        if not await session.fetchval(available):
            pytest.skip("the server has no extension with a view")
        await session.execute("CREATE EXTENSION pg_buffercache")
    await bench.databases.ensure_user(bench.server, name, object_id=OBJECT_ID, mark=MARK)
    await bench.databases.grant(bench.server, bench.database, name, mark=MARK, privileges=READ)
    assert not await bench.owner.may(name, "SELECT", "pg_buffercache")
    seen = await bench.databases.access(bench.server, bench.database, name, privileges=READ)
    assert seen.lacking == ()


async def test_rights_on_single_columns_go_with_the_others(bench: Bench):
    root, name = Superuser.of_environment(), bench.name()
    await bench.owner.make("orders")
    await bench.databases.ensure_user(bench.server, name, object_id=OBJECT_ID, mark=MARK)
    await bench.databases.grant(bench.server, bench.database, name, mark=MARK, privileges=READ)
    quoted = name.replace('"', '""')
    async with root.session(bench.database) as session:
        await session.execute(f'GRANT UPDATE (id) ON orders TO "{quoted}"')
    await bench.databases.revoke(bench.server, bench.database, name, mark=MARK)
    assert await bench.databases.drop_user(bench.server, name, mark=MARK)


async def test_what_somebody_else_granted_is_not_revoked_over_his_head(bench: Bench):
    root, name = Superuser.of_environment(), bench.name()
    await bench.databases.ensure_user(bench.server, name, object_id=OBJECT_ID, mark=MARK)
    quoted = name.replace('"', '""')
    async with root.session(bench.database) as session:
        await session.execute(f'CREATE TABLE theirs (id int); GRANT SELECT ON theirs TO "{quoted}"')
    await bench.databases.revoke(bench.server, bench.database, name, mark=MARK)
    assert await bench.owner.may(name, "SELECT", "theirs")
    with pytest.raises(PermanentError, match="database-user-bound") as bound:
        await bench.databases.drop_user(bench.server, name, mark=MARK)
    assert "2BP01" in bound.value.detail


async def test_many_tables_are_granted_in_one_transaction(bench: Bench):
    root, name, count = Superuser.of_environment(), bench.name(), 450
    owner = bench.database.replace("shop_", "owner_")
    async with root.session(bench.database) as session:
        await session.execute(f'SET ROLE "{owner}"')
        await session.execute("".join(f"CREATE TABLE t{number} ();" for number in range(count)))
    await bench.databases.ensure_user(bench.server, name, object_id=OBJECT_ID, mark=MARK)
    await bench.databases.grant(bench.server, bench.database, name, mark=MARK, privileges=READ)
    assert await bench.owner.may(name, "SELECT", f"t{count - 1}")
    await bench.databases.revoke(bench.server, bench.database, name, mark=MARK)
    assert await bench.databases.drop_user(bench.server, name, mark=MARK)


async def test_a_lock_that_somebody_holds_is_not_waited_for_long(bench: Bench):
    root, name = Superuser.of_environment(), bench.name()
    await bench.owner.make("orders")
    await bench.databases.ensure_user(bench.server, name, object_id=OBJECT_ID, mark=MARK)
    async with root.session(bench.database) as session, session.transaction():
        await session.execute("GRANT SELECT ON orders TO PUBLIC")
        with pytest.raises(TransientError, match=r"database-(busy|error)"):
            await bench.databases.grant(bench.server, bench.database, name, mark=MARK, privileges=READ)
