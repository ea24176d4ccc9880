"""Somebody who puts another thing under a name just after Mooring has looked at it."""

from __future__ import annotations

import random
from typing import Any

from shared.models import Kind
from shared.naming import fold_id
from tests.simulation.faults import Dice
from tests.simulation.ports import Call
from tests.simulation.records import Records
from tests.simulation.world import Outward, SimulatedWorld

REMOVING = frozenset({Kind.DELETE, Kind.PRUNE})


class Rival:
    """Makes cluster objects anew between the look and the delete of a removal, in some runs."""

    def __init__(self, world: SimulatedWorld, outward: Outward, dice: Dice, random_: random.Random) -> None:
        self._world, self._outward, self._dice, self._random = world, outward, dice, random_
        self._rate = random_.choice((0.0, 0.0, 0.2))
        self.records: Records

    def __call__(self, call: Call, result: Any) -> None:
        """An answer is on its way."""
        if not self._rate or call.method != "clusters.get" or result is None or not self._dice.on:
            return
        operation = self.records.operation(call.run.operation_id)
        if operation is None or operation.kind not in REMOVING or self._random.random() >= self._rate:
            return
        cluster_id, kind, namespace, name = call.arguments
        del self._world.clusters[fold_id(cluster_id)].objects[kind, namespace, name]
        self._outward.clusters.put_object(cluster_id, kind, namespace, name)
        self._world.born[fold_id(cluster_id), namespace, name] = self._world.loop.time()
        self._dice.note("remade", call.method)
