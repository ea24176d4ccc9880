"""A prune removes nothing before confirm_gone has seen twice, beside a witness, that its cause is gone."""

import dataclasses
from datetime import timedelta

import pytest

from shared import naming
from shared.errors import NotYetError, PermanentError, TransientError
from shared.models import ConnectionState, Kind
from tests.fakes.local_app import CLUSTER, GROUP, IDENTITY_GROUP, STORAGE, LocalApp
from tests.fakes.resources import InMemoryResources
from tests.fakes.step_bench import Bench

OTHER = STORAGE.replace("Accounts/orders", "Accounts/other")


@pytest.fixture
async def bench(app: LocalApp) -> Bench:
    made = Bench(app)
    await made.up_to("settings")
    return made


def rules(bench: Bench, **changes: float) -> None:
    bench.rules = dataclasses.replace(bench.rules, **changes)  # type: ignore[arg-type]


def pruning(bench: Bench, **changes: object) -> None:
    bench.app.world.remove(STORAGE)
    bench.become(Kind.PRUNE, **changes)


async def outcome(bench: Bench) -> tuple[str, float | None]:
    """Reason and seconds of the wait that confirm_gone asks for."""
    with pytest.raises(NotYetError) as caught:
        await bench.apply("confirm_gone")
    return caught.value.reason, caught.value.seconds


async def test_a_living_resource_ends_the_prune(bench: Bench):
    bench.become(Kind.PRUNE)
    result = await bench.apply("confirm_gone")
    assert (result.ends_operation, result.outputs) == ("resource-alive", {"fact": "alive"})


async def test_gone_is_a_fact_only_when_it_was_seen_twice_with_a_pause(bench: Bench):
    rules(bench, prune_grace_seconds=0)
    pruning(bench)
    assert await outcome(bench) == ("confirm", 60)
    bench.app.clock.advance(59)
    assert await outcome(bench) == ("confirm", 1)
    first = bench.app.clock.now() - timedelta(seconds=59)
    bench.app.clock.advance(1)
    result = await bench.apply("confirm_gone")
    assert (result.outputs["fact"], result.outputs["firstGoneAt"]) == ("gone", first.isoformat())
    assert result.outputs["confirmedAt"] == bench.app.clock.now().isoformat()


async def test_a_resource_that_comes_back_between_the_looks_ends_the_prune(bench: Bench):
    pruning(bench)
    await outcome(bench)
    bench.app.world.add_resource(STORAGE)
    bench.app.clock.advance(60)
    assert (await bench.apply("confirm_gone")).ends_operation == "resource-alive"


async def test_what_an_earlier_prune_saw_is_no_proof_for_a_later_one(bench: Bench):
    pruning(bench)
    await outcome(bench)
    bench.app.clock.advance(1000)
    bench.become(Kind.PRUNE)
    assert await outcome(bench) == ("confirm", 60)


@pytest.mark.parametrize("error", [TransientError("busy"), PermanentError("forbidden")])
async def test_nothing_is_pruned_on_doubt(bench: Bench, error: TransientError | PermanentError):
    pruning(bench)
    fake: InMemoryResources = bench.app.services.engine.outside.resources._port  # type: ignore[attr-defined]
    fake.broken[naming.fold_id(STORAGE)] = error
    with pytest.raises(type(error)):
        await bench.apply("confirm_gone")


async def test_a_target_that_can_come_back_is_waited_for(bench: Bench):
    rules(bench, prune_grace_seconds=900)
    pruning(bench)
    await outcome(bench)
    bench.app.clock.advance(60)
    assert await outcome(bench) == ("grace", 900)
    bench.app.clock.advance(900)
    assert (await bench.apply("confirm_gone")).outputs["fact"] == "gone"


async def test_the_best_witness_is_another_of_the_same_type_that_answers_now(bench: Bench):
    rules(bench, prune_grace_seconds=0, prune_confirm_seconds=0)
    limits = bench.app.services.engine.limits
    bench.app.world.add_resource(OTHER)
    for one in (f"{OTHER}-gone", OTHER):
        await limits.remember_canary(one, api_version="2023-05-01")
    pruning(bench)
    assert (await bench.apply("confirm_gone")).outputs["witness"] == naming.fold_id(OTHER)


async def test_failing_that_the_group_is_the_witness_and_failing_that_the_cluster(bench: Bench):
    rules(bench, prune_grace_seconds=0, prune_confirm_seconds=0)
    pruning(bench)
    assert (await bench.apply("confirm_gone")).outputs["witness"] == naming.fold_id(GROUP)
    bench.app.world.groups.discard(naming.fold_id(GROUP))
    assert (await bench.apply("confirm_gone")).outputs["witness"] == CLUSTER


