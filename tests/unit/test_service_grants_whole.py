"""Connections by rights that services keep themselves, from request to sweep: the whole core on fakes."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from shared import naming
from shared.errors import PermanentError, TransientError
from shared.models import ConnectionId, Kind, OperationState, Plan
from shared.ports import Upsert
from shared.prunes import SavedObject
from shared.rows import columns
from shared.steps import granting, hops
from shared.steps.base import ANNOTATION_CLIENT_ID
from shared.target_parts import DATABASE_USER
from tests.fakes.http_app import HttpApp
from tests.fakes.journal import Call
from tests.fakes.local_app import (
    CLUSTER,
    GROUP,
    SUBSCRIPTION,
    LocalApp,
    create_body,
    delete_body,
    deletion_event,
    make_app,
)
from tests.fakes.step_bench import Bench
from tests.fakes.sweeps import connected, swept

ACCOUNT = f"{GROUP}/providers/Microsoft.DocumentDB/databaseAccounts/cos"
DATABASE = f"{ACCOUNT}/sqlDatabases/orders"
CACHE = f"{GROUP}/providers/Microsoft.Cache/redis/cache"
TARGETS = {"cosmos-sql": DATABASE, "redis": CACHE}
POLICY = f"""
version = 1
[[allow]]
clusters = ["{CLUSTER}"]
namespaces = ["*"]
subscriptions = ["{SUBSCRIPTION}"]
target_types = ["cosmos-sql", "redis"]
"""
of_every_type = pytest.mark.parametrize("kind", TARGETS)


@pytest.fixture
def app(tmp_path: Path) -> LocalApp:
    made = make_app(tmp_path, MOORING_PRUNE_GRACE_SECONDS="600")
    made.policy_file.write_text(POLICY)
    made.world.slow_grants = True
    account = {"documentEndpoint": "https://cos.documents.azure.com:443/"}
    made.world.add_resource(ACCOUNT, {"kind": "GlobalDocumentDB", "properties": account})
    made.world.add_resource(DATABASE, {"properties": {}})
    cache: dict[str, Any] = {"hostName": "cache.redis.cache.windows.net", "sslPort": 6380}
    cache["redisConfiguration"] = {"aad-enabled": "true"}
    made.world.add_resource(CACHE, {"properties": cache})
    return made


def target(kind: str) -> dict[str, Any]:
    return {"type": kind, "id": TARGETS[kind]}


async def drift_of(app: LocalApp, connection_id: str) -> list[str]:
    seen = await app.services.sweeping.drifts.of(ConnectionId(connection_id))
    return [f"{one.kind}: {one.thing}" for found in seen.values() for one in found.found]


@of_every_type
async def test_a_connection_lives_is_validated_and_leaves_nothing(app: LocalApp, kind: str):
    connection_id = await connected(app, target=target(kind))
    [grant] = app.world.grants.values()
    _, shown, _ = await HttpApp(app).call("get_connection", connectionId=connection_id)
    assert [(one["scope"], one["name"]) for one in shown["roleAssignments"]] == [(grant.scope, grant.name)]
    name = {"name": "orders-blob", "clusterId": CLUSTER, "namespace": "shop"}
    await app.send({"action": "validate", "connection": name}, message_id="v")
    await app.settle()
    validation = (await app.operations(ConnectionId(connection_id)))[-1]
    assert (validation.kind, validation.state) == (Kind.VALIDATE, OperationState.SUCCEEDED)
    await app.send(delete_body(), message_id="d")
    await app.settle()
    assert app.leftovers() == {"identities": [], "assignments": [], "objects": [], "users": []}


@of_every_type
async def test_a_plan_shows_the_grant_beside_what_service_connector_gives(app: LocalApp, kind: str):
    app.world.slow_grants = False
    status, plan, _ = await HttpApp(app).call("plan_connection", body=create_body(target=target(kind)))
    assert status == 200
    shown = plan["roleAssignments"]
    await connected(app, target=target(kind))
    [grant] = app.world.grants.values()
    assert (shown["scope"], shown["kind"]) == (
        grant.scope,
        {"cosmos-sql": "cosmos-sql-role", "redis": "redis-access-policy"}[kind],
    )
    assert shown["assigned"][0]["id"] == grant.role_definition_id.rsplit("/", 1)[-1]
    theirs = {"cosmos-sql": ["DocumentDB Account Contributor"], "redis": []}[kind]
    assert [one["name"] for one in shown["serviceConnector"]] == theirs
    assert app.world.assignments == {}


@of_every_type
async def test_a_deleted_target_takes_the_connection_and_the_grant(app: LocalApp, kind: str):
    connection_id = await connected(app, target=target(kind))
    app.world.remove(TARGETS[kind])
    app.queue.put("resource-events", deletion_event(TARGETS[kind]))
    await app.settle(seconds=7200)
    assert await app.state(ConnectionId(connection_id)) == "pruned"
    assert app.leftovers()["assignments"] == []


# --- sweeps --------------------------------------------------------------------------------------


@of_every_type
async def test_a_sweep_finds_nothing_wrong_and_then_a_grant_that_is_gone(app: LocalApp, kind: str):
    connection_id = await connected(app, target=target(kind))
    await swept(app)
    assert await drift_of(app, connection_id) == []
    [grant] = app.world.grants.values()
    app.world.grants.clear()
    assert (await swept(app))["totals"]["drift"] == {"role-missing": 1}
    [thing] = await drift_of(app, connection_id)
    assert thing.endswith(f" on {grant.scope}")


@of_every_type
async def test_a_repair_after_a_sweep_makes_the_grant_again(tmp_path: Path, app: LocalApp, kind: str):
    connection_id = await connected(app, target=target(kind))
    before = dict(app.world.grants)
    app.world.grants.clear()
    name = {"name": "orders-blob", "clusterId": CLUSTER, "namespace": "shop"}
    await app.send({"action": "repair", "connection": name}, message_id="r")
    await app.settle()
    assert app.world.grants == before
    assert await app.state(ConnectionId(connection_id)) == "configured"


@of_every_type
async def test_a_grant_to_an_identity_that_is_gone_is_told(app: LocalApp, kind: str):
    connection_id = await connected(app, target=target(kind))
    stored = (await app.services.state.intents(naming.connection_of(connection_id)))["role_assignments"]
    [item] = stored.planned["assignments"]
    [(root, _)] = app.world.grants
    dead = {**item, "principalId": "dead", "name": "an-old-name"}
    [grant] = app.world.grants.values()
    old = dataclasses.replace(grant, name="an-old-name", principal_id="dead")
    app.world.grants[root, "an-old-name"] = old
    earlier = stored.model_copy(update={"previous": (Plan(planned={"assignments": [dead]}),)})
    row = Upsert(key="i|role_assignments", columns=columns(earlier))
    await app.store.transact("connections", connection_id, [row])
    assert (await swept(app))["totals"]["drift"] == {"role-stale": 1}
    await app.send(delete_body(), message_id="d")
    await app.settle()
    assert app.leftovers()["assignments"] == [], "and goes with the connection"


async def test_one_list_serves_all_connections_of_an_account_and_a_refused_one_says_nothing(app: LocalApp):
    for name in ("one", "two"):
        await connected(app, name, target=target("cosmos-sql"))
    before = app.journal.names().count("cosmos.list")
    await swept(app)
    assert app.journal.names().count("cosmos.list") == before + 1
    app.world.grants.clear()

    def refuse(call: Call) -> BaseException | None:
        return PermanentError("access-denied", "no") if call.name == "cosmos.list" else None

    app.journal.before = refuse
    found = await swept(app)
    assert "drift" not in found["totals"]
    assert found["details"] == {"roles-not-listed": 1}


# --- restored ------------------------------------------------------------------------------------


@of_every_type
@pytest.mark.parametrize("linker_id", ["", f"{CLUSTER}/providers/Microsoft.ServiceLinker/linkers/theirs"])
async def test_the_role_of_a_restored_connection_is_looked_for_where_it_was_given(
    app: LocalApp, kind: str, linker_id: str
):
    app.world.slow_grants = False
    bench = Bench(app, target_type=kind, target_id=TARGETS[kind])
    await bench.up_to("role_assignments")
    bench.connection = bench.connection.model_copy(update={"linker_id": linker_id})
    client_id = str(bench.intents["managed_identity"].outputs["clientId"])
    account = SavedObject(
        uid="u",
        labels={},
        restorable=True,
        operation_id=bench.operation.operation_id,
        saved_at=app.clock.now(),
        kind="ServiceAccount",
        namespace="shop",
        name=naming.service_account_name(client_id),
        annotations={ANNOTATION_CLIENT_ID: client_id},
    )
    found = {one.name: one.result for one in await hops.of(bench.context("restored_objects"), [account])}
    assert found["identity-exists"] == "ok"
    server = f"{GROUP}/providers/Microsoft.DBforPostgreSQL/flexibleServers/pg/databases/db"
    user = Bench(app, "of-a-server", target_type="postgres-flexible", target_id=server)
    of_server = {one.name: one.result for one in await hops.of(user.context("restored_objects"), [account])}
    assert of_server["role-assigned"] == "unknown"
    outside = app.services.engine.outside
    assert await granting.held_by(outside, DATABASE_USER, server, client_id) == []
    assert found["role-assigned"] == ("failed" if linker_id else "ok"), "theirs is one of Azure's roles"


# --- what services refuse ------------------------------------------------------------------------


@of_every_type
@pytest.mark.parametrize("verb", ["ensure", "delete", "get", "list"])
async def test_a_call_that_fails_once_is_made_again(app: LocalApp, kind: str, verb: str):
    port, failed = {"cosmos-sql": "cosmos", "redis": "redis"}[kind], []

    def fail(call: Call) -> BaseException | None:
        if call.name == f"{port}.{verb}" and not failed:
            failed.append(call.name)
            return TransientError("service-error", "once")
        return None

    app.journal.before = fail
    await connected(app, target=target(kind))
    await app.send(delete_body(), message_id="d")
    await app.settle(seconds=3600)
    assert app.leftovers() == {"identities": [], "assignments": [], "objects": [], "users": []}
    assert failed


async def test_without_the_right_to_grant_the_create_fails_and_its_delete_leaves_nothing(app: LocalApp):
    def refuse(call: Call) -> BaseException | None:
        denied = PermanentError("access-denied", "no", remedy="Grant the app's identity the missing action")
        return denied if call.name == "cosmos.ensure" else None

    app.journal.before = refuse
    record = await app.send(create_body(target=target("cosmos-sql")), message_id="c")
    await app.settle()
    [create] = await app.operations(record.connection_id)
    assert create.state is OperationState.FAILED
    await app.send(delete_body(), message_id="d")
    await app.settle()
    assert app.leftovers() == {"identities": [], "assignments": [], "objects": [], "users": []}


async def test_a_second_intent_of_the_workload_at_one_cache_is_refused_and_the_first_lives(app: LocalApp):
    first = await connected(app, "one", target=target("redis"))
    record = await app.send(create_body("two", target=target("redis"), intent="read"), message_id="two")
    await app.settle()
    [create] = await app.operations(record.connection_id)
    assert (create.state, create.code) == (OperationState.FAILED, "access-policy-taken")
    assert await app.state(ConnectionId(first)) == "configured"
    assert len(app.world.grants) == 1


@of_every_type
async def test_an_update_of_the_intent_leaves_the_narrower_right_alone(app: LocalApp, kind: str):
    connection_id = await connected(app, target=target(kind))
    body = create_body(target=target(kind), intent="read")
    app.world.slow_grants = False
    _, plan, _ = await HttpApp(app).call("plan_connection", body={**body, "action": "update"})
    app.world.slow_grants = True
    changed = plan["changes"]["roleAssignments"]
    await app.send({**body, "action": "update"}, message_id="u")
    await app.settle()
    assert await app.state(ConnectionId(connection_id)) == "configured"
    [grant] = app.world.grants.values()
    role = grant.role_definition_id.rsplit("/", 1)[-1]
    assert role in {"00000000-0000-0000-0000-000000000001", "Data Reader"}
    assert [len(changed["add"]), len(changed["remove"])] == [1, 1]
    await app.send(delete_body(), message_id="d")
    await app.settle()
    assert app.leftovers() == {"identities": [], "assignments": [], "objects": [], "users": []}
