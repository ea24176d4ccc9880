"""Each thing that keeps a connection from being made is a finding of its own, with what to do about it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from shared import cluster_commands, naming
from shared.models import ConnectionState
from shared.ports import Linker
from shared.steps.registration import target_missing
from tests.fakes.local_app import CLUSTER, STORAGE, LocalApp, create_body, delete_body
from tests.fakes.looks import bad, described, looked
from tests.fakes.their_linker import LINKER, THEIRS, make_linker


async def test_all_is_well_where_all_is_there(app: LocalApp):
    fit, findings = await looked(app)
    assert bad(findings) == {}
    assert (fit.made, fit.identity, fit.credentials) == (False, None, ())
    assert fit.facts
    assert fit.cluster


TARGET = dict.fromkeys(("target-provisioned", "target-healthy", "network"), "unknown")
INSIDE = dict.fromkeys(("namespace-exists", "secret-free", "service-account-free"), "unknown")

Change = Callable[[LocalApp], Any]
FAULTS: list[tuple[str, Change, dict[str, str], str, str]] = [
    (
        "no cluster",
        lambda app: app.world.remove(CLUSTER),
        {
            "cluster-exists": "failed",
            **dict.fromkeys(("cluster-running", "cluster-takes-entra"), "unknown"),
            **dict.fromkeys(("issuer-on", "workload-identity-on"), "unknown"),
            **INSIDE,
        },
        "cluster-exists",
        "",
    ),
    (
        "a stopped cluster",
        lambda app: described(app, power_state="Stopped"),
        {"cluster-running": "failed", **INSIDE},
        "cluster-running",
        cluster_commands.start(CLUSTER),
    ),
    (
        "an updating cluster",
        lambda app: described(app, provisioning_state="Updating"),
        {"cluster-running": "warning", **INSIDE},
        "cluster-running",
        "a create waits for it",
    ),
    (
        "a cluster with local accounts only",
        lambda app: described(app, entra=False),
        {"cluster-takes-entra": "failed", **INSIDE},
        "cluster-takes-entra",
        cluster_commands.enable_entra(CLUSTER),
    ),
    (
        "no issuer",
        lambda app: described(app, issuer=""),
        {"issuer-on": "failed"},
        "issuer-on",
        cluster_commands.enable_workload_identity(CLUSTER),
    ),
    (
        "no workload identity",
        lambda app: described(app, workload_identity=False),
        {"workload-identity-on": "failed"},
        "workload-identity-on",
        cluster_commands.enable_workload_identity(CLUSTER),
    ),
    (
        "no namespace",
        lambda app: app.world.clusters[naming.fold_id(CLUSTER)].namespaces.discard("shop"),
        {"namespace-exists": "failed"},
        "namespace-exists",
        "kubectl create namespace shop",
    ),
    (
        "no target",
        lambda app: app.world.remove(STORAGE),
        {"target-exists": "failed", **TARGET},
        "target-exists",
        target_missing(STORAGE).remedy,
    ),
    (
        "a target without an endpoint",
        lambda app: app.world.add_resource(STORAGE, {"properties": {}}),
        {"target-exists": "failed"},
        "target-exists",
        "",
    ),
    (
        "somebody's secret",
        lambda app: app.clusters.put_object(CLUSTER, "Secret", "shop", "sc-ordersblob-secret", data={}),
        {"secret-free": "failed"},
        "secret-free",
        "kubectl delete secret sc-ordersblob-secret --namespace shop, if nothing needs it",
    ),
]


@pytest.mark.parametrize(
    ("change", "results", "name", "remedy"), [row[1:] for row in FAULTS], ids=[row[0] for row in FAULTS]
)
async def test_each_fault_is_found_beside_all_that_is_well(
    app: LocalApp, change: Change, results: dict[str, str], name: str, remedy: str
):
    change(app)
    _, findings = await looked(app)
    assert bad(findings) == results
    assert findings[name].remedy == remedy


async def test_two_faults_are_both_said(app: LocalApp):
    app.world.remove(STORAGE)
    described(app, workload_identity=False)
    _, findings = await looked(app)
    assert bad(findings) == {"target-exists": "failed", "workload-identity-on": "failed", **TARGET}


@pytest.mark.parametrize(("change", "results"), [row[1:3] for row in FAULTS], ids=[row[0] for row in FAULTS])
async def test_a_create_fails_exactly_on_what_is_said_to_fail(
    app: LocalApp, change: Change, results: dict[str, str]
):
    change(app)
    await app.send(create_body())
    await app.settle()
    state = await app.state(naming.connection_id(CLUSTER, "shop", "orders-blob"))
    assert state == ("failed" if "failed" in results.values() else "connecting")


@pytest.mark.parametrize("state", ["Failed", "Canceled"])
async def test_a_last_change_of_the_cluster_that_failed_is_said_and_hinders_no_create(
    app: LocalApp, state: str
):
    described(app, provisioning_state=state)
    _, findings = await looked(app)
    assert bad(findings) == {"cluster-running": "warning"}
    assert findings["cluster-running"].remedy == cluster_commands.show(CLUSTER)
    await app.send(create_body())
    await app.settle()
    assert await app.state(naming.connection_id(CLUSTER, "shop", "orders-blob")) == "configured"


# --- names ---------------------------------------------------------------------------------------


async def test_a_linker_that_writes_the_secret_holds_the_name(app: LocalApp):
    app.world.linkers[naming.fold_id(LINKER)] = Linker(
        resource_id=LINKER,
        name="orders_blob",
        namespace="shop",
        target_id=STORAGE,
        client_id="",
        client_type="none",
        provisioning_state="Succeeded",
    )
    _, findings = await looked(app)
    assert bad(findings) == {"linker-name-free": "failed"}
    assert findings["linker-name-free"].remedy


@pytest.mark.parametrize("settle", [False, True])
@pytest.mark.parametrize(
    ("changes", "code"),
    [({"name": "Orders.Blob"}, "name-collision"), ({"clientType": "java"}, "body-differs")],
)
async def test_another_connection_of_the_name_under_way_or_made_holds_it(
    app: LocalApp, changes: dict[str, str], code: str, *, settle: bool
):
    await app.send(create_body())
    if settle:
        await app.settle()
    _, findings = await looked(app, **changes)
    assert findings["name-free"].result == "failed"
    assert findings["name-free"].detail.startswith(code)
    assert findings["name-free"].remedy


async def test_the_same_connection_is_no_clash_and_is_made_only_once_it_is(app: LocalApp):
    await app.send(create_body())
    fit, findings = await looked(app)
    assert (fit.made, bad(findings)) == (False, {})
    await app.settle()
    fit, findings = await looked(app)
    assert (fit.made, bad(findings)) == (True, {})
    assert fit.identity is not None
    assert [one.subject for one in fit.credentials or ()] == [
        naming.subject("shop", naming.service_account_name(fit.identity.client_id))
    ]


async def test_a_name_that_is_being_deleted_is_free_for_another_connection(app: LocalApp):
    await app.send(create_body())
    await app.settle()
    await app.send(delete_body(), message_id="d")
    fit, findings = await looked(app, clientType="java")
    assert (fit.made, findings["name-free"].result) == (False, "ok")
    await app.settle()
    assert bad((await looked(app, clientType="java"))[1]) == {}


async def test_a_connection_of_service_connector_on_record_holds_its_name(app: LocalApp):
    make_linker(app)
    await app.send({"action": "adopt", "linkerId": LINKER})
    await app.settle()
    _, findings = await looked(app, name="their_blob")
    assert findings["name-free"].detail.startswith("linker-holds-name")
    assert findings["linker-name-free"].result == findings["secret-free"].result == "failed"


async def test_what_was_put_back_of_a_linker_that_is_gone_holds_no_name(app: LocalApp):
    theirs = make_linker(app)
    await app.send({"action": "adopt", "linkerId": LINKER})
    await app.settle()
    theirs.delete()
    stored = await app.services.state.connection(THEIRS)
    assert stored is not None
    restored = stored.value.model_copy(update={"state": ConnectionState.RESTORED})
    intents = list((await app.services.state.intents(THEIRS)).values())
    await app.services.state.observe(restored, intents, etag=stored.etag)
    fit, findings = await looked(app, name="their_blob")
    assert (fit.made, findings["name-free"].result) == (False, "ok")
