"""Pods and deployments that name objects in every way that Kubernetes knows, often objects of linkers."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from typing import Any

from shared.naming import fold_id
from tests.simulation.workload import HORIZON_SECONDS, Workload


def spec_of(dice: random.Random, kind: str, name: str) -> dict[str, Any]:
    """A pod's spec that needs an object."""
    if kind == "ServiceAccount":
        return {"serviceAccountName": name, "containers": []}
    by_key = {"name": "X", "valueFrom": {"secretKeyRef": {"name": name, "key": "x"}}}
    specs: list[dict[str, Any]] = [
        {"containers": [{"envFrom": [{"secretRef": {"name": name}}]}]},
        {"containers": [{"env": [by_key]}]},
        {"containers": [], "initContainers": [{"envFrom": [{"secretRef": {"name": name}}]}]},
        {"containers": [], "volumes": [{"secret": {"secretName": name}}]},
        {"containers": [], "volumes": [{"projected": {"sources": [{"secret": {"name": name}}]}}]},
        {"containers": [], "imagePullSecrets": [{"name": name}]},
    ]
    return dice.choice(specs)


def words(body: Any) -> Iterator[str]:
    """Every text in a body: who names an object has its name somewhere, whatever the field is called."""
    if isinstance(body, str):
        yield body
    elif isinstance(body, Mapping):
        for value in body.values():
            yield from words(value)
    elif isinstance(body, list | tuple):
        for value in body:
            yield from words(value)


class Pods:
    """Adds to the script of a run; what it draws changes nothing else of it."""

    def __init__(self, workload: Workload, dice: random.Random) -> None:
        self._workload, self._random = workload, dice

    def write(self) -> None:
        """Put pods on the calendar; each ends again, at the latest when the accidents end."""
        for _ in range(self._random.randint(4, 12)):
            self._workload.at(self._random.uniform(30.0, HORIZON_SECONDS), self._start)

    def _start(self) -> None:
        world, dice = self._workload.world, self._random
        places = [
            (cluster_id, key)
            for cluster_id, cluster in world.clusters.items()
            if cluster.reachable
            for key in cluster.objects
        ]
        theirs = [one for one in places if "theirs" in one[1][2]]
        if theirs and dice.random() < 0.6:
            places = theirs
        if not places:
            return
        cluster_id, (kind, namespace, name) = dice.choice(places)
        pod, spec = f"user{self._workload.number()}", spec_of(dice, kind, name)
        cluster = world.clusters[cluster_id]
        world.born[fold_id(cluster_id), namespace, pod] = world.loop.time()
        self._workload.platform.wire.say("somebody", f"runs {pod} with {kind} {namespace}/{name}")
        if dice.random() < 0.5:
            self._workload.outward.clusters.put_pod(cluster_id, namespace, pod, spec)
        else:
            body = {"spec": {"replicas": 0, "template": {"spec": spec}}}
            self._workload.outward.clusters.put_workload(cluster_id, namespace, "Deployment", pod, body)

        def end() -> None:
            cluster.pods.pop((namespace, pod), None)
            cluster.workloads.pop((namespace, "Deployment", pod), None)

        self._workload.at(dice.uniform(60.0, 900.0), end)
