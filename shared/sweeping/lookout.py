"""What every slice works with, and what it does with a finding of drift or an orphan."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Mapping, Sequence

from shared import drift, naming
from shared.catalogue import Catalogue
from shared.drift import Drift, Drifted, Drifts
from shared.inventory import Inventory
from shared.limits import Limits
from shared.observing import Observer
from shared.orphans import Orphan, Orphans
from shared.policy import Policy
from shared.ports import StateStore
from shared.records import Dependents
from shared.state import State
from shared.steps.surroundings import Outside
from shared.sweeping.hints import Hints
from shared.sweeping.ledger import Ledger
from shared.sweeping.on_record import OnRecord
from shared.users import Users

MISSED_BY = "missedBy"
"""In an orphan's evidence: the sweep that looked where it was and did not see it."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Lookout:
    """What slices use."""

    store: StateStore
    state: State
    inventory: Inventory
    dependents: Dependents
    users: Users
    limits: Limits
    orphans: Orphans
    drifts: Drifts
    hints: Hints
    observer: Observer
    outside: Outside
    catalogue: Catalogue
    load_policy: Callable[[], Policy]
    tenant_id: str
    identity_resource_group_id: str
    repairs: bool
    """Drift of what we made is repaired, not only reported."""
    orphan_retention_seconds: float
    history_days: int
    logger: logging.Logger

    async def drifted(
        self,
        ledger: Ledger,
        record: OnRecord,
        part: str,
        found: Sequence[Drifted],
        checked: Mapping[str, str] | None = None,
    ) -> None:
        """Record what is not as it was written, and have it repaired if that is wanted.

        Args:
            ledger: the run.
            record: the connection.
            part: the kind of slice that looked.
            found: what it found; empty if all is well.
            checked: versions of things whose values were found right.
        """
        for item in found:
            ledger.count(f"drift.{item.kind}")
        connection, known = record.connection, record.drift.get(part)
        seen = Drift(
            generation=connection.generation,
            found=tuple(found),
            checked=checked or {},
            first_seen_at=ledger.sweep.started_at,
            last_seen_at=ledger.sweep.started_at,
            sweep=ledger.sweep.sweep_id,
        )
        kept = seen if found or checked else None
        await self.drifts.save(connection.connection_id, part, kept, known=known)
        mendable = [item for item in found if item.kind in drift.REPAIRABLE]
        if self.repairs and mendable and not connection.linker_id:
            parts = [text for item in mendable for text in (item.kind, item.thing, item.mark)]
            await self.hints.repair(ledger, connection, naming.digest(parts, 12))

    async def orphaned(self, ledger: Ledger, orphan: Orphan) -> None:
        """Report something that nobody on record owns."""
        recorded = await self.orphans.put(orphan)
        new = recorded.first_seen_at == orphan.first_seen_at
        ledger.count(f"orphans.{orphan.kind.value}.{'new' if new else 'known'}")

    async def missed(self, ledger: Ledger, orphans: Sequence[Orphan]) -> None:
        """Orphans that were not where they had been seen: gone; forgotten once a second sweep says so."""
        for orphan in orphans:
            if orphan.sweep == ledger.sweep.sweep_id or await self.being_pruned(orphan):
                continue
            ledger.count(f"orphans.{orphan.kind.value}.gone")
            by = orphan.evidence.get(MISSED_BY)
            if by and by != ledger.sweep.sweep_id:
                await self.orphans.forget(orphan.orphan_id)
                ledger.count("rowsRemoved")
            elif not by:
                evidence = {**orphan.evidence, MISSED_BY: ledger.sweep.sweep_id}
                await self.orphans.put(orphan.model_copy(update={"evidence": evidence}))

    async def being_pruned(self, orphan: Orphan) -> bool:
        """Say whether its prune is under way: until that has ended the orphan is on record, and no news."""
        stored = await self.state.operation(orphan.prune) if orphan.prune else None
        return stored is not None and not stored.value.state.final
