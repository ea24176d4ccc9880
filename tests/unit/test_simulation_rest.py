"""The simulation's look at a world at rest sees what it is for: each thing is broken, and told."""

import dataclasses
from collections.abc import Callable, Iterator
from datetime import timedelta

import pytest

from shared.models import Cause, Kind, Operation, OperationState, Plan, StepState
from shared.naming import fold_id
from tests.simulation import rest
from tests.simulation.records import SERVING, Held
from tests.simulation.simulation import Simulation
from tests.simulation.workload import Workload

SEEDS = range(11, 40)
LATER = timedelta(seconds=1)


class RestedError(Exception):
    """The run is at rest, before everything is deleted."""


@pytest.fixture
def simulated(monkeypatch: pytest.MonkeyPatch) -> Simulation:
    def stop(*_: object) -> None:
        raise RestedError

    monkeypatch.setattr(Workload, "delete_all", stop)
    for seed in SEEDS:
        made = Simulation(seed, traced=False)
        with pytest.raises(RestedError):
            made.run()
        assert told(made) == []
        if found(made) is not None:
            return made
    raise AssertionError("no connection is whole at rest in any of these runs")


def told(simulated: Simulation) -> list[str]:
    """What the looks at rest tell."""

    def looks() -> Iterator[str]:
        yield from rest.nothing_leaked(simulated.world, simulated.oracles, simulated.records)
        yield from rest.nothing_missing(simulated.world, simulated.records)

    return [*looks()]


def whole(simulated: Simulation) -> Held:
    """A connection that nobody has touched and whose things are all there."""
    held = found(simulated)
    assert held is not None
    return held


def found(simulated: Simulation) -> Held | None:
    """Such a connection, if the run has one."""
    for held in simulated.records.held():
        if held.connection.state in SERVING and simulated.records.well_ended(held):
            relied = {
                fold_id(held.connection.spec.target_id),
                fold_id(held.connection.spec.cluster_id),
                *held.identity_ids(),
            }
            place = f"{fold_id(held.connection.spec.cluster_id)}|{held.connection.spec.namespace}"
            touched = simulated.world.touched.keys()
            untouched = not relied & touched and not any(one.startswith(place) for one in touched)
            if untouched and held.identity_ids() and len(held.assignments()) == 1:
                return held
    return None


def put(simulated: Simulation, held: Held, step: str, **changes: object) -> None:
    """Change what is on record of a step."""
    intents = {**held.intents, step: held.intents[step].model_copy(update=changes)}
    connection_id = held.connection.connection_id
    simulated.records._held[connection_id] = dataclasses.replace(held, intents=intents)


def lose_object(kind: str) -> Callable[[Simulation, Held], None]:
    step = {"Secret": "settings", "ServiceAccount": "service_account"}[kind]

    def lose(simulated: Simulation, held: Held) -> None:
        [(cluster_id, namespace, name)] = held.objects(step)
        del simulated.world.clusters[cluster_id].objects[kind, namespace, name]

    return lose


def write_values(simulated: Simulation, held: Held) -> None:
    [(cluster_id, namespace, name)] = held.objects("settings")
    there = simulated.world.clusters[cluster_id].objects["Secret", namespace, name]
    there.data = dict.fromkeys(there.data, "edited")


def change_value(simulated: Simulation, held: Held) -> None:
    [(cluster_id, namespace, name)] = held.objects("settings")
    there = simulated.world.clusters[cluster_id].objects["Secret", namespace, name]
    there.data = {key: "https://x" if "ENDPOINT" in key else value for key, value in there.data.items()}


def rename_keys(simulated: Simulation, held: Held) -> None:
    [(cluster_id, namespace, name)] = held.objects("settings")
    there = simulated.world.clusters[cluster_id].objects["Secret", namespace, name]
    there.data = {f"{key}_": value for key, value in there.data.items()}


def add_key(simulated: Simulation, held: Held) -> None:
    [(cluster_id, namespace, name)] = held.objects("settings")
    there = simulated.world.clusters[cluster_id].objects["Secret", namespace, name]
    there.data = {**there.data, "OF_BEFORE": "1"}


def lose_role(simulated: Simulation, held: Held) -> None:
    [item] = held.assignments()
    del simulated.world.assignments[fold_id(item["scope"]), item["name"]]


