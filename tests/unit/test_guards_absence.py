"""What counts as gone: namespaces, expired orphans, clusters of another incarnation; and what does not."""

import dataclasses
from datetime import timedelta

import pytest

from shared import naming
from shared.errors import NotYetError, PermanentError, TransientError
from shared.models import Cause, ConnectionState, Done, Kind
from shared.steps.proof_of_absence import newer_than_event
from tests.fakes.azure_world import StoredCluster
from tests.fakes.clock import START
from tests.fakes.journal import Call
from tests.fakes.local_app import CLUSTER, STORAGE, LocalApp
from tests.fakes.step_bench import Bench

NAMESPACE = f"{CLUSTER}/namespaces/shop"
DAY_SECONDS = 86_400


@pytest.fixture
async def bench(app: LocalApp) -> Bench:
    made = Bench(app)
    await made.up_to("settings")
    made.rules = dataclasses.replace(made.rules, prune_confirm_seconds=0, prune_grace_seconds=0)
    return made


def cluster(bench: Bench) -> StoredCluster:
    return bench.app.world.clusters[naming.fold_id(CLUSTER)]


async def namespace_prune(bench: Bench, resource_id: str = NAMESPACE) -> Done:
    bench.become(Kind.PRUNE, cause="namespace", resource_id=resource_id)
    return await bench.apply("confirm_gone")


# --- namespaces ----------------------------------------------------------------------------------


async def test_a_namespace_is_gone_when_its_own_cluster_says_so_and_shows_another(bench: Bench):
    cluster(bench).namespaces.discard("shop")
    outputs = (await namespace_prune(bench)).outputs
    assert (outputs["fact"], outputs["witness"]) == ("gone", f"{CLUSTER}/namespaces/default")


async def test_a_namespace_is_looked_at_twice(bench: Bench):
    bench.rules = dataclasses.replace(bench.rules, prune_confirm_seconds=60)
    cluster(bench).namespaces.discard("shop")
    with pytest.raises(NotYetError, match="confirm"):
        await namespace_prune(bench)
    cluster(bench).namespaces.add("shop")
    bench.app.clock.advance(60)
    assert (await bench.apply("confirm_gone")).ends_operation == "resource-alive"


async def test_a_namespace_that_is_on_its_way_out_is_not_gone_yet(bench: Bench):
    cluster(bench).terminating.add("shop")
    with pytest.raises(NotYetError, match="confirm: namespace shop is being removed"):
        await namespace_prune(bench)


@pytest.mark.parametrize("issuer", ["https://issuer.example/new/", ""])
async def test_a_namespace_that_a_rebuilt_cluster_lacks_proves_nothing(bench: Bench, issuer: str):
    cluster(bench).namespaces.discard("shop")
    cluster(bench).described = dataclasses.replace(cluster(bench).described, issuer=issuer)
    if issuer:
        assert (await namespace_prune(bench)).ends_operation == "cluster-replaced"
    else:
        with pytest.raises(NotYetError, match="no-canary"):
            await namespace_prune(bench)
    assert not [name for name in bench.app.journal.names() if name == "clusters.namespace_phase"]


async def test_a_namespace_of_a_cluster_that_is_gone_is_left_to_the_clusters_own_prune(bench: Bench):
    bench.app.world.remove(CLUSTER)
    assert (await namespace_prune(bench)).ends_operation == "cluster-replaced"


async def test_a_namespace_is_not_gone_if_nobody_recorded_which_cluster_it_was_in(bench: Bench):
    cluster(bench).namespaces.discard("shop")
    del bench.intents["preflight"]
    with pytest.raises(NotYetError, match="no-canary"):
        await namespace_prune(bench)


async def test_without_another_namespace_as_witness_nothing_is_gone(bench: Bench):
    cluster(bench).namespaces = set()
    with pytest.raises(NotYetError, match="no-canary"):
        await namespace_prune(bench)
    cluster(bench).namespaces = {"kube-system"}

    def rule(call: Call) -> BaseException | None:
        refused = call.name == "clusters.namespace_phase" and "default" in str(call)
        return PermanentError("kubernetes-access-denied") if refused else None

    bench.app.journal.before = rule
    assert (await namespace_prune(bench)).outputs["witness"] == f"{CLUSTER}/namespaces/kube-system"


async def test_an_unreachable_cluster_has_lost_no_namespace(bench: Bench):
    cluster(bench).reachable = False
    with pytest.raises(TransientError, match="cluster-unreachable"):
        await namespace_prune(bench)


async def test_a_cause_about_another_namespace_prunes_nothing(bench: Bench):
    with pytest.raises(PermanentError, match="cause-mismatch"):
        await namespace_prune(bench, f"{CLUSTER}/namespaces/other")


async def test_a_namespace_that_returns_in_the_middle_of_its_prune_stops_it(bench: Bench):
    cluster(bench).namespaces.discard("shop")
    await namespace_prune(bench)
    cluster(bench).namespaces.add("shop")
    bench.app.clock.advance(30)
    with pytest.raises(PermanentError, match="resource-returned"):
        await bench.revert("role_assignments")
    assert bench.app.leftovers()["assignments"]


async def test_a_cluster_that_is_rebuilt_in_the_middle_of_a_namespaces_prune_stops_it(bench: Bench):
    cluster(bench).namespaces.discard("shop")
    await namespace_prune(bench)
    cluster(bench).described = dataclasses.replace(cluster(bench).described, issuer="https://i.example/n/")
    bench.app.clock.advance(30)
    with pytest.raises(PermanentError, match="resource-returned"):
        await bench.revert("role_assignments")


