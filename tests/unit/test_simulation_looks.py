"""Oracles of the simulation where a thing is made, pruned or answered: each sees what it is for."""

import dataclasses

import pytest

from shared.limits import Lease
from shared.models import Cause, Intent, Kind, OperationState
from shared.naming import fold_id, service_account_name, workload_key
from shared.ports import Credential, Row
from shared.records import RequestRecord
from shared.rows import columns
from shared.steps.base import ANNOTATION_KEEP, LABEL_WORKLOAD
from tests.simulation import causes
from tests.simulation.asked import Asked
from tests.simulation.given import LINKER, NAMESPACE, connection, put_linker
from tests.simulation.pods import spec_of
from tests.simulation.ports import RUN, Run
from tests.simulation.records import Held
from tests.simulation.simulation import Simulation
from tests.simulation.wishes import Wishes
from tests.simulation.workload import Wanted
from tests.simulation.world import ACCOUNTS, CLUSTERS, PROVIDED

RUN_OF_A_PRUNE = Run("host1", 0, "prune", started_at=100.0)


@pytest.fixture
def simulated() -> Simulation:
    return Simulation(1, traced=False)


def held(simulated: Simulation, **changes: object) -> Held:
    """A connection through a team's identity, with what it relied on."""
    made, identity = connection(simulated, **changes), simulated.world.identities[fold_id(PROVIDED[0])]
    issuer = simulated.world.clusters[fold_id(CLUSTERS[0])].described.issuer
    outputs = {
        "preflight": {"issuer": issuer},
        "managed_identity": {"resourceId": PROVIDED[0], "clientId": identity.client_id},
        "federated_credential": {"identityId": PROVIDED[0], "issuer": issuer, "subject": "s", "name": "n"},
    }
    return Held(
        made,
        {
            step: Intent(
                connection_id=made.connection_id, step=step, generation=1, planned=known, outputs=known
            )
            for step, known in outputs.items()
        },
    )


# --- causes of prunes -----------------------------------------------------------------------------


def test_a_cause_that_is_there_as_the_connection_knew_it_stands(simulated: Simulation):
    world, known = simulated.world, held(simulated)
    identity = world.identities[fold_id(PROVIDED[0])]
    cluster = world.clusters[fold_id(CLUSTERS[0])]
    put_linker(simulated, "any")
    there = Credential(name="n", issuer=cluster.described.issuer, subject="s", audiences=())
    world.credentials[fold_id(PROVIDED[0])]["n"] = there
    of = {
        "identity": PROVIDED[0],
        "cluster": CLUSTERS[0],
        "namespace": f"{CLUSTERS[0]}/namespaces/{NAMESPACE}",
        "linker": LINKER,
        "credential": f"{PROVIDED[0]}/federatedIdentityCredentials/n",
    }
    all_of = {kind: Cause(kind=kind, resource_id=one) for kind, one in of.items()}
    assert {kind: causes.stands(world, known, one) for kind, one in all_of.items()} == dict.fromkeys(of, True)
    world.identities[fold_id(PROVIDED[0])] = dataclasses.replace(identity, client_id="another")
    cluster.described = dataclasses.replace(cluster.described, issuer="https://issuer.example/new/")
    world.linkers.clear()
    world.credentials[fold_id(PROVIDED[0])].clear()
    assert {kind: causes.stands(world, known, one) for kind, one in all_of.items()} == dict.fromkeys(
        of, False
    )


def test_a_linker_to_which_something_was_left_stands_while_it_works_through_that(simulated: Simulation):
    left = held(simulated, left_by="theirs", linker_id=LINKER)
    client_id = simulated.world.identities[fold_id(PROVIDED[0])].client_id
    cause = Cause(kind="linker", resource_id=LINKER)
    for works_through, stands in ((client_id, True), ("another", False)):
        put_linker(simulated, works_through)
        assert causes.stands(simulated.world, left, cause) is stands


@pytest.mark.parametrize(("kept_seconds", "told"), [(60.0, True), (86400.0 * 14, False)])
def test_an_expiry_before_its_time_is_told(simulated: Simulation, kept_seconds: float, told: bool):
    known = held(simulated, ended_at=simulated.loop.now())
    simulated.loop._now += kept_seconds
    assert causes.expired(simulated.world, known, 86400.0 * 14) is not told


# --- what keeps a thing ---------------------------------------------------------------------------


