"""Opens operations: each wish once, and never two that would disturb each other.

One transaction supersedes what is overtaken, writes the operation with all its steps and changes the
connection's row; inserting the connection decides a race of two creates. Whoever loses looks again.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from shared import admission, changes, endings, naming, plans, traces
from shared.admission import refuse_another
from shared.announcer import Announcer
from shared.beginnings import left_by_linker, require_restorable
from shared.errors import RefusedError, StateConflictError
from shared.models import (
    Cause,
    Connection,
    ConnectionId,
    ConnectionState,
    Kind,
    Operation,
    OperationId,
    OperationState,
)
from shared.ports import SILENCE, Clock, Telemetry
from shared.precedence import Decision, decide
from shared.prunes import PruneEntry, Prunes
from shared.spec import ConnectionSpec
from shared.state import State, Stored
from shared.targets import TargetType

TRIES = 8


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One wish for one connection."""

    kind: Kind
    connection_id: ConnectionId
    key: str
    """Makes a repeat recognisable."""
    request_id: str = ""
    spec: ConnectionSpec | None = None
    cause: Cause | None = None
    generation: int | None = None
    """Life of the connection that the wish is about; ``None`` is whichever there is."""
    restores: OperationId = OperationId("")  # noqa: RUF009 - a type, not a call
    """The prune that a restore undoes."""
    row: TargetType | None = None
    """Set for an update, which is a create on what is made: the catalogue's row of the wanted target."""
    caller: str = ""
    """W3C ``traceparent`` of whoever asks."""


