"""Before and after a removal: quiesce waits for what was overtaken, verify_gone looks for what came late."""

from datetime import timedelta

import pytest

from shared import naming, plans
from shared.errors import NotYetError, PermanentError, TransientError
from shared.models import Kind, OperationId
from shared.ports import Credential, Remove
from shared.steps.base import SETTLED_AT
from tests.fakes.journal import Call
from tests.fakes.local_app import CLUSTER, LocalApp
from tests.fakes.step_bench import Bench


@pytest.fixture
async def bench(app: LocalApp) -> Bench:
    made = Bench(app)
    await made.up_to("settings")
    return made


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
