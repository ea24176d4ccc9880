"""Rights that a target's service keeps itself: made, waited for, narrowed, taken back, and nobody else's."""

from __future__ import annotations

import contextlib
import dataclasses

import pytest

from shared import naming
from shared.catalogue import catalogue
from shared.errors import NotYetError, PermanentError
from shared.models import Kind
from shared.ports import Identity, RoleAssignment
from shared.targets import TargetType
from tests.fakes.local_app import GROUP, LocalApp
from tests.fakes.step_bench import Bench

ACCOUNT = f"{GROUP}/providers/Microsoft.DocumentDB/databaseAccounts/cos"
DATABASE = f"{ACCOUNT}/sqlDatabases/orders"
CONTAINER = f"{DATABASE}/containers/lines"
CACHE = f"{GROUP}/providers/Microsoft.Cache/redis/cache"
READER, CONTRIBUTOR = (f"00000000-0000-0000-0000-00000000000{number}" for number in (1, 2))
TARGETS = {"cosmos-sql": DATABASE, "redis": CACHE}
ROWS = [row for row in catalogue().working if row.name in TARGETS]
of_every_row = pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
THEIRS = "77777777-7777-4777-8777-777777777777"


@pytest.fixture
def app(app: LocalApp) -> LocalApp:
    account = {
        "kind": "GlobalDocumentDB",
        "properties": {"documentEndpoint": "https://cos.documents.azure.com:443/"},
    }
    cache = {"hostName": "cache.redis.cache.windows.net", "sslPort": 6380}
    cache["redisConfiguration"] = {"aad-enabled": "True"}  # type: ignore[assignment]
    app.world.add_resource(ACCOUNT, account)
    app.world.add_resource(DATABASE, {"properties": {}})
    app.world.add_resource(CACHE, {"properties": cache})
    return app


def bench_of(app: LocalApp, row: TargetType, name: str = "orders-data", **spec: str) -> Bench:
    return Bench(app, name, **{"target_type": row.name, "target_id": TARGETS[row.name], **spec})


def granted(app: LocalApp) -> set[tuple[str, str]]:
    """Folded scope and role of every grant there is."""
    found = app.world.grants.values()
    return {(naming.fold_id(one.scope), one.role_definition_id.rsplit("/", 1)[-1]) for one in found}


def wish(bench: Bench, **changes: str) -> None:
    """Another create of the same connection, with another spec."""
    spec = bench.connection.spec.model_copy(update=changes)
    bench.connection = bench.connection.model_copy(update={"spec": spec})
    bench.become(Kind.CREATE)


def put_grant(app: LocalApp, scope: str, principal_id: str, role: str, kind: TargetType) -> RoleAssignment:
    """A grant by somebody else's hand."""
    one = RoleAssignment(
        scope=scope,
        name=app.world.guid(),
        principal_id=principal_id,
        role_definition_id=kind.grants.definition_id(scope, role),
    )
    app.world.grants[naming.fold_id(naming.resource_of(scope)), one.name] = one
    return one


@of_every_row
async def test_every_intent_gives_its_role_and_the_delete_takes_it_back(app: LocalApp, row: TargetType):
    for number, intent in enumerate(("", *row.intents)):
        bench = bench_of(app, row, f"orders-{number}", intent=intent, workload=f"w{number}")
        await bench.up_to("settings")
        (role,) = row.roles(intent)
        assert granted(app) == {(naming.fold_id(TARGETS[row.name]), role.id)}
        assert (await bench.check("role_assignments"))["role-assigned"].result == "ok"
        bench.become(Kind.DELETE)
        removed = (await bench.revert("role_assignments")).outputs["removed"]
        assert [(one["kind"], one["grant"]) for one in removed] == [("role", row.grants.name)]
        assert granted(app) == set()
    assert app.world.assignments == {}, "no role of Azure's is given besides"


async def test_a_container_in_the_targets_id_is_the_scope(app: LocalApp):
    app.world.add_resource(CONTAINER)
    bench = Bench(app, target_type="cosmos-sql", target_id=CONTAINER, intent="read")
    await bench.up_to("role_assignments")
    assert granted(app) == {(naming.fold_id(CONTAINER), READER)}
    assert {("target", DATABASE), ("target", CONTAINER)} <= set(bench.dependents)


@of_every_row
async def test_a_slow_service_is_looked_at_again_and_nothing_is_done_twice(app: LocalApp, row: TargetType):
    app.world.slow_grants = True
    bench = bench_of(app, row)
    await bench.up_to("managed_identity")
    with pytest.raises(NotYetError, match="grant-pending"):
        await bench.apply("role_assignments")
    assert granted(app) == set()
    await bench.apply("role_assignments")
    assert len(app.world.grants) == 1
    bench.become(Kind.DELETE)
    with pytest.raises(NotYetError, match="grant-pending"):
        await bench.revert("role_assignments")
    assert len(app.world.grants) == 1
    await bench.revert("role_assignments")
    assert app.leftovers()["assignments"] == []
    assert not [row for row in app.store.rows("users") if '"role|' in str(row.columns["body"])]


@of_every_row
async def test_a_create_that_asks_for_less_leaves_the_narrower_right_alone(app: LocalApp, row: TargetType):
    app.world.slow_grants = True
    bench = bench_of(app, row)
    for intent in ("", "read", "manage"):
        wish(bench, intent=intent)
        for _ in range(4):
            with contextlib.suppress(NotYetError):
                await bench.up_to("role_assignments")
                break
        (role,) = row.roles(intent)
        assert granted(app) == {(naming.fold_id(TARGETS[row.name]), role.id)}


