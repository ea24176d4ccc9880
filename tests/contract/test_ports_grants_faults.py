"""What the adapters of service grants make of refusals, states and answers that were lost."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from shared.errors import MooringError, NotYetError, PermanentError, TransientError
from shared.ports import Grants, RoleAssignment
from shared.target_parts import COSMOS_ROLE, REDIS_POLICY
from tests.contract.ports_sandbox import Adapters, Contract, adapters, running_sandbox

PRINCIPAL = "99999999-9999-4999-8999-999999999999"
ROLE = "00000000-0000-0000-0000-000000000002"
FOREIGN = "88888888-8888-4888-8888-888888888888"


@pytest.fixture(scope="module")
def contract(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Contract]:
    with running_sandbox(tmp_path_factory.mktemp("sandbox"), real_cluster=False) as running:
        yield running


@pytest.fixture
async def azure(contract: Contract, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Adapters]:
    async with adapters(contract, monkeypatch) as wired:
        yield wired
        wired.control(contract["arm_url"], "/sandbox/faults", method="PUT", body=[])


def answers(azure: Adapters, *rules: dict[str, Any]) -> None:
    """Let Resource Manager answer so, one rule after the other."""
    azure.control(azure.contract["arm_url"], "/sandbox/faults", method="PUT", body=list(rules))


def answer(method: str, status: int, body: Any = None, **more: Any) -> dict[str, Any]:
    return {"method": method, "path": "Assignments", "status": status, "body": body, **more}


def refusal(method: str, status: int, code: str) -> dict[str, Any]:
    return answer(method, status, {"error": {"code": code, "message": "as simulated"}})


def grant(azure: Adapters, service: str) -> tuple[Grants, RoleAssignment]:
    """A grant on a resource that nobody has made: every answer of a test is its own."""
    group = azure.contract["storage_account_id"].split("/providers/")[0]
    cosmos = service == "cosmos"
    kind = COSMOS_ROLE if cosmos else REDIS_POLICY
    root = "Microsoft.DocumentDB/databaseAccounts/a" if cosmos else "Microsoft.Cache/redis/a"
    scope = f"{group}/providers/{root}" + ("/sqlDatabases/db" if cosmos else "")
    wanted = RoleAssignment(
        scope=scope,
        name=str(uuid.uuid4()),
        principal_id=PRINCIPAL,
        role_definition_id=kind.definition_id(scope, ROLE if cosmos else "Data Reader"),
    )
    return (azure.cosmos if cosmos else azure.redis), wanted


def shown(wanted: RoleAssignment, state: str = "Succeeded", *, principal: str = PRINCIPAL) -> dict[str, Any]:
    policy = wanted.role_definition_id.rsplit("/", 1)[-1]
    both = {"accessPolicyName": policy, "objectId": principal, "provisioningState": state}
    scope = wanted.scope.replace("/sqlDatabases/", "/dbs/")
    theirs = {"principalId": principal, "roleDefinitionId": wanted.role_definition_id, "scope": scope}
    return {"name": wanted.name, "properties": {**both, **theirs}}


async def refused(azure: Adapters, service: str, *rules: dict[str, Any]) -> MooringError:
    port, wanted = grant(azure, service)
    answers(azure, *rules)
    with pytest.raises((TransientError, PermanentError, NotYetError)) as caught:
        await port.ensure(wanted)
    return caught.value


NONE = refusal("GET", 404, "NotFound")
EMPTY = answer("GET", 200, {"value": []})


@pytest.mark.parametrize(
    ("service", "status", "code", "expected"),
    [
        ("cosmos", 412, "PreconditionFailed", "target-updating"),
        ("cosmos", 400, "BadRequest", "principal-not-found"),
        ("cosmos", 403, "AuthorizationFailed", "access-denied"),
        ("redis", 409, "Conflict", "target-updating"),
        ("redis", 400, "InvalidAccessPolicyAssignment", "access-policy-taken"),
        ("redis", 409, "ScopeLocked", "scope-locked"),
    ],
)
async def test_refusals_of_a_write_have_their_own_codes(
    azure: Adapters, service: str, status: int, code: str, expected: str
):
    error = await refused(azure, service, NONE, EMPTY, refusal("PUT", status, code))
    assert (error.reason if isinstance(error, NotYetError) else error.code) == expected  # type: ignore[attr-defined]


@pytest.mark.parametrize("state", ["Creating", "Updating", "Deleting", "SomethingNew"])
async def test_a_grant_that_is_not_at_rest_is_waited_for(azure: Adapters, state: str):
    port, wanted = grant(azure, "redis")
    answers(azure, answer("GET", 200, shown(wanted, state)))
    with pytest.raises(NotYetError, match=state.lower()):
        await port.ensure(wanted)


async def test_an_answer_to_a_write_that_shows_no_rest_is_waited_for(azure: Adapters):
    port, wanted = grant(azure, "redis")
    answers(azure, NONE, EMPTY, answer("PUT", 201, shown(wanted, "Updating")))
    with pytest.raises(NotYetError, match="updating"):
        await port.ensure(wanted)


async def test_a_grant_whose_write_failed_is_written_again(azure: Adapters):
    port, wanted = grant(azure, "redis")
    answers(azure, answer("GET", 200, shown(wanted, "Failed")), answer("PUT", 200, shown(wanted)))
    assert await port.ensure(wanted) == wanted


async def test_a_write_that_is_done_at_once_needs_no_second_look(azure: Adapters):
    port, wanted = grant(azure, "cosmos")
    answers(azure, NONE, EMPTY, answer("PUT", 200, shown(wanted)))
    assert await port.ensure(wanted) == wanted


async def test_a_grant_of_our_name_for_somebody_else_is_named_with_the_command_that_removes_it(
    azure: Adapters,
):
    port, wanted = grant(azure, "cosmos")
    answers(azure, answer("GET", 200, shown(wanted, principal=FOREIGN)))
    with pytest.raises(PermanentError, match="role-assignment-foreign") as caught:
        await port.ensure(wanted)
    assert f"sqlRoleAssignments/{wanted.name}" in caught.value.remedy


async def test_a_list_whose_second_page_is_missing_is_none(azure: Adapters):
    port, wanted = grant(azure, "cosmos")
    more = f"{azure.contract['arm_url']}{wanted.scope}/sqlRoleAssignments?page=2"
    answers(azure, answer("GET", 200, {"value": [], "nextLink": more}), NONE)
    with pytest.raises(TransientError, match="list-broken"):
        await port.list(wanted.scope)


async def test_a_scope_of_the_whole_account_is_read_as_such(azure: Adapters):
    port, wanted = grant(azure, "cosmos")
    root = wanted.scope.partition("/sqlDatabases/")[0]
    found = shown(wanted)
    found["properties"]["scope"] = "/"
    answers(azure, answer("GET", 200, found))
    there = await port.get(wanted.scope, wanted.name)
    assert there is not None
    assert there.scope == root


async def test_an_answer_that_is_no_object_says_nothing(azure: Adapters):
    port, wanted = grant(azure, "cosmos")
    answers(azure, NONE, EMPTY, answer("PUT", 200, ["odd"]))
    assert await port.ensure(wanted) == wanted
