"""The simulation's own parts: oracles that see what they are for, and a report that hides nothing."""

import collections
import dataclasses
import inspect
import typing

import pytest

from shared.errors import PermanentError, TransientError
from shared.models import (
    ConnectionState,
    Direction,
    Done,
    Intent,
    Kind,
    OperationId,
    StepRecord,
    StepState,
)
from shared.naming import fold_id, secret_name, service_account_name
from shared.ports import Credential, Linker, OutcomeTopic, RoleAssignment, StateStore, StepQueue
from shared.steps.base import StepContext
from shared.steps.service_account import ServiceAccount
from shared.steps.surroundings import Outside
from tests.mutation.trials import by_seeds
from tests.simulation import left, rest
from tests.simulation.faults import CELLS, UNREACHED, UNREACHED_PORTS, WORLD_FAULTS, WRITES
from tests.simulation.given import LINKER, connection, put_linker
from tests.simulation.ports import RUN, Run
from tests.simulation.records import Held
from tests.simulation.report import empty_cells, matrix
from tests.simulation.run import _conclude
from tests.simulation.simulation import LEAST_FAULTS, Result, Simulation
from tests.simulation.world import ACCOUNTS, CLUSTERS, PROVIDED


@pytest.fixture
def run_of() -> tuple[Simulation, Run]:
    """A removal of a connection, an hour after a linker of the same cluster was made."""
    simulated = Simulation(1)
    put_linker(simulated)
    simulated.world.born[fold_id(LINKER)] = 0.0
    going = connection(simulated, state=ConnectionState.DELETING)
    ours = going.connection_id
    simulated.records._held[ours] = Held(going, {})
    return simulated, Run("host1", 0, "", connection_id=ours, started_at=3600.0)


def remove_all(simulated: Simulation, run: Run, linker: Linker) -> list[str]:
    """Show each thing of a linker to the oracle as if it were removed; what is told of it."""
    linked, world = simulated.oracles.linked, simulated.world
    provided = world.identities[fold_id(PROVIDED[0])]
    linked.cluster_object(run, "Secret", linker.namespace, secret_name(linker.name))
    account = service_account_name(linker.client_id)
    linked.cluster_object(run, "ServiceAccount", linker.namespace, account)
    issuer = world.clusters[fold_id(CLUSTERS[0])].described.issuer
    subject = f"system:serviceaccount:{linker.namespace}:{account}"
    credential = Credential(name="ours", issuer=issuer, subject=subject, audiences=())
    linked.credential(run, credential)
    role = RoleAssignment(
        scope=ACCOUNTS[0], name="n", principal_id=provided.principal_id, role_definition_id="r"
    )
    linked.role(run, ACCOUNTS[0], role)
    linked.identity(run, PROVIDED[0])
    return [text.split(" ", maxsplit=1)[0] for text in simulated.oracles.violations]


def test_nothing_that_a_living_linker_works_through_is_removed_unseen(run_of: tuple[Simulation, Run]):
    simulated, run = run_of
    linker = simulated.world.linkers[fold_id(LINKER)]
    told = remove_all(simulated, run, linker)
    assert told == ["Secret", "ServiceAccount", "credential", "role", "identity"]


def test_a_linker_that_a_run_could_not_know_of_and_one_that_is_gone_bind_nobody(
    run_of: tuple[Simulation, Run],
):
    simulated, run = run_of
    linker = simulated.world.linkers[fold_id(LINKER)]
    simulated.world.born[fold_id(LINKER)] = run.started_at - 20.0
    assert remove_all(simulated, run, linker) == []
    simulated.world.born[fold_id(LINKER)] = 0.0
    del simulated.world.linkers[fold_id(LINKER)]
    assert remove_all(simulated, run, linker) == []


