"""The contract of the database port, on the fake and on a real PostgreSQL."""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator

import pytest

from shared.errors import PermanentError, TransientError
from shared.ports import Access, Privileges
from tests.contract.ports_databases import SCOPE, Bench, fake_bench, real_bench
from tests.fakes.databases import APP_OBJECT_ID

OBJECT_ID, OTHER_ID = "aaaaaaaa-0000-4000-8000-00000000000A", "bbbbbbbb-0000-4000-8000-00000000000b"
MARK, OTHER = "mooring c-1", "mooring c-2"
READ = Privileges(
    schema="public", on_database=("CONNECT",), on_schema=("USAGE",), on_tables=("SELECT",), lasting=True
)
WRITE = dataclasses.replace(
    READ, on_tables=("SELECT", "INSERT", "UPDATE", "DELETE"), on_sequences=("USAGE", "SELECT")
)
ALL = Privileges(
    schema="public",
    on_database=("CREATE", "CONNECT", "TEMPORARY"),
    on_tables=("SELECT", "INSERT", "UPDATE", "DELETE", "TRUNCATE", "REFERENCES", "TRIGGER"),
    on_sequences=("USAGE", "SELECT", "UPDATE"),
)


@pytest.fixture(params=["fake", "real"])
async def bench(request: pytest.FixtureRequest) -> AsyncIterator[Bench]:
    if request.param == "fake":
        yield fake_bench()
        return
    async with real_bench() as real:
        yield real


async def made(bench: Bench, name: str, privileges: Privileges = READ) -> None:
    await bench.databases.ensure_user(bench.server, name, object_id=OBJECT_ID, mark=MARK)
    await bench.databases.grant(bench.server, bench.database, name, mark=MARK, privileges=privileges)


async def test_the_token_says_who_the_app_is(bench: Bench):
    assert await bench.databases.own_object_id(SCOPE) == APP_OBJECT_ID


async def test_a_user_is_made_once_with_its_principal_and_its_mark(bench: Bench):
    name = bench.name()
    assert await bench.databases.user(bench.server, name) is None
    for _ in range(2):
        there = await bench.databases.ensure_user(bench.server, name, object_id=OBJECT_ID, mark=MARK)
        assert (there.name, there.object_id, there.mark) == (name, OBJECT_ID.lower(), MARK)
        assert there.may_sign_in
        assert there.owns_in == ()
    assert await bench.databases.user(bench.server, name) == there


async def test_a_role_that_somebody_else_made_is_refused_by_every_write(bench: Bench):
    name = bench.name()
    await bench.owner.foreign_role(name)
    port, server = bench.databases, bench.server
    for write in (
        port.ensure_user(server, name, object_id=OBJECT_ID, mark=MARK),
        port.bar_user(server, name, mark=MARK),
        port.drop_user(server, name, mark=MARK),
        port.grant(server, bench.database, name, mark=MARK, privileges=READ),
        port.revoke(server, bench.database, name, mark=MARK),
    ):
        with pytest.raises(PermanentError, match="database-user-foreign"):
            await write
    there = await port.user(server, name)
    assert there is not None
    assert (there.mark, there.object_id, there.may_sign_in) == ("", "", True)


@pytest.mark.parametrize(("object_id", "mark"), [(OTHER_ID, MARK), (OBJECT_ID, OTHER)])
async def test_another_principal_or_another_connection_does_not_get_the_user(
    bench: Bench, object_id: str, mark: str
):
    name = bench.name()
    await bench.databases.ensure_user(bench.server, name, object_id=OBJECT_ID, mark=MARK)
    with pytest.raises(PermanentError, match="database-user-foreign"):
        await bench.databases.ensure_user(bench.server, name, object_id=object_id, mark=mark)


