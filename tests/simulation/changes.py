"""What people do with connections that are there: change them, break them, have them mended, sweep."""

from __future__ import annotations

import dataclasses
import random

from shared.errors import RefusedError
from shared.models import ConnectionState, Kind, OperationState
from shared.naming import connection_id, fold_id
from shared.services import Services
from tests.simulation.records import SERVING, Held, Records
from tests.simulation.workload import HORIZON_SECONDS, Wanted, Workload
from tests.simulation.world import PARTS

SHARE = 0.5
"""So many of all runs have changes; the others know creates, deletes and accidents alone."""


class Changes:
    """Adds to the script of a run."""

    def __init__(
        self, workload: Workload, records: Records, dice: random.Random, *, later: random.Random
    ) -> None:
        self._workload, self._records, self._random = workload, records, dice
        self._later = later
        """Chance of what was added to the script later: it leaves the rest of a seed's script as it was."""
        self._world = workload.world
        self.any = dice.random() < SHARE

    def write(self) -> None:
        """Put changes on the calendar, after what else is on it."""
        if not self.any:
            return
        for _ in range(self._random.randint(6, 16)):
            act = self._random.choice((self._update, self._break))
            self._workload.at(self._random.uniform(60.0, HORIZON_SECONDS), act)
        for _ in range(self._random.randint(1, 3)):
            self._workload.at(self._random.uniform(50.0, HORIZON_SECONDS), self.sweep)
        for _ in range(self._random.randint(0, 3)):
            self._workload.at(self._random.uniform(400.0, HORIZON_SECONDS), self._undo)

    def sweep(self) -> None:
        """Somebody begins a sweep."""

        async def act(services: Services) -> str:
            sweep, begun = await services.sweeping.sweeper.start(asked_by="request")
            return f"{sweep.sweep_id} {'begins' if begun else 'is under way'}"

        self._workload.platform.call("sweep", act)

    def _update(self) -> None:
        """Other settings, other roles, another part of the target; now and then of what is not there."""
        wanted = self._random.choice(self._workload.wanted)
        serving = self.serving()
        if serving and self._random.random() < 0.8:
            wanted, _ = self._random.choice(serving)
        whole = wanted.target
        changed = dataclasses.replace(
            wanted,
            client_type=self._random.choice(("none", "python", "java")),
            target=self._random.choice((whole, PARTS.get(whole, whole))),
        )
        if self._later.random() < 0.3:
            # The one client type of these whose keys are others.
            changed = dataclasses.replace(changed, client_type="springBoot")
        self._workload.request({**changed.create(), "action": "update"})

    def _break(self) -> None:
        """Careless hands; mostly somebody has it repaired after."""
        serving = self.serving()
        if not serving:
            return
        wanted, held = self._random.choice(serving)
        kind = self._random.choice(("Secret", "ServiceAccount", "role", "values"))
        if kind == "role":
            self._take_role(held)
        else:
            self._take_object(held, kind)
        if self._random.random() < 0.7:
            request = {"action": "repair", "connection": wanted.key}
            self._workload.at(self._random.uniform(0.0, 200.0), lambda: self._workload.request(request))

    def _take_role(self, held: Held) -> None:
        places = [(fold_id(item["scope"]), item["name"]) for item in held.assignments()]
        present = [place for place in places if place in self._world.assignments]
        if present:
            place = self._random.choice(present)
            self._workload.platform.wire.say("somebody", f"takes the role {place}")
            self._world.touch("|".join(place))
            del self._world.assignments[place]

    def _take_object(self, held: Held, kind: str) -> None:
        """Remove an object, or write other values into it."""
        step = "service_account" if kind == "ServiceAccount" else "settings"
        stored = "Secret" if kind == "values" else kind
        for cluster_id, namespace, name in sorted(held.objects(step)):
            cluster = self._world.clusters.get(cluster_id)
            there = cluster.objects.get((stored, namespace, name)) if cluster else None
            if cluster is None or there is None or not cluster.reachable:
                continue
            self._world.touch(f"{cluster_id}|{namespace}|{stored}|{name}")
            self._workload.platform.wire.say("somebody", f"breaks {kind} {namespace}/{name}")
            if kind == "values":
                data = dict.fromkeys(there.data, "edited")
                self._workload.outward.clusters.put_object(cluster_id, stored, namespace, name, data=data)
            else:
                del cluster.objects[stored, namespace, name]

    def _undo(self) -> None:
        """Somebody has what a prune took put back; what stands against it is said, and that is the end."""
        prunes = [
            one.operation_id
            for one in self._records.operations()
            if one.kind is Kind.PRUNE and one.state is OperationState.SUCCEEDED and not one.code
        ]
        if not prunes:
            return
        prune_id, key = self._random.choice(prunes), f"u{self._workload.number()}"

        async def act(services: Services) -> str:
            try:
                answer = await services.restorer.restore(prune_id, key=key)
            except RefusedError as refusal:
                return str(refusal)
            return f"{answer.outcome} {answer.operation_id}"

        self._workload.platform.call(f"restore of {prune_id[-6:]}", act)

    def restored(self) -> list[str]:
        """Connections of which a person had something put back."""
        states = {ConnectionState.RESTORED}
        return [
            one.connection.connection_id for one in self._records.held() if one.connection.state in states
        ]

    def serving(self) -> list[tuple[Wanted, Held]]:
        """Connections that pods may use now."""
        held = {one.connection.connection_id: one for one in self._records.held()}
        named = [
            (one, held.get(connection_id(one.cluster_id, one.namespace, one.name)))
            for one in self._workload.wanted
        ]
        return [(one, there) for one, there in named if there and there.connection.state in SERVING]
