"""Takes in what Azure says.

A deletion opens a prune for each connection that relied on the resource. A linker that was written is
recorded with the uids of its cluster objects while it is alive.
An unknown id costs one table read and no call to Azure or a cluster.
"""

from __future__ import annotations

import dataclasses
import json
import logging
from collections.abc import Mapping

from shared import events, naming
from shared.errors import PermanentError, StateConflictError
from shared.logs import bind
from shared.models import (
    Cause,
    Connection,
    ConnectionSpec,
    ConnectionState,
    Dependent,
    Intent,
    Kind,
    OperationId,
    Provenance,
)
from shared.opening import Asked, Opener
from shared.ports import Clock, Clusters, KubeObject, Linker, Linkers, StepQueue, Upsert
from shared.records import Dependents
from shared.rows import columns, key_hash
from shared.state import State
from shared.steps.base import account_thing
from shared.targets import Catalogue
from shared.users import User, Users

OBSERVE_TRIES = 60
OBSERVE_INTERVAL_SECONDS = 5.0
"""A young linker is looked at again every 5 s for 5 minutes; after that the sweep finds it."""

_STRENGTH = ("cluster", "linker", "target", "identity", "credential")
"""Where several of a connection's resources went at once, the first of these names the plan."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class EventIntake:
    """Turns events into operations and inventory."""

    state: State
    dependents: Dependents
    opener: Opener
    users: Users
    queue: StepQueue
    clusters: Clusters
    linkers: Linkers
    catalogue: Catalogue
    clock: Clock
    subscription_ids: frozenset[str]
    logger: logging.Logger

    async def receive(self, body: bytes | str) -> list[str]:
        """Take in one webhook's or queue message's body; one word per event, for logs and tests.

        Raises:
            TransientError: deliver the body again; what is done already is recognised.
        """
        again = _observation(body)
        if again is not None:
            return [await self.observe(again[0], tries=again[1])]
        decisions = events.parse(
            body,
            subscriptions=self.subscription_ids,
            watched=self.catalogue.watched_types(),
        )
        return [await self._handle(decision) for decision in decisions]

    async def _handle(self, decision: events.EventDecision) -> str:
        log = bind(self.logger)
        fields = {"decision": decision.decision.value, "reason": decision.reason, "id": decision.resource_id}
        if decision.decision is events.Decision.REJECTED:
            log.warning("event-rejected", extra=fields)
            await self.queue.reject({"kind": "event-rejected", **fields, "eventId": decision.event_id})
            return "rejected"
        if decision.decision is events.Decision.OBSERVE:
            return await self.observe(decision.resource_id, tries=0)
        if decision.decision is events.Decision.IGNORED:
            log.debug("event-ignored", extra=fields)
            return "ignored"
        opened = await self.prune(
            decision.resource_id, event_id=decision.event_id, event_time=decision.event_time
        )
        log.info("event-taken", extra={**fields, "prunes": opened})
        return f"prunes:{opened}"

    async def prune(self, resource_id: str, *, event_id: str, event_time: str) -> int:
        """Open a prune for every connection that relies on a resource or on anything below it.

        Returns:
            How many connections rely on it.
        """
        strongest: dict[str, Dependent] = {}
        for dependent in await self.dependents.of(resource_id):
            known = strongest.get(dependent.connection_id)
            if known is None or _rank(dependent) < _rank(known):
                strongest[dependent.connection_id] = dependent
        for dependent in strongest.values():
            stored = await self.state.connection(dependent.connection_id)
            if stored is None or stored.value.generation != dependent.generation:
                continue
            cause = Cause(
                kind=dependent.kind,
                resource_id=dependent.resource_id,
                event_id=event_id,
                event_time=event_time,
            )
            key = f"prune|{dependent.kind}|{dependent.resource_id}|{dependent.generation}|{event_id}"
            await self.opener.open(
                Asked(kind=Kind.PRUNE, connection_id=dependent.connection_id, key=key, cause=cause),
            )
        return len(strongest)

    async def observe(self, linker_id: str, *, tries: int) -> str:
        """Record a live linker of Service Connector with the uids of its cluster objects.

        Only what was seen alive may be pruned later without being named by a person.
        """
        linker = await self.linkers.get(linker_id)
        if linker is None:
            return "observe:gone"
        cluster_id = linker_id.lower().partition("/providers/microsoft.servicelinker/")[0]
        objects = await self._objects(cluster_id, linker)
        complete = "settings" in objects and (not linker.client_id or "service_account" in objects)
        if not complete or linker.provisioning_state.lower() != "succeeded":
            if tries >= OBSERVE_TRIES:
                return "observe:incomplete"
            note = json.dumps({"observe": {"linkerId": linker_id, "tries": tries + 1}})
            await self.queue.forward_event(note, delay_seconds=OBSERVE_INTERVAL_SECONDS)
            return "observe:later"
        return await self._record(cluster_id, linker, objects)

    async def _objects(self, cluster_id: str, linker: Linker) -> dict[str, KubeObject]:
        names = {"settings": ("Secret", naming.secret_name(linker.name))}
        if linker.client_id:
            names["service_account"] = ("ServiceAccount", naming.service_account_name(linker.client_id))
        found: dict[str, KubeObject] = {}
        for step, (kind, name) in names.items():
            try:
                thing = await self.clusters.get(cluster_id, kind, linker.namespace, name)
            except PermanentError as error:
                if error.code != "cluster-gone":
                    raise
                return {}
            if thing is not None:
                found[step] = thing
        return found

    async def _record(self, cluster_id: str, linker: Linker, objects: Mapping[str, KubeObject]) -> str:
        connection_id = naming.connection_id(cluster_id, linker.namespace, linker.name)
        stored = await self.state.connection(connection_id)
        ours = stored is not None and (stored.value.state.live or bool(stored.value.active))
        if stored is not None and ours and stored.value.state is not ConnectionState.OBSERVED:
            return "observe:name-is-ours"
        alive = stored is not None and stored.value.state is ConnectionState.OBSERVED
        generation = (stored.value.generation + (0 if alive else 1)) if stored else 1
        row = self.catalogue.match(linker.target_id)
        spec = ConnectionSpec(
            name=linker.name,
            cluster_id=cluster_id,
            namespace=linker.namespace,
            workload=naming.fold_name(linker.name),
            target_type=row.name if row else "unknown",
            target_id=linker.target_id,
            client_type=linker.client_type or "none",
        )
        connection = Connection(
            connection_id=connection_id,
            spec=spec,
            body_hash=naming.spec_hash(spec),
            state=ConnectionState.OBSERVED,
            generation=generation,
            active=stored.value.active if stored else (),
            linker_id=linker.resource_id,
            created_at=stored.value.created_at if stored and alive else self.clock.now(),
        )
        intents = [
            Intent(
                connection_id=connection_id,
                step=step,
                generation=generation,
                planned={
                    "namespace": thing.namespace,
                    "name": thing.name,
                    "provenance": Provenance.OBSERVED,
                },
                outputs={"uid": thing.uid},
            )
            for step, thing in objects.items()
        ]
        dependent = Dependent(
            resource_id=linker.resource_id,
            kind="linker",
            connection_id=connection_id,
            generation=generation,
        )
        await self.dependents.add(dependent)
        if linker.client_id:
            thing = account_thing(cluster_id, linker.namespace, linker.client_id)
            user = User(connection_id=connection_id, generation=generation)
            await self.users.join(thing, user, ended=self._ended)
        try:
            await self.state.observe(connection, intents, etag=stored.etag if stored else "")
        except StateConflictError:
            return "observe:moved"
        inventory = columns(connection, name=linker.name, namespace=linker.namespace)
        await self.state.store.transact(
            "linkers",
            key_hash(naming.fold_id(cluster_id)),
            [Upsert(key=key_hash(naming.fold_id(linker.resource_id)), columns=inventory)],
        )
        return "observed"

    async def _ended(self, operation_id: OperationId) -> bool:
        other = await self.state.operation(operation_id)
        return other is None or other.value.state.final


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
    return note["linkerId"], tries if isinstance(tries, int) else 0


def _rank(dependent: Dependent) -> int:
    return _STRENGTH.index(dependent.kind)
