"""Opens what follows from a finding: the same operations as events do, each once.

What a list lacks is a hint and no more: the prune asks the provider again before it removes anything. The key
is made of the cause and the sweep's day, so that every sweep of a day leads to the same operation, and one
that found its cause alive is looked at again the next day.
"""

from __future__ import annotations

import dataclasses
from typing import Protocol

from shared import naming
from shared.errors import RefusedError
from shared.models import Cause, Connection, Kind, Operation, OperationId
from shared.opening import Answer, Asked, Opener
from shared.state import State
from shared.sweeping.ledger import Ledger


class OrphanPruning(Protocol):
    """Takes an orphan on the record and prunes it from there, with every guard of a prune."""

    async def prune(self, orphan_id: str, *, key: str, source: str = "request") -> Answer:
        """Open the prune of one orphan."""
        ...


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Hints:
    """Opens prunes and repairs."""

    opener: Opener
    state: State
    orphan_pruning: OrphanPruning | None = None
    """Without it what an ended connection has left is reported and nothing more."""

    async def prune(self, ledger: Ledger, connection: Connection, kind: str, resource_id: str) -> None:
        """Open the prune of a connection that has lost something; counted as opened or as known."""
        sweep, generation = ledger.sweep, connection.generation
        cause = Cause(
            kind=kind,
            resource_id=resource_id,
            event_id=f"{sweep.sweep_id}/{ledger.slice_id}",
            event_time=sweep.started_at.isoformat(timespec="milliseconds"),
            source="sweep",
        )
        answer = await self.opener.open(
            Asked(
                kind=Kind.PRUNE,
                connection_id=connection.connection_id,
                key=f"sweep|{kind}|{naming.fold_id(resource_id)}|{generation}|{sweep.day}",
                cause=cause,
                generation=generation,
            ),
        )
        operation = await self._opened(answer)
        # A run that died may have opened it before: then it bears the name of this slice all the same.
        mine = operation is not None and operation.cause == cause
        ledger.count(f"prunes.{kind}" if mine else "prunesKnown")

    async def repair(self, ledger: Ledger, connection: Connection, what: str) -> None:
        """Open the repair of a connection, once a day for each state of things; ``what`` tells them apart.

        Some states look the same when they come again: a role assignment has one name for ever.
        """
        asked = Asked(
            kind=Kind.REPAIR,
            connection_id=connection.connection_id,
            key=f"sweep|repair|{connection.generation}|{what}|{ledger.sweep.day}",
            generation=connection.generation,
        )
        try:
            answer = await self.opener.open(asked)
        except RefusedError as refusal:
            ledger.note(refusal.code)
            return
        operation = await self._opened(answer)
        if operation is not None and operation.opened_at >= ledger.sweep.started_at:
            ledger.count("repairs")

    async def left_behind(self, ledger: Ledger, orphan_id: str) -> None:
        """Open the prune of what a connection has left that ended: the one orphan nobody need name."""
        if self.orphan_pruning is None:
            return
        try:
            answer = await self.orphan_pruning.prune(
                orphan_id, key=f"sweep|{ledger.sweep.day}", source="sweep"
            )
        except RefusedError as refusal:
            ledger.note(refusal.code)
            return
        operation = await self._opened(answer)
        new = operation is not None and operation.opened_at >= ledger.sweep.started_at
        ledger.count("prunes.orphan" if new else "prunesKnown")

    async def _opened(self, answer: Answer) -> Operation | None:
        """The operation that the wish has opened, now or before; ``None`` if another one does for it."""
        if answer.outcome != "opened":
            return None
        stored = await self.state.operation(OperationId(answer.operation_id))
        return stored.value if stored else None