@pytest.mark.parametrize("shape", range(6))
@pytest.mark.parametrize("of", ["pod", "deployment"])
def test_a_secret_that_anything_names_in_any_way_is_not_pruned_unseen(
    simulated: Simulation, shape: int, of: str
):
    class Choice:
        @staticmethod
        def choice(options: list[object]) -> object:
            return options[shape]

    spec = spec_of(Choice(), "Secret", "sc-a-secret")  # type: ignore[arg-type]
    told: list[str] = []
    wishes, clusters = Wishes(simulated.world, told.append), simulated.outward.clusters
    for name in ("sc-a-secret", "sc-b-secret"):
        clusters.put_object(CLUSTERS[0], "Secret", NAMESPACE, name)
    simulated.world.born[fold_id(CLUSTERS[0]), NAMESPACE, "user"] = 1.0
    if of == "pod":
        clusters.put_pod(CLUSTERS[0], NAMESPACE, "user", spec)
    else:
        body = {"spec": {"replicas": 0, "template": {"spec": spec}}}
        clusters.put_workload(CLUSTERS[0], NAMESPACE, "Deployment", "user", body)
    wishes.cluster_object(RUN_OF_A_PRUNE, (CLUSTERS[0], "Secret", NAMESPACE, "sc-b-secret"), ours=False)
    assert told == []
    wishes.cluster_object(RUN_OF_A_PRUNE, (CLUSTERS[0], "Secret", NAMESPACE, "sc-a-secret"), ours=False)
    assert told == [f"Secret {NAMESPACE}/sc-a-secret is pruned while pod user uses it"]


def test_what_people_write_on_an_object_keeps_it_unless_they_wrote_it_after_the_look(simulated: Simulation):
    told: list[str] = []
    wishes, place = Wishes(simulated.world, told.append), (CLUSTERS[0], "Secret", NAMESPACE, "sc-a-secret")
    simulated.outward.clusters.put_object(
        CLUSTERS[0], "Secret", NAMESPACE, "sc-a-secret", annotations={ANNOTATION_KEEP: "true"}
    )
    wishes.cluster_object(RUN_OF_A_PRUNE, place, ours=True)
    assert [one.rpartition(", ")[2] for one in told] == [
        "and somebody has written that it stays",
        "and somebody took our mark off",
    ]
    told.clear()
    simulated.world.handled[fold_id(CLUSTERS[0]), *place[1:]] = 101.0
    wishes.cluster_object(RUN_OF_A_PRUNE, place, ours=True)
    assert told == []


@pytest.mark.parametrize(("since", "told"), [(50.0, 1), (150.0, 0)])
def test_an_identity_that_somebody_trusts_in_is_not_pruned_unseen(
    simulated: Simulation, since: float, told: int
):
    found: list[str] = []
    key = fold_id(PROVIDED[0])
    simulated.world.credentials[key]["hand"] = Credential(name="hand", issuer="i", subject="s", audiences=())
    simulated.world.trusted[key, "hand"] = since
    Wishes(simulated.world, found.append).identity(RUN_OF_A_PRUNE, key)
    assert len(found) == told


# --- what is made and answered --------------------------------------------------------------------


@pytest.fixture
def played() -> Simulation:
    made = Simulation(2, traced=False)
    assert made.run().violations == []
    return made


def test_what_is_made_is_meant_and_has_its_maker_among_its_users(
    played: Simulation, monkeypatch: pytest.MonkeyPatch
):
    oracles, records = played.oracles, played.records
    create = next(one for one in records.operations() if one.kind is Kind.CREATE)
    going = create.model_copy(update={"state": OperationState.RUNNING, "generation": 77})
    monkeypatch.setattr(records, "operation", lambda _: going)
    run = Run("host1", 0, "settings/1", connection_id=create.connection_id, operation_id=create.operation_id)
    monkeypatch.setattr(records, "held_by", lambda _: held(played))
    issuer = played.world.clusters[fold_id(CLUSTERS[0])].described.issuer
    ours = Credential(name="n", issuer=issuer, subject="s", audiences=())
    oracles._makings.credential(run, PROVIDED[0], ours)
    assert oracles.violations == ["credential n is made by settings/1 and its maker is not among its users"]
    oracles.violations.clear()
    oracles._makings.cluster_object(run, CLUSTERS[0], "Secret", NAMESPACE, "sc-a-secret")
    assert oracles.violations == [
        f"Secret {NAMESPACE}/sc-a-secret is made by settings/1 and nothing says that it was meant to be"
    ]
    oracles.violations.clear()
    monkeypatch.setattr(records, "operation", lambda _: create)
    oracles._makings.cluster_object(run, CLUSTERS[0], "Secret", NAMESPACE, "sc-a-secret")
    assert oracles.violations == [], "of a run that was overtaken something may land"


