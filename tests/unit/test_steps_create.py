"""Before and after a create: preflight finds what would fail, prove says whether access works."""

import dataclasses
from pathlib import Path

import pytest

from shared import naming, plans
from shared.errors import NotYetError, PermanentError
from shared.models import Kind
from shared.ports import Linker
from tests.fakes.local_app import CLUSTER, STORAGE, LocalApp, create_body, make_app
from tests.fakes.step_bench import Bench

KEY = naming.fold_id(CLUSTER)


@pytest.fixture
def bench(app: LocalApp) -> Bench:
    return Bench(app)


def describe(app: LocalApp, **changes: object) -> None:
    cluster = app.world.clusters[KEY]
    cluster.described = dataclasses.replace(cluster.described, **changes)  # type: ignore[arg-type]


def linker(app: LocalApp, name: str, namespace: str) -> None:
    linker_id = f"{CLUSTER}/providers/Microsoft.ServiceLinker/linkers/{name}"
    app.world.linkers[naming.fold_id(linker_id)] = Linker(
        resource_id=linker_id,
        name=name,
        namespace=namespace,
        target_id=STORAGE,
        client_id="",
        client_type="none",
        provisioning_state="Succeeded",
    )


async def refusal(bench: Bench) -> PermanentError:
    with pytest.raises(PermanentError) as caught:
        await bench.apply("preflight")
    assert bench.intents == {}, "nothing was meant to be made"
    return caught.value


async def test_what_is_fit_passes_with_issuer_location_and_facts(bench: Bench):
    outputs = (await bench.apply("preflight")).outputs
    assert outputs["issuer"] == bench.app.world.clusters[KEY].described.issuer
    assert outputs["location"] == "westeurope"
    assert outputs["facts"]["endpoint"] == "https://orders.blob.core.windows.net/"
    assert bench.dependents == [("target", STORAGE), ("cluster", CLUSTER)]
    assert [
        one.resource_id for one in await bench.app.services.engine.limits.canaries(f"{STORAGE}2", limit=9)
    ] == [naming.fold_id(STORAGE)]


@pytest.mark.parametrize(
    ("changes", "code", "remedy"),
    [
        (
            {"power_state": "Stopped"},
            "cluster-stopped",
            "az aks start --subscription 11111111-1111-4111-8111-111111111111 -g rg -n aks1",
        ),
        ({"entra": False}, "cluster-without-entra", "az aks update --enable-aad --subscription"),
        ({"issuer": ""}, "workload-identity-off", "--enable-oidc-issuer --enable-workload-identity"),
        ({"workload_identity": False}, "workload-identity-off", "az aks update --enable-oidc"),
    ],
)
async def test_an_unfit_cluster_is_refused_with_the_command_that_mends_it(
    bench: Bench, changes: dict[str, object], code: str, remedy: str
):
    describe(bench.app, **changes)
    error = await refusal(bench)
    assert error.code == code
    assert remedy in error.remedy


@pytest.mark.parametrize("state", ["Updating", "Upgrading", "Creating"])
async def test_a_cluster_that_is_being_changed_is_waited_for(bench: Bench, state: str):
    describe(bench.app, provisioning_state=state)
    with pytest.raises(NotYetError, match="cluster-updating"):
        await bench.apply("preflight")


@pytest.mark.parametrize("state", ["Canceling", "Deleting", "Migrating", "Starting", "Stopping", ""])
async def test_so_is_one_in_any_state_that_ends_by_itself_or_that_nobody_knows(bench: Bench, state: str):
    describe(bench.app, provisioning_state=state)
    with pytest.raises(NotYetError, match="cluster-updating"):
        await bench.apply("preflight")


@pytest.mark.parametrize("state", ["Failed", "Canceled"])
async def test_a_cluster_whose_last_change_came_to_no_good_end_is_used_and_said(bench: Bench, state: str):
    describe(bench.app, provisioning_state=state)
    outputs = (await bench.apply("preflight")).outputs
    [said] = outputs["warnings"]
    assert (said["name"], said["result"]) == ("cluster-running", "warning")
    assert state in said["detail"]
    assert said["remedy"].startswith("az aks show --subscription")


async def test_one_that_was_stopped_after_that_is_still_stopped(bench: Bench):
    describe(bench.app, provisioning_state="Failed", power_state="Stopped")
    assert (await refusal(bench)).code == "cluster-stopped"


async def test_what_does_not_exist_is_named(bench: Bench):
    bench.app.world.clusters[KEY].namespaces.discard("shop")
    error = await refusal(bench)
    assert (error.code, error.remedy) == ("namespace-missing", "kubectl create namespace shop")
    bench.app.world.resources.pop(naming.fold_id(STORAGE))
    assert (await refusal(bench)).code == "target-not-found"
    bench.app.world.remove(CLUSTER)
    assert (await refusal(bench)).code == "cluster-not-found"


