"""What removals leave to living linkers of Service Connector: nobody's leak, for as long as that holds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from shared.errors import MooringError, PermanentError
from shared.models import Intent, StepRecord, StepState
from shared.naming import fold_id
from tests.simulation.ports import RUN, Run
from tests.simulation.records import Records
from tests.simulation.world import SimulatedWorld

GOES_WITH_LINKER = True
"""Whether the product takes what it has left to a linker when that linker goes.

Then nothing is excused if none of the linkers lives that lived when it was left. Otherwise a sweep tells
of it, and nobody removes it.
"""


class Left:
    """Names of things that stand for a linker's sake, until a connection of ours plans to hold them again.

    Names are computed: a later life makes the same ones, and what it makes is to go with it.
    """

    def __init__(self, world: SimulatedWorld) -> None:
        self._world = world
        self._left: dict[str, frozenset[str]] = {}
        """With the linkers that lived when it was left."""
        self.unread: set[str] = set()
        """Operations whose roles were made by a run that could not read a linker, and went on."""
        self._refused: list[Run] = []

    def failed(self, error: MooringError) -> None:
        """A call ends with an error. No run goes on after a refusal, but one that asks for a linker."""
        run = RUN.get(None)
        if run is not None and isinstance(error, PermanentError):
            self._refused.append(run)

    def step(self, row: StepRecord, records: Records) -> None:
        """A step's row is written: a removal that is done says what it has kept, and why."""
        if row.name == "role_assignments" and row.state is StepState.DONE:
            writer = RUN.get(None)
            if any(run is writer for run in self._refused):
                self.unread.add(row.operation_id)
        kept = [one for one in row.outputs.get("kept", ()) if one["rule"] == "live-linker"]
        operation = records.operation(row.operation_id)
        if row.state is not StepState.DONE or not kept or operation is None or operation.report_only:
            return
        cluster_id = records.cluster_of(operation.connection_id)
        for item in kept:
            self._left[_name(cluster_id, item)] = frozenset(self._world.linkers)

    def intent(self, intent: Intent, records: Records) -> None:
        """A connection says what it means to hold: that is its own to remove from now on."""
        for name in _planned(records.cluster_of(intent.connection_id), intent.planned):
            self._left.pop(name, None)

    def names(self) -> set[str]:
        """Folded ids of identities; names of assignments and credentials; place and name of objects."""
        alive = self._world.linkers.keys()
        left = {name for name, linkers in self._left.items() if not GOES_WITH_LINKER or linkers & alive}
        # An identity that a later life has used stays for a credential that was left to a linker before.
        return left | {key for key, there in self._world.credentials.items() if left & there.keys()}


def object_name(cluster_id: str, namespace: str, name: str) -> str:
    """What an object of a cluster is called here."""
    return f"{fold_id(cluster_id)}|{namespace}|{name}"


def _name(cluster_id: str, item: Mapping[str, Any]) -> str:
    if "id" in item:
        return fold_id(item["id"])
    if "namespace" in item:
        return object_name(cluster_id, item["namespace"], item["name"])
    return str(item["name"])


def _planned(cluster_id: str, planned: Mapping[str, Any]) -> Iterator[str]:
    for one in (*planned.get("assignments", ()), *planned.get("objects", ())):
        yield _name(cluster_id, one)
    if "resourceId" in planned:
        yield fold_id(planned["resourceId"])
    elif "name" in planned:
        yield _name(cluster_id, planned)
