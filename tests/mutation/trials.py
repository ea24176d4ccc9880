"""Runs mutants, two at a time, each in a fork of one process that has everything imported and collected.

Started in a copy of the project: reads one JSON line a trial from standard input and writes one a verdict.
A mutant inside a function is put in by exchanging that function's code, so that a trial costs its tests and
nothing else; a mutant of a table, a class or a default is imported anew. A simulated seed is a trial like
a test.
"""

from __future__ import annotations

import gc
import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import itertools
import json
import os
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import IO, Any

import pytest

SECONDS_PER_TEST = 20
SECONDS_PER_TRIAL = 300.0
OURS = ("shared", "handlers", "function_app", "tests", "sandbox")
OPTIONS = ("-q", f"--timeout={SECONDS_PER_TEST}", "-p", "no:cacheprovider", "-p", "no:cov")


class Edited(importlib.machinery.SourceFileLoader):
    """Loads a module from another text than its file's."""

    def __init__(self, name: str, path: str, source: str) -> None:
        super().__init__(name, path)
        self._source = source

    def get_code(self, fullname: str) -> CodeType:
        return compile(self._source, self.path, "exec")


class Finder(importlib.abc.MetaPathFinder):
    """Finds edited modules before any file is looked at."""

    def __init__(self, sources: dict[str, str]) -> None:
        self._files = {_module(file): file for file in sources}
        self._sources = sources

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        file = self._files.get(fullname)
        if file is None:
            return None
        loader = Edited(fullname, str(Path(file).absolute()), self._sources[file])
        return importlib.util.spec_from_loader(fullname, loader)


class Zygote:
    """A pytest plugin that runs trials where pytest would run tests."""

    def __init__(self, asked: IO[str], answers: IO[str], workers: int) -> None:
        self._asked, self._answers, self._workers = asked, answers, workers
        self._running: dict[int, tuple[str, int, float]] = {}
        self.failed = ""

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        items = {item.nodeid: item for item in session.items}
        gc.collect()
        gc.freeze()
        for line in self._asked:
            while len(self._running) >= self._workers:
                self._reap()
            self._begin(json.loads(line), items)
        while self._running:
            self._reap()
        return True

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed and not self.failed:
            self.failed = report.nodeid

    def _begin(self, trial: dict[str, Any], items: dict[str, pytest.Item]) -> None:
        reading, writing = os.pipe()
        process = os.fork()
        if not process:
            os.close(reading)
            try:
                killed = self._killer(trial, items)
            except BaseException as error:  # noqa: BLE001 - whatever a mutant does, it is found
                killed = f"{type(error).__name__}: {error}"
            os.write(writing, killed.encode()[:2000])
            os._exit(0)
        os.close(writing)
        self._running[process] = (trial["key"], reading, time.monotonic())

    def _killer(self, trial: dict[str, Any], items: dict[str, pytest.Item]) -> str:
        silence = os.open(os.devnull, os.O_RDWR)
        for stream in (0, 1, 2):
            os.dup2(silence, stream)
        if exchange(trial["sources"], trial["functions"]):
            killed = self._by_items([items[test] for test in trial["tests"] if test in items])
        else:
            _forget_ours()
            sys.meta_path.insert(0, Finder(trial["sources"]))
            killed = by_tests(trial["tests"])
        return killed or by_seeds(trial["first_seed"], trial["seeds"])

    def _by_items(self, items: Sequence[pytest.Item]) -> str:
        for item, following in itertools.zip_longest(items, items[1:]):
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
            if self.failed:
                break
        return self.failed

    def _reap(self) -> None:
        """Answer what has ended; end what takes too long."""
        time.sleep(0.005)
        for process, (key, reading, began) in [*self._running.items()]:
            late = time.monotonic() - began > SECONDS_PER_TRIAL
            if late:
                os.kill(process, signal.SIGKILL)
            ended, status = os.waitpid(process, 0 if late else os.WNOHANG)
            if not ended:
                continue
            del self._running[process]
            told = os.read(reading, 4000).decode(errors="replace")
            os.close(reading)
            killed = "too slow" if late else told or (f"ended with {status}" if status else "")
            took = round(time.monotonic() - began, 2)
            print(json.dumps({"key": key, "killed": killed, "seconds": took}), file=self._answers, flush=True)


class Selection:
    """Keeps the named tests, the quickest first, and notes the first that fails."""

    def __init__(self, tests: Sequence[str]) -> None:
        self._rank = {test: rank for rank, test in enumerate(tests)}
        self.failed = ""

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        chosen = [item for item in items if item.nodeid in self._rank]
        items[:] = sorted(chosen, key=lambda item: self._rank[item.nodeid])

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed and not self.failed:
            self.failed = report.nodeid

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed and not self.failed:
            self.failed = f"import of {report.nodeid}"


def by_tests(tests: Sequence[str]) -> str:
    """Import and run tests; the name of the first that fails, empty if none does."""
    if not tests:
        return ""
    selection = Selection(tests)
    files = sorted({test.partition("::")[0] for test in tests})
    code = pytest.main([*OPTIONS, "-x", *files], plugins=[selection])
    return "" if code == pytest.ExitCode.OK else selection.failed or f"pytest ended with {int(code)}"


def by_seeds(first: int, count: int) -> str:
    """Run simulated seeds; the first that violates an invariant, empty if none does.

    What the product raises is a violation; an oracle that breaks finds nothing.
    """
    if not count:
        return ""
    simulation: Any = importlib.import_module("tests.simulation.simulation")
    blame: Any = importlib.import_module("tests.simulation.blame")
    for seed in range(first, first + count):
        try:
            violations = simulation.Simulation(seed, traced=False).run().violations
        except Exception as error:
            if blame.is_ours(error):
                raise
            violations = [f"{type(error).__name__}: {error}"]
        if violations:
            return f"seed {seed}: {violations[0]}"
    return ""


def exchange(sources: dict[str, str], functions: dict[str, list[str]]) -> bool:
    """Put edited functions into imported modules; false, with nothing done, if one is not a function."""
    found: list[tuple[FunctionType, CodeType]] = []
    for file, source in sources.items():
        codes = {code.co_qualname: code for code in _codes(compile(source, file, "exec"))}
        for name in functions[file]:
            place: Any = sys.modules.get(_module(file))
            for part in name.split("."):
                place = vars(place).get(part) if place is not None else None
            place = place.fget if isinstance(place, property) else place
            code = codes.get(name)
            if not isinstance(place, FunctionType) or code is None:
                return False
            if place.__code__.co_freevars != code.co_freevars:
                return False
            found.append((place, code))
    for function, code in found:
        function.__code__ = code
    return True


def _codes(code: CodeType) -> Iterator[CodeType]:
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield constant
            yield from _codes(constant)


def _module(file: str) -> str:
    return file.removesuffix(".py").replace("/", ".")


def _forget_ours() -> None:
    for name in [*sys.modules]:
        if name.partition(".")[0] in OURS:
            del sys.modules[name]


def main(workers: int) -> None:
    """Collect every unit test once, then run trials until standard input ends."""
    asked, answers = os.fdopen(os.dup(0)), os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    importlib.import_module("tests.simulation.simulation")
    code = pytest.main([*OPTIONS, "-s", "-q", "tests/unit"], plugins=[Zygote(asked, answers, workers)])
    if code not in {pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED}:
        raise SystemExit(f"the tests cannot be collected: {code}")


if __name__ == "__main__":
    main(int(sys.argv[1]))
