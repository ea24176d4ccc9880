"""Somebody who changes a thing just after Mooring has looked at it."""

from __future__ import annotations

import random
from typing import Any

from shared.models import Kind
from shared.naming import fold_id
from shared.ports import Credential
from tests.simulation.faults import Dice
from tests.simulation.ports import Call
from tests.simulation.records import Records
from tests.simulation.world import PROVIDED, Outward, SimulatedWorld

REMOVING = frozenset({Kind.DELETE, Kind.PRUNE})
CREDENTIAL = Credential(
    name="theirs-last",
    issuer="https://token.actions.githubusercontent.com",
    subject="repo:team/last:ref:refs/heads/main",
    audiences=("api://AzureADTokenExchange",),
)
"""What takes the last place of an identity."""
KEPT_SECONDS = 120.0


class Rival:
    """In some runs makes cluster objects anew between a removal's look and its delete; in some fills the last
    place of an identity between a create's look and its write.
    """

    def __init__(self, world: SimulatedWorld, outward: Outward, dice: Dice, random_: random.Random) -> None:
        self._world, self._outward, self._dice, self._random = world, outward, dice, random_
        self._rate = random_.choice((0.0, 0.0, 0.2))
        self._fills = random_.random() < 0.3
        self.records: Records

    def __call__(self, call: Call, result: Any) -> None:
        """An answer is on its way."""
        if not self._dice.on:
            return
        if call.method == "clusters.get" and result is not None and self._rate:
            self._make_anew(call)
        elif call.method == "identities.list_credentials" and self._fills:
            self._fill(call)

    def _make_anew(self, call: Call) -> None:
        operation = self.records.operation(call.run.operation_id)
        if operation is None or operation.kind not in REMOVING or self._random.random() >= self._rate:
            return
        cluster_id, kind, namespace, name = call.arguments
        self._world.touch(f"{fold_id(cluster_id)}|{namespace}|{kind}|{name}")
        del self._world.clusters[fold_id(cluster_id)].objects[kind, namespace, name]
        self._outward.clusters.put_object(cluster_id, kind, namespace, name)
        self._world.born[fold_id(cluster_id), namespace, name] = self._world.loop.time()
        self._dice.note("remade")

    def _fill(self, call: Call) -> None:
        (identity_id,) = call.arguments
        held = self._world.credentials.get(fold_id(identity_id))
        making = call.run.label.startswith("federated_credential")
        if identity_id != PROVIDED[1] or held is None or not making:
            return
        self._fills = False
        held[CREDENTIAL.name] = CREDENTIAL
        self._world.loop.call_later(KEPT_SECONDS, held.pop, CREDENTIAL.name, None)