@dataclasses.dataclass(frozen=True, slots=True)
class Answer:
    """What became of a wish.

    Attributes:
        outcome: opened, attached, unchanged or nothing-to-do.
        operation_id: the operation that carries it out, or the last one; empty if there is none.
        before: that operation as it is, if the same wish had opened it before.
    """

    outcome: str
    operation_id: str = ""
    before: Operation | None = dataclasses.field(default=None, compare=False)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Opener:
    """Opens operations."""

    state: State
    announcer: Announcer
    clock: Clock
    report_only: bool = False
    """Prunes walk their whole path and change nothing."""
    telemetry: Telemetry = SILENCE

    async def open(self, asked: Asked) -> Answer:
        """Open the operation of one wish, unless it is under way, not needed or not allowed.

        Raises:
            RefusedError: a code of ``shared/admission.py``; what asks about one ``generation`` is not refused
                but has nothing to do.
            StateConflictError: too much moved meanwhile (transient).
        """
        operation_id = naming.operation_id(asked.connection_id, asked.key)
        with traces.opening(self.telemetry, operation_id, asked) as span:
            answer = await self._opened(asked, operation_id)
            # An operation that carries it out already has a trace of its own.
            span.note({"outcome": answer.outcome, "operation_id": answer.operation_id})
            return answer

    async def _opened(self, asked: Asked, operation_id: OperationId) -> Answer:
        for _ in range(TRIES):
            before = await self.state.operation(operation_id)
            if before is not None:
                await self.announcer.start(operation_id)
                return Answer("opened", operation_id, before.value)
            stored = await self.state.connection(asked.connection_id)
            present = stored.value if stored else None
            settled = self._settled(asked, present)
            if settled is not None:
                return settled
            try:
                answer = await self._open(asked, operation_id, stored)
            except StateConflictError:
                continue
            if answer.outcome == "opened":
                await self.announcer.start(operation_id)
            return answer
        raise StateConflictError("opening an operation")

    def _settled(self, asked: Asked, connection: Connection | None) -> Answer | None:
        """Answer a wish that needs no new operation; ``None`` if it does."""
        if asked.kind is Kind.RESTORE:
            require_restorable(asked.generation, connection)
            return None
        # What was opened and has not begun yet is as good as there.
        if connection is None or not (connection.state.live or connection.active):
            if asked.row:
                changes.refuse_unmade()
            if asked.kind is Kind.CREATE:
                return None
            if asked.generation is None:
                admission.refuse_missing(asked.kind)
            return Answer("nothing-to-do", connection.last_operation if connection else "")
        if asked.generation not in {None, connection.generation}:
            return Answer("nothing-to-do", connection.last_operation)
        if asked.kind is Kind.PRUNE and connection.state is ConnectionState.RESTORED:
            # What a person has put back stays until a person says otherwise.
            return Answer("nothing-to-do", connection.last_operation)
        try:
            # What a repair is refused for an update is, too: the connection is not, or not whole, our own.
            _refuse_unfit(Kind.REPAIR if asked.row else asked.kind, connection)
        except RefusedError:
            # What looks after connections by itself names the life that it saw; nobody waits for its refusal.
            if asked.generation is None:
                raise
            return Answer("nothing-to-do", connection.last_operation)
        if asked.spec is None or connection.active or not connection.state.live:
            return None
        return self._unchanged(connection, asked.spec, asked.row)

    def _unchanged(
        self, connection: Connection, spec: ConnectionSpec, row: TargetType | None
    ) -> Answer | None:
        """The answer to a create that finds its connection made; ``None`` if it is not made, or not so."""
        if left_by_linker(connection):
            return None
        if row and naming.spec_hash(spec) != connection.body_hash:
            return None
        refuse_another(connection.spec, spec)
        made = connection.state in {ConnectionState.CONFIGURED, ConnectionState.USABLE}
        return Answer("unchanged", connection.last_operation) if made else None

    async def _open(
        self, asked: Asked, operation_id: OperationId, stored: Stored[Connection] | None
    ) -> Answer:
        now = stored.read_at if stored else self.clock.now()
        connection = stored.value if stored else self._new_connection(asked)
        under_way = [await self.state.operation(other) for other in connection.active]
        running = [other for other in under_way if other is not None and not other.value.state.final]
        decisions = [self._decide(asked, other.value, connection) for other in running]
        if Decision.YIELD in decisions:
            return Answer("nothing-to-do", running[decisions.index(Decision.YIELD)].value.operation_id)
        same = self._same(asked, running, decisions)
        if same is not None:
            return Answer("attached", same.operation_id)
        unconfirmed = connection.state is not ConnectionState.PRUNING
        hints = set() < _kinds(running) <= {Kind.PRUNE, Kind.REPAIR}
        if asked.spec is not None and unconfirmed and hints:
            # A prune that has confirmed nothing yet is a hint, and a repair unmakes nothing: the connection
            # is as made as before.
            unchanged = self._unchanged(connection, asked.spec, asked.row)
            if unchanged is not None:
                return unchanged
        ahead = [other.value for other in running]
        begins_from = changes.begins_from(connection, ahead, asked.spec, asked.row)
        by_decision = list(zip(running, decisions, strict=True))
        overtaken = [other for other, what in by_decision if what is Decision.OVERTAKE]
        if Kind.RESTORE in _kinds(overtaken):
            intents = await self.state.intents(asked.connection_id)
            connection = endings.left_by_restore(connection, intents)
            if asked.spec is not None and connection.state.live and not left_by_linker(connection):
                refuse_another(connection.spec, asked.spec)
        waits_for = [other for other, what in by_decision if what in {Decision.WAIT, Decision.ATTACH}]
        operation = Operation(
            operation_id=operation_id,
            connection_id=asked.connection_id,
            kind=asked.kind,
            state=OperationState.WAITING if waits_for else OperationState.RUNNING,
            generation=connection.generation,
            plan=plans.plan(
                asked.kind, connection, spec=asked.spec, cause=asked.cause, overtakes=bool(overtaken)
            ),
            spec=asked.spec,
            changes=begins_from,
            request_id=asked.request_id,
            behind=waits_for[-1].value.operation_id if waits_for else OperationId(""),
            overtakes=tuple(other.value.operation_id for other in overtaken),
            cause=asked.cause,
            restores=asked.restores,
            report_only=self.report_only and asked.kind is Kind.PRUNE,
            opened_at=now,
        )
        rewritten = [endings.superseded(other, asked.kind, now) for other in overtaken]
        gone = {other.value.operation_id for other in overtaken}
        kept = [other.value.operation_id for other in running if other.value.operation_id not in gone]
        active = (*kept, *(() if asked.kind is Kind.VALIDATE else (operation_id,)))
        if asked.kind is Kind.PRUNE and asked.cause is not None:
            await Prunes(self.state.store).note(PruneEntry.of(operation, asked.cause, connection.spec))
        restored = connection.restored or asked.kind is Kind.RESTORE
        await self.state.open(
            operation,
            plans.records(operation),
            connection=connection.model_copy(update={"active": active, "restored": restored}),
            connection_etag=stored.etag if stored else "",
            superseded=rewritten,
        )
        return Answer("opened", operation_id)

    def _decide(self, asked: Asked, under_way: Operation, connection: Connection) -> Decision:
        """The table's decision, refined where a prune has confirmed nothing yet: then it is only a hint.

        Two prunes for different causes stand beside each other until one has confirmed its cause; the engine
        lets one at a time go on from there. A create does not wait for hints either.
        """
        decision = decide(asked.kind, under_way.kind)
        if asked.kind is Kind.PRUNE and self.report_only and decision is Decision.OVERTAKE:
            return Decision.BESIDE  # it will change nothing
        if asked.kind is Kind.PRUNE and under_way.kind is Kind.RESTORE and not connection.state.live:
            # All was pruned already: an event that comes again must not stop what a person asked for.
            return Decision.YIELD
        if under_way.kind is not Kind.PRUNE:
            return decision
        if asked.kind is Kind.PRUNE and not _same_cause(asked.cause, under_way.cause):
            return Decision.BESIDE
        hint = connection.state is not ConnectionState.PRUNING
        return Decision.BESIDE if asked.kind is Kind.CREATE and hint else decision

    def _same(
        self, asked: Asked, running: Sequence[Stored[Operation]], decisions: Sequence[Decision]
    ) -> Operation | None:
        """The operation under way that is the same wish.

        A create or delete is only the same as the newest: what stands behind another is another life's.
        """
        if asked.kind is Kind.PRUNE:
            found = [
                one.value for one, what in zip(running, decisions, strict=True) if what is Decision.ATTACH
            ]
            return found[0] if found else None
        if not decisions or decisions[-1] is not Decision.ATTACH:
            return None
        newest = running[-1].value
        if newest.restores != asked.restores:
            return None
        if asked.spec is not None and newest.spec is not None:
            if asked.row and naming.spec_hash(newest.spec) != naming.spec_hash(asked.spec):
                return None
            refuse_another(newest.spec, asked.spec)
        return newest

    def _new_connection(self, asked: Asked) -> Connection:
        if asked.spec is None:
            raise RefusedError("not-found", "there is no such connection")
        return Connection(
            connection_id=asked.connection_id,
            spec=asked.spec,
            body_hash=naming.spec_hash(asked.spec),
            # Nothing exists yet: the first claim makes it generation 1 of a live connection.
            state=ConnectionState.DELETED,
            generation=0,
            created_at=self.clock.now(),
        )


def _refuse_unfit(kind: Kind, connection: Connection) -> None:
    if kind is not Kind.PRUNE:
        admission.refuse_orphans(connection)
    if connection.linker_id and connection.state.live and not left_by_linker(connection):
        admission.refuse_theirs(kind, connection)
    if kind is Kind.REPAIR:
        admission.refuse_unrepairable(connection)


def _same_cause(one: Cause | None, other: Cause | None) -> bool:
    if one is None or other is None:
        return False
    return (one.kind, naming.fold_id(one.resource_id)) == (other.kind, naming.fold_id(other.resource_id))


def _kinds(running: Sequence[Stored[Operation]]) -> set[Kind]:
    return {other.value.kind for other in running}