async def test_without_any_witness_nothing_is_pruned(bench: Bench):
    rules(bench, prune_grace_seconds=0, prune_confirm_seconds=0)
    pruning(bench)
    fake: InMemoryResources = bench.app.services.engine.outside.resources._port  # type: ignore[attr-defined]
    fake.broken[naming.fold_id(CLUSTER)] = PermanentError("forbidden")
    bench.app.world.groups.discard(naming.fold_id(GROUP))
    assert await outcome(bench) == ("no-canary", 300)
    fake.broken[naming.fold_id(CLUSTER)] = TransientError("busy")
    with pytest.raises(TransientError):
        await bench.apply("confirm_gone")


@pytest.mark.parametrize("cause", ["identity", "credential", "cluster", "linker"])
async def test_other_causes_have_no_grace_and_witnesses_of_their_own(bench: Bench, cause: str):
    rules(bench, prune_confirm_seconds=0)
    world = bench.app.world
    identity_id = str(bench.intents["managed_identity"].outputs["resourceId"])
    gone = {
        "identity": identity_id,
        "credential": f"{identity_id}/federatedIdentityCredentials/x",
        "cluster": CLUSTER,
        "linker": f"{CLUSTER}/providers/Microsoft.ServiceLinker/linkers/x",
    }[cause]
    if cause in {"identity", "cluster"}:
        world.remove(gone)
    if cause == "credential":
        world.credentials[naming.fold_id(identity_id)].clear()
    bench.become(Kind.PRUNE, cause=cause, resource_id=gone)
    expected = {
        "identity": IDENTITY_GROUP,
        "credential": identity_id,
        "cluster": GROUP,
        "linker": CLUSTER,
    }[cause]
    outputs = (await bench.apply("confirm_gone")).outputs
    assert (outputs["fact"], outputs["witness"]) == ("gone", naming.fold_id(expected))


async def test_when_the_whole_group_of_the_cluster_is_gone_the_target_elsewhere_is_the_witness(app: LocalApp):
    elsewhere = STORAGE.replace("/resourceGroups/rg/", "/resourceGroups/data/")
    app.world.add_resource(elsewhere, {"properties": {"primaryEndpoints": {"blob": "https://x/"}}})
    bench = Bench(app, target_id=elsewhere)
    rules(bench, prune_confirm_seconds=0)
    await bench.up_to("preflight")
    app.world.remove(GROUP)
    bench.become(Kind.PRUNE, cause="cluster", resource_id=CLUSTER)
    assert (await bench.apply("confirm_gone")).outputs["witness"] == elsewhere


async def test_the_cap_of_a_cluster_holds_the_rest_until_it_is_released(app: LocalApp):
    one, other = Bench(app), Bench(app, "orders-blob-2")
    for bench in (one, other):
        await bench.up_to("settings")
        rules(bench, prune_grace_seconds=0, prune_confirm_seconds=0, prune_cap_per_hour=1)
    pruning(one)
    pruning(other)
    app.clock.advance(600)
    await one.apply("confirm_gone")
    await one.apply("confirm_gone")
    assert await outcome(other) == ("cap", 300)
    other.become(Kind.PRUNE, report_only=True)
    assert (await other.apply("confirm_gone")).outputs["fact"] == "gone", "a report removes nothing"
    other.become(Kind.PRUNE)
    assert await outcome(other) == ("cap", 300)
    app.clock.advance(7200)
    assert await outcome(other) == ("cap", 300), "another hour releases nothing"
    other.operation = other.operation.model_copy(update={"released": True})
    assert (await other.apply("confirm_gone")).outputs["fact"] == "gone"


async def test_an_orphaned_connection_is_not_orphaned_twice(bench: Bench):
    bench.connection = bench.connection.model_copy(update={"state": ConnectionState.ORPHANED})
    bench.become(Kind.PRUNE, cause="cluster", resource_id=CLUSTER)
    assert (await bench.apply("confirm_gone")).ends_operation == "already-orphaned"
    assert not any(name.startswith("resources.") for name in bench.app.journal.names()[-1:])


async def test_a_prune_without_its_cause_is_a_defect_that_fails(bench: Bench):
    bench.become(Kind.DELETE)
    with pytest.raises(PermanentError, match="missing-cause"):
        await bench.apply("confirm_gone")