async def test_a_target_without_an_endpoint_is_refused(bench: Bench):
    bench.app.world.resources[naming.fold_id(STORAGE)]["properties"] = {}
    assert (await refusal(bench)).code == "endpoint-missing"


async def test_a_linker_that_computes_the_same_secret_is_refused_and_others_are_not(bench: Bench):
    linker(bench.app, "ordersblob", "other")
    linker(bench.app, "other", "shop")
    await bench.apply("preflight")
    bench.intents.clear()
    linker(bench.app, "orders_BLOB", "shop")
    error = await refusal(bench)
    assert (error.code, "orders_BLOB" in error.detail) == ("linker-holds-name", True)


async def test_a_secret_that_is_not_ours_is_found_before_anything_is_made(bench: Bench):
    bench.app.clusters.put_object(CLUSTER, "Secret", "shop", "sc-ordersblob-secret")
    error = await refusal(bench)
    assert error.code == "object-not-ours"
    assert "kubectl delete secret sc-ordersblob-secret" in error.remedy


async def test_our_own_secret_of_an_earlier_try_is_no_obstacle(bench: Bench):
    await bench.up_to("settings")
    await bench.apply("preflight")


async def test_findings_say_what_has_changed_since(bench: Bench):
    await bench.up_to("settings")
    describe(bench.app, issuer="https://issuer.example/new/")
    findings = await bench.check("preflight")
    assert findings["issuer-unchanged"].result == "failed"
    assert "new" in findings["issuer-unchanged"].detail
    assert findings["issuer-unchanged"].remedy
    bench.app.world.remove(STORAGE)
    bench.app.world.remove(CLUSTER)
    findings = await bench.check("preflight")
    assert {name: one.result for name, one in findings.items()} == {
        "target-exists": "failed",
        "cluster-exists": "failed",
    }


async def test_a_validation_after_the_cluster_is_gone_lists_findings_and_does_not_fail(app: LocalApp):
    record = await app.send(create_body())
    await app.settle()
    app.world.remove(CLUSTER)
    await app.send({"action": "validate", "connectionId": record.connection_id}, message_id="v")
    await app.settle()
    operation = (await app.operations(record.connection_id))[-1]
    assert operation.state == "succeeded"
    snapshot = await app.services.state.load(operation.operation_id)
    assert snapshot is not None
    found = {
        finding["name"]: finding["result"]
        for step in snapshot.steps.values()
        for finding in step.value.outputs["findings"]
    }
    assert found["cluster-exists"] == "failed"
    assert found["settings-looked-at"] == "failed"
    assert found["identity-exists"] == "ok"


# --- prove ---------------------------------------------------------------------------------------


@pytest.fixture
async def proving(tmp_path: Path) -> Bench:
    bench = Bench(make_app(tmp_path, MOORING_PROVE="on"))
    await bench.up_to("settings")
    return bench


async def test_without_leave_to_prove_nothing_is_tried(bench: Bench):
    await bench.up_to("settings")
    calls = len(bench.app.journal.names())
    assert (await bench.apply("prove")).outputs == {"result": "off"}
    assert (await bench.check("prove"))["access-proved"].result == "unknown"
    assert len(bench.app.journal.names()) == calls


async def test_access_that_works_is_proved(proving: Bench):
    assert (await proving.apply("prove")).outputs == {"result": "proved"}
    assert (await proving.check("prove"))["access-proved"].result == "ok"


async def test_access_that_is_refused_is_waited_for_and_found(proving: Bench):
    proving.app.world.assignments.clear()
    with pytest.raises(NotYetError, match="the target answered 403") as caught:
        await proving.apply("prove")
    assert caught.value.reason == "propagation"
    assert (await proving.check("prove"))["access-proved"].result == "failed"
    proving.app.world.credentials.clear()
    proving.app.world.credentials[next(iter(proving.app.world.identities))] = {}
    with pytest.raises(NotYetError, match="AADSTS700213"):
        await proving.apply("prove")
    assert "AADSTS700213" in (await proving.check("prove"))["access-proved"].detail


async def test_what_cannot_be_reached_from_here_is_no_failure(proving: Bench):
    proving.app.world.data_planes.clear()
    assert (await proving.apply("prove")).outputs == {"result": "not-reachable-from-here"}
    found = (await proving.check("prove"))["access-proved"]
    assert (found.result, found.detail) == ("unknown", "not-reachable-from-here")


async def test_access_that_never_works_fails_the_create_which_stays_configured(tmp_path: Path):
    app = make_app(tmp_path, MOORING_PROVE="on")
    app.journal.after = None
    record = await app.send(create_body())
    for _ in range(len(plans.CREATE_STAGES) - 1):
        await app.pump()
    app.world.assignments.clear()
    await app.settle(seconds=3600)
    [operation] = await app.operations(record.connection_id)
    assert (operation.state, operation.code) == ("failed", "never-propagated")
    assert await app.state(record.connection_id) == "configured"
    assert operation.kind is Kind.CREATE