# --- expired orphans -----------------------------------------------------------------------------


def orphaned(bench: Bench, *, seconds: float) -> None:
    ended_at = bench.app.clock.now() - timedelta(seconds=seconds)
    update = {"state": ConnectionState.ORPHANED, "ended_at": ended_at}
    bench.connection = bench.connection.model_copy(update=update)
    bench.become(Kind.PRUNE, cause="expiry", resource_id=CLUSTER)


async def test_what_is_kept_for_a_rebuild_expires_after_its_retention_and_not_before(bench: Bench):
    orphaned(bench, seconds=14 * DAY_SECONDS - 1)
    assert (await bench.apply("confirm_gone")).ends_operation == "resource-alive"
    orphaned(bench, seconds=14 * DAY_SECONDS)
    outputs = (await bench.apply("confirm_gone")).outputs
    assert (outputs["fact"], outputs["retentionSeconds"]) == ("expired", 14 * DAY_SECONDS)


@pytest.mark.parametrize("state", [ConnectionState.CONFIGURED, ConnectionState.FAILED])
async def test_what_was_made_again_in_time_does_not_expire(bench: Bench, state: ConnectionState):
    orphaned(bench, seconds=15 * DAY_SECONDS)
    bench.connection = bench.connection.model_copy(update={"state": state})
    assert (await bench.apply("confirm_gone")).ends_operation == "resource-alive"
    bench.connection = bench.connection.model_copy(update={"ended_at": None})
    assert (await bench.apply("confirm_gone")).ends_operation == "resource-alive"


async def test_expiries_count_for_the_cap(bench: Bench):
    bench.rules = dataclasses.replace(bench.rules, prune_cap_per_hour=0)
    orphaned(bench, seconds=15 * DAY_SECONDS)
    with pytest.raises(NotYetError, match="cap"):
        await bench.apply("confirm_gone")


# --- identities, and what is newer than its event --------------------------------------------------


async def test_an_identity_that_was_made_anew_is_not_the_one_that_the_connection_used(bench: Bench):
    identity_id = str(bench.intents["managed_identity"].outputs["resourceId"])
    bench.become(Kind.PRUNE, cause="identity", resource_id=identity_id)
    assert (await bench.apply("confirm_gone")).ends_operation == "resource-alive"
    present = bench.app.world.identities[naming.fold_id(identity_id)]
    bench.app.world.identities[naming.fold_id(identity_id)] = dataclasses.replace(present, client_id="new")
    assert (await bench.apply("confirm_gone")).outputs["fact"] == "gone"
    bench.lose_record("managed_identity")
    assert (await bench.apply("confirm_gone")).ends_operation == "resource-alive", "nobody knows the old one"


def cause(event_time: str) -> Cause:
    return Cause(kind="target", resource_id=STORAGE, event_time=event_time)


@pytest.mark.parametrize(
    ("event_time", "expected"),
    [
        ("2026-11-22T09:59:59.1234567Z", True),
        ("2026-11-22T10:00:00+00:00", False),
        ("2026-11-22T11:00:00Z", False),
        ("2026-11-22T02:00:00-07:00", True),
        ("0001-01-01T00:00:00Z", True),
        ("2026-11-22T09:00:00", False),
        ("yesterday", False),
        ("", False),
    ],
)
def test_a_thing_is_newer_than_its_event_only_by_two_sound_times(event_time: str, expected: bool):
    made_at = START.replace(year=2026, month=11, day=22, hour=10, minute=0, second=0, microsecond=0)
    assert newer_than_event(cause(event_time), made_at) is expected
    assert newer_than_event(cause(event_time), None) is False


async def test_a_connection_that_is_newer_than_the_event_is_looked_at_once_more(bench: Bench):
    bench.app.world.remove(STORAGE)
    bench.become(Kind.PRUNE)
    before = (bench.connection.created_at - timedelta(days=1)).isoformat()
    old = bench.operation.cause
    assert old is not None
    update = {"cause": old.model_copy(update={"event_time": before})}
    bench.operation = bench.operation.model_copy(update=update)
    assert (await bench.apply("confirm_gone")).outputs["newerThanEvent"] is True
    looks = 0

    def rule(call: Call) -> BaseException | None:
        nonlocal looks
        looks += call.name == "resources.get" and naming.fold_id(STORAGE) in str(call).lower()
        if looks == 2:
            bench.app.world.add_resource(STORAGE)
        return None

    bench.app.journal.before = rule
    assert (await bench.apply("confirm_gone")).ends_operation == "resource-alive"


# --- what is AKS's own ---------------------------------------------------------------------------


async def test_a_credential_of_akss_identity_bindings_survives_every_revert(bench: Bench):
    [credentials] = bench.app.world.credentials.values()
    [(name, credential)] = credentials.items()
    binding = "AKS-identity-binding-shop"
    credentials[binding] = dataclasses.replace(credentials.pop(name), name=binding)
    known = bench.intents["federated_credential"]
    bench.intents["federated_credential"] = known.model_copy(
        update={"planned": {**known.planned, "name": binding}}
    )
    bench.become(Kind.DELETE)
    with pytest.raises(PermanentError, match="credential-protected"):
        await bench.revert("federated_credential")
    assert credentials == {binding: dataclasses.replace(credential, name=binding)}
