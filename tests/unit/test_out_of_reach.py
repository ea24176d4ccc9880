"""A delete whose target's subscription is not found goes on as far as nobody is left with access."""

import dataclasses
from typing import Any

import pytest

from shared import naming
from shared.errors import PermanentError
from shared.models import ConnectionId, Kind, Operation
from shared.ports import Identity, Linker
from tests.fakes.http_app import HttpApp
from tests.fakes.journal import Call
from tests.fakes.local_app import CLUSTER, GROUP, STORAGE, VAULT, LocalApp, delete_body, deletion_event
from tests.fakes.step_bench import Bench
from tests.fakes.sweeps import connected
from tests.fakes.their_linker import IDENTITY, LINKER, POLICY

ID = ConnectionId(naming.connection_id(CLUSTER, "shop", "orders-blob"))
SECRETS = ConnectionId(naming.connection_id(CLUSTER, "shop", "orders-secrets"))
DATABASE = f"{GROUP}/providers/Microsoft.DocumentDB/databaseAccounts/cos/sqlDatabases/orders"
EMPTY: dict[str, list[str]] = {"identities": [], "objects": [], "users": []}


def lose(app: LocalApp) -> None:
    """The subscription of the storage account is not found any more, whatever is asked of it."""

    def lost(call: Call) -> BaseException | None:
        asked = str(call.arguments[0]) if call.arguments else ""
        there = call.name.startswith("roles.") and asked.startswith(STORAGE)
        return PermanentError("subscription-not-found", "no such subscription") if there else None

    app.journal.before = lost


async def deleted(app: LocalApp, name: str = "orders-blob") -> Operation:
    record = await app.send(delete_body(name), message_id=f"delete-{len(app.journal.calls)}")
    await app.settle()
    [ended] = [
        one for one in await app.operations(record.connection_id) if one.operation_id == record.operation_id
    ]
    return ended


async def kept(app: LocalApp, operation: Operation) -> list[dict[str, Any]]:
    """What HTTP shows of the operation as kept."""
    _, shown, _ = await HttpApp(app).call("get_operation", operationId=operation.operation_id)
    return [one for step in shown["steps"] for one in step["outputs"].get("kept", ())]


def left(app: LocalApp) -> dict[str, list[str]]:
    return {name: value for name, value in app.leftovers().items() if name in EMPTY}


def credentials(app: LocalApp) -> list[str]:
    return [name for found in app.world.credentials.values() for name in found]


async def provided(app: LocalApp) -> None:
    """A connection through an identity that its request names."""
    app.policy_file.write_text(POLICY)
    identity = Identity(
        resource_id=IDENTITY,
        client_id=app.world.guid(),
        principal_id=app.world.guid(),
        location="westeurope",
        tags={},
    )
    app.world.identities[naming.fold_id(IDENTITY)] = identity
    app.world.credentials[naming.fold_id(IDENTITY)] = {}
    await connected(app, identityId=IDENTITY)


async def test_a_delete_whose_targets_subscription_is_gone_removes_the_rest_and_says_what_it_could_not_ask(
    app: LocalApp,
):
    await connected(app)
    [(scope, name)] = app.world.assignments
    lose(app)
    ended = await deleted(app)
    assert (ended.state, ended.code, await app.state(ID)) == ("succeeded", "", "deleted")
    assert (left(app), credentials(app)) == (EMPTY, [])
    [role] = await kept(app, ended)
    assert (role["rule"], naming.fold_id(role["scope"]), role["name"]) == ("out-of-reach", scope, name)
    assert role["detail"]


async def test_where_the_identity_stays_the_delete_fails_at_its_end_and_goes_on_once_the_role_is_in_reach(
    app: LocalApp,
):
    await provided(app)
    for _ in range(2):
        lose(app)
        ended = await deleted(app)
        assert (ended.state, ended.code, await app.state(ID)) == (
            "failed",
            "subscription-not-found",
            "failed",
        )
        assert (left(app)["objects"], credentials(app)) == ([], [])
        assert STORAGE in ended.detail
        assert naming.fold_id(IDENTITY) in naming.fold_id(ended.remedy)
        assert app.world.assignments
    app.journal.before = lambda call: None
    ended = await deleted(app)
    assert (ended.state, await app.state(ID), app.world.assignments) == ("succeeded", "deleted", {})
    assert left(app) == {**EMPTY, "identities": [naming.fold_id(IDENTITY)]}


async def test_once_its_owner_has_deleted_such_an_identity_the_delete_ends_well(app: LocalApp):
    await provided(app)
    lose(app)
    assert (await deleted(app)).state == "failed"
    app.world.remove(IDENTITY)
    assert ((await deleted(app)).state, await app.state(ID), left(app)) == ("succeeded", "deleted", EMPTY)