async def test_reading_is_no_writing(bench: Bench):
    name = bench.name()
    await bench.owner.make("orders")
    await made(bench, name)
    assert await bench.owner.may(name, "SELECT", "orders")
    for privilege in ("INSERT", "UPDATE", "DELETE"):
        assert not await bench.owner.may(name, privilege, "orders")
    assert await bench.databases.access(bench.server, bench.database, name, privileges=READ) == Access()


async def test_writing_includes_the_sequences(bench: Bench):
    name = bench.name()
    await bench.owner.make("orders")
    await bench.owner.make("orders_seq")
    await made(bench, name, WRITE)
    assert await bench.owner.may(name, "DELETE", "orders")
    assert await bench.owner.may(name, "USAGE", "orders_seq")
    assert not await bench.owner.may(name, "UPDATE", "orders_seq")


async def test_what_is_made_later_is_included_where_it_was_asked_for(bench: Bench):
    lasting, once = bench.name(), bench.name()
    await made(bench, lasting, WRITE)
    await made(bench, once, ALL)
    await bench.owner.make("later")
    await bench.owner.make("later_seq")
    assert await bench.owner.may(lasting, "INSERT", "later")
    assert await bench.owner.may(lasting, "USAGE", "later_seq")
    assert not await bench.owner.may(once, "SELECT", "later")
    seen = await bench.databases.access(bench.server, bench.database, once, privileges=ALL)
    assert "SELECT on public.later" in seen.lacking


async def test_a_narrower_grant_takes_the_wider_one_away(bench: Bench):
    name = bench.name()
    await bench.owner.make("orders")
    await bench.owner.make("orders_seq")
    await made(bench, name, ALL)
    seen = await bench.databases.access(bench.server, bench.database, name, privileges=READ)
    assert {"INSERT on public.orders", f"CREATE on database {bench.database}"} <= set(seen.beyond)
    await made(bench, name)
    assert await bench.owner.may(name, "SELECT", "orders")
    assert not await bench.owner.may(name, "INSERT", "orders")
    assert not await bench.owner.may(name, "USAGE", "orders_seq")
    await bench.owner.make("later")
    assert await bench.owner.may(name, "SELECT", "later")
    assert not await bench.owner.may(name, "INSERT", "later")


async def test_a_table_of_another_owner_refuses_the_whole_grant(bench: Bench):
    name, other = bench.name(), f"other-{bench.name()[4:16]}"
    await bench.owner.make("orders")
    await bench.owner.make("theirs", owner=other)
    await bench.databases.ensure_user(bench.server, name, object_id=OBJECT_ID, mark=MARK)
    with pytest.raises(PermanentError, match="database-grant-refused") as refused:
        await bench.databases.grant(bench.server, bench.database, name, mark=MARK, privileges=READ)
    assert other in str(refused.value)
    assert refused.value.remedy
    assert not await bench.owner.may(name, "SELECT", "orders")


async def test_what_everybody_has_needs_no_power_and_what_only_the_owner_gives_is_refused(bench: Bench):
    name = bench.name()
    await bench.owner.withdraw()
    await made(bench, name)
    with pytest.raises(PermanentError, match="database-grant-refused") as refused:
        await bench.databases.grant(bench.server, bench.database, name, mark=MARK, privileges=ALL)
    assert refused.value.remedy
    seen = await bench.databases.access(bench.server, bench.database, name, privileges=READ)
    assert seen.lacking == ()


async def test_a_user_that_is_gone_is_granted_nothing(bench: Bench):
    name = bench.name()
    with pytest.raises(TransientError, match="database-changed"):
        await bench.databases.grant(bench.server, bench.database, name, mark=MARK, privileges=READ)
    seen = await bench.databases.access(bench.server, bench.database, name, privileges=READ)
    assert seen.lacking == ("the role itself",)


