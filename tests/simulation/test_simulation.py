"""As many seeds as fit into the time that ``make test`` has; ``make simulate`` runs thousands."""

import os
import time

import pytest

from tests.mutation.named import Named, found_by_seeds, named
from tests.simulation.report import lines
from tests.simulation.run import many, trace_hash
from tests.simulation.seeds import FOUND
from tests.simulation.simulation import LEAST_FAULTS, Result, Simulation

BASE_SEED = int(os.environ.get("SIMULATION_SEED", "20260105"))
SECONDS = 60.0
LEAST_SEEDS, MOST_SEEDS = 40, 1_000
CONNECTIONS = 20


def hold(result: Result) -> None:
    """Fail with the seed, what is wrong, and the end of its trace."""
    if result.violations:
        told = "\n".join([*lines(Simulation(result.seed).run().trace)][-60:])
        pytest.fail(
            f"seed {result.seed}: {'; '.join(result.violations[:5])}\n"
            f"replay: make simulate SEED={result.seed}\n{told}",
            pytrace=False,
        )
    assert result.connections >= CONNECTIONS


@pytest.mark.timeout(1800)
def test_no_seed_violates_an_invariant() -> None:
    began, faults = time.monotonic(), list[int]()
    for result in many(range(BASE_SEED, BASE_SEED + MOST_SEEDS), os.cpu_count() or 1, chunk=2):
        hold(result)
        faults.append(result.faults)
        if time.monotonic() - began > SECONDS and len(faults) >= LEAST_SEEDS:
            break
    print(f"{len(faults)} seeds from {BASE_SEED}, {sum(faults)} faults")
    assert min(faults) >= LEAST_FAULTS


@pytest.mark.parametrize(("seed", "found"), FOUND)
def test_a_seed_that_found_something_holds_now(seed: int, found: str) -> None:
    assert found
    hold(Simulation(seed, traced=False).run())


@pytest.mark.parametrize("mistake", [one for one in named() if one.seed], ids=lambda one: one.name)
def test_a_seed_that_finds_a_named_mistake_finds_nothing_without_it(mistake: Named) -> None:
    assert found_by_seeds(mistake, 0)
    hold(Simulation(mistake.seed, traced=False).run())


def test_the_same_seed_is_the_same_run_to_the_last_line() -> None:
    first, second = Simulation(BASE_SEED).run(), Simulation(BASE_SEED).run()
    assert trace_hash(first) == trace_hash(second)
    assert (first.turns, first.struck, first.operations) == (second.turns, second.struck, second.operations)


def test_another_seed_is_another_run() -> None:
    assert trace_hash(Simulation(BASE_SEED).run()) != trace_hash(Simulation(BASE_SEED + 1).run())
