"""What is in a namespace tells nothing of whether it is there; its own comings and goings do."""

import pytest

from shared.models import Cause
from shared.naming import fold_id
from tests.simulation.given import LINKER, put_linker
from tests.simulation.simulation import Simulation
from tests.unit.test_simulation_rest import simulated, target_prune, whole

__all__ = ["simulated"]  # the fixture


def test_a_namespace_that_is_there_is_told_unless_it_went_or_came_back_since(simulated: Simulation) -> None:
    world, known = simulated.world, whole(simulated)
    spec = known.connection.spec
    place = f"{spec.cluster_id}/namespaces/{spec.namespace}"
    changes = {"cause": Cause(kind="namespace", resource_id=place)}
    prune = target_prune(simulated, known).model_copy(update=changes)
    look, violations = simulated.oracles.removals._stands, simulated.oracles.violations
    world.touched.clear()
    world.returned.clear()
    look(known, prune)
    assert violations == [f"{prune.operation_id} goes by namespace {place}, which is there"]
    world.touch(f"{fold_id(spec.cluster_id)}|{spec.namespace}|Secret|theirs")
    look(known, prune)
    assert len(violations) == 2, "what became of something in it tells nothing"
    world.furnish_namespace(spec.cluster_id, spec.namespace)
    look(known, prune)
    world.returned.clear()
    world.touch(f"{fold_id(spec.cluster_id)}|{spec.namespace}")
    look(known, prune)
    assert len(violations) == 2


def test_a_namespace_comes_back_with_whatever_others_write_into_it(monkeypatch: pytest.MonkeyPatch) -> None:
    simulated = Simulation(1, traced=False)
    world, workload = simulated.world, simulated.workload
    put_linker(simulated)
    linker = world.linkers[fold_id(LINKER)]
    cluster_id = LINKER.partition("/providers/Microsoft.ServiceLinker")[0]
    place = f"{fold_id(cluster_id)}/namespaces/{linker.namespace}"
    monkeypatch.setattr(workload, "at", lambda _, act: act())
    workload.accidents._link(cluster_id, linker)
    assert place not in world.returned, "it was there"
    world._end_namespace(cluster_id, linker.namespace)
    workload.accidents._link(cluster_id, linker)
    assert place in world.returned