async def test_a_user_goes_with_all_that_it_was_granted_and_takes_no_table_with_it(bench: Bench):
    name = bench.name()
    await bench.owner.make("orders")
    await bench.owner.make("orders_seq")
    await made(bench, name, WRITE)
    with pytest.raises(PermanentError, match="database-user-bound"):
        await bench.databases.drop_user(bench.server, name, mark=MARK)
    for _ in range(2):
        await bench.databases.revoke(bench.server, bench.database, name, mark=MARK)
    assert await bench.databases.drop_user(bench.server, name, mark=MARK)
    assert not await bench.databases.drop_user(bench.server, name, mark=MARK)
    await bench.databases.bar_user(bench.server, name, mark=MARK)
    await bench.databases.revoke(bench.server, bench.database, name, mark=MARK)
    assert await bench.databases.user(bench.server, name) is None
    other = bench.name()
    await made(bench, other)
    assert await bench.owner.may(other, "SELECT", "orders"), "the table is there"


async def test_a_user_that_owns_a_table_is_kept_from_signing_in_and_never_dropped(bench: Bench):
    name = bench.name()
    await bench.owner.make("orders")
    await made(bench, name)
    await bench.owner.give_away("orders", name)
    await bench.databases.revoke(bench.server, bench.database, name, mark=MARK)
    with pytest.raises(PermanentError, match="database-user-bound"):
        await bench.databases.drop_user(bench.server, name, mark=MARK)
    await bench.databases.bar_user(bench.server, name, mark=MARK)
    there = await bench.databases.user(bench.server, name)
    assert there is not None
    assert there.owns_in == (bench.database,)
    assert not there.may_sign_in
    again = await bench.databases.ensure_user(bench.server, name, object_id=OBJECT_ID, mark=MARK)
    assert again.may_sign_in


async def test_a_user_that_may_make_tables_keeps_its_own_and_gets_no_less_by_that(bench: Bench):
    name = bench.name()
    await bench.owner.make("orders")
    await bench.owner.make("own")
    await made(bench, name, ALL)
    await bench.owner.give_away("own", name)
    await bench.owner.make("later")
    await made(bench, name, ALL)
    assert await bench.owner.may(name, "SELECT", "own")
    assert await bench.owner.may(name, "INSERT", "later")
    seen = await bench.databases.access(bench.server, bench.database, name, privileges=ALL)
    assert seen.lacking == ()
    await bench.databases.revoke(bench.server, bench.database, name, mark=MARK)
    assert await bench.owner.may(name, "SELECT", "own"), "its data is not shut away from it"
    assert not await bench.owner.may(name, "SELECT", "orders")


async def test_a_user_is_not_narrowed_while_it_owns_a_table(bench: Bench):
    name = bench.name()
    await bench.owner.make("own")
    await made(bench, name, ALL)
    await bench.owner.give_away("own", name)
    with pytest.raises(PermanentError, match="database-grant-refused") as refused:
        await bench.databases.grant(bench.server, bench.database, name, mark=MARK, privileges=READ)
    assert "REASSIGN OWNED" in refused.value.remedy


async def test_a_database_that_is_gone_has_nothing_to_revoke_and_cannot_be_granted(bench: Bench):
    name = bench.name()
    await made(bench, name)
    await bench.databases.look(bench.server, bench.database)
    await bench.owner.drop_database()
    await bench.databases.revoke(bench.server, bench.database, name, mark=MARK)
    for call in (
        bench.databases.look(bench.server, bench.database),
        bench.databases.grant(bench.server, bench.database, name, mark=MARK, privileges=READ),
        bench.databases.access(bench.server, bench.database, name, privileges=READ),
    ):
        with pytest.raises(PermanentError, match="database-missing"):
            await call
    assert await bench.databases.drop_user(bench.server, name, mark=MARK)


async def test_who_is_no_administrator_is_refused(bench: Bench):
    stranger = dataclasses.replace(bench.server, admin="nobody_at_all")
    with pytest.raises(PermanentError, match="database-login-refused") as refused:
        await bench.databases.look(stranger, bench.database)
    assert refused.value.remedy