def test_a_delete_that_finds_nothing_while_a_create_is_under_way_is_told(
    played: Simulation, monkeypatch: pytest.MonkeyPatch
):
    create = next(one for one in played.records.operations() if one.kind is Kind.CREATE)
    going = create.model_copy(update={"state": OperationState.RUNNING})
    monkeypatch.setattr(played.records, "operations", lambda: iter([going]))
    played.world.opened[create.operation_id] = 10.0
    record = RequestRecord(
        key="k",
        outcome="nothing-to-do",
        action="delete",
        connection_id=create.connection_id,
        received_at=played.loop.now(),
    )
    rows = played.oracles._rows
    for started_at, told in ((5.0, 0), (20.0, 1)):
        token = RUN.set(Run("host1", 0, "request", started_at=started_at))
        rows._decided(record)
        RUN.reset(token)
        assert len(played.oracles.violations) == told
    played.oracles.violations.clear()
    rows._decided(record)
    assert played.oracles.violations == [], "a person's own look is no run"


def test_a_request_that_another_kind_of_operation_carries_out_is_told(
    played: Simulation, monkeypatch: pytest.MonkeyPatch
):
    asked = Asked(played.workload, played.oracles, played.store)
    assert [*asked.recorded()] == []
    create = next(one for one in played.records.operations() if one.kind is Kind.CREATE)
    ended = create.model_copy(update={"state": OperationState.SUPERSEDED})
    monkeypatch.setattr(played.records, "operation", lambda _: ended)
    told = [*asked.recorded()]
    assert any(one.endswith("asked to delete and create carries it out") for one in told)
    assert f"delete {create.operation_id} was overtaken" in told


def test_what_is_not_made_in_calm_is_told_unless_something_stands_against_it(played: Simulation):
    asked = Asked(played.workload, played.oracles, played.store)
    wanted = next(iter(asked.again().values()))
    # As if it had been answered like the first request, whose connection is gone by now.
    first = next(iter(played.store.tables["requests"].values()))["request"]
    record = played.records.parse(RequestRecord, first.columns)
    asked._record = lambda _: record  # type: ignore[method-assign]
    assert [*asked.made({"r": wanted})]
    played.world.resources.pop(fold_id(wanted.target))
    assert [*asked.made({"r": wanted})] == []


def test_an_account_that_another_workload_of_an_identity_has_stands_against_a_connection(
    simulated: Simulation,
):
    asked = Asked(simulated.workload, simulated.oracles, simulated.store)
    wanted = Wanted("a", CLUSTERS[0], NAMESPACE, "work", ACCOUNTS[0], "none", identity_id=PROVIDED[0])
    client_id = simulated.world.identities[fold_id(PROVIDED[0])].client_id
    for workload, taken in (("work", False), ("other", True)):
        labels = {LABEL_WORKLOAD: workload_key(CLUSTERS[0], NAMESPACE, workload)}
        simulated.outward.clusters.put_object(
            CLUSTERS[0], "ServiceAccount", NAMESPACE, service_account_name(client_id), labels=labels
        )
        assert asked._account_taken(wanted) is taken
    assert not asked._account_taken(dataclasses.replace(wanted, identity_id=""))


@pytest.mark.parametrize(
    ("holder", "age_seconds", "told"), [("mine", 1.0, 0), ("theirs", 1.0, 1), ("theirs", 99.0, 0)]
)
def test_a_live_lease_that_another_gives_back_is_told(
    simulated: Simulation, holder: str, age_seconds: float, told: int
):
    lease = Lease(holder=holder, seconds=60.0)
    at = simulated.loop.now()
    row = Row(
        partition="lease|x",
        key="lease",
        columns=columns(lease, holder=holder),
        etag="e",
        written_at=at,
        read_at=at,
    )
    simulated.loop._now += age_seconds
    token = RUN.set(Run("host1", 0, "credential", operation_id="mine"))
    simulated.oracles.row("subscriptions", "lease|x", "lease", row, None)
    RUN.reset(token)
    assert len(simulated.oracles.violations) == told
