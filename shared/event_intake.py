"""Takes in what Azure says.

A deletion opens a prune for each connection that relied on the resource. A linker that was written is
recorded with the uids of its cluster objects while it is alive (``shared/observing.py``).
An unknown id costs one table read and no call to Azure or a cluster.
"""

from __future__ import annotations

import dataclasses
import json
import logging

from shared import event_time, events, observing
from shared.catalogue import Catalogue
from shared.errors import PermanentError, TransientError
from shared.logs import bind
from shared.models import Cause, Kind
from shared.observing import Observer
from shared.opening import Asked, Opener
from shared.parking import Parking
from shared.ports import SILENCE, Clock, StepQueue, Telemetry
from shared.records import Dependent, Dependents
from shared.state import State

_STRENGTH = ("cluster", "linker", "target", "identity", "credential")
"""Where several of a connection's resources went at once, the first of these names the plan."""


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
    telemetry: Telemetry = SILENCE

    async def receive(self, body: bytes | str) -> list[str]:
        """Take in one webhook's or queue message's body; one word per event, for logs and tests.

        Raises:
            TransientError: deliver the body again; what is done already is recognised.
        """
        again = _observation(body)
        if again is not None:
            return [await self.observer.observe(again[0], tries=again[1])]
        decisions = events.parse(
            body,
            subscriptions=self.subscription_ids,
            watched=self.catalogue.watched_types(),
            tenant_id=self.tenant_id,
            now=self.clock.now(),
        )
        results: list[str] = []
        parking = Parking(self.queue, self.logger)
        transient: TransientError | None = None
        for decision in decisions:
            try:
                results.append(await self._handle(decision, parking))
            except PermanentError as error:
                # One event that cannot be dealt with must not lose the others of its delivery.
                results.append(await parking.failed(decision, error.code))
            except TransientError as error:
                transient = error
        parking.tell_rest()
        if transient is not None:
            raise transient
        return results

    async def _handle(self, decision: events.EventDecision, parking: Parking) -> str:
        if decision.decision is events.Decision.REJECTED:
            return await parking.rejected(decision)
        if decision.decision is events.Decision.OBSERVE:
            return await self.observer.observe(decision.resource_id, tries=0)
        log = bind(self.logger)
        fields = {"decision": decision.decision.value, "reason": decision.reason, "id": decision.resource_id}
        if decision.decision is events.Decision.IGNORED:
            # No more events come once the event subscription that feeds us is gone.
            loud = decision.reason == "event-subscription-deleted"
            log.log(logging.WARNING if loud else logging.DEBUG, "event-ignored", extra=fields)
            return "ignored"
        opened = await self.prune(
            decision.resource_id, event_id=decision.event_id, event_time=decision.event_time
        )
        # Most deletions of a subscription concern nobody here: what opens nothing must not fill the log.
        level = logging.WARNING if decision.time_warning else logging.INFO
        taken = {**fields, "prunes": opened, "warning": decision.time_warning}
        log.log(level if opened else logging.DEBUG, "event-taken", extra=taken)
        happened_at = event_time.instant(decision.event_time)
        if opened and happened_at is not None:
            lag_seconds = (self.clock.now() - happened_at).total_seconds()
            self.telemetry.measure("event_lag_seconds", max(0.0, lag_seconds))
        return f"prunes:{opened}"

    async def prune(self, resource_id: str, *, event_id: str, event_time: str) -> int:
        """Open a prune for every connection that relies on a resource or on anything below it.

        Returns:
            How many connections rely on it.
        """
        strongest: dict[str, Dependent] = {}
        for dependent in await self.dependents.of(resource_id):
            known = strongest.get(dependent.connection_id)
            # Rows of earlier lives stay for ever; only the newest life can be the present one.
            if known is None or _rank(dependent) < _rank(known):
                strongest[dependent.connection_id] = dependent
        for dependent in strongest.values():
            cause = Cause(
                kind=dependent.kind,
                resource_id=dependent.resource_id,
                event_id=event_id,
                event_time=event_time,
            )
            key = f"prune|{dependent.kind}|{dependent.resource_id}|{dependent.generation}|{event_id}"
            await self.opener.open(
                Asked(
                    kind=Kind.PRUNE,
                    connection_id=dependent.connection_id,
                    key=key,
                    cause=cause,
                    generation=dependent.generation,
                ),
            )
        return len(strongest)


def _observation(body: bytes | str) -> tuple[str, int] | None:
    """Our own note to look at a linker again, or ``None`` for anything else."""
    if len(body) > 4096:  # noqa: PLR2004 - our notes are short; anything longer is an event
        return None
    try:
        value = json.loads(body)
    except ValueError:
        return None
    note = value.get("observe") if isinstance(value, dict) and len(value) == 1 else None
    if not isinstance(note, dict) or not isinstance(note.get("linkerId"), str):
        return None
    tries = note.get("tries")
    sound = isinstance(tries, int) and not isinstance(tries, bool) and 0 <= tries <= observing.TRIES
    return str(note["linkerId"]), int(tries) if sound and tries is not None else observing.TRIES


def _rank(dependent: Dependent) -> tuple[int, int]:
    return (-dependent.generation, _STRENGTH.index(dependent.kind))