@pytest.mark.parametrize(
    ("break_it", "words"),
    [
        (lose_object("Secret"), "without its Secret"),
        (lose_object("ServiceAccount"), "without its ServiceAccount"),
        (write_values, "with a Secret that does not name its identity"),
        (change_value, "with other settings than were asked for"),
        (rename_keys, "with other settings than were asked for"),
        (add_key, "with other settings than were asked for: OF_BEFORE"),
        (lose_role, "without its role"),
    ],
    ids=["secret", "account", "values", "value", "keys", "key of before", "role"],
)
def test_what_a_configured_connection_lacks_is_told(
    simulated: Simulation, break_it: Callable[[Simulation, Held], None], words: str
):
    held = whole(simulated)
    break_it(simulated, held)
    assert any(words in text for text in told(simulated))


def test_what_somebody_took_is_no_fault_until_a_repair_that_came_after_has_succeeded(
    simulated: Simulation, monkeypatch: pytest.MonkeyPatch
):
    held = whole(simulated)
    [(cluster_id, namespace, name)] = held.objects("settings")
    lose_object("Secret")(simulated, held)
    simulated.world.touch(f"{cluster_id}|{namespace}|Secret|{name}")
    assert told(simulated) == []
    simulated.world.opened["a repair"] = simulated.loop.time() + 1.0
    mine = held.connection.connection_id
    monkeypatch.setattr(
        simulated.records,
        "repairs",
        lambda one: ["a repair"] if one.connection.connection_id == mine else [],
    )
    assert told(simulated) == [f"{held.connection.spec.name}: configured without its Secret"]


def test_keys_that_somebody_wrote_are_theirs_and_our_own_are_as_a_repair_has_left_them(
    simulated: Simulation, monkeypatch: pytest.MonkeyPatch
):
    held = whole(simulated)
    [(cluster_id, namespace, name)] = held.objects("settings")
    place = f"{cluster_id}|{namespace}|Secret|{name}"
    simulated.world.touch(place)
    simulated.world.opened["a repair"] = simulated.loop.time() + 1.0
    monkeypatch.setattr(simulated.records, "repairs", lambda _: ["a repair"])
    add_key(simulated, held)
    mine = f"{held.connection.spec.name}: configured with other settings"
    assert not any(text.startswith(mine) for text in told(simulated))
    change_value(simulated, held)
    (wrong,) = [text for text in told(simulated) if text.startswith(mine)]
    assert wrong.endswith("ENDPOINT")
    del simulated.world.touched[place]
    assert any("OF_BEFORE" in text for text in told(simulated))


def test_a_role_that_an_update_has_replaced_is_leaked_if_it_is_there_still(
    simulated: Simulation, monkeypatch: pytest.MonkeyPatch
):
    held = whole(simulated)
    intent = held.intents["role_assignments"]
    [item] = held.assignments()
    other = {**item, "name": "of-another-intent"}
    place = (fold_id(item["scope"]), "of-another-intent")
    simulated.world.assignments[place] = simulated.world.assignments[fold_id(item["scope"]), item["name"]]
    simulated.oracles.made_roles.add(place)
    earlier = Plan(planned={**intent.planned, "assignments": [other]})
    put(simulated, held, "role_assignments", previous=(*intent.previous, earlier))
    assert told(simulated) == [f"leaked role assignment {place}"]
    made = simulated.records.made_by(held)
    assert made is not None
    simulated.oracles.left.unread.add(made.operation_id)
    assert told(simulated) == [f"leaked role assignment {place}"], "no linker ever had that identity"
    simulated.world.linked_identities |= held.identity_ids()
    assert told(simulated) == [], "a linker that had it once could not be read"
    simulated.oracles.left.unread.clear()
    assert told(simulated) == [f"leaked role assignment {place}"]
    there, repair = failed_repair(simulated, held)
    monkeypatch.setattr(simulated.records, "operations", lambda: [*there, repair])
    assert told(simulated) == [], "a repair that failed says what is left"


def test_a_connection_with_other_roles_than_its_target_gives_is_told(simulated: Simulation):
    held = whole(simulated)
    intent = held.intents["role_assignments"]
    [item] = held.assignments()
    other = {**item, "roleDefinitionId": item["roleDefinitionId"][:-1] + "0"}
    put(simulated, held, "role_assignments", planned={**intent.planned, "assignments": [other]})
    assert any("configured with roles" in text for text in told(simulated))


