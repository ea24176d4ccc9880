"""A copy of the project to break, and what its own tests say of it while it is whole."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import coverage

from tests.mutation.observe import SECONDS_FILE

ROOT = Path(__file__).parents[2]
WORKERS = 2
_LEFT_OUT = shutil.ignore_patterns(
    ".git", ".venv", "node_modules", ".sandbox", "__pycache__", ".*_cache", ".coverage*", ".hypothesis"
)


@dataclasses.dataclass(frozen=True, slots=True)
class Copy:
    """The project in a folder of its own.

    Attributes:
        folder: where.
        reached: tests by file and line that reach it; line 0 stands for the whole file.
        seconds: of each test.
    """

    folder: Path
    reached: Mapping[str, Mapping[int, frozenset[str]]]
    seconds: Mapping[str, float]

    def tests(self, file: str, lines: range) -> list[str]:
        """The tests that reach lines of a file, the quickest first.

        A line that runs on import alone (a table, a default) is reached by nobody in particular: then it is
        every test that reaches the file, and every one in a test file that names the module.
        """
        by_line = self.reached.get(file, {})
        found = frozenset[str]().union(*(by_line.get(line, frozenset()) for line in lines))
        found = found or by_line.get(0, frozenset()) | self._naming(Path(file).stem)
        return sorted(found, key=lambda test: (self.seconds.get(test, 0.0), test))

    def _naming(self, module: str) -> frozenset[str]:
        word = re.compile(rf"\b{module}\b")
        files = {test.partition("::")[0] for test in self.seconds}
        naming = {file for file in files if word.search((self.folder / file).read_text())}
        return frozenset(test for test in self.seconds if test.partition("::")[0] in naming)


def environment(folder: Path) -> dict[str, str]:
    """The environment of a process that works in the copy."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("MOORING_")}
    return {**kept, "PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": ""}


def make_copy(folder: Path) -> Copy:
    """Copy the project, run its unit tests once, and note who reaches what.

    Raises:
        RuntimeError: a unit test fails without any mutant.
    """
    place = folder / "project"
    shutil.copytree(ROOT, place, ignore=_LEFT_OUT)
    seconds_file, data_file = folder / "seconds.json", folder / "coverage"
    command = ["-m", "pytest", "tests/unit", "-q", "-p", "tests.mutation.observe", "-p", "no:cacheprovider"]
    command += [
        "--cov=shared",
        "--cov-context=test",
        "--cov-report=",
    ]
    done = subprocess.run(
        [sys.executable, *command],
        cwd=place,
        env={
            **environment(place),
            SECONDS_FILE: str(seconds_file),
            "COVERAGE_FILE": str(data_file),
        },
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"the tests fail without a mutant:\n{done.stdout[-3000:]}")
    return Copy(place, _reached(data_file, place), json.loads(seconds_file.read_text()))


def _reached(data_file: Path, place: Path) -> dict[str, dict[int, frozenset[str]]]:
    data = coverage.CoverageData(str(data_file))
    data.read()
    reached: dict[str, dict[int, frozenset[str]]] = {}
    for file in data.measured_files():
        lines = {
            line: frozenset(context.partition("|")[0] for context in contexts if context)
            for line, contexts in data.contexts_by_lineno(file).items()
        }
        lines[0] = frozenset[str]().union(*lines.values())
        reached[str(Path(file).relative_to(place))] = lines
    return reached


def try_all(place: Path, trials: Iterable[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    """Run trials in a process of the copy; verdicts come as they are ready.

    A trial is ``key``, ``sources`` (edited text by file), ``tests``, ``first_seed`` and ``seeds``.
    """
    asked = "".join(json.dumps(trial) + "\n" for trial in trials)
    command: Sequence[str] = [sys.executable, "-m", "tests.mutation.trials", str(WORKERS)]
    with (place.parent / "trials.jsonl").open("w+") as given:
        given.write(asked)
        given.seek(0)
        with subprocess.Popen(
            command, cwd=place, env=environment(place), stdin=given, stdout=subprocess.PIPE, text=True
        ) as running:
            assert running.stdout is not None
            for line in running.stdout:
                yield json.loads(line)
