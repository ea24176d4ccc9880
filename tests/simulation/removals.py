"""What prunes remove: nothing before its cause is a fact, and no more in an hour than the cap allows."""

from __future__ import annotations

import collections
from collections.abc import Callable
from datetime import datetime

from shared.models import Kind, Operation, OperationState
from shared.naming import fold_id
from tests.simulation import causes
from tests.simulation.ports import Run
from tests.simulation.records import Held, Records
from tests.simulation.world import SimulatedWorld

RETENTION_SECONDS = 14 * 86400
"""``MOORING_ORPHAN_RETENTION_SECONDS`` by default."""


class Removals:
    """Counts prunes that removed something, by cluster and hour of their confirmation."""

    def __init__(self, fail: Callable[[str], None], cap: int, world: SimulatedWorld) -> None:
        self._fail = fail
        self.retention_seconds = RETENTION_SECONDS
        self._world = world
        self._cap = cap
        self._took: set[str] = set()
        self._taken: collections.defaultdict[tuple[str, str], set[str]] = collections.defaultdict(set)

    def count(self, run: Run, records: Records) -> None:
        """Note that a run removes something, if it is a prune's."""
        operation = records.operation(run.operation_id)
        if operation is None or operation.kind is not Kind.PRUNE:
            return
        confirmed = records.step(run.operation_id, "confirm_gone")
        at = confirmed.outputs.get("confirmedAt") if confirmed else None
        if at is None:
            self._fail(f"{run.operation_id} removes something and has confirmed nothing")
            return
        held = records.held_by(run.connection_id)
        assert held is not None
        if operation.cause is not None and operation.cause.kind == "target":
            self._alive(held, operation, records)
        elif operation.cause is not None:
            self._stands(held, operation)
        self._took.add(run.operation_id)
        if operation.released:
            return  # a person has let it go beyond the cap
        hour = f"{datetime.fromisoformat(str(at)):%Y-%m-%dT%H}"
        taken = self._taken[fold_id(held.connection.spec.cluster_id), hour]
        taken.add(run.operation_id)
        if len(taken) > self._cap:
            self._fail(f"{len(taken)} prunes of one cluster in hour {hour}, the cap is {self._cap}")

    def _stands(self, held: Held, operation: Operation) -> None:
        """What a prune of any other cause says is gone is not there as the connection knew it."""
        cause = operation.cause
        assert cause is not None
        opened, key = self._world.opened[operation.operation_id], fold_id(cause.resource_id)
        times = (*self._world.touched.items(), *self._world.returned.items())
        moved = {place.replace("|", "/namespaces/", 1) for place, at in times if at >= opened}
        if any(f"{key}/".startswith(f"{one}/") for one in moved):
            return  # it may be there now, and was gone when looked for
        if cause.kind == "expiry":
            there = not causes.expired(self._world, held, self.retention_seconds)
        else:
            there = causes.stands(self._world, held, cause)
        if there:
            self._fail(f"{operation.operation_id} goes by {cause.kind} {cause.resource_id}, which is there")

    def _alive(self, held: Held, operation: Operation, records: Records) -> None:
        """What a connection has had access to is not all there, whatever was asked of it in vain since.

        What went or came back since the prune was opened may be there now, and was gone when looked for.
        """
        opened = self._world.opened[operation.operation_id]
        times = (*self._world.touched.items(), *self._world.returned.items())
        moved = {place for place, at in times if at >= opened}
        scopes = {fold_id(item["scope"]) for item in held.assignments(ever=True)}
        above = {one for one in moved for scope in scopes if f"{scope}/".startswith(f"{one}/")}
        if scopes and scopes <= self._world.resources.keys() and not above and not self._to_go(held, records):
            name = held.connection.spec.name
            self._fail(f"{operation.operation_id} takes {name}, and what it reaches is alive")

    def _to_go(self, held: Held, records: Records) -> bool:
        """Say whether what began to take it away last has failed: another prune does the rest of it."""
        begun = [
            one
            for one in records.operations()
            if one.connection_id == held.connection.connection_id
            and (
                one.kind in {Kind.CREATE, Kind.DELETE} or (one.operation_id in self._took and one.state.final)
            )
        ]
        last = max(begun, key=lambda one: one.opened_at, default=None)
        return last is not None and last.kind is not Kind.CREATE and last.state is OperationState.FAILED
