"""A cluster that takes no Entra tokens is not asked; what hangs on it in Azure is ended all the same."""

from pathlib import Path
from typing import Any

import pytest

from shared import cluster_commands, naming
from shared.models import Operation
from tests.fakes.http_app import HttpApp
from tests.fakes.local_app import (
    CLUSTER,
    STORAGE,
    LocalApp,
    create_body,
    delete_body,
    deletion_event,
    make_app,
)
from tests.fakes.looks import described
from tests.fakes.sweeps import connected
from tests.fakes.their_linker import LINKER, POLICY, make_linker

ENABLING = cluster_commands.enable_entra(CLUSTER)
CODE = "cluster-without-entra"


async def newest(app: LocalApp, connection_id: str) -> Operation:
    return (await app.operations(connection_id))[-1]


def asked(app: LocalApp) -> set[str]:
    """What the cluster itself was asked."""
    return {call.name for call in app.journal.calls if call.name.startswith("clusters.")} - {
        "clusters.describe"
    }


@pytest.mark.parametrize("key", [False, True], ids=["identity", "key"])
async def test_a_create_is_refused_with_the_command_before_the_cluster_is_asked(app: LocalApp, *, key: bool):
    if key:
        app.policy_file.write_text(app.policy_file.read_text() + '\nauth = ["secret"]\n')
    body: dict[str, Any] = create_body()
    if key:
        body["connection"] = {**body["connection"], "authType": "secret"}
    described(app, entra=False)
    record = await app.send(body)
    await app.settle()
    failed = await newest(app, record.connection_id)
    assert (failed.state, failed.code, failed.remedy) == ("failed", CODE, ENABLING)
    assert asked(app) == set()
    assert (app.world.identities, app.world.assignments) == ({}, {})


async def test_a_create_works_once_the_command_was_carried_out(app: LocalApp):
    described(app, entra=False)
    record = await app.send(create_body())
    await app.settle()
    assert await app.state(record.connection_id) == "failed"
    described(app, entra=True)
    await app.send(create_body(), message_id="again")
    await app.settle()
    assert await app.state(record.connection_id) == "configured"


async def test_a_plan_says_it_with_the_command_and_asks_the_cluster_nothing(app: LocalApp):
    described(app, entra=False)
    status, plan, _ = await HttpApp(app).call("plan_connection", body=create_body())
    assert (status, plan["result"]) == (200, "failed")
    failed = {one["name"]: one["remedy"] for one in plan["findings"] if one["result"] == "failed"}
    assert failed == {"cluster-takes-entra": ENABLING}
    assert asked(app) == set()


async def test_a_delete_ends_access_in_azure_and_says_what_keeps_it_from_the_rest(app: LocalApp):
    connection_id = await connected(app)
    described(app, entra=False)
    await app.send(delete_body(), message_id="delete")
    await app.settle()
    failed = await newest(app, connection_id)
    assert (failed.state, failed.code, failed.remedy) == ("failed", CODE, ENABLING)
    assert app.world.assignments == {}
    assert not any(app.world.credentials.values())
    assert len(app.world.clusters[naming.fold_id(CLUSTER)].objects) == 2

    described(app, entra=True)
    await app.send(delete_body(), message_id="again")
    await app.settle()
    assert await app.state(connection_id) == "deleted"
    assert not any(app.leftovers().values())


async def test_a_delete_is_done_once_the_cluster_is_gone_too(app: LocalApp):
    connection_id = await connected(app)
    described(app, entra=False)
    await app.send(delete_body(), message_id="delete")
    await app.settle()
    app.world.remove(CLUSTER)
    await app.send(delete_body(), message_id="again")
    await app.settle()
    assert await app.state(connection_id) == "deleted"
    assert app.world.identities == {}


async def test_a_prune_says_it_and_takes_nothing_from_the_cluster(tmp_path: Path):
    app = make_app(tmp_path, MOORING_PRUNE_CONFIRM_SECONDS="1", MOORING_PRUNE_GRACE_SECONDS="1")
    connection_id = await connected(app)
    app.world.remove(STORAGE)
    described(app, entra=False)
    await app.services.events.receive(deletion_event(STORAGE))
    await app.settle()
    failed = await newest(app, connection_id)
    assert (failed.state, failed.code, failed.remedy) == ("failed", CODE, ENABLING)
    assert len(app.world.clusters[naming.fold_id(CLUSTER)].objects) == 2


async def test_a_linker_there_is_not_adopted(app: LocalApp):
    app.policy_file.write_text(POLICY)
    make_linker(app)
    described(app, entra=False)
    record = await app.send({"action": "adopt", "linkerId": LINKER})
    assert (record.outcome, record.code, record.remedy) == ("rejected", CODE, ENABLING)
