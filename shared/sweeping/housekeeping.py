"""The housekeeping slice: what has had its time goes.

Orphaned connections that nobody has rebuilt (pruned like anything else: this only opens the prune), rows that
lead to lives that are over, ended operations, requests and sweeps that lie further back than the history.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from datetime import datetime, timedelta

from shared import naming
from shared.inventory import Entry
from shared.models import Connection, ConnectionState, Operation, OperationId
from shared.ports import Remove, Row
from shared.records import REQUESTS, Dependent, RequestRecord
from shared.rows import key_hash, parse
from shared.state import CONNECTIONS
from shared.sweeping.ledger import Ledger
from shared.sweeping.lookout import Lookout
from shared.sweeping.pages import each_connection
from shared.sweeping.sweeps import Sweeps

ROWS = 500
SWEEPS_AT_ONCE = 50
_PRUNES = "prunes"
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
        stages, after = ledger.stage([*names, "requests", "rejected", "sweeps"])
        for stage in stages:
            ledger.move(stage, after)
            part, _, key = stage.partition(".")
            if key:
                done = await self._connections(ledger, known[key].cluster_id, after, ended=part == "ended")
            elif stage == "sweeps":
                removed = await self.sweeps.forget_before(self._cutoff(ledger), limit=SWEEPS_AT_ONCE)
                ledger.count("rowsRemoved", removed)
                done = True
            else:
                done = await self._requests(ledger, after, refusals=stage == "rejected")
            if not done:
                return False
            after = ""
        return True

    def _cutoff(self, ledger: Ledger) -> datetime:
        return ledger.sweep.started_at - timedelta(days=self.lookout.history_days)

    async def _connections(self, ledger: Ledger, cluster_id: str, after: str, *, ended: bool) -> bool:
        async def one(entries: Sequence[Entry]) -> None:
            await self._connection(ledger, entries, ended=ended)

        inventory = self.lookout.inventory
        return await each_connection(inventory, ledger, cluster_id, one, after=after, ended=ended)

    async def _connection(self, ledger: Ledger, entries: Sequence[Entry], *, ended: bool) -> None:
        rows = await self.lookout.store.query(CONNECTIONS, entries[0].connection_id)
        try:
            connection = parse(Connection, rows[0]) if rows else None
            operations = [parse(Operation, row) for row in rows if _is_operation(row)]
        except ValueError:
            ledger.count("rowsUnreadable")
            return
        if connection is None:
            return
        await self._expire(ledger, connection)
        left = await self._history(ledger, connection, operations, rows)
        over = not (connection.state.live or connection.active)
        for entry in entries:
            if ended:
                if not over or left <= 1 or entry.generation < connection.generation:
                    await self.lookout.inventory.forget(entry, ended=True)
                    ledger.count("rowsRemoved")
            elif over or entry.generation < connection.generation:
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

    async def _history(
        self, ledger: Ledger, connection: Connection, operations: Sequence[Operation], rows: Sequence[Row]
    ) -> int:
        """Remove ended operations that lie further back than the history; returns how many are left.

        The last one stays: it says how the connection came to be what it is.
        """
        cutoff, kept = self._cutoff(ledger), {connection.last_operation, *connection.active}
        old = [
            one
            for one in operations
            if one.state.final and one.ended_at and one.ended_at < cutoff and one.operation_id not in kept
        ]
        for operation in old:
            prefix = f"op|{operation.operation_id}"
            keys = [row.key for row in rows if row.key == prefix or row.key.startswith(f"{prefix}|")]
            if operation.cause is not None:
                # Before the operation, which leads to them: a crash in between leaves nothing unfindable.
                month = f"{operation.opened_at:%Y-%m}"
                await self._forget_saved(f"saved|{operation.operation_id}")
                await self.lookout.store.transact(_PRUNES, month, [Remove(key=operation.operation_id)])
            await self.lookout.store.transact(
                CONNECTIONS, connection.connection_id, [Remove(key=key) for key in keys]
            )
            ledger.count("operationsRemoved")
            ledger.count("rowsRemoved", len(keys))
        return len(operations) - len(old)

    async def _forget_saved(self, partition: str) -> None:
        """Remove what a prune had saved of the objects that it removed: it cannot be undone any more."""
        saved = await self.lookout.store.query(_PRUNES, partition)
        if saved:
            gone = [Remove(key=row.key) for row in saved]
            await self.lookout.store.transact(_PRUNES, partition, gone)

    async def _requests(self, ledger: Ledger, after: str, *, refusals: bool) -> bool:
        """Forget requests: by their keys a sixteenth of the table in each hour, refusals by their days."""
        cutoff = self._cutoff(ledger)
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


def _is_operation(row: Row) -> bool:
    return row.key.startswith("op|") and row.key.count("|") == 1
