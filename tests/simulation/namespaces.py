"""Namespaces that stay away: no event tells of it, a sweep finds it, and what was in them is pruned."""

from __future__ import annotations

import random

from tests.simulation.changes import Changes
from tests.simulation.workload import Workload

SHARE = 0.75
"""So many of the runs with changes lose a namespace for long."""
BY_SECONDS = 900.0
"""By then it has gone, and connections have been made in it."""


class Namespaces:
    """Adds to the script of a run; what it draws changes nothing else of it."""

    def __init__(self, workload: Workload, changes: Changes, dice: random.Random) -> None:
        self._workload, self._changes, self._random = workload, changes, dice

    def write(self) -> None:
        """Put the loss, a sweep that sees it, and now and then a return on the calendar."""
        dice = self._random
        if not self._changes.any or dice.random() >= SHARE:
            return
        wanted = dice.choice(self._workload.wanted)
        cluster_id, namespace = wanted.cluster_id, wanted.namespace
        at = dice.uniform(300.0, BY_SECONDS)
        self._workload.at(at, lambda: self._lose(cluster_id, namespace))
        # One sweep may be cut short by a fault; the next may come when the namespace is there again.
        for after in (dice.uniform(5.0, 60.0), dice.uniform(60.0, 500.0)):
            self._workload.at(at + after, self._changes.sweep)
        if dice.random() < 0.6:
            again = at + dice.uniform(200.0, 3000.0)
            self._workload.at(again, lambda: self._make(cluster_id, namespace))

    def _lose(self, cluster_id: str, namespace: str) -> None:
        self._workload.platform.wire.say("somebody", f"deletes namespace {namespace} of {cluster_id}")
        self._workload.world.lose_namespace(cluster_id, namespace)

    def _make(self, cluster_id: str, namespace: str) -> None:
        self._workload.platform.wire.say("somebody", f"makes namespace {namespace} of {cluster_id} again")
        self._workload.world.furnish_namespace(cluster_id, namespace)
