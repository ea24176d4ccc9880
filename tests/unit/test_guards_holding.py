"""What holds a prune or turns it into a report: living linkers, the cap, uses that nobody may list."""

import dataclasses

import pytest

from shared import naming
from shared.errors import NotYetError
from shared.models import Kind
from shared.ports import Linker
from tests.fakes.local_app import CLUSTER, STORAGE, LocalApp
from tests.fakes.step_bench import Bench

LINKER = f"{CLUSTER}/providers/Microsoft.ServiceLinker/linkers/orders-blob"


@pytest.fixture
async def bench(app: LocalApp) -> Bench:
    made = Bench(app)
    await made.up_to("settings")
    made.rules = dataclasses.replace(made.rules, prune_confirm_seconds=0, prune_grace_seconds=0)
    return made


def put_linker(app: LocalApp) -> None:
    app.world.linkers[naming.fold_id(LINKER)] = Linker(
        resource_id=LINKER,
        name="orders-blob",
        namespace="shop",
        target_id=STORAGE,
        client_id="",
        client_type="none",
        provisioning_state="Succeeded",
    )
    app.world.add_resource(LINKER)


# --- what a living linker holds ------------------------------------------------------------------


@pytest.mark.parametrize("cause", ["target", "identity", "credential"])
async def test_what_is_gone_under_a_living_linker_is_reported_and_nothing_is_removed(
    bench: Bench, cause: str
):
    identity_id = str(bench.intents["managed_identity"].outputs["resourceId"])
    gone = {
        "target": STORAGE,
        "identity": identity_id,
        "credential": f"{identity_id}/federatedIdentityCredentials/x",
    }[cause]
    if cause == "credential":
        bench.app.world.credentials[naming.fold_id(identity_id)].clear()
    else:
        bench.app.world.remove(gone)
    put_linker(bench.app)
    bench.connection = bench.connection.model_copy(update={"linker_id": LINKER})
    bench.become(Kind.PRUNE, cause=cause, resource_id=gone)
    result = await bench.apply("confirm_gone")
    assert result.ends_operation == "linker-alive"
    assert (result.outputs["reported"], result.outputs["linkerId"]) == (True, LINKER)
    assert LINKER in result.remedy
    bench.app.world.remove(LINKER)
    assert (await bench.apply("confirm_gone")).outputs["fact"] == "gone"


async def test_the_linker_itself_its_cluster_and_its_namespace_decide(bench: Bench):
    bench.connection = bench.connection.model_copy(update={"linker_id": LINKER})
    put_linker(bench.app)
    bench.become(Kind.PRUNE, cause="linker", resource_id=LINKER)
    assert (await bench.apply("confirm_gone")).ends_operation == "resource-alive"
    bench.become(Kind.PRUNE, cause="namespace", resource_id=f"{CLUSTER}/namespaces/shop")
    bench.app.world.clusters[naming.fold_id(CLUSTER)].namespaces.discard("shop")
    assert (await bench.apply("confirm_gone")).outputs["fact"] == "gone"


# --- the cap -------------------------------------------------------------------------------------


async def test_what_met_the_cap_stays_held_when_the_hour_ends_and_goes_on_when_released(bench: Bench):
    bench.rules = dataclasses.replace(bench.rules, prune_cap_per_hour=0)
    bench.app.world.remove(STORAGE)
    bench.become(Kind.PRUNE)
    with pytest.raises(NotYetError, match="held until released"):
        await bench.apply("confirm_gone")
    asked = len(bench.app.journal.calls)
    bench.rules = dataclasses.replace(bench.rules, prune_cap_per_hour=20)
    bench.app.clock.advance(3599)
    with pytest.raises(NotYetError, match="cap"):
        await bench.apply("confirm_gone")
    assert len(bench.app.journal.calls) == asked, "held prunes ask Azure once an hour"
    bench.app.clock.advance(1)
    with pytest.raises(NotYetError, match="cap"):
        await bench.apply("confirm_gone")
    assert "resources.get" in bench.app.journal.names()[asked:]
    bench.operation = bench.operation.model_copy(update={"released": True})
    assert (await bench.apply("confirm_gone")).outputs["fact"] == "gone"


