"""Somebody who hears that a create has failed, and has it deleted at once."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Any

from tests.simulation.workload import HORIZON_SECONDS, Workload

SHARE = 0.5
LOOK_SECONDS = 2.0
LONGEST_SECONDS = 10.0


class Impatience:
    """In some runs reads what the topic tells; what it draws changes nothing else of a run."""

    def __init__(self, workload: Workload, told: Sequence[Mapping[str, Any]], dice: random.Random) -> None:
        self._workload, self._told, self._random = workload, told, dice
        self._read = 0

    def write(self) -> None:
        """Begin to read."""
        if self._random.random() < SHARE:
            self._workload.at(LOOK_SECONDS, self._look)

    def _look(self) -> None:
        for event in self._told[self._read :]:
            self._hear(event["data"])
        self._read = len(self._told)
        if self._workload.world.loop.time() < HORIZON_SECONDS:
            self._workload.at(LOOK_SECONDS, self._look)

    def _hear(self, outcome: Mapping[str, Any]) -> None:
        if (outcome["kind"], outcome["state"]) != ("create", "failed"):
            return
        request = {"action": "delete", "connectionId": outcome["connectionId"]}
        self._workload.at(
            self._random.uniform(0.0, LONGEST_SECONDS),
            lambda: self._workload.request(request, repeats=False),
        )
