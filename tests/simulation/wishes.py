"""What keeps a thing that would be pruned: a pod's need, a person's wish, somebody's trust.

Each only if it was there before the run that prunes looked.
"""

from __future__ import annotations

from collections.abc import Callable

from shared.naming import MANAGED_BY, fold_id
from shared.steps.base import ANNOTATION_KEEP, LABEL_MANAGED_BY
from tests.simulation.pods import words
from tests.simulation.ports import Run
from tests.simulation.world import SimulatedWorld

Place = tuple[str, str, str, str]
"""Cluster, kind, namespace and name of an object."""


class Wishes:
    """Looks at each thing that a prune is about to take."""

    def __init__(self, world: SimulatedWorld, fail: Callable[[str], None]) -> None:
        self._world, self._fail = world, fail

    def cluster_object(self, run: Run, place: Place, *, ours: bool) -> None:
        """An object is about to be pruned; ``ours`` if the product made it."""
        self._pods(run, place)
        cluster_id, kind, namespace, name = place
        there = self._world.clusters[fold_id(cluster_id)].objects[kind, namespace, name]
        if self._world.handled.get((fold_id(cluster_id), kind, namespace, name), 0.0) >= run.started_at:
            return
        if ANNOTATION_KEEP in there.annotations:
            self._fail(f"{kind} {namespace}/{name} is pruned, and somebody has written that it stays")
        if ours and there.labels.get(LABEL_MANAGED_BY) != MANAGED_BY:
            self._fail(f"{kind} {namespace}/{name} is pruned, and somebody took our mark off")

    def identity(self, run: Run, key: str) -> None:
        """An identity is about to be pruned."""
        for name in self._world.credentials.get(key, {}):
            if self._world.trusted.get((key, name), run.started_at) < run.started_at:
                self._fail(f"identity {key} is pruned, and somebody's credential {name} trusts in it")

    def _pods(self, run: Run, place: Place) -> None:
        cluster_id, kind, namespace, name = place
        cluster = self._world.clusters[fold_id(cluster_id)]
        bodies = [*cluster.pods.items()]
        bodies += [((where, pod), body) for (where, _, pod), body in cluster.workloads.items()]
        for (where, pod), body in bodies:
            born = self._world.born[fold_id(cluster_id), where, pod]
            if where == namespace and born <= run.started_at and name in words(body["spec"]):
                self._fail(f"{kind} {namespace}/{name} is pruned while pod {pod} uses it")