def left_to_a_linker(simulated: Simulation, name: str) -> left.Left:
    """An identity stands for the sake of a linker, by the word of a removal that is done."""
    assert simulated.run().violations == []
    operation = next(one for one in simulated.records.operations() if one.kind is Kind.DELETE)
    put_linker(simulated)
    seen = left.Left(simulated.world, simulated.oracles.fail)
    step = StepRecord(
        operation_id=operation.operation_id,
        name="managed_identity",
        direction=Direction.REVERT,
        state=StepState.DONE,
        outputs={"kept": [{"kind": "identity", "id": name, "name": "n", "rule": "live-linker"}]},
    )
    seen.step(
        step.model_copy(
            update={"outputs": {"kept": [{"kind": "role", "name": "other", "rule": "still-shared"}]}}
        ),
        simulated.records,
    )
    assert seen.names() == set()
    seen.step(step, simulated.records)
    return seen


def test_what_was_left_to_a_linker_is_excused_until_a_later_life_means_to_hold_it_again(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(left, "GOES_WITH_LINKER", False)
    simulated, name = Simulation(2, traced=False), f"{PROVIDED[0]}left"
    seen = left_to_a_linker(simulated, name)
    assert seen.names() == {fold_id(name)}
    del simulated.world.linkers[fold_id(LINKER)]
    assert seen.names() == {fold_id(name)}, "a sweep tells of it, and nobody removes it"
    connection = next(simulated.records.held()).connection.connection_id
    planned = {"resourceId": name, "provenance": "created"}
    intent = Intent(connection_id=connection, step="managed_identity", generation=1, planned=planned)
    seen.intent(intent, simulated.records)
    assert seen.names() == set()


def test_what_was_left_to_a_linker_is_to_go_with_it():
    simulated = Simulation(2, traced=False)
    seen = left_to_a_linker(simulated, PROVIDED[0])
    assert seen.names() == {fold_id(PROVIDED[0])}
    del simulated.world.linkers[fold_id(LINKER)]
    assert seen.names() == set()


def test_roles_may_be_kept_for_a_linker_unread_by_a_run_that_was_refused_and_did_its_step_all_the_same():
    simulated = Simulation(2, traced=False)
    first, again = (Run(host="host1", life=1, label="role_assignments/1 op", turn=turn) for turn in (1, 1))
    row = StepRecord(
        operation_id=OperationId("0-op"),
        name="role_assignments",
        direction=Direction.APPLY,
        state=StepState.RUNNING,
    )
    seen = left.Left(simulated.world, simulated.oracles.fail)

    def written(run: Run, row: StepRecord) -> set[str]:
        token = RUN.set(run)
        seen.step(row, simulated.records)
        RUN.reset(token)
        return seen.unread

    token = RUN.set(first)
    seen.failed(PermanentError("forbidden", "simulated"))
    RUN.reset(token)
    done = row.model_copy(update={"state": StepState.DONE})
    assert written(first, row) == set()
    assert written(again, done) == set(), "it was read by the run that came again"
    assert written(first, done.model_copy(update={"name": "settings"})) == set()
    assert written(first, done) == {"0-op"}
    seen.unread.clear()
    token = RUN.set(again)
    seen.failed(TransientError("throttled", "simulated"))
    RUN.reset(token)
    assert written(again, done) == set()


def test_a_matrix_is_not_full_while_a_fault_of_the_world_was_never_met():
    struck = collections.Counter(
        {(method, cell.name): 1 for method, cells in CELLS.items() for cell in cells}
    )
    assert empty_cells(struck) == [(method, code) for code, method in WORLD_FAULTS.items()]
    row = next(line for line in matrix(struck).splitlines() if line.startswith("clusters.describe"))
    assert " 0" in row
    struck.update({(method, code): 1 for code, method in WORLD_FAULTS.items()})
    assert empty_cells(struck) == []


def test_writes_to_tables_queues_and_topic_can_land_late_and_hang():
    for method in (
        "state.transact",
        "queue.announce",
        "queue.forward_event",
        "queue.reject",
        "topic.publish",
    ):
        assert {"late", "hang"} <= {cell.how for cell in CELLS[method]}
        assert method in WRITES


@pytest.mark.parametrize(("faults", "code"), [(LEAST_FAULTS - 1, 2), (LEAST_FAULTS, 0)])
def test_a_seed_that_met_too_few_faults_fails_the_run(faults: int, code: int):
    struck = collections.Counter({("roles.ensure", "409"): faults, ("roles.ensure", "existing"): 99})
    result = Result(1, [], struck, 20, collections.Counter(), 1, 1, 1.0, 1.0, [])
    assert _conclude([result], 1.0) == code


def test_an_oracle_that_breaks_finds_no_mistake_and_a_product_that_does_is_one(
    monkeypatch: pytest.MonkeyPatch,
):
    def product(_: Simulation) -> None:
        StepRecord.model_validate_json("")

    def oracle(simulated: Simulation) -> None:
        simulated.records.operation(None)  # type: ignore[arg-type]

    monkeypatch.setattr(Simulation, "run", product)
    assert "ValidationError" in by_seeds(1, 1)
    monkeypatch.setattr(Simulation, "run", oracle)
    with pytest.raises(AttributeError):
        by_seeds(1, 1)


def test_an_oracle_that_breaks_within_a_call_of_the_product_ends_the_run():
    simulated = Simulation(1, traced=False)
    simulated.oracles._checks = {"identities.ensure": simulated.oracles._role_delete}
    with pytest.raises(TypeError):
        simulated.run()


def test_a_connection_is_not_taken_for_whole_because_nothing_is_on_record_of_it(
    run_of: tuple[Simulation, Run],
):
    simulated, run = run_of
    held = simulated.records._held[run.connection_id]
    serving = held.connection.model_copy(update={"state": ConnectionState.CONFIGURED})
    simulated.records._held[run.connection_id] = dataclasses.replace(held, connection=serving)
    (told,) = rest.nothing_missing(simulated.world, simulated.records)
    assert "managed_identity, role_assignments" in told


def test_each_method_of_each_port_has_its_faults_or_is_said_to_be_out_of_reach():
    ports = {**typing.get_type_hints(Outside), "state": StateStore, "queue": StepQueue, "topic": OutcomeTopic}
    methods = {
        f"{name}.{method}"
        for name, port in ports.items()
        if name not in UNREACHED_PORTS
        for method, _ in inspect.getmembers(port, inspect.isfunction)
        if not method.startswith("_")
    }
    assert methods - UNREACHED == CELLS.keys()
    assert methods >= UNREACHED
    assert ports.keys() >= UNREACHED_PORTS


def test_an_error_that_a_step_did_not_foresee_is_told_though_the_engine_tries_again(
    monkeypatch: pytest.MonkeyPatch,
):
    async def broken(_: ServiceAccount, ctx: StepContext) -> Done:
        raise KeyError(ctx.step)

    monkeypatch.setattr(ServiceAccount, "apply", broken)
    assert Simulation(1, traced=False).run().violations == ["the product raised KeyError('service_account')"]


def test_a_step_that_calls_what_has_no_faults_ends_the_run(monkeypatch: pytest.MonkeyPatch):
    simulated = Simulation(1, traced=False)
    monkeypatch.delitem(typing.cast("dict[str, object]", CELLS), "clusters.describe")
    with pytest.raises(AttributeError, match=r"clusters\.describe has no faults"):
        simulated.run()


def test_what_gives_up_in_calm_is_told_and_what_was_opened_before_is_not():
    simulated = Simulation(1, traced=False)
    assert simulated.run().violations == []
    operation = next(iter(simulated.records.operations()))
    opened = simulated.world.opened[operation.operation_id]
    for code in ("attempts-exhausted", "time-exhausted"):
        gave_up = operation.model_copy(update={"code": code})
        simulated.records.operations = lambda one=gave_up: iter([one])  # type: ignore[method-assign, misc]
        (told,) = rest.nobody_gave_up(simulated.world, simulated.records, since=opened)
        assert told == f"operation {operation.operation_id} was opened in calm and ended {code}"
        assert [*rest.nobody_gave_up(simulated.world, simulated.records, since=opened + 1.0)] == []
