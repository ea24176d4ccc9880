"""Before and after a removal: quiesce, confirm_gone, verify_gone."""

import dataclasses
from datetime import timedelta

import pytest

from shared import naming, plans
from shared.errors import NotYetError, PermanentError, TransientError
from shared.models import ConnectionState, Kind, OperationId
from shared.ports import Credential, Remove
from shared.steps.base import SETTLED_AT
from tests.fakes.journal import Call
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


# --- quiesce -------------------------------------------------------------------------------------


async def test_a_delete_that_overtook_nothing_does_not_wait(bench: Bench):
    bench.become(Kind.DELETE)
    assert (await bench.apply("quiesce")).outputs == {}


async def test_a_delete_waits_for_the_longest_lease_of_what_it_overtook(bench: Bench):
    bench.become(Kind.DELETE, overtakes=(OperationId("a"), OperationId("b")))
    bench.leases = {"a": 20.0, "b": 100.0}
    with pytest.raises(NotYetError) as caught:
        await bench.apply("quiesce")
    assert (caught.value.reason, caught.value.seconds) == ("quiesce", 3.0)
    bench.leases = {}
    settled = (await bench.apply("quiesce")).outputs[SETTLED_AT]
    assert settled == (bench.app.clock.now() + timedelta(seconds=150)).isoformat()


# --- verify_gone ---------------------------------------------------------------------------------


async def removed(bench: Bench, **outputs: str) -> None:
    bench.become(Kind.DELETE)
    bench.done["quiesce"] = outputs
    for step in plans.REVERT:
        await bench.revert(step)


async def test_after_an_overtaken_write_a_whole_lease_is_waited_for(bench: Bench):
    until = bench.app.clock.now() + timedelta(seconds=150)
    await removed(bench, **{SETTLED_AT: until.isoformat()})
    bench.app.clock.advance(100)
    with pytest.raises(NotYetError) as caught:
        await bench.apply("verify_gone")
    assert (caught.value.reason, caught.value.seconds) == ("settle", 50)
    bench.app.clock.advance(50)
    kinds = ["role", "credential", "Secret", "ServiceAccount", "identity"]
    assert (await bench.apply("verify_gone")).outputs == {"verified": kinds}


@pytest.mark.parametrize("step", plans.REVERT)
async def test_a_write_that_lands_late_is_removed_again(bench: Bench, step: str):
    intents = dict(bench.intents)
    await removed(bench)
    if step == "federated_credential":
        identity_id = str(intents["managed_identity"].planned["resourceId"])
        bench.app.world.credentials[naming.fold_id(identity_id)] = {}
    gone = bench.world()
    # The overtaken create's write lands now: exactly what had been planned, nonce and all.
    late = Bench(bench.app)
    late.intents = {
        name: one.model_copy(update={"outputs": {}}) if name == step else one for name, one in intents.items()
    }
    await _without_users(late, step)
    assert bench.world() != gone
    with pytest.raises(TransientError, match="came-back") as caught:
        await bench.apply("verify_gone")
    assert caught.value.detail
    assert bench.world() == gone
    await bench.apply("verify_gone")


async def _without_users(late: Bench, step: str) -> None:
    """Let one step write, and take its users row away: it was closed and forgotten by the delete."""
    world = late.app.world
    if step == "federated_credential":
        identity_id = str(late.intents[step].planned["identityId"])
        planned = late.intents[step].planned
        world.credentials.setdefault(naming.fold_id(identity_id), {})[str(planned["name"])] = Credential(
            name=str(planned["name"]),
            issuer=str(planned["issuer"]),
            subject=str(planned["subject"]),
            audiences=("a",),
        )
        return
    before = {row.partition for row in late.app.store.rows("users")}
    await late.apply(step)
    for row in late.app.store.rows("users"):
        if row.partition not in before:
            await late.app.store.transact("users", row.partition, [Remove(key=row.key)])


@pytest.mark.parametrize(
    "step", ["managed_identity", "role_assignments", "federated_credential", "service_account"]
)
async def test_what_somebody_uses_again_is_theirs_and_stays(app: LocalApp, bench: Bench, step: str):
    await removed(bench)
    other = Bench(app, "orders-blob-2")
    await other.up_to("settings")
    world = other.world()
    await bench.apply("verify_gone")
    assert other.world() == world


async def test_what_bears_our_names_but_not_our_marks_stays(bench: Bench):
    await removed(bench)
    world = bench.app.world
    identity_id = bench.intents["managed_identity"].planned["resourceId"]
    await bench.app.services.engine.outside.identities.ensure(identity_id, location="x", tags={"o": "t"})
    bench.app.clusters.put_object(CLUSTER, "Secret", "shop", "sc-ordersblob-secret")
    await bench.apply("verify_gone")
    assert len(world.identities) == 1
    assert len(world.clusters[naming.fold_id(CLUSTER)].objects) == 1


async def test_with_the_cluster_gone_its_objects_are_verified_and_other_faults_are_not_hidden(bench: Bench):
    await removed(bench)

    def rule(call: Call) -> BaseException | None:
        return PermanentError("kube-forbidden") if call.name == "clusters.get" else None

    bench.app.journal.before = rule
    with pytest.raises(PermanentError, match="kube-forbidden"):
        await bench.apply("verify_gone")
    bench.app.journal.before = None
    bench.app.world.remove(CLUSTER)
    await bench.apply("verify_gone")


# --- confirm_gone --------------------------------------------------------------------------------


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
