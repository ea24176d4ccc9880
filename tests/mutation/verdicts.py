"""Verdicts of one run of the tool, kept in a file if one is named, so that a long run can go on."""

from __future__ import annotations

import ast
import hashlib
import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.mutation.copies import Copy, try_all


class Verdicts:
    """What killed each trial, empty if nothing did; a trial is known again by its sources and tests.

    What a test has killed stays killed while that test reads as it did, whatever tests come besides. What
    lives for a reason is not tried again until its source changes: it counts as live, though it may be killed
    by now.
    """

    def __init__(self, file: Path | None) -> None:
        self._file = file
        self._known: dict[str, str] = {}
        self._killed: dict[str, tuple[str, str]] = {}
        """By the print of a trial without its tests: the test that killed it, and the print of that."""
        self._lived: dict[str, bool] = {}
        """The same of those that nothing killed at the last trial."""
        for line in file.read_text().splitlines() if file is not None and file.exists() else []:
            self._learn(*json.loads(line))

    def run(
        self,
        whole: Copy,
        trials: Sequence[Mapping[str, Any]],
        against: str,
        reasons: Collection[str] = (),
    ) -> dict[str, str]:
        """Try what is not known yet; the verdict of each trial by its key.

        ``reasons`` are keys of those that have one.
        """
        by_key = {str(trial["key"]): trial for trial in trials}
        texts = test_texts(whole.folder, (test for trial in trials for test in trial["tests"]))
        read = {test: f"{test} {_print(text)}" for test, text in texts.items()}
        prints = {
            key: _print({**trial, "tests": [read[test] for test in trial["tests"]]})
            for key, trial in by_key.items()
        }
        for key, trial in by_key.items():
            killer, text = self._killed.get(_print({**trial, "tests": []}), ("", ""))
            if killer in trial["tests"] and _print(texts[killer]) == text:
                self._known.setdefault(prints[key], killer)
            if key in reasons and self._lived.get(_print({**trial, "tests": []})):
                self._known.setdefault(prints[key], "")
        missing = [trial for key, trial in by_key.items() if prints[key] not in self._known]
        for number, verdict in enumerate(try_all(whole.folder, missing), 1):
            key, killed = str(verdict["key"]), str(verdict["killed"])
            text = _print(texts[killed]) if killed in texts else ""
            self._note(prints[key], killed, _print({**by_key[key], "tests": []}), text)
            if number % 100 == 0 or number == len(missing):
                alive = sum(not self._known.get(known, "-") for known in prints.values())
                print(f"{against}: {number} of {len(missing)} tried, {alive} live", flush=True)
        return {key: self._known[known] for key, known in prints.items()}

    def _note(self, known: str, killed: str, *by_test: str) -> None:
        self._learn(known, killed, *by_test)
        if self._file is not None:
            with self._file.open("a") as file:
                file.write(json.dumps([known, killed, *by_test]) + "\n")

    def _learn(self, known: str, killed: str, whoever: str = "", text: str = "") -> None:
        self._known[known] = killed
        if text:
            self._killed[whoever] = (killed, text)
        if whoever:
            self._lived[whoever] = not killed


def test_texts(folder: Path, tests: Iterable[str]) -> dict[str, str]:
    """What each test says, parameters and all, by its id."""
    by_file: dict[str, list[str]] = {}
    for test in dict.fromkeys(tests):
        by_file.setdefault(test.partition("::")[0], []).append(test)
    texts: dict[str, str] = {}
    for file, found in by_file.items():
        tree = ast.parse((folder / file).read_text())
        functions = {
            node.name: ast.unparse(node)
            for node in ast.walk(tree)
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        }
        for test in found:
            name = test.rpartition("::")[2] if "[" not in test else test.partition("[")[0].rpartition("::")[2]
            texts[test] = functions[name]
    return texts


def _print(asked: Mapping[str, Any] | str) -> str:
    """The same for the same trial, whatever the order of its tests (which is their speed); or of a text."""
    if not isinstance(asked, str):
        asked = {**asked, "tests": sorted(asked["tests"])}
    return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()[:24]