async def test_a_held_prune_whose_resource_returns_ends_within_the_hour(bench: Bench):
    bench.rules = dataclasses.replace(bench.rules, prune_cap_per_hour=0)
    bench.app.world.remove(STORAGE)
    bench.become(Kind.PRUNE)
    with pytest.raises(NotYetError, match="cap"):
        await bench.apply("confirm_gone")
    bench.app.world.add_resource(STORAGE)
    bench.app.clock.advance(3600)
    assert (await bench.apply("confirm_gone")).ends_operation == "resource-alive"


async def test_a_release_confirms_the_cause_anew(bench: Bench):
    bench.rules = dataclasses.replace(bench.rules, prune_cap_per_hour=0)
    bench.app.world.remove(STORAGE)
    bench.become(Kind.PRUNE)
    with pytest.raises(NotYetError, match="cap"):
        await bench.apply("confirm_gone")
    bench.app.world.add_resource(STORAGE)
    bench.operation = bench.operation.model_copy(update={"released": True})
    assert (await bench.apply("confirm_gone")).ends_operation == "resource-alive"


# --- uses ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("step", ["settings", "service_account"])
async def test_a_prune_that_may_not_list_the_uses_is_held(bench: Bench, step: str):
    bench.app.world.remove(STORAGE)
    bench.become(Kind.PRUNE)
    bench.app.clusters.may_list_uses = False
    world = bench.world()
    with pytest.raises(NotYetError, match="uses-unknown"):
        await bench.revert(step)
    assert bench.world() == world
    bench.app.clusters.may_list_uses = True
    assert (await bench.revert(step)).outputs["removed"]


@pytest.mark.parametrize("kind", ["Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "Job", "CronJob"])
@pytest.mark.parametrize("step", ["settings", "service_account"])
async def test_what_a_workload_without_pods_names_is_in_use(bench: Bench, step: str, kind: str):
    name = str(bench.intents[step].planned["name"])
    spec = {"serviceAccountName": name, "containers": [{"envFrom": [{"secretRef": {"name": name}}]}]}
    body = {"spec": {"replicas": 0, "template": {"spec": spec}}}
    if kind == "CronJob":
        body = {"spec": {"suspend": True, "jobTemplate": body}}
    bench.app.clusters.put_workload(CLUSTER, "shop", kind, "idle", body)
    bench.app.world.remove(STORAGE)
    bench.become(Kind.PRUNE)
    with pytest.raises(NotYetError, match=f"is used by {kind} idle"):
        await bench.revert(step)
    bench.app.clusters.remove_workload(CLUSTER, "shop", kind, "idle")
    assert (await bench.revert(step)).outputs["removed"]


@pytest.mark.parametrize("step", ["settings", "service_account"])
async def test_what_a_custom_resource_that_is_scaled_to_zero_needs_is_in_use(bench: Bench, step: str):
    name = str(bench.intents[step].planned["name"])
    spec = {"serviceAccountName": name, "containers": [{"envFrom": [{"secretRef": {"name": name}}]}]}
    owner = {"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "name": "r", "controller": True}
    body = {
        "metadata": {"ownerReferences": [owner]},
        "spec": {"replicas": 0, "template": {"spec": spec}},
    }
    bench.app.clusters.put_workload(CLUSTER, "shop", "ReplicaSet", "r-1", body)
    bench.app.world.remove(STORAGE)
    bench.become(Kind.PRUNE)
    with pytest.raises(NotYetError, match="is used by ReplicaSet r-1"):
        await bench.revert(step)
    bench.app.clusters.remove_workload(CLUSTER, "shop", "ReplicaSet", "r-1")
    assert (await bench.revert(step)).outputs["removed"]


async def test_a_secret_that_an_account_lists_is_in_use(bench: Bench):
    name = str(bench.intents["settings"].planned["name"])
    bench.app.clusters.put_workload(
        CLUSTER, "shop", "ServiceAccount", "robot", {"imagePullSecrets": [{"name": name}]}
    )
    bench.become(Kind.PRUNE)
    with pytest.raises(NotYetError, match="is used by ServiceAccount robot"):
        await bench.revert("settings")


async def test_a_step_lists_the_uses_of_a_namespace_once(bench: Bench):
    bench.app.world.remove(STORAGE)
    bench.become(Kind.PRUNE)
    for step in ("settings", "service_account"):
        before = len(bench.app.journal.calls)
        await bench.revert(step)
        assert bench.app.journal.names()[before:].count("clusters.list_uses") == 1