async def test_where_a_principal_can_have_one_policy_the_earlier_goes_first(app: LocalApp):
    bench = Bench(app, target_type="redis", target_id=CACHE)
    await bench.up_to("role_assignments")
    wish(bench, intent="read")
    assert (await bench.check("preflight"))["access-policy-free"].result == "ok", "its own is replaced"
    seen = len(app.journal.calls)
    await bench.apply("role_assignments")
    writes = {"redis.ensure", "redis.delete"}
    names = [call.name for call in app.journal.calls[seen:] if call.name in writes]
    assert names == ["redis.delete", "redis.ensure"]


async def test_a_role_that_two_connections_share_goes_with_the_last(app: LocalApp):
    first, second = (Bench(app, name, target_type="redis", target_id=CACHE) for name in ("one", "two"))
    await first.up_to("role_assignments")
    await second.up_to("role_assignments")
    first.become(Kind.DELETE)
    assert (await first.revert("role_assignments")).outputs["kept"][0]["rule"] == "still-shared"
    assert len(app.world.grants) == 1
    second.become(Kind.DELETE)
    await second.revert("role_assignments")
    assert granted(app) == set()


async def test_another_policy_for_the_same_workload_is_refused_before_anything_is_made(app: LocalApp):
    first = Bench(app, "one", target_type="redis", target_id=CACHE)
    await first.up_to("settings")
    second = Bench(app, "two", target_type="redis", target_id=CACHE, intent="read")
    before = second.world()
    with pytest.raises(PermanentError) as caught:
        await second.apply("preflight")
    assert caught.value.code == "access-policy-taken"
    assert "Data Contributor" in caught.value.detail
    assert "accessPolicyAssignments" in caught.value.remedy
    assert second.world() == before
    wish(first, intent="read")
    await second_user(app)
    found = (await first.check("preflight"))["access-policy-free"]
    assert found.result == "failed", "what another connection uses is not replaced"


async def second_user(app: LocalApp) -> None:
    """Another connection of the workload that was made with the same intent before."""
    await Bench(app, "three", target_type="redis", target_id=CACHE).up_to("role_assignments")


async def test_a_policy_of_somebody_else_on_the_identity_is_refused_as_well(app: LocalApp):
    identity_id = f"{GROUP}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/theirs"
    app.world.identities[naming.fold_id(identity_id)] = Identity(
        resource_id=identity_id, client_id=app.world.guid(), principal_id=THEIRS, location="w", tags={}
    )
    known = put_grant(app, CACHE, THEIRS, "Data Owner", catalogue().find("redis"))
    bench = Bench(app, target_type="redis", target_id=CACHE, identity_id=identity_id, intent="read")
    with pytest.raises(PermanentError, match="access-policy-taken"):
        await bench.apply("preflight")
    same = Bench(app, "same", target_type="redis", target_id=CACHE, identity_id=identity_id, intent="manage")
    await same.up_to("role_assignments")
    assert set(app.world.grants.values()) == {known}, "an equal one is used"
    same.become(Kind.DELETE)
    await same.revert("role_assignments")
    assert set(app.world.grants.values()) == {known}, "and never deleted"


@of_every_row
async def test_a_grant_under_our_name_that_is_of_somebody_else_by_now_is_kept(app: LocalApp, row: TargetType):
    bench = bench_of(app, row)
    await bench.up_to("role_assignments")
    [(key, ours)] = app.world.grants.items()
    app.world.grants[key] = dataclasses.replace(ours, principal_id=THEIRS)
    assert (await bench.check("role_assignments"))["role-assigned"].result == "failed"
    bench.become(Kind.DELETE)
    [kept] = (await bench.revert("role_assignments")).outputs["kept"]
    assert (kept["rule"], THEIRS in kept["detail"]) == ("not-proven-ours", True)
    assert len(app.world.grants) == 1


async def test_a_database_that_is_gone_takes_no_grant_along_and_the_prune_does(app: LocalApp):
    bench = Bench(app, target_type="cosmos-sql", target_id=DATABASE)
    await bench.up_to("role_assignments")
    app.world.remove(DATABASE)
    assert len(app.world.grants) == 1, "Azure leaves it in the account"
    bench.become(Kind.PRUNE, cause="target", resource_id=DATABASE)
    await bench.revert("role_assignments")
    assert granted(app) == set()


@of_every_row
async def test_a_target_that_is_gone_as_a_whole_has_nothing_left_to_revoke(app: LocalApp, row: TargetType):
    bench = bench_of(app, row)
    await bench.up_to("role_assignments")
    app.world.remove(naming.resource_of(TARGETS[row.name]))
    bench.become(Kind.PRUNE, cause="target", resource_id=TARGETS[row.name])
    assert (await bench.revert("role_assignments")).outputs["removed"]
    assert app.leftovers()["assignments"] == []


@of_every_row
async def test_what_an_identity_leaves_behind_is_revoked_with_its_connection(app: LocalApp, row: TargetType):
    bench = bench_of(app, row)
    await bench.up_to("role_assignments")
    identity_id = str(bench.intents["managed_identity"].outputs["resourceId"])
    app.world.remove(identity_id)
    assert len(app.world.grants) == 1, "the service keeps what is of nobody"
    bench.become(Kind.PRUNE, cause="identity", resource_id=identity_id)
    await bench.revert("role_assignments")
    assert granted(app) == set()


@of_every_row
async def test_a_grant_that_lands_late_is_removed_again(app: LocalApp, row: TargetType):
    bench = bench_of(app, row)
    await bench.up_to("role_assignments")
    [(key, grant)] = app.world.grants.items()
    bench.become(Kind.DELETE)
    await bench.revert("role_assignments")
    app.world.grants[key] = grant
    with pytest.raises(Exception, match="came-back"):
        await bench.apply("verify_gone")
    assert granted(app) == set()
    assert (await bench.apply("verify_gone")).outputs["verified"] == ["role"]
