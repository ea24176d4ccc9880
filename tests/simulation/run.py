"""The command line: replay one seed with its trace, or run many on all cores and print the matrix."""

from __future__ import annotations

import argparse
import concurrent.futures
import gc
import hashlib
import os
import sys
import time
from collections.abc import Iterator, Sequence

from tests.simulation.report import empty_cells, lines, matrix, total
from tests.simulation.simulation import LEAST_FAULTS, Result, Simulation

CHUNK = 20
PROGRESS = 50
"""Seeds between two lines that say how far it is."""


def replay(seed: int) -> Result:
    """Run one seed and print everything that happened."""
    result = Simulation(seed).run()
    for line in lines(result.trace):
        print(line)
    _sum_up(result)
    return result


def trace_hash(result: Result) -> str:
    """Equal for equal runs."""
    return hashlib.sha256("\n".join(lines(result.trace)).encode()).hexdigest()


def many(seeds: Sequence[int], jobs: int, *, chunk: int = CHUNK) -> Iterator[Result]:
    """Run seeds in so many processes, some at a time in each; without traces, which a replay has."""
    if jobs <= 1:
        yield from map(_one, seeds)
        return
    chunks = [seeds[index : index + chunk] for index in range(0, len(seeds), chunk)]
    with concurrent.futures.ProcessPoolExecutor(jobs) as pool:
        try:
            for found in pool.map(_chunk, chunks):
                yield from found
        finally:
            pool.shutdown(cancel_futures=True)


def _chunk(seeds: Sequence[int]) -> list[Result]:
    return [_one(seed) for seed in seeds]


def _one(seed: int) -> Result:
    """One seed without a trace; what it leaves behind is collected once, after it."""
    gc.disable()
    try:
        return Simulation(seed, traced=False).run()
    finally:
        gc.enable()
        gc.collect()


def _sum_up(result: Result) -> None:
    print(
        f"seed {result.seed}: {result.connections} connections, {sum(result.operations.values())} operations,"
        f" {result.faults} faults, {result.steps} messages handled,"
        f" {result.virtual_seconds:.0f} virtual seconds in {result.seconds:.2f} s, {result.turns} turns"
    )
    for violation in result.violations:
        print(f"VIOLATION {violation}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run; 1 if a seed violates an invariant, 2 if one met too few faults.

    2 as well if the matrix has an empty cell after 1,000 seeds.
    """
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seed", type=int, help="replay this one with its trace")
    parser.add_argument("--seeds", type=int, default=100, help="how many to run")
    parser.add_argument("--first", type=int, default=1, help="the first of them")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="begin no more after so long")
    asked = parser.parse_args(arguments)
    if asked.seed is not None:
        return 1 if replay(asked.seed).violations else 0
    began, results = time.monotonic(), list[Result]()
    for result in many(range(asked.first, asked.first + asked.seeds), asked.jobs):
        results.append(result)
        if result.violations:
            _sum_up(result)
            print(f"replay: make simulate SEED={result.seed}", flush=True)
        if not len(results) % PROGRESS:
            seconds = time.monotonic() - began
            pace = f"{seconds:.0f} s, {len(results) / seconds:.2f} a second"
            print(f"{len(results)} of {asked.seeds} seeds, {pace}", file=sys.stderr, flush=True)
        if time.monotonic() - began > asked.seconds:
            break
    return _conclude(results, time.monotonic() - began)


def _conclude(results: list[Result], seconds: float) -> int:
    struck = total(result.struck for result in results)
    operations = total(result.operations for result in results)
    bad = [result.seed for result in results if result.violations]
    print(matrix(struck))
    print(f"operations: {', '.join(f'{name} {count}' for name, count in sorted(operations.items()))}")
    print(
        f"{len(results)} seeds in {seconds:.1f} s, {len(results) / seconds:.1f} seeds per second;"
        f" {sum(operations.values())} operations, {sum(struck.values())} faults,"
        f" at least {min(result.faults for result in results)} faults and"
        f" {min(result.connections for result in results)} connections a seed; {len(bad)} seeds violate"
    )
    empty = empty_cells(struck)
    if empty:
        print(f"empty cells: {', '.join(f'{method} {name}' for method, name in empty)}")
    if bad:
        print(f"violating seeds: {' '.join(map(str, bad))}")
        return 1
    mild = [result.seed for result in results if result.faults < LEAST_FAULTS]
    if mild:
        print(f"seeds with fewer than {LEAST_FAULTS} faults: {' '.join(map(str, mild))}")
    return 2 if mild or (empty and len(results) >= 1000) else 0
