"""What prunes remove: nothing before its cause is a fact, and no more in an hour than the cap allows."""

from __future__ import annotations

import collections
from collections.abc import Callable
from datetime import datetime

from shared.models import Kind
from shared.naming import fold_id
from tests.simulation.ports import Run
from tests.simulation.records import Records


class Removals:
    """Counts prunes that removed something, by cluster and hour of their confirmation."""

    def __init__(self, fail: Callable[[str], None], cap: int) -> None:
        self._fail = fail
        self._cap = cap
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
        if operation.released:
            return  # a person has let it go beyond the cap
        held = records.held_by(run.connection_id)
        assert held is not None
        hour = f"{datetime.fromisoformat(str(at)):%Y-%m-%dT%H}"
        taken = self._taken[fold_id(held.connection.spec.cluster_id), hour]
        taken.add(run.operation_id)
        if len(taken) > self._cap:
            self._fail(f"{len(taken)} prunes of one cluster in hour {hour}, the cap is {self._cap}")
