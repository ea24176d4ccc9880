"""Records on which orphans were pruned: what an abandoned one holds is let go, an old one goes as a whole.

Such a record is no connection (``shared/orphan_prunes.py``): nobody deletes it, and its id has no other life
that would need to be told from this one.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from datetime import timedelta

from shared import naming
from shared.inventory import Entry
from shared.models import Connection, ConnectionState, Intent, Operation
from shared.ports import Remove, Row
from shared.rows import parse
from shared.state import CONNECTIONS, is_operation
from shared.steps.orphan_claims import things
from shared.sweeping.history import History
from shared.sweeping.ledger import Ledger
from shared.users import User

ABANDONED_SECONDS = 86_400.0
"""Whoever wanted it pruned has asked again by then: a sweep does so once a day."""
_UNMADE = frozenset({ConnectionState.OBSERVED, ConnectionState.FAILED})
"""Its prune was never opened, or has failed."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class OrphanRecords:
    """Tidies the records of orphans."""

    history: History

    async def look(self, ledger: Ledger, entries: Sequence[Entry]) -> None:
        """Tidy one record.

        Raises:
            StateConflictError: it is asked for again in this moment (transient).
        """
        lookout, connection_id = self.history.lookout, entries[0].connection_id
        rows = await lookout.store.query(CONNECTIONS, connection_id)
        try:
            connection = parse(Connection, rows[0]) if rows else None
            operations = [parse(Operation, row) for row in rows if is_operation(row)]
            intents = [parse(Intent, row) for row in rows if row.key.startswith("i|")]
        except ValueError:
            ledger.count("rowsUnreadable")
            return
        if connection is not None:
            if connection.active or connection.state is ConnectionState.RESTORED:
                return  # what a person has put back stays, with what is known of it
            idle = rows[0].read_at - rows[0].written_at
            if connection.state in _UNMADE and idle.total_seconds() > ABANDONED_SECONDS:
                await self._let_go(ledger, connection, intents)
            left = await self.history.operations(ledger, connection, operations, rows, kept=())
            if left or idle < timedelta(days=lookout.history_days):
                return
            await self._forget(ledger, connection, rows)
        for entry in entries:
            await lookout.inventory.forget(entry)
            ledger.count("rowsRemoved")

    async def _let_go(self, ledger: Ledger, connection: Connection, intents: Sequence[Intent]) -> None:
        """Stop being a user of what was not removed: others would leave it standing for ever."""
        user = User(connection_id=connection.connection_id, generation=connection.generation)
        # An operation that never was: whoever meets its mark after a crash need not wait for it.
        mark = naming.operation_id(connection.connection_id, "let-go")
        users = self.history.lookout.users
        for thing, _ in things(connection.spec.cluster_id, {one.step: one for one in intents}):
            leaving = await users.leave(thing, user, operation_id=mark)
            if leaving.last:
                await users.forget(thing, operation_id=mark)
                ledger.count("usersLetGo")

    async def _forget(self, ledger: Ledger, connection: Connection, rows: Sequence[Row]) -> None:
        """Remove what is left, unless somebody has opened a prune on it meanwhile."""
        gone = [row for row in rows if not row.key.startswith("op|")]
        changes = [Remove(key=row.key, etag=row.etag if row is rows[0] else "") for row in gone]
        await self.history.lookout.store.transact(CONNECTIONS, connection.connection_id, changes)
        ledger.count("rowsRemoved", len(gone))
