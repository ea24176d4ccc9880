"""Locks and limits are found before the first write, and what may not be read refuses nobody."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from shared import naming
from shared.errors import PermanentError
from shared.models import Kind
from shared.ports import Credential, Identity, Lock, RoleAssignment
from tests.fakes.local_app import GROUP, STORAGE, SUBSCRIPTION, LocalApp, make_app
from tests.fakes.step_bench import Bench

LOCKS = "/providers/Microsoft.Authorization/locks/keep"
THEIRS = f"{GROUP}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/theirs"
DENIED = PermanentError("access-denied", "locks/read", remedy="grant it")


@pytest.fixture
def bench(app: LocalApp) -> Bench:
    return Bench(app)


def lock(app: LocalApp, scope: str, level: str = "ReadOnly") -> None:
    app.world.locks.append(Lock(resource_id=f"{scope}{LOCKS}", scope=scope, name="keep", level=level))


def fill(app: LocalApp, count: int) -> None:
    """Role assignments of others, in the target's subscription."""
    for number in range(count):
        one = RoleAssignment(
            scope=GROUP, name=f"n{number}", principal_id=f"p{number}", role_definition_id="/roleDefinitions/r"
        )
        app.world.assignments[(naming.fold_id(GROUP), one.name)] = one


def provided(app: LocalApp, credentials: int = 0) -> Bench:
    app.world.identities[naming.fold_id(THEIRS)] = Identity(
        resource_id=THEIRS,
        client_id=app.world.guid(),
        principal_id=app.world.guid(),
        location="x",
        tags={},
    )
    app.world.credentials[naming.fold_id(THEIRS)] = {
        f"c{number}": Credential(
            name=f"c{number}", issuer="https://i/", subject=f"s{number}", audiences=(naming.AUDIENCE,)
        )
        for number in range(credentials)
    }
    return Bench(app, identity_id=THEIRS)


def counted(app: LocalApp) -> int:
    """How often a whole subscription's role assignments were listed."""
    return app.journal.names().count("roles.list")


def resources(app: LocalApp) -> Any:
    return app.services.engine.outside.resources._port  # type: ignore[attr-defined]


def limited(folder: Path, limit: int) -> Bench:
    return Bench(make_app(folder, MOORING_ROLE_ASSIGNMENT_LIMIT=str(limit)))


# --- locks ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("scope", [STORAGE, GROUP.upper(), f"/subscriptions/{SUBSCRIPTION}"])
async def test_a_read_only_lock_on_the_target_or_above_is_refused_before_anything_is_made(
    bench: Bench, scope: str
):
    lock(bench.app, scope)
    before = bench.world()
    with pytest.raises(PermanentError) as caught:
        await bench.apply("preflight")
    assert caught.value.code == "scope-locked"
    assert caught.value.remedy.startswith(f"az lock list --subscription {SUBSCRIPTION};")
    assert f"{scope}{LOCKS}" in caught.value.remedy
    assert bench.world() == before


@pytest.mark.parametrize("scope", [f"{STORAGE}2", f"{STORAGE}/blobServices/default", f"{GROUP}x"])
async def test_a_lock_on_something_else_or_below_hinders_nothing(bench: Bench, scope: str):
    lock(bench.app, scope)
    await bench.up_to("settings")
    assert (await bench.check("preflight"))["target-unlocked"].result == "ok"


async def test_a_lock_against_deletes_is_said_and_hinders_nothing(bench: Bench):
    lock(bench.app, GROUP, "CanNotDelete")
    [said] = (await bench.apply("preflight")).outputs["warnings"]
    assert (said["name"], said["result"]) == ("target-unlocked", "warning")
    assert "cannot be taken away" in said["detail"]


async def test_of_two_locks_the_one_that_refuses_counts(bench: Bench):
    lock(bench.app, STORAGE, "CanNotDelete")
    lock(bench.app, GROUP, "readonly")
    with pytest.raises(PermanentError, match="scope-locked: readonly lock keep"):
        await bench.apply("preflight")


async def test_a_read_only_lock_refuses_nothing_once_all_roles_are_assigned(bench: Bench):
    await bench.up_to("settings")
    lock(bench.app, STORAGE)
    assert (await bench.check("preflight"))["target-unlocked"].result == "warning"
    bench.become(Kind.REPAIR)
    [said] = (await bench.apply("preflight")).outputs["warnings"]
    assert said["name"] == "target-unlocked"
    bench.app.world.assignments.clear()
    assert (await bench.check("preflight"))["target-unlocked"].result == "failed"


