"""Verdicts of one run of the tool, kept in a file if one is named, so that a long run can go on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.mutation.copies import Copy, try_all


class Verdicts:
    """What killed each trial, empty if nothing did; a trial is known again by its sources and tests."""

    def __init__(self, file: Path | None) -> None:
        self._file = file
        lines = file.read_text().splitlines() if file is not None and file.exists() else []
        self._known: dict[str, str] = dict(json.loads(line) for line in lines)

    def run(self, whole: Copy, trials: Sequence[Mapping[str, Any]], against: str) -> dict[str, str]:
        """Try what is not known yet; the verdict of each trial by its key."""
        prints = {str(trial["key"]): _print(trial) for trial in trials}
        missing = [trial for trial in trials if prints[str(trial["key"])] not in self._known]
        for number, verdict in enumerate(try_all(whole.folder, missing), 1):
            self._note(prints[verdict["key"]], verdict["killed"])
            if number % 100 == 0 or number == len(missing):
                alive = sum(not self._known.get(known, "-") for known in prints.values())
                print(f"{against}: {number} of {len(missing)} tried, {alive} live", flush=True)
        return {key: self._known[known] for key, known in prints.items()}

    def _note(self, known: str, killed: str) -> None:
        self._known[known] = killed
        if self._file is not None:
            with self._file.open("a") as file:
                file.write(json.dumps([known, killed]) + "\n")


def _print(trial: Mapping[str, Any]) -> str:
    """The same for the same trial, whatever the order of its tests (which is their speed)."""
    asked = {**trial, "tests": sorted(trial["tests"])}
    return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()[:24]
