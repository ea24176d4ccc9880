"""``python -m tests.mutation``: break a copy of the core in every small way and see who notices."""

from __future__ import annotations

import argparse
import datetime as dt
import os
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.mutation.copies import ROOT, Copy, make_copy
from tests.mutation.mutants import Mutant, mutants
from tests.mutation.named import Named, found_by_seeds, named
from tests.mutation.report import Found, page, tallies, with_seeds
from tests.mutation.survivors import reasons
from tests.mutation.verdicts import Verdicts

MODULES = (
    "shared/engine.py",
    "shared/outcomes.py",
    "shared/endings.py",
    "shared/beginnings.py",
    "shared/announcer.py",
    "shared/recording.py",
    "shared/throttling.py",
    "shared/plans.py",
    "shared/precedence.py",
    "shared/opening.py",
    "shared/intake.py",
    "shared/users.py",
    "shared/user_rows.py",
    "shared/retry.py",
    "shared/steps/objects.py",
    "shared/steps/removal.py",
)
"""The engine in its parts, plans, intake and users rows, and what decides about retries and removals."""

PAGE = ROOT / "docs" / "reference" / "mutation.md"
LEAST_KILLED = 0.9
QUICK_SECONDS = 1.0
FIRST_SEED = 1


def main(arguments: Sequence[str] | None = None) -> int:
    """Run; 1 if too many mutants live, or a named mistake is not found."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutation", description=__doc__)
    parser.add_argument("--named", action="store_true", help="only the named mistakes")
    parser.add_argument("--by-seed", action="store_true", help="only the named mistakes, only by seeds")
    parser.add_argument("--mistake", action="append", help="only this named mistake; may be given again")
    parser.add_argument("--module", action="append", help="only this module; may be given again")
    parser.add_argument("--seeds", type=int, default=10, help="simulated runs for what the tests leave alive")
    parser.add_argument("--verdicts", type=Path, help="keep verdicts in this file, and go on from it")
    parser.add_argument("--named-seeds", type=int, default=60, help="simulated runs for each named mistake")
    asked = parser.parse_args(arguments)
    os.nice(5)
    if asked.by_seed:
        chosen = [one for one in named() if not asked.mistake or one.name in asked.mistake]
        return _by_seed(chosen, asked.named_seeds)
    known = reasons()
    every = [one for file in asked.module or MODULES for one in mutants(file, (ROOT / file).read_text())]
    verdicts = Verdicts(asked.verdicts)
    with tempfile.TemporaryDirectory(prefix="mooring-mutation-") as folder:
        print("copying the project, running its unit tests once", flush=True)
        whole = make_copy(Path(folder))
        found = _named(whole, verdicts, asked.named_seeds)
        if asked.named:
            return int(not all(one.test or one.seed for one in found))
        killers = _killers(whole, verdicts, every, known, asked.seeds)
    text = page(
        every,
        killers,
        known,
        found,
        command="make mutate",
        date=dt.datetime.now(tz=dt.UTC).date().isoformat(),
        seeds=asked.seeds,
    )
    if asked.module:
        print(text)
    else:
        PAGE.write_text(text)
    for one in every:
        if not killers[one.key] and one.key not in known:
            print(f"lives without a reason: line {one.line} of {one.key}")
    killed = sum(one.killed for one in tallies(every, killers, known))
    print(f"{killed} of {len(every)} mutants killed, {100 * killed / len(every):.1f} %")
    return int(killed < LEAST_KILLED * len(every) or not all(one.test or one.seed for one in found))


def _by_seed(mistakes: Sequence[Named], seeds: int) -> int:
    """Make each mistake in this process and replay the seed that finds it; 1 if one is not found.

    The page is told of what is found.
    """
    told: dict[str, str] = {}
    for mistake in mistakes:
        began = time.monotonic()
        found = found_by_seeds(mistake, seeds)
        told[mistake.name] = found
        seconds = time.monotonic() - began
        print(f"{mistake.name}: {found or f'no seed of {seeds}'} ({seconds:.0f} s)", flush=True)
    PAGE.write_text(with_seeds(PAGE.read_text(), told))
    return int(not all(told.values()))


def _killers(
    whole: Copy, verdicts: Verdicts, every: Sequence[Mutant], known: Mapping[str, str], seeds: int
) -> dict[str, str]:
    """What kills each mutant, empty for a survivor.

    Quick tests first; what they leave alive and no reason explains meets the seeds and the slow tests.
    """
    by_key = {one.key: one for one in every}
    tests = {one.key: whole.tests(one.file, range(one.line, one.last_line + 1)) for one in every}
    slow = {
        key: [test for test in of if whole.seconds.get(test, 0.0) > QUICK_SECONDS]
        for key, of in tests.items()
    }
    quick = [_trial(one, [test for test in tests[one.key] if test not in slow[one.key]]) for one in every]
    killers = verdicts.run(whole, quick, "unit tests", known)
    alive = [by_key[key] for key, killer in killers.items() if not killer and key not in known]
    killers |= verdicts.run(whole, [_trial(one, [], seeds) for one in alive], f"{seeds} seeds")
    alive = [one for one in alive if not killers[one.key] and slow[one.key]]
    return killers | verdicts.run(whole, [_trial(one, slow[one.key]) for one in alive], "slow unit tests")


def _trial(one: Mutant, tests: Sequence[str], seeds: int = 0) -> Mapping[str, Any]:
    return {
        "key": one.key,
        "sources": {one.file: one.source},
        "functions": {one.file: [one.function]},
        "tests": tests,
        "first_seed": FIRST_SEED,
        "seeds": seeds,
    }


def _named(whole: Copy, verdicts: Verdicts, seeds: int) -> list[Found]:
    """Try each named mistake against every test, and against seeds."""
    every = sorted(whole.seconds, key=lambda test: whole.seconds[test])
    trials = []
    for mistake in named():
        trials.append(_named_trial(mistake, "test", every, 0))
        trials.append(_named_trial(mistake, "seed", [], seeds))
    killers = verdicts.run(whole, trials, "named mistakes")
    found = [
        Found(one.name, one.what, killers[f"{one.name}|test"], killers[f"{one.name}|seed"]) for one in named()
    ]
    for one in found:
        print(f"{one.name}: {one.test or 'NO TEST'}; {one.seed or f'no seed of {seeds}'}", flush=True)
    return found


def _named_trial(mistake: Named, what: str, tests: Sequence[str], seeds: int) -> Mapping[str, Any]:
    return {
        "key": f"{mistake.name}|{what}",
        "sources": mistake.sources(ROOT),
        "functions": mistake.functions,
        "tests": tests,
        "first_seed": mistake.seed or FIRST_SEED,
        "seeds": seeds,
    }


if __name__ == "__main__":
    sys.exit(main())