async def test_an_identity_that_another_connection_uses_stays_and_takes_the_record_along_when_it_goes(
    app: LocalApp,
):
    await connected(app)
    await connected(app, "orders-secrets", target={"type": "keyvault", "id": VAULT})
    lose(app)
    assert (await deleted(app)).code == "subscription-not-found"
    assert len(app.world.identities) == 1
    assert (await deleted(app, "orders-secrets")).state == "succeeded"
    assert (await app.state(SECRETS), await app.state(ID)) == ("deleted", "failed")
    assert app.world.identities == {}
    assert (await deleted(app)).state == "succeeded"
    assert (await app.state(ID), left(app)) == ("deleted", EMPTY)


async def test_nobody_asked_for_a_prune_so_that_one_fails_at_once(app: LocalApp):
    await connected(app)
    [identity_id] = app.world.identities
    app.world.remove(identity_id)
    before = left(app)
    lose(app)
    await app.services.events.receive(deletion_event(identity_id))
    await app.settle(seconds=3600)
    [prune] = [one for one in await app.operations(ID) if one.kind is Kind.PRUNE]
    assert (prune.state, prune.code) == ("failed", "subscription-not-found")
    assert left(app)["objects"] == before["objects"]


@pytest.mark.parametrize(
    ("name", "code"),
    [("linkers.list", "subscription-not-found"), ("roles.delete", "access-denied")],
)
async def test_what_else_the_removal_of_a_role_may_meet_is_an_error_as_before(
    app: LocalApp, name: str, code: str
):
    bench = Bench(app)
    await bench.up_to("role_assignments")
    bench.become(Kind.DELETE)
    app.journal.before = lambda call: PermanentError(code, "no") if call.name == name else None
    with pytest.raises(PermanentError, match=code):
        await bench.revert("role_assignments")
    assert len(app.world.assignments) == 1


async def test_a_right_out_of_reach_that_others_use_too_is_left_to_them(app: LocalApp):
    account = naming.resource_of(DATABASE)
    cosmos = {"documentEndpoint": "https://cos.documents.azure.com:443/"}
    app.world.add_resource(account, {"kind": "GlobalDocumentDB", "properties": cosmos})
    app.world.add_resource(DATABASE, {"properties": {}})
    first, second = (
        Bench(app, name, target_type="cosmos-sql", target_id=DATABASE) for name in ("first", "second")
    )
    for bench in (first, second):
        await bench.up_to("role_assignments")
        bench.become(Kind.DELETE)
    app.journal.before = lambda call: (
        PermanentError("subscription-not-found", "no") if call.name.startswith("cosmos.") else None
    )
    [kept_first] = (await first.revert("role_assignments")).outputs["kept"]
    [kept_second] = (await second.revert("role_assignments")).outputs["kept"]
    assert (kept_first["rule"], kept_second["rule"]) == ("still-shared", "out-of-reach")


async def test_an_identity_of_that_name_which_was_made_anew_has_no_part_in_the_role(app: LocalApp):
    await provided(app)
    lose(app)
    assert (await deleted(app)).state == "failed"
    key = naming.fold_id(IDENTITY)
    app.world.identities[key] = dataclasses.replace(app.world.identities[key], principal_id=app.world.guid())
    assert ((await deleted(app)).state, await app.state(ID)) == ("succeeded", "deleted")


async def test_what_azure_shows_of_an_identity_right_after_its_delete_is_not_asked_for(app: LocalApp):
    bench = Bench(app)
    await bench.up_to("role_assignments")
    bench.become(Kind.DELETE)
    lose(app)
    await bench.revert("role_assignments")

    def late(call: Call) -> BaseException | None:
        deleted = "identities.delete" in app.journal.names()
        return AssertionError("asked") if deleted and call.name == "identities.get" else None

    app.journal.before = late
    [removed] = (await bench.revert("managed_identity")).outputs["removed"]
    assert (removed["kind"], app.world.identities) == ("identity", {})


async def test_a_role_that_a_linker_goes_by_is_that_ones_and_not_out_of_reach(app: LocalApp):
    await connected(app)
    [identity] = app.world.identities.values()
    app.world.linkers[naming.fold_id(LINKER)] = Linker(
        resource_id=LINKER,
        name="theirs",
        namespace="other",
        target_id=STORAGE,
        client_id=identity.client_id,
        client_type="none",
        provisioning_state="Succeeded",
    )
    lose(app)
    ended = await deleted(app)
    assert {one["rule"] for one in await kept(app, ended)} == {"live-linker"}
