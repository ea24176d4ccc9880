"""The housekeeping slice: what has had its time goes.

Orphaned connections that nobody has rebuilt (pruned like anything else: this only opens the prune), rows that
lead to lives that are over, records of orphans, and what lies further back than the history.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime

from shared import naming
from shared.inventory import ORPHANS_SCOPE, Entry
from shared.models import Connection, ConnectionState, Operation, OperationId
from shared.ports import Remove, Row
from shared.records import REQUESTS, Dependent, RequestRecord
from shared.rows import key_hash, parse
from shared.state import CONNECTIONS, is_operation
from shared.sweeping.history import History
from shared.sweeping.ledger import Ledger
from shared.sweeping.lookout import Lookout
from shared.sweeping.orphan_records import OrphanRecords
from shared.sweeping.pages import each_connection
from shared.sweeping.sweeps import Sweeps

ROWS = 500
SWEEPS_AT_ONCE = 50
_HEX = "0123456789abcdef"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Housekeeping:
    """Keeps house."""

    lookout: Lookout
    sweeps: Sweeps

    async def work(self, ledger: Ledger) -> bool:
        """Tidy as much as time allows; False if there is more to do.

        Raises:
            TransientError: go on from the ledger's cursor later.
        """
        clusters = await self.lookout.inventory.clusters()
        known = {key_hash(naming.fold_id(one.cluster_id)): one for one in clusters}
        names = [f"{part}.{key}" for key in sorted(known) for part in ("present", "ended")]
        parts: Mapping[str, Callable[[Ledger, str], Awaitable[bool]]] = {
            "records": self._records,
            "requests": self._requests,
            "rejected": self._refusals,
            "prunes": self._history.prunes,
            "saved": self._history.saved,
            "orphans": self._history.orphans,
            "sweeps": self._sweeps,
        }
        stages, after = ledger.stage([*names, *parts])
        for stage in stages:
            ledger.move(stage, after)
            part, _, key = stage.partition(".")
            if key:
                done = await self._connections(ledger, known[key].cluster_id, after, ended=part == "ended")
            else:
                done = await parts[stage](ledger, after)
            if not done:
                return False
            after = ""
        return True

    @property
    def _history(self) -> History:
        return History(lookout=self.lookout)

    async def _records(self, ledger: Ledger, after: str) -> bool:
        records = OrphanRecords(history=self._history)

        async def one(entries: Sequence[Entry]) -> None:
            await records.look(ledger, entries)

        return await each_connection(self.lookout.inventory, ledger, ORPHANS_SCOPE, one, after=after)

    async def _sweeps(self, ledger: Ledger, _: str) -> bool:
        removed = await self.sweeps.forget_before(self._history.cutoff(ledger), limit=SWEEPS_AT_ONCE)
        ledger.count("rowsRemoved", removed)
        return True

    async def _refusals(self, ledger: Ledger, after: str) -> bool:
        return await self._requests(ledger, after, refusals=True)

    async def _connections(self, ledger: Ledger, cluster_id: str, after: str, *, ended: bool) -> bool:
        async def one(entries: Sequence[Entry]) -> None:
            await self._connection(ledger, entries, ended=ended)

        inventory = self.lookout.inventory
        return await each_connection(inventory, ledger, cluster_id, one, after=after, ended=ended)

    async def _connection(self, ledger: Ledger, entries: Sequence[Entry], *, ended: bool) -> None:
        rows = await self.lookout.store.query(CONNECTIONS, entries[0].connection_id)
        try:
            connection = parse(Connection, rows[0]) if rows else None
            operations = [parse(Operation, row) for row in rows if is_operation(row)]
        except ValueError:
            ledger.count("rowsUnreadable")
            return
        if connection is None:
            return
        await self._expire(ledger, connection)
        # The last one stays: it says how the connection came to be what it is.
        kept = {connection.last_operation, *connection.active}
        left = await self._history.operations(ledger, connection, operations, rows, kept=kept)
        over = not (connection.state.live or connection.active)
        for entry in entries:
            if ended:
                if not over or left <= 1 or entry.generation < connection.generation:
                    await self.lookout.inventory.forget(entry, ended=True)
                    ledger.count("rowsRemoved")
            elif entry.generation < connection.generation + over:  # of the next life it precedes the row
                dependent = Dependent.model_validate(entry.model_dump())
                ledger.count("rowsRemoved", await self.lookout.dependents.remove(dependent))
                await self.lookout.inventory.retire(entry)

    async def _expire(self, ledger: Ledger, connection: Connection) -> None:
        """Open the prune of an orphaned connection that nobody has rebuilt in time."""
        if connection.state is not ConnectionState.ORPHANED or connection.ended_at is None:
            return
        age_seconds = (ledger.sweep.started_at - connection.ended_at).total_seconds()
        if age_seconds > self.lookout.orphan_retention_seconds:
            await self.lookout.hints.prune(ledger, connection, "expiry", connection.spec.cluster_id)

    async def _requests(self, ledger: Ledger, after: str, *, refusals: bool = False) -> bool:
        """Forget requests: by their keys a sixteenth of the table in each hour, refusals by their days."""
        cutoff = self._history.cutoff(ledger)
        hour = int(ledger.sweep.started_at.timestamp()) // 3600
        digit = _HEX[hour % len(_HEX)]
        first, stage = ("rejected-", "rejected") if refusals else (digit, "requests")
        behind = f"rejected-{cutoff:%Y-%m-%d}" if refusals else f"{digit}~"
        after = after or first
        while True:
            rows = await self.lookout.store.scan(REQUESTS, after=after, limit=ROWS)
            mine = [row for row in rows if row.partition < behind]
            gone = [row for row in mine if await self._forgettable(row, cutoff)]
            for row in gone:
                await self.lookout.store.transact(REQUESTS, row.partition, [Remove(key=row.key)])
            ledger.count("rowsRemoved", len(gone))
            if len(mine) < ROWS or (refusals and not gone):
                return True
            # A day's refusals may go on behind the page: what was removed of it is not found again.
            after = first if refusals else mine[-1].partition
            ledger.move(stage, after)
            if ledger.over():
                return False

    async def _forgettable(self, row: Row, cutoff: datetime) -> bool:
        """Say whether a request is old and what it asked for is over."""
        try:
            record = parse(RequestRecord, row)
        except ValueError:
            return False
        if record.received_at >= cutoff:
            return False
        operation_id = OperationId(record.operation_id if record.outcome != "rejected" else "")
        stored = await self.lookout.state.operation(operation_id) if operation_id else None
        return stored is None or stored.value.state.final
