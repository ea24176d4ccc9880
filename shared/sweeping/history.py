"""What lies further back than the history goes: ended operations, what prunes saved, orphans unseen since."""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator, Collection, Sequence
from datetime import datetime, timedelta

from shared.models import Connection, Operation, OperationId
from shared.orphans import TABLE as ORPHANS
from shared.orphans import Orphan
from shared.ports import Remove, Row
from shared.prunes import TABLE as PRUNES
from shared.prunes import month_of, saved_partition
from shared.rows import parse
from shared.state import CONNECTIONS
from shared.sweeping.ledger import Ledger
from shared.sweeping.lookout import Lookout

AT_ONCE = 100
_HEX = "0123456789abcdef"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """Removes what is old."""

    lookout: Lookout

    def cutoff(self, ledger: Ledger) -> datetime:
        """What ended before is old."""
        return ledger.sweep.started_at - timedelta(days=self.lookout.history_days)

    async def operations(
        self,
        ledger: Ledger,
        connection: Connection,
        operations: Sequence[Operation],
        rows: Sequence[Row],
        *,
        kept: Collection[str],
    ) -> int:
        """Remove old operations that have ended, but those to keep; returns how many are left.

        Args:
            ledger: the run.
            connection: whose they are.
            operations: all of the connection's.
            rows: of the connection's partition.
            kept: ids.
        """
        cutoff = self.cutoff(ledger)
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
                month = month_of(operation.opened_at)
                saved = saved_partition(operation.operation_id)
                await self._forget(saved, await self.lookout.store.query(PRUNES, saved))
                await self.lookout.store.transact(PRUNES, month, [Remove(key=operation.operation_id)])
            await self.lookout.store.transact(
                CONNECTIONS, connection.connection_id, [Remove(key=key) for key in keys]
            )
            ledger.count("operationsRemoved")
            ledger.count("rowsRemoved", len(keys))
        return len(operations) - len(old)

    async def prunes(self, ledger: Ledger, after: str) -> bool:
        """Remove the lines of old months: what was never opened, and a connection's last prune.

        One that is held since then stays in the list of its month.
        """
        async for month, rows in self._partitions(PRUNES, behind=month_of(self.cutoff(ledger)), after=after):
            gone = [row for row in rows if await self._over(row.key)]
            ledger.count("rowsRemoved", await self._forget(month, gone))
            ledger.move("prunes", month)
            if ledger.over():
                return False
        return True

    async def saved(self, ledger: Ledger, after: str) -> bool:
        """Remove what prunes saved long ago, a sixteenth of it in each hour: it is not put back any more."""
        digit = _HEX[int(ledger.sweep.started_at.timestamp()) // 3600 % len(_HEX)]
        first, cutoff = saved_partition(digit), self.cutoff(ledger)
        async for partition, rows in self._partitions(PRUNES, behind=f"{first}~", after=after or first):
            operation_id = partition.removeprefix(saved_partition(""))
            if all(row.written_at < cutoff for row in rows) and await self._over(operation_id):
                ledger.count("rowsRemoved", await self._forget(partition, rows))
            ledger.move("saved", partition)
            if ledger.over():
                return False
        return True

    async def orphans(self, ledger: Ledger, after: str) -> bool:
        """Forget orphans that no sweep has looked for since: their cluster is not watched any more."""
        cutoff = self.cutoff(ledger)
        async for partition, rows in self._partitions(ORPHANS, after=after):
            for row in rows:
                if row.written_at < cutoff and not await self._being_pruned(ledger, row):
                    await self.lookout.orphans.forget(row.key)
                    ledger.count("rowsRemoved")
            ledger.move("orphans", partition)
            if ledger.over():
                return False
        return True

    async def _being_pruned(self, ledger: Ledger, row: Row) -> bool:
        try:
            return await self.lookout.being_pruned(parse(Orphan, row))
        except ValueError:
            ledger.count("rowsUnreadable")
            return True

    async def _over(self, operation_id: str) -> bool:
        """Say whether an operation has ended, or never was; not of one that cannot be read."""
        try:
            stored = await self.lookout.state.operation(OperationId(operation_id))
        except ValueError:
            return False
        return stored is None or stored.value.state.final

    async def _forget(self, partition: str, rows: Sequence[Row]) -> int:
        for first in range(0, len(rows), AT_ONCE):
            gone = [Remove(key=row.key) for row in rows[first : first + AT_ONCE]]
            await self.lookout.store.transact(PRUNES, partition, gone)
        return len(rows)

    async def _partitions(
        self, table: str, *, after: str, behind: str = ""
    ) -> AsyncIterator[tuple[str, list[Row]]]:
        """Partitions that sort behind ``after`` and before ``behind`` (empty: all), with their rows."""
        while rows := await self.lookout.store.scan(table, after=after, limit=1):
            after = rows[0].partition
            if behind and after >= behind:
                return
            yield after, await self.lookout.store.query(table, after)
