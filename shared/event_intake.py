"""Takes in what Azure says.

A deletion opens a prune for each connection that relied on the resource. A linker that was written is
recorded with the uids of its cluster objects while it is alive (``shared/observing.py``).
An unknown id costs one table read and no call to Azure or a cluster.
"""

from __future__ import annotations

import dataclasses
import hashlib
import logging

from shared import event_copies, event_notes, event_time, events, naming
from shared.catalogue import Catalogue
from shared.decoding import decode
from shared.errors import PermanentError, RefusedError, TransientError
from shared.event_notes import GoOn, LookAgain
from shared.logs import bind
from shared.models import Cause, Kind, Operation, OperationState
from shared.observing import Observer
from shared.opening import Asked, Opener
from shared.parking import COPIES, KEPT, Parking, essence
from shared.ports import SILENCE, Clock, DeadLetters, StepQueue, Telemetry
from shared.records import Dependent, Dependents
from shared.state import State

_STRENGTH = ("cluster", "linker", "target", "identity", "credential")
"""Where several of a connection's resources went at once, the first of these names the plan."""
UNREACHABLE = "cluster-unreachable"
_TO_DO = frozenset({events.Decision.CANDIDATE, events.Decision.OBSERVE})
"""Decisions about an event that something follows from."""
ALIVE = "resource-alive"
"""Result of a prune whose cause is there."""
OPENINGS = 8
"""How often one event opens a prune of one connection, each after the one before it came to nothing."""
PRUNES_PER_MESSAGE = 200
"""A function has 5 minutes, and opening a prune is some ten calls to the state store and the queue."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class EventIntake:
    """Turns events into operations and inventory."""

    state: State
    dependents: Dependents
    opener: Opener
    observer: Observer
    queue: StepQueue
    catalogue: Catalogue
    clock: Clock
    subscription_ids: frozenset[str]
    tenant_id: str
    """Events that name another tenant are not believed."""
    logger: logging.Logger
    blobs: DeadLetters | None = None
    """Where a replay looks; ``None`` if no container is configured."""
    telemetry: Telemetry = SILENCE

    async def receive(self, body: bytes | str) -> list[str]:
        """Take in one webhook's or queue message's body; one word per event, for logs and tests.

        One body opens at most 200 prunes: what is left of an event goes on in a message of its own, which is
        queued before this one is acknowledged.

        Raises:
            TransientError: deliver the body again; what is done already is recognised.
        """
        note = event_notes.read(body)
        if isinstance(note, LookAgain):
            return [await self._observe(note.linker_id, tries=note.tries)]
        room, parking = _Room(), Parking(self.queue, self.logger)
        if isinstance(note, GoOn):
            return [await self._go_on(note, room)]
        results: list[str] = []
        transient: TransientError | None = None
        for decision in self._decisions(body):
            try:
                results.append(await self._handle(decision, parking, room))
            except PermanentError as error:
                # One event that cannot be dealt with must not lose the others of its delivery.
                results.append(await parking.failed(decision, error.code))
            except TransientError as error:
                transient = error
        parking.tell_rest()
        if transient is not None:
            raise transient
        return results

    async def forward(self, body: str) -> None:
        """Hand one event of a webhook over to the queue, without the caller's particulars.

        What cannot be handed over is parked, and not refused: delivered again, it would be the same.

        Raises:
            TransientError: the queue is away; the event comes again.
        """
        try:
            value = decode(
                body, message_bytes=events.BODY_BYTES, json_bytes=events.BODY_BYTES, depth=events.DEPTH
            )
        except RefusedError:
            value = None
        text = event_copies.trimmed(value)
        if text:
            await self.queue.forward_event(text)
            return
        parking = Parking(self.queue, self.logger)
        for decision in self._decisions(body):
            if decision.decision in _TO_DO:
                await self.queue.forward_event(essence(decision))
            elif decision.decision is events.Decision.REJECTED:
                await parking.rejected(decision)
        parking.tell_rest()

    async def keep(self, body: str) -> None:
        """Keep what no run could take in, for a replay or, without a container, for a person.

        Only what is believed and worth a look is kept, and of that only what is read.

        Raises:
            TransientError: the storage is away; the body comes again.
        """
        note = event_notes.read(body)
        believed = [] if note else [one for one in self._decisions(body) if one.decision in _TO_DO]
        texts = [note.text()] if note else [essence(one) for one in believed]
        if not texts:
            return
        if self.blobs is not None:
            name = f"{KEPT}{hashlib.sha256(body.encode()).hexdigest()[:32]}.json"
            try:
                await self.blobs.keep(name, f"[{','.join(texts)}]".encode())
            except PermanentError as error:
                bind(self.logger).error("event-not-kept", extra={"blob": name, "code": error.code})
            else:
                bind(self.logger).warning("event-kept", extra={"blob": name, "count": len(texts)})
                return
        parking = Parking(self.queue, self.logger)
        for decision in believed[:COPIES]:
            await parking.failed(decision, "event-crashed")

    def _decisions(self, body: bytes | str) -> list[events.EventDecision]:
        return events.parse(
            body,
            subscriptions=self.subscription_ids,
            watched=self.catalogue.watched_types(),
            tenant_id=self.tenant_id,
            now=self.clock.now(),
        )

    async def _go_on(self, note: GoOn, room: _Room) -> str:
        if naming.subscription_of(note.resource_id) not in self.subscription_ids:
            bind(self.logger).warning("event-note-refused", extra={"id": note.resource_id})
            return "go-on:refused"
        taken = {"decision": "candidate", "reason": "go-on", "id": note.resource_id}
        opened = await self._prune(note, room)
        bind(self.logger).info("event-taken", extra={**taken, **dataclasses.asdict(opened)})
        return str(opened)

    async def _handle(self, decision: events.EventDecision, parking: Parking, room: _Room) -> str:
        if decision.decision is events.Decision.REJECTED:
            return await parking.rejected(decision)
        if decision.decision is events.Decision.OBSERVE:
            return await self._observe(decision.resource_id, tries=0)
        log = bind(self.logger)
        fields = {"decision": decision.decision.value, "reason": decision.reason, "id": decision.resource_id}
        if decision.decision is events.Decision.IGNORED:
            # No more events come once the event subscription that feeds us is gone.
            loud = decision.reason == "event-subscription-deleted"
            log.log(logging.WARNING if loud else logging.DEBUG, "event-ignored", extra=fields)
            return "ignored"
        whole = GoOn(decision.resource_id, decision.event_id, decision.event_time, after="")
        opened = await self._prune(whole, room)
        # Most deletions of a subscription concern nobody here: what opens nothing must not fill the log.
        level = logging.WARNING if decision.time_warning else logging.INFO
        taken = {**fields, **dataclasses.asdict(opened), "warning": decision.time_warning}
        log.log(level if opened.prunes or opened.more else logging.DEBUG, "event-taken", extra=taken)
        lag = event_time.age(decision.event_time, self.clock.now())
        if opened.prunes and lag is not None:
            self.telemetry.measure("event_lag_seconds", max(0.0, lag.total_seconds()))
        return str(opened)

    async def _observe(self, linker_id: str, *, tries: int) -> str:
        with self.telemetry.span("observe linker", fields={"linker": linker_id, "tries": tries}) as span:
            try:
                outcome = await self.observer.observe(linker_id, tries=tries)
            except TransientError as error:
                if error.code != UNREACHABLE:
                    raise
                # It may be out of reach for longer than a queue delivers a message again.
                outcome = await self.observer.look_again(linker_id, tries=tries)
            span.note({"outcome": outcome})
            return outcome

    async def _prune(self, deletion: GoOn, room: _Room) -> _Opened:
        """Open prunes of connections that rely on a resource or on anything below it, in order of their ids.

        Raises:
            PermanentError: one of them could not be opened; the others were, or are by the next message.
        """
        strongest: dict[str, Dependent] = {}
        for dependent in await self.dependents.of(deletion.resource_id):
            known = strongest.get(dependent.connection_id)
            # Rows of earlier lives stay for ever; only the newest life can be the present one.
            if known is None or _rank(dependent) < _rank(known):
                strongest[dependent.connection_id] = dependent
        left = [one for one in sorted(strongest) if one > deletion.after]
        now, later = left[: room.left], left[room.left :]
        fault: PermanentError | None = None
        for connection_id in now:
            try:
                await self._open(deletion, strongest[connection_id])
            except PermanentError as error:
                fault = fault or error
        room.left -= len(now)
        if later:
            rest = dataclasses.replace(deletion, after=now[-1] if now else deletion.after)
            await self.queue.forward_event(rest.text())
        if fault is not None:
            raise fault
        return _Opened(len(now), len(later))

    async def _open(self, deletion: GoOn, dependent: Dependent) -> None:
        cause = Cause(
            kind=dependent.kind,
            resource_id=dependent.resource_id,
            event_id=deletion.event_id,
            event_time=deletion.event_time,
        )
        life = f"{dependent.kind}|{dependent.resource_id}|{dependent.generation}"
        key = f"prune|{life}|{deletion.event_id}|{deletion.event_time}"
        for number in range(OPENINGS):
            asked = Asked(
                kind=Kind.PRUNE,
                connection_id=dependent.connection_id,
                key=f"{key}|{number}" if number else key,
                cause=cause,
                generation=dependent.generation,
            )
            answer = await self.opener.open(asked)
            if answer.before is None or not _came_to_nothing(answer.before):
                return


@dataclasses.dataclass(slots=True)
class _Room:
    """How many prunes one message may still open. Mutable: it is counted down."""

    left: int = dataclasses.field(default_factory=lambda: PRUNES_PER_MESSAGE)


@dataclasses.dataclass(frozen=True, slots=True)
class _Opened:
    """Connections that rely on what was deleted: those dealt with, and those left to the next message."""

    prunes: int
    more: int

    def __str__(self) -> str:
        return f"prunes:{self.prunes}" + (f"+{self.more}" if self.more else "")


def _came_to_nothing(operation: Operation) -> bool:
    """Say whether an ended prune leaves open what became of its cause since.

    A later event may have no time or id of its own, or be the same one, put back after a fault or told before
    Azure showed it: it cannot be told from a repeat, and asking once more costs a look.
    """
    return operation.state is OperationState.FAILED or operation.code == ALIVE


def _rank(dependent: Dependent) -> tuple[int, int]:
    return (-dependent.generation, _STRENGTH.index(dependent.kind))
