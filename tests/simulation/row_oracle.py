"""What no row may become: looked at before each change of a row."""

from __future__ import annotations

from collections.abc import Callable

from shared.limits import Lease
from shared.models import Connection, ConnectionState, Intent, Kind, StepRecord
from shared.ports import Columns, Row
from shared.records import RequestRecord
from shared.users import Shared, User
from tests.simulation.left import Left
from tests.simulation.linked import Linked
from tests.simulation.ports import RUN
from tests.simulation.records import Records
from tests.simulation.turns import Turns
from tests.simulation.world import SimulatedWorld

FINAL = frozenset({"succeeded", "failed", "superseded", "rejected"})
ENDED = frozenset({"done", "failed"})


class RowOracle:
    """Watches rows."""

    records: Records

    def __init__(self, world: SimulatedWorld, fail: Callable[[str], None]) -> None:
        self._world, self._fail = world, fail
        self.turns = Turns(fail)
        self.linked = Linked(world, fail)
        self.left = Left(world, fail)

    def row(self, table: str, partition: str, key: str, before: Row | None, after: Columns | None) -> None:
        """A row is about to change."""
        if after is not None:
            self._written(table, key, before, after)
        if before is None:
            return
        old = before.columns
        if table == "connections" and key.startswith("op|"):
            if after is None:
                self._fail(f"{key} was removed")
            elif key.count("|") == 1:
                if old["state"] in FINAL and (old["state"], old["code"]) != (after["state"], after["code"]):
                    self._fail(f"operation {key} had ended {old['state']} and became {after['state']}")
            else:
                self._step_row(key, before, after)
                self.turns.row(key, before, after, self.records)
        elif table == "users":
            self._users_row(before, after)
        elif table == "requests" and key == "request":
            # A refusal did nothing, and the same request may be sent again; all else is decided once.
            if after is None or (old["outcome"] != "rejected" and after["body"] != old["body"]):
                self._fail(f"the record of request {partition} changed")
        elif partition.startswith("lease|"):
            self._lease_row(partition, before, after)

    def _written(self, table: str, key: str, before: Row | None, after: Columns) -> None:
        if table == "connections":
            self._connection_row(key, before, after)
        elif table == "requests" and key == "request":
            self._decided(self.records.parse(RequestRecord, after))

    def _connection_row(self, key: str, before: Row | None, after: Columns) -> None:
        """Remember when operations are opened, what is left to linkers, and which are recorded."""
        if before is None and key.startswith("op|") and key.count("|") == 1:
            self._world.opened[key.removeprefix("op|")] = self._world.loop.time()
        elif key.startswith("op|") and key.count("|") > 1:
            self.left.step(self.records.parse(StepRecord, after), self.records)
        elif key.startswith("i|"):
            self.left.intent(self.records.parse(Intent, after), self.records)
        elif key == "a|connection" and after["state"] == ConnectionState.OBSERVED.value:
            self.linked.saw(self.records.parse(Connection, after))
            self.left.saw(self.records.parse(Connection, after))

    def _decided(self, record: RequestRecord) -> None:
        """A delete finds nothing only where nothing is made, and nothing is being made."""
        run = RUN.get(None)
        nothing = record.outcome == "nothing-to-do" or record.code == "not-found"
        if run is None or record.action != "delete" or not nothing:
            return
        for one in self.records.operations():
            making = one.kind is Kind.CREATE and not one.state.final
            known = self._world.opened.get(one.operation_id, run.started_at) < run.started_at
            if making and known and one.connection_id == record.connection_id:
                self._fail(f"a delete finds no {record.connection_id} while {one.operation_id} makes it")

    def _users_row(self, before: Row, after: Columns | None) -> None:
        """Who leaves is the present run's own connection, in the life that the run's operation is about."""
        was = self.records.parse(Shared, before.columns)
        stays = self.records.parse(Shared, after).users if after is not None else ()
        run = RUN.get(None)
        operation = self.records.operation(run.operation_id) if run is not None else None
        for user in set(was.users) - set(stays):
            if operation is None or user != User(
                connection_id=operation.connection_id, generation=operation.generation
            ):
                self._fail(f"{user} of {was.thing} is sent away by {run and run.operation_id}")

    def _step_row(self, key: str, before: Row, after: Columns) -> None:
        old = before.columns
        if old["state"] in ENDED and after["body"] != old["body"]:
            self._fail(f"step {key} had ended {old['state']} and was written again as {after['state']}")
        if old["state"] != "running" or after["state"] != "running":
            return
        was, becomes = self.records.parse(StepRecord, old), self.records.parse(StepRecord, after)
        # A run that was overtaken may let go of its own lease; taking another's is what must not happen.
        if (
            becomes.holder
            and was.holder
            and was.holder != becomes.holder
            and self._age(before) < was.lease_seconds
        ):
            self._fail(f"step {key} has two lease holders")

    def _lease_row(self, partition: str, before: Row, after: Columns | None) -> None:
        """A lease that is live is neither taken over nor given back by another."""
        lease, run = self.records.parse(Lease, before.columns), RUN.get(None)
        if self._age(before) >= lease.seconds:
            return
        if after is None and (run is None or run.operation_id != lease.holder):
            self._fail(f"lease {partition} of {lease.holder} is given back by {run and run.operation_id}")
        elif after is not None and after["holder"] != lease.holder:
            self._fail(f"lease {partition} went from {lease.holder} to {after['holder']} while it was live")

    def _age(self, row: Row) -> float:
        return (self._world.loop.now() - row.written_at).total_seconds()
