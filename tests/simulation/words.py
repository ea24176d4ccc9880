"""Words without truth: Azure tells that a thing is gone, and for less than a minute even answers so."""

from __future__ import annotations

import random

from shared.naming import fold_id
from tests.simulation.workload import HORIZON_SECONDS, Workload
from tests.simulation.world import ACCOUNTS, CLUSTERS, PARTS, PROVIDED, VAULTS

LONGEST_SECONDS = 40.0
"""Less than ``MOORING_PRUNE_CONFIRM_SECONDS``: a second look meets the truth."""


class Words:
    """Adds to the script of a run; what it draws changes nothing else of it."""

    def __init__(self, workload: Workload, dice: random.Random) -> None:
        self._workload, self._random = workload, dice

    def write(self) -> None:
        """Put such words on the calendar."""
        for _ in range(self._random.randint(3, 8)):
            self._workload.at(self._random.uniform(60.0, HORIZON_SECONDS), self._say)

    def _say(self) -> None:
        world, dice = self._workload.world, self._random
        ours = [one.resource_id for one in world.identities.values() if one.resource_id not in PROVIDED]
        trusted = [
            f"{world.identities[key].resource_id}/federatedIdentityCredentials/{name}"
            for key, names in world.credentials.items()
            for name in names
            if name.startswith("mooring") and key in world.identities
        ]
        linkers = [one.resource_id for one in world.linkers.values()]
        groups = [(*ACCOUNTS, *VAULTS), (*PARTS.values(),), (*CLUSTERS,), ours, trusted, linkers]
        resource_id = dice.choice(dice.choice([one for one in groups if one]))
        # Once in a run: two such answers a minute apart are all the proof that there is.
        world.hidden.setdefault(fold_id(resource_id), world.loop.time() + dice.uniform(5.0, LONGEST_SECONDS))
        self._workload.platform.wire.say("azure", f"says that {resource_id} is gone")
        self._workload.event(resource_id, punctual=True)
