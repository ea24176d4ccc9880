"""What people and Azure do in one run: a script of requests, events and accidents, drawn from the seed."""

from __future__ import annotations

import dataclasses
import functools
import json
import random
from collections.abc import Callable, Iterable
from typing import Any

from shared.naming import fold_id
from tests.simulation.accidents import Accidents
from tests.simulation.hosts import EVENTS, REQUESTS, Platform
from tests.simulation.world import (
    ACCOUNTS,
    CLUSTERS,
    NAMESPACES,
    PROVIDED,
    SUBSCRIPTION,
    VAULTS,
    Outward,
    SimulatedWorld,
    updating,
)

HORIZON_SECONDS = 1500.0
"""Nothing is started later than this; accidents are over by then as well."""


@dataclasses.dataclass(frozen=True, slots=True)
class Wanted:
    """One connection that somebody asks for, once or several times."""

    name: str
    cluster_id: str
    namespace: str
    workload: str
    target: str
    client_type: str
    identity_id: str = ""

    @property
    def key(self) -> dict[str, str]:
        return {"name": self.name, "clusterId": self.cluster_id, "namespace": self.namespace}

    def create(self) -> dict[str, Any]:
        """The body of a create request."""
        kind = "keyvault" if self.target in VAULTS else "storage-blob"
        connection: dict[str, Any] = {
            **self.key,
            "workload": self.workload,
            "target": {"type": kind, "id": self.target},
            "clientType": self.client_type,
        }
        if self.client_type == "java":
            connection["intent"] = "read"  # other roles than before, for a connection that is asked for again
        if self.identity_id:
            connection["identityId"] = self.identity_id
        return {"action": "create", "connection": connection}


