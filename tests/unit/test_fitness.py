"""Each thing that keeps a connection from being made is a finding of its own, with what to do about it."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable
from typing import Any

import pytest

from shared import fitness, naming, requests
from shared.catalogue import catalogue
from shared.errors import PermanentError, TransientError
from shared.fitness import Fit, Fitness
from shared.models import ConnectionSpec, Finding
from shared.ports import Linker
from tests.fakes.http_app import HttpApp
from tests.fakes.journal import Call
from tests.fakes.local_app import (
    APP_CLIENT_ID,
    CLUSTER,
    IDENTITY_GROUP,
    STORAGE,
    LocalApp,
    create_body,
    delete_body,
)
from tests.fakes.target_examples import Example, examples
from tests.fakes.their_linker import IDENTITY, LINKER, make_linker

OWN = (
    f"{IDENTITY_GROUP}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/"
    f"{naming.identity_name(CLUSTER, 'shop', 'orders')}"
)


def spec_of(**changes: Any) -> ConnectionSpec:
    request = requests.CreateRequest.model_validate(create_body(**changes))
    return requests.to_spec(request)


async def looked(app: LocalApp, *, within: float = 10.0, **changes: Any) -> tuple[Fit, dict[str, Finding]]:
    """The fit, and its findings by name."""
    spec = spec_of(**changes)
    looking: Fitness = dataclasses.replace(app.services.dry_run.fitness, look_seconds=within)
    fit = await looking.look(spec, app.services.catalogue.find(spec.target_type))
    assert [one.name for one in fit.findings] == list(fitness.NAMES)
    return fit, {one.name: one for one in fit.findings}


def bad(findings: dict[str, Finding]) -> dict[str, str]:
    return {name: one.result for name, one in findings.items() if one.result != "ok"}


def described(app: LocalApp, **changes: Any) -> None:
    cluster = app.world.clusters[naming.fold_id(CLUSTER)]
    cluster.described = dataclasses.replace(cluster.described, **changes)


async def test_all_is_well_where_all_is_there(app: LocalApp):
    fit, findings = await looked(app)
    assert bad(findings) == {}
    assert (fit.made, fit.identity, fit.credentials) == (False, None, ())
    assert fit.facts
    assert fit.cluster


INSIDE = dict.fromkeys(("namespace-exists", "secret-free", "service-account-free"), "unknown")

Change = Callable[[LocalApp], Any]
FAULTS: list[tuple[str, Change, dict[str, str], str, str]] = [
    (
        "no cluster",
        lambda app: app.world.remove(CLUSTER),
        {
            "cluster-exists": "failed",
            **dict.fromkeys(("cluster-running", "issuer-on", "workload-identity-on"), "unknown"),
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
        f"az aks start --ids {CLUSTER}",
    ),
    (
        "an updating cluster",
        lambda app: described(app, provisioning_state="Updating"),
        {"cluster-running": "warning", **INSIDE},
        "cluster-running",
        "a create waits for it",
    ),
    (
        "no issuer",
        lambda app: described(app, issuer=""),
        {"issuer-on": "failed"},
        "issuer-on",
        f"az aks update --ids {CLUSTER} --enable-oidc-issuer --enable-workload-identity",
    ),
    (
        "no workload identity",
        lambda app: described(app, workload_identity=False),
        {"workload-identity-on": "failed"},
        "workload-identity-on",
        f"az aks update --ids {CLUSTER} --enable-oidc-issuer --enable-workload-identity",
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
        {"target-exists": "failed"},
        "target-exists",
        "",
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
    assert bad(findings) == {"target-exists": "failed", "workload-identity-on": "failed"}


@pytest.mark.parametrize(("change", "results"), [row[1:3] for row in FAULTS], ids=[row[0] for row in FAULTS])
async def test_a_create_fails_exactly_on_what_is_said_to_fail(
    app: LocalApp, change: Change, results: dict[str, str]
):
    change(app)
    await app.send(create_body())
    await app.settle()
    state = await app.state(naming.connection_id(CLUSTER, "shop", "orders-blob"))
    assert state == ("failed" if "failed" in results.values() else "connecting")


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


# --- identities ----------------------------------------------------------------------------------


async def test_an_identity_of_the_workloads_name_without_its_tag_is_somebody_elses(app: LocalApp):
    await app.services.engine.outside.identities.ensure(OWN, location="westeurope", tags={})
    fit, findings = await looked(app)
    assert bad(findings) == {
        "identity-usable": "failed",
        "service-account-free": "unknown",
        "credential-budget": "unknown",
    }
    assert (fit.identity, fit.credentials) == (None, None)
    assert findings["identity-usable"].remedy == "delete that identity, or name it as identityId"


async def test_a_provided_identity_must_be_there(app: LocalApp):
    _, findings = await looked(app, identityId=IDENTITY)
    assert findings["identity-usable"].detail.startswith("identity-not-found")


async def test_the_apps_own_identity_is_no_workloads(app: LocalApp):
    theirs = make_linker(app)
    own = dataclasses.replace(theirs.identity, client_id=APP_CLIENT_ID.upper())
    app.world.identities[naming.fold_id(IDENTITY)] = own
    _, findings = await looked(app, identityId=IDENTITY)
    assert findings["identity-usable"].detail.startswith("identity-forbidden")


async def test_the_clusters_own_identity_is_no_workloads(app: LocalApp):
    make_linker(app)
    described(app, forbidden_identities=(naming.fold_id(IDENTITY),))
    _, findings = await looked(app, identityId=IDENTITY)
    assert findings["identity-usable"].detail.startswith("identity-forbidden")
    assert findings["identity-usable"].remedy == "name another identity, or none"


# --- bounds --------------------------------------------------------------------------------------


def breaking(app: LocalApp, name: str, error: Exception) -> None:
    def rule(call: Call) -> BaseException | None:
        return error if call.name == name else None

    app.journal.before = rule


async def test_what_azure_does_not_tell_now_is_unknown_and_the_rest_is_said(app: LocalApp):
    breaking(app, "resources.get", TransientError("service-unavailable", "try later"))
    fit, findings = await looked(app)
    assert bad(findings) == {"target-exists": "unknown"}
    assert findings["target-exists"].detail == "service-unavailable: try later"
    assert fit.facts is None


async def test_a_right_that_is_missing_is_a_finding_with_its_remedy(app: LocalApp):
    breaking(app, "clusters.get", PermanentError("kubernetes-access-denied", "secrets", remedy="bind it"))
    _, findings = await looked(app)
    assert bad(findings) == {"secret-free": "failed"}
    assert findings["secret-free"].remedy == "bind it"


async def test_credentials_that_cannot_be_listed_are_not_taken_for_none(app: LocalApp):
    make_linker(app)
    breaking(app, "identities.list_credentials", TransientError("timeout"))
    fit, findings = await looked(app, identityId=IDENTITY)
    assert (fit.credentials, findings["credential-budget"].result) == (None, "unknown")


async def test_a_look_that_never_ends_is_given_up(app: LocalApp, monkeypatch: pytest.MonkeyPatch):
    never = asyncio.Event()

    async def hang(*_arguments: Any, **_options: Any) -> None:
        await never.wait()

    monkeypatch.setattr(app.clusters, "describe", hang)
    _, findings = await looked(app, within=0.01)
    assert findings["cluster-exists"].result == "unknown"
    assert findings["cluster-exists"].detail == "no answer within 0.01 s"
    assert findings["target-exists"].result == "ok"


async def test_without_a_cluster_a_provided_identity_is_looked_at_all_the_same(app: LocalApp):
    make_linker(app)
    app.world.remove(CLUSTER)
    fit, findings = await looked(app, identityId=IDENTITY)
    assert (findings["identity-usable"].result, findings["credential-budget"].result) == ("ok", "ok")
    assert len(fit.credentials or ()) == 1


async def test_a_plan_shows_unknown_where_it_could_not_see(app: LocalApp):
    breaking(app, "identities.get", TransientError("timeout"))
    _, found, _ = await HttpApp(app).call("plan_connection", body=create_body())
    assert found["result"] == "unknown"
    assert (found["identity"]["exists"], found["federatedCredential"]["used"]) == (None, None)


ANSWERED = [one for row in catalogue().rows if row.id_template for one in examples(row)]


@pytest.mark.parametrize("example", ANSWERED, ids=str)
async def test_the_facts_are_those_of_the_target_and_of_what_is_above_it(app: LocalApp, example: Example):
    row = example.row
    app.world.add_resource(row.existence_id(example.id), dict(example.answer))
    if example.parent is not None:
        app.world.add_resource(row.parent_id(example.id), dict(example.parent))
    spec = spec_of().model_copy(update={"target_type": row.name, "target_id": example.id})
    fit = await app.services.dry_run.fitness.look(spec, row)
    assert fit.facts is not None
    assert {**fit.facts, "clientId": ""} == {**example.facts(), "clientId": ""}
