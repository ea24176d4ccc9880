"""Data rights that services keep themselves: the fake and the adapters keep the same promises."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

import pytest

from shared.errors import NotYetError, PermanentError, TransientError
from shared.naming import fold_id, resource_of, role_assignment_name
from shared.ports import Grants, RoleAssignment
from shared.target_parts import COSMOS_ROLE, REDIS_POLICY, GrantKind
from tests.contract.ports_azure import Azure
from tests.contract.ports_sandbox import control

pytest_plugins = ("tests.contract.ports_fixtures",)

READER, CONTRIBUTOR = (f"00000000-0000-0000-0000-00000000000{number}" for number in (1, 2))
VERSIONS = {COSMOS_ROLE.name: "2024-05-15", REDIS_POLICY.name: "2023-08-01"}
TRANSIENT = {"principal-not-found"}
"""What passes by itself: a young identity."""


@dataclasses.dataclass(frozen=True, slots=True)
class Place:
    """One kind of grants, a resource of its service, and a principal."""

    kind: GrantKind
    port: Grants
    scope: str
    wide: str
    narrow: str
    azure: Azure

    async def grant(self, role: str = "", *, scope: str = "", principal_id: str = "") -> RoleAssignment:
        wanted, at = role or self.wide, scope or self.scope
        if not principal_id:
            new = self.azure.identity_id()
            made = await self.azure.identities.ensure(new, location="westeurope", tags={})
            principal_id = made.principal_id
        return RoleAssignment(
            scope=at,
            name=role_assignment_name(at, principal_id, wanted),
            principal_id=principal_id,
            role_definition_id=self.kind.definition_id(at, wanted),
        )


@pytest.fixture(params=[COSMOS_ROLE, REDIS_POLICY], ids=lambda kind: kind.name)
async def place(request: pytest.FixtureRequest, azure: Azure) -> AsyncIterator[Place]:
    kind: GrantKind = request.param
    group = azure.storage_id.split("/providers/", maxsplit=1)[0]
    name = f"g{uuid.uuid4().hex[:12]}"
    if kind is COSMOS_ROLE:
        root = f"{group}/providers/Microsoft.DocumentDB/databaseAccounts/{name}"
        found = Place(kind, azure.cosmos, f"{root}/sqlDatabases/db", CONTRIBUTOR, READER, azure)
    else:
        root = f"{group}/providers/Microsoft.Cache/redis/{name}"
        found = Place(kind, azure.redis, root, "Data Contributor", "Data Reader", azure)
    with young_for(azure, 0.3):
        async with azure.made(root, VERSIONS[kind.name]):
            yield found


@contextlib.contextmanager
def young_for(azure: Azure, seconds: float) -> Iterator[None]:
    """Let the directory know a new principal sooner for a while."""
    if azure.contract is None:
        yield
        return
    where = f"{azure.contract['arm_url']}/sandbox/directory"
    before = control(azure.contract, where)
    control(azure.contract, where, method="PUT", body={"replication_seconds": seconds})
    yield
    control(azure.contract, where, method="PUT", body=before)


async def settled[T](call: Callable[[], Awaitable[T]]) -> tuple[T, list[str]]:
    """Repeat a call as the engine does until it neither waits nor passes; what it waited for."""
    waits: list[str] = []
    async with asyncio.timeout(30):
        while True:
            try:
                return await call(), waits
            except NotYetError as wait:
                waits.append(wait.reason)
            except TransientError as error:
                if error.code not in TRANSIENT:
                    raise
            await asyncio.sleep(0.02)


async def test_a_grant_is_begun_made_and_read_back(place: Place):
    wanted = await place.grant()
    assert await place.port.get(wanted.scope, wanted.name) is None
    made, waits = await settled(lambda: place.port.ensure(wanted))
    assert (made.name, made.existing) == (wanted.name, False)
    assert set(waits) <= {"grant-pending", "target-updating"}
    assert "grant-pending" in waits, "no service is done at once"
    again, none = await settled(lambda: place.port.ensure(wanted))
    assert (again.name, again.existing, none) == (wanted.name, False, [])
    found = await place.port.get(wanted.scope, wanted.name)
    assert found is not None
    assert fold_id(found.scope) == fold_id(wanted.scope)
    assert found.principal_id.lower() == wanted.principal_id.lower()
    assert found.role_definition_id.lower() == wanted.role_definition_id.lower()


async def test_deleting_takes_a_while_and_may_be_repeated(place: Place):
    wanted = await place.grant()
    await settled(lambda: place.port.ensure(wanted))
    _, waits = await settled(lambda: place.port.delete(wanted.scope, wanted.name))
    assert "grant-pending" in waits
    assert await place.port.get(wanted.scope, wanted.name) is None
    _, none = await settled(lambda: place.port.delete(wanted.scope, wanted.name))
    assert none == []


async def test_an_equal_grant_under_another_name_is_returned_as_existing(place: Place):
    first = await place.grant()
    await settled(lambda: place.port.ensure(first))
    second = dataclasses.replace(first, name=str(uuid.uuid4()))
    found, _ = await settled(lambda: place.port.ensure(second))
    assert (found.name, found.existing) == (first.name, True)
    assert await place.port.get(second.scope, second.name) is None


async def test_a_name_that_is_another_grants_is_refused(place: Place):
    first = await place.grant()
    await settled(lambda: place.port.ensure(first))
    other = dataclasses.replace(await place.grant(), name=first.name)
    with pytest.raises(PermanentError, match="role-assignment-foreign"):
        await settled(lambda: place.port.ensure(other))
    found = await place.port.get(first.scope, first.name)
    assert found is not None
    assert found.principal_id.lower() == first.principal_id.lower()


async def test_a_second_role_of_a_principal_is_given_where_the_service_allows_it(place: Place):
    first = await place.grant()
    await settled(lambda: place.port.ensure(first))
    second = await place.grant(place.narrow, principal_id=first.principal_id)
    if place.kind.one_each:
        with pytest.raises(PermanentError, match="access-policy-taken"):
            await settled(lambda: place.port.ensure(second))
        await settled(lambda: place.port.delete(first.scope, first.name))
    await settled(lambda: place.port.ensure(second))
    there = {one.name for one in await place.port.list(resource_of(place.scope))}
    assert there == ({second.name} if place.kind.one_each else {first.name, second.name})


async def test_a_list_has_all_at_a_scope_and_below_it(place: Place):
    wanted = [await place.grant(), await place.grant(place.narrow)]
    if place.kind is COSMOS_ROLE:
        wanted.append(await place.grant(scope=f"{place.scope}/containers/c"))
        wanted.append(await place.grant(scope=resource_of(place.scope)))
        elsewhere = await place.grant(scope=f"{place.scope}2")
        await settled(lambda: place.port.ensure(elsewhere))
    for one in wanted:
        await settled(lambda one=one: place.port.ensure(one))  # type: ignore[misc]
    with place.azure.small_pages():
        listed = await place.port.list(place.scope)
    shown = {(fold_id(one.scope), one.name) for one in listed}
    assert shown == {(fold_id(one.scope), one.name) for one in wanted if len(one.scope) >= len(place.scope)}


async def test_grants_of_a_resource_that_is_gone_are_absent_and_none_can_be_made(place: Place):
    root = resource_of(place.scope)
    gone = await place.grant(scope=place.scope.replace(root, f"{root}x"))
    assert await place.port.get(gone.scope, gone.name) is None
    assert await place.port.list(gone.scope) == []
    await place.port.delete(gone.scope, gone.name)
    with pytest.raises(TransientError, match="parent-not-found"):
        await place.port.ensure(gone)


async def test_a_delete_that_overtakes_a_write_leaves_nothing(place: Place):
    for _ in range(5):
        wanted = await place.grant()
        async with asyncio.timeout(30):
            while True:
                try:
                    await place.port.ensure(wanted)
                except NotYetError:
                    break
                except TransientError:
                    await asyncio.sleep(0.05)
        await settled(lambda wanted=wanted: place.port.delete(wanted.scope, wanted.name))  # type: ignore[misc]
        await asyncio.sleep(0.15)
        assert await place.port.get(wanted.scope, wanted.name) is None
    assert await place.port.list(place.scope) == []