def failed_repair(simulated: Simulation, held: Held) -> tuple[list[Operation], Operation]:
    """What was done so far, and a repair of a connection that fails after it."""
    there = [*simulated.records.operations()]
    mine = held.connection.connection_id
    made = max(
        (one for one in there if one.connection_id == mine and one.kind is Kind.CREATE),
        key=lambda one: one.opened_at,
    )
    changes = {"kind": Kind.REPAIR, "state": OperationState.FAILED, "opened_at": made.opened_at + LATER}
    return there, made.model_copy(update=changes)


def test_what_is_not_on_record_is_told_unless_the_last_repair_says_that_it_failed(
    simulated: Simulation, monkeypatch: pytest.MonkeyPatch
):
    held = whole(simulated)
    put(simulated, held, "role_assignments", outputs={})
    missing = [f"{held.connection.spec.name}: configured, and nothing is on record of role_assignments"]
    assert told(simulated) == missing
    there, repair = failed_repair(simulated, held)
    monkeypatch.setattr(simulated.records, "operations", lambda: [*there, repair])
    assert told(simulated) == []
    again = repair.model_copy(
        update={"opened_at": repair.opened_at + LATER, "state": OperationState.SUCCEEDED}
    )
    monkeypatch.setattr(simulated.records, "operations", lambda: [*there, repair, again])
    assert missing[0] in told(simulated)
    overtaken = repair.model_copy(update={"state": OperationState.SUPERSEDED})
    update = repair.model_copy(update={"kind": Kind.CREATE, "opened_at": repair.opened_at + LATER})
    monkeypatch.setattr(simulated.records, "operations", lambda: [*there, overtaken, update])
    assert missing[0] in told(simulated), "the update began to make things"
    step = simulated.records.step(update.operation_id, "preflight")
    assert step is not None
    refused = step.model_copy(update={"state": StepState.FAILED})
    monkeypatch.setattr(simulated.records, "step", lambda *_: refused)
    assert told(simulated) == []


def target_prune(simulated: Simulation, held: Held) -> Operation:
    """A prune of a connection, opened now, for a part of its target that is not there."""
    made = failed_repair(simulated, held)[1]
    cause = Cause(kind="target", resource_id=f"{held.connection.spec.target_id}/nowhere")
    simulated.world.opened[made.operation_id] = simulated.loop.time()
    return made.model_copy(update={"kind": Kind.PRUNE, "cause": cause})


def test_a_prune_of_a_connection_that_reaches_what_is_there_is_told(
    simulated: Simulation, monkeypatch: pytest.MonkeyPatch
):
    held = whole(simulated)
    prune, scope = target_prune(simulated, held), fold_id(held.assignments()[0]["scope"])
    removals = simulated.oracles.removals
    removals._alive(held, prune, simulated.records)
    assert simulated.oracles.violations == [
        f"{prune.operation_id} takes {held.connection.spec.name}, and what it reaches is alive"
    ]
    simulated.oracles.violations.clear()
    there, failed = failed_repair(simulated, held)
    delete = failed.model_copy(update={"kind": Kind.DELETE})
    create = failed.model_copy(update={"kind": Kind.CREATE, "opened_at": failed.opened_at + LATER})
    for last, takes in (([delete], False), ([delete, create], True)):
        monkeypatch.setattr(simulated.records, "operations", lambda last=last: [*there, *last])
        removals._alive(held, prune, simulated.records)
        assert bool(simulated.oracles.violations) is takes
        simulated.oracles.violations.clear()
    simulated.world.returned[scope] = simulated.loop.time()
    removals._alive(held, prune, simulated.records)
    simulated.world.returned.clear()
    del simulated.world.resources[scope]
    removals._alive(held, prune, simulated.records)
    assert simulated.oracles.violations == []


def test_what_a_prune_that_failed_had_begun_to_take_another_one_takes_to_its_end(
    simulated: Simulation, monkeypatch: pytest.MonkeyPatch
):
    held = whole(simulated)
    prune, there = target_prune(simulated, held), simulated.records.operations()
    monkeypatch.setattr(simulated.records, "operations", lambda: [*there, earlier])
    earlier = prune.model_copy(update={"state": OperationState.FAILED})
    simulated.oracles.removals._took.add(prune.operation_id)
    simulated.oracles.removals._alive(held, prune, simulated.records)
    assert simulated.oracles.violations == []
    simulated.oracles.removals._took.clear()
    simulated.oracles.removals._alive(held, prune, simulated.records)
    assert len(simulated.oracles.violations) == 1, "it has failed before it took anything"