class Workload:
    """Writes the script and plays it."""

    def __init__(
        self, world: SimulatedWorld, outward: Outward, platform: Platform, dice: random.Random
    ) -> None:
        self.world, self.outward, self.platform, self.random = world, outward, platform, dice
        self.wanted: list[Wanted] = []
        self.sent: list[str] = []
        """Request ids, each once."""
        self.accidents = Accidents(self)
        self._numbers = 0

    def write(self) -> None:
        """Put the whole run on the calendar."""
        dice = self.random
        for number in range(dice.randint(4, 6)):
            cluster_id, namespace = dice.choice(CLUSTERS), dice.choice(NAMESPACES)
            identity_id = dice.choice(PROVIDED) if dice.random() < 0.25 else ""
            for _ in range(dice.randint(3, 4)):
                self.wanted.append(
                    Wanted(
                        name=f"link-{len(self.wanted)}",
                        cluster_id=cluster_id,
                        namespace=namespace,
                        workload=f"work{number}",
                        target=dice.choice((*ACCOUNTS, *VAULTS)),
                        client_type=dice.choice(("none", "python", "java")),
                        identity_id=identity_id,
                    )
                )
        while len(self.wanted) < 20:
            self.wanted.append(dataclasses.replace(dice.choice(self.wanted), name=f"link-{len(self.wanted)}"))
        for wanted in self.wanted:
            self._life(wanted)
        for accident in dice.sample(self.accidents.all(), k=dice.randint(3, 7)):
            accident(dice.uniform(0.0, HORIZON_SECONDS * 0.7))
        if dice.random() < 0.75:
            for _ in range(dice.randint(1, 2)):
                self.accidents.linker(dice.uniform(0.0, 500.0))

    def _life(self, wanted: Wanted) -> None:
        """Creates and deletes of one connection, now and then in the wrong order."""
        dice = self.random
        at = dice.uniform(0.0, 500.0)
        self.at(at, lambda: self.request(wanted.create()))
        for _ in range(dice.choice((0, 1, 1, 2))):
            at += dice.uniform(-5.0, 15.0) if dice.random() < 0.4 else dice.uniform(30.0, 400.0)
            self.at(max(0.0, at), lambda: self.request({"action": "delete", "connection": wanted.key}))
            if dice.random() < 0.5:
                at += dice.uniform(0.0, 5.0) if dice.random() < 0.4 else dice.uniform(5.0, 200.0)
                changed = dataclasses.replace(wanted, client_type=dice.choice(("none", "python", "java")))
                self.at(max(0.0, at), functools.partial(self.request, changed.create()))
        if dice.random() < 0.15:
            self.at(
                at + dice.uniform(0.0, 300.0),
                lambda: self.request({"action": "validate", "connection": wanted.key}),
            )

    def number(self) -> int:
        """A number that nothing else of this run has."""
        self._numbers += 1
        return self._numbers

    # --- requests and events ---------------------------------------------------------------------

    def at(self, seconds: float, act: Callable[[], object]) -> None:
        """Do something at an instant; counted from now once the run is on."""
        self.world.loop.call_later(seconds, act)

    def request(self, body: dict[str, Any], *, repeats: bool = True) -> str:
        """Put a request on the queue; some arrive twice. Returns its id."""
        request_id = f"r-{self.number()}"
        self.sent.append(request_id)
        text = json.dumps({"requestId": request_id, **body})
        whose = body["connectionId"] if "connectionId" in body else body["connection"]["name"]
        self.platform.wire.say("somebody", f"sends {body['action']} {whose} as {request_id}")
        self.platform.queue.put(REQUESTS, text)
        if repeats and self.random.random() < 0.15:
            self.at(self.random.uniform(0.0, 120.0), lambda: self.platform.queue.put(REQUESTS, text))
        return request_id

    def event(self, resource_id: str, *, written: bool = False, punctual: bool = False) -> None:
        """Event Grid tells of a deletion or a write: early, late, once or twice."""
        name = "ResourceWriteSuccess" if written else "ResourceDeleteSuccess"
        text = json.dumps(
            {
                "id": f"e-{self.number()}",
                "topic": f"/subscriptions/{SUBSCRIPTION}",
                "subject": resource_id,
                "eventType": f"Microsoft.Resources.{name}",
                "eventTime": "2026-01-05T10:00:00.0000000Z",
                "data": {"resourceUri": resource_id, "status": "Succeeded", "subscriptionId": SUBSCRIPTION},
                "dataVersion": "2",
                "metadataVersion": "1",
            },
        )
        delay = 0.0 if punctual else self.random.choice((0.0, 1.0, 5.0, 60.0, 240.0))
        for _ in range(self.random.choice((1, 1, 2))):
            self.at(delay, lambda: self.platform.queue.put(EVENTS, text))
            delay += self.random.uniform(0.0, 90.0)

    def lose(self, resource_id: str, *, punctual: bool = False) -> None:
        """Somebody deletes a resource; the event may be there before the resource is gone."""
        early = not punctual and self.random.random() < 0.25
        self.event(resource_id, punctual=punctual)
        self.platform.wire.say("somebody", f"deletes {resource_id}")
        self.world.touch(fold_id(resource_id))
        self.at(self.random.uniform(0.5, 20.0) if early else 0.0, lambda: self.world.lose(resource_id))

    def ask_again(self) -> dict[str, Wanted]:
        """Ask once more for every connection, as it was asked for at first; by request id."""
        return {self.request(wanted.create(), repeats=False): wanted for wanted in self.wanted}

    # --- the end ---------------------------------------------------------------------------------

    def heal(self) -> None:
        """All accidents are over: pods are gone, clusters answer, nobody else writes."""
        self.outward.identities.busy.clear()
        for cluster_id, cluster in self.world.clusters.items():
            cluster.reachable = True
            cluster.pods.clear()
            cluster.workloads.clear()
            updating(self.world, cluster_id, "Succeeded")

    def delete_all(self, restored: Iterable[str]) -> None:
        """Ask for the end of everything, of what a person had put back as well."""
        for linker_id in self.accidents.linkers:
            self.lose(linker_id, punctual=True)
        for wanted in self.wanted:
            self.request({"action": "delete", "connection": wanted.key}, repeats=False)
        for connection_id in restored:
            self.request({"action": "delete", "connectionId": connection_id}, repeats=False)
