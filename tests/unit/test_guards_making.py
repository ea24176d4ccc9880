"""Making cluster objects: what somebody else makes in the same moment is never written into."""

import pytest

from shared import naming
from shared.errors import PermanentError, TransientError
from shared.models import Kind
from shared.steps.base import ANNOTATION_NONCE, LABEL_CONNECTION, LABEL_MANAGED_BY, LABEL_WORKLOAD
from tests.fakes.azure_world import StoredObject
from tests.fakes.journal import Call
from tests.fakes.local_app import CLUSTER, LocalApp
from tests.fakes.step_bench import Bench

KINDS = {"settings": "Secret", "service_account": "ServiceAccount"}
steps = pytest.mark.parametrize("step", sorted(KINDS))


@pytest.fixture
async def bench(app: LocalApp) -> Bench:
    made = Bench(app)
    await made.up_to("federated_credential")
    return made


def name_of(bench: Bench, step: str) -> str:
    client_id = bench.intents["managed_identity"].outputs["clientId"]
    return {
        "settings": naming.secret_name(bench.connection.spec.name),
        "service_account": naming.service_account_name(client_id),
    }[step]


def stored(bench: Bench, step: str) -> StoredObject | None:
    objects = bench.app.world.clusters[naming.fold_id(CLUSTER)].objects
    return objects.get((KINDS[step], "shop", name_of(bench, step)))


def interfere(bench: Bench, step: str, labels: dict[str, str]) -> None:
    """Somebody makes the object after our look and before our write."""

    def rule(call: Call) -> BaseException | None:
        if call.name in {"clusters.create", "clusters.apply"} and stored(bench, step) is None:
            bench.app.clusters.put_object(
                CLUSTER,
                KINDS[step],
                "shop",
                name_of(bench, step),
                labels=labels,
                annotations={"theirs": "yes"},
            )
        return None

    bench.app.journal.before = rule


@steps
async def test_what_somebody_makes_between_our_look_and_our_write_is_not_touched(bench: Bench, step: str):
    interfere(bench, step, {"team": "shop"})
    with pytest.raises(PermanentError, match="object-not-ours") as caught:
        await bench.apply(step)
    assert caught.value.remedy
    found = stored(bench, step)
    assert found is not None
    assert (found.labels, found.annotations, found.data) == ({"team": "shop"}, {"theirs": "yes"}, {})
    bench.app.journal.before = None
    bench.become(Kind.DELETE)
    await bench.revert(step)
    assert stored(bench, step) is not None, "what was refused is not removed later either"


@steps
async def test_what_another_run_of_ours_makes_between_look_and_write_is_gone_on_with(bench: Bench, step: str):
    mark = {
        "settings": (LABEL_CONNECTION, bench.connection.connection_id),
        "service_account": (LABEL_WORKLOAD, bench.context(step).workload_key),
    }[step]
    interfere(bench, step, dict([mark, (LABEL_MANAGED_BY, naming.MANAGED_BY)]))
    done = await bench.apply(step)
    found = stored(bench, step)
    assert found is not None
    assert done.outputs["uid"] == found.uid
    assert found.annotations[ANNOTATION_NONCE] == bench.intents[step].planned["nonce"]


@steps
async def test_what_is_absent_is_posted_and_what_is_ours_is_applied(bench: Bench, step: str):
    await bench.apply(step)
    assert "clusters.create" in bench.app.journal.names()
    assert "clusters.apply" not in bench.app.journal.names()
    first = stored(bench, step)
    assert first is not None
    uid = first.uid
    done = await bench.apply(step)
    assert bench.app.journal.names().count("clusters.create") == 1
    assert "clusters.apply" in bench.app.journal.names()
    assert done.outputs["uid"] == uid


@steps
async def test_a_crash_between_the_post_and_its_record_is_healed(bench: Bench, step: str):
    await bench.apply(step)
    before = stored(bench, step)
    assert before is not None
    bench.lose_record(step)
    done = await bench.apply(step)
    after = stored(bench, step)
    assert after is not None
    assert done.outputs["uid"] == before.uid == after.uid
    assert after.annotations[ANNOTATION_NONCE] == bench.intents[step].planned["nonce"]


@steps
async def test_an_object_that_comes_and_goes_is_tried_again(bench: Bench, step: str):
    def rule(call: Call) -> BaseException | None:
        return PermanentError("object-exists") if call.name == "clusters.create" else None

    bench.app.journal.before = rule
    with pytest.raises(TransientError, match="object-flickers"):
        await bench.apply(step)
    bench.app.journal.before = None
    await bench.apply(step)
    assert stored(bench, step) is not None


@steps
async def test_another_refusal_of_a_post_is_told_as_it_is(bench: Bench, step: str):
    def rule(call: Call) -> BaseException | None:
        return PermanentError("kubernetes-access-denied") if call.name == "clusters.create" else None

    bench.app.journal.before = rule
    with pytest.raises(PermanentError, match="kubernetes-access-denied"):
        await bench.apply(step)


async def test_a_create_makes_each_object_by_one_post(app: LocalApp):
    bench = Bench(app)
    await bench.up_to("settings")
    assert app.journal.names().count("clusters.create") == 2
