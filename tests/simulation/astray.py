"""Updates that ask for a part of a target that is not there: nothing comes of them or goes with them."""

from __future__ import annotations

import dataclasses
import random

from tests.simulation.changes import Changes
from tests.simulation.workload import HORIZON_SECONDS, Workload
from tests.simulation.world import ACCOUNTS

SHARE = 0.4
"""So many of the runs with changes have such updates."""


class Astray:
    """Adds to the script of a run; what it draws changes nothing else of it."""

    def __init__(self, workload: Workload, changes: Changes, dice: random.Random) -> None:
        self._workload, self._changes, self._random = workload, changes, dice

    def write(self) -> None:
        """Put updates on the calendar, and after each a sweep that looks at what is on record by then."""
        dice = self._random
        if not self._changes.any or dice.random() >= SHARE:
            return
        for _ in range(dice.randint(1, 3)):
            at = dice.uniform(300.0, HORIZON_SECONDS)
            self._workload.at(at, self._update)
            self._workload.at(at + dice.uniform(60.0, 400.0), self._changes.sweep)

    def _update(self) -> None:
        serving = [one for one, _ in self._changes.serving() if one.target in ACCOUNTS]
        if not serving:
            return
        wanted = self._random.choice(serving)
        nowhere = f"{wanted.target}/blobServices/default/containers/nowhere{self._workload.number()}"
        changed = dataclasses.replace(wanted, target=nowhere)
        self._workload.request({**changed.create(), "action": "update"})