async def test_locks_that_may_not_be_read_refuse_nobody(bench: Bench):
    resources(bench.app).locks_broken = DENIED
    lock(bench.app, STORAGE)
    [said] = (await bench.apply("preflight")).outputs["warnings"]
    assert (said["name"], said["result"], said["remedy"]) == ("target-unlocked", "unknown", "grant it")
    assert (await bench.check("preflight"))["target-unlocked"].result == "unknown"


# --- role assignments ----------------------------------------------------------------------------


async def test_a_subscription_near_its_limit_is_refused_before_anything_is_made(tmp_path: Path):
    bench = limited(tmp_path, 5)
    fill(bench.app, 5)
    before = bench.world()
    with pytest.raises(PermanentError) as caught:
        await bench.apply("preflight")
    assert caught.value.code == "role-assignment-budget"
    assert caught.value.detail == f"5 of 5 in subscription {SUBSCRIPTION}, 1 to be made"
    assert "identity" in caught.value.remedy
    assert "MOORING_ROLE_ASSIGNMENT_LIMIT" in caught.value.remedy
    assert bench.world() == before


async def test_the_last_one_within_the_limit_is_made_and_counted_only_while_it_is_not_there(tmp_path: Path):
    bench = limited(tmp_path, 5)
    fill(bench.app, 4)
    await bench.up_to("settings")
    assert counted(bench.app) == 1
    found = await bench.check("preflight")
    assert found["role-assignment-room"].result == "ok"
    bench.become(Kind.REPAIR)
    await bench.apply("preflight")
    assert counted(bench.app) == 1, "the assignment is there: a full subscription hinders nothing"


async def test_a_validation_says_that_a_lost_role_could_not_be_assigned_again(tmp_path: Path):
    bench = limited(tmp_path, 1)
    await bench.up_to("settings")
    [(key, own)] = bench.app.world.assignments.items()
    del bench.app.world.assignments[key]
    fill(bench.app, 1)
    assert (await bench.check("preflight"))["role-assignment-room"].result == "failed"
    elsewhere = dataclasses.replace(own, scope=GROUP)
    bench.app.world.assignments[(naming.fold_id(GROUP), own.name)] = elsewhere
    assert (await bench.check("preflight"))["role-assignment-room"].result == "failed", "not that scope's"
    bench.app.world.assignments[key] = dataclasses.replace(own, name="another-name")
    assert (await bench.check("preflight"))["role-assignment-room"].result == "ok"


async def test_assignments_that_may_not_be_counted_refuse_nobody(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
):
    async def denied(scope: str) -> list[RoleAssignment]:
        raise DENIED

    monkeypatch.setattr(bench.app.services.engine.outside.roles._port, "list", denied)  # type: ignore[attr-defined]
    [said] = (await bench.apply("preflight")).outputs["warnings"]
    assert (said["name"], said["result"]) == ("role-assignment-room", "unknown")


# --- credentials ---------------------------------------------------------------------------------


async def test_a_named_identity_without_room_is_refused_before_anything_is_made(app: LocalApp):
    bench = provided(app, credentials=20)
    before = bench.world()
    with pytest.raises(PermanentError) as caught:
        await bench.apply("preflight")
    assert caught.value.code == "credential-budget"
    assert "identityId" in caught.value.remedy
    assert "az identity federated-credential list --identity-name theirs --resource-group rg" in (
        caught.value.remedy
    )
    assert bench.world() == before


async def test_a_named_identity_that_is_full_with_this_credential_is_fine(app: LocalApp):
    bench = provided(app, credentials=19)
    await bench.up_to("settings")
    found = await bench.check("preflight")
    assert (found["credential-room"].result, found["credential-room"].detail) == (
        "ok",
        "the identity holds 20 of 20 federated credentials",
    )
    held = app.world.credentials[naming.fold_id(THEIRS)]
    [own] = [name for name in held if not name.startswith("c") or len(name) > 3]
    held["an-equal-one"] = dataclasses.replace(held.pop(own), name="an-equal-one")
    assert (await bench.check("preflight"))["credential-room"].result == "ok"
    held["an-equal-one"] = dataclasses.replace(held["an-equal-one"], subject="somebody else's")
    assert (await bench.check("preflight"))["credential-room"].result == "failed"


async def test_an_identity_of_ours_has_no_line_for_credentials(bench: Bench):
    await bench.up_to("settings")
    assert "credential-room" not in await bench.check("preflight")
