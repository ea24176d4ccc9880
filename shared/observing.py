"""Sees Service Connector's connections while they are alive, and records what they hold.

The inventory: each linker with the uids of its cluster objects. Only what was seen alive may be pruned later
without being named by a person. Fed by linkers' write events and by the sweep.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Mapping

from shared import events, naming
from shared.catalogue import Catalogue
from shared.errors import NotYetError, PermanentError
from shared.event_notes import TRIES, LookAgain
from shared.holdings import intent_of, still_adopted
from shared.linker_rows import is_alive, row_of, spec_of
from shared.logs import bind
from shared.models import Connection, ConnectionState, Intent, OperationId, Plan, Provenance
from shared.policy import Policy
from shared.ports import Clock, Clusters, Identities, KubeObject, Linker, Linkers, StepQueue, Upsert
from shared.records import Dependent, Dependents, client_of
from shared.rows import columns, key_hash
from shared.state import State
from shared.steps.base import account_thing
from shared.steps.shared_things import all_things_of
from shared.users import User, Users

INTERVAL_SECONDS = 5.0
"""A young linker is looked at again every 5 s for 5 minutes."""
IDENTITY_LOOKS = 3
"""A list of identities may be older than an identity: one that three sightings miss is on none."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Observer:
    """Records live linkers."""

    state: State
    dependents: Dependents
    users: Users
    queue: StepQueue
    clusters: Clusters
    linkers: Linkers
    identities: Identities
    catalogue: Catalogue
    clock: Clock
    subscription_ids: frozenset[str]
    load_policy: Callable[[], Policy]
    """Reads the policy afresh; objects are read only in clusters and namespaces that it lists."""
    logger: logging.Logger

    async def observe(self, linker_id: str, *, tries: int) -> str:
        """Record a live linker of Service Connector with the uids of its cluster objects.

        Only what was seen alive may be pruned later without being named by a person.
        """
        cluster_id = self._watched_cluster(linker_id)
        if not cluster_id:
            bind(self.logger).warning("observe-refused", extra={"id": linker_id})
            return "observe:refused"
        linker = await self.linkers.get(linker_id)
        if linker is None:
            return "observe:gone"
        if not self.load_policy().watches(cluster_id, linker.namespace):
            return "observe:not-in-policy"
        objects = await self._objects(cluster_id, linker)
        complete = "settings" in objects and (not linker.client_id or "service_account" in objects)
        if complete and linker.provisioning_state.lower() == "succeeded":
            try:
                return await self._record(cluster_id, linker, objects)
            except NotYetError as closing:
                bind(self.logger).info("observe-waits", extra={"id": linker_id, "reason": closing.reason})
        return await self.look_again(linker_id, tries=tries)

    async def look_again(self, linker_id: str, *, tries: int) -> str:
        """Look at a linker in a moment, unless that was done too often: then the sweep finds it."""
        if tries >= TRIES:
            return "observe:incomplete"
        note = LookAgain(linker_id, tries + 1)
        await self.queue.forward_event(note.text(), delay_seconds=INTERVAL_SECONDS)
        return "observe:later"

    def _watched_cluster(self, linker_id: str) -> str:
        """The cluster of a linker in one of our subscriptions, empty for any other id."""
        folded = naming.fold_id(linker_id)
        cluster_id, found, _ = folded.partition("/providers/microsoft.servicelinker/")
        sound = (
            found and naming.type_of(folded) == events.LINKER and naming.type_of(cluster_id) == events.CLUSTER
        )
        listed = naming.subscription_of(folded) in self.subscription_ids
        return cluster_id if sound and listed and not naming.id_fault(linker_id) else ""

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
        present = stored.value if stored else None
        alive = is_alive(present)
        if present is not None and alive and not present.linker_id:
            return "observe:name-is-ours"
        if present is not None and present.state is ConnectionState.PRUNING:
            # Its end forgets what is on record, this sighting included: look again after it.
            raise NotYetError("behind", "a prune is under way")
        row = self.catalogue.match(linker.target_id)
        spec = spec_of(cluster_id, linker, row)
        connection = row_of(spec, linker, present, now=self.clock.now())
        known = await self.state.intents(connection_id) if alive else {}
        marked: list[Intent] = []
        if present is not None and alive and present.adopted_at is not None:
            adopted = still_adopted(present, known, linker)
            if adopted:
                connection = present.model_copy(update={"state": ConnectionState.ADOPTED})
            else:
                await self._let_go(present, known)
            marked = _marked(known, left=not adopted)
        intents = [_seen(connection, step, thing, known.get(step)) for step, thing in objects.items()]
        place = await self._place(connection, linker, known.get("preflight"))
        intents = [*intents, place, *marked]
        life = connection.connection_id, connection.generation
        if linker.client_id:
            await self.dependents.add(client_of(linker.resource_id, linker.client_id, *life))
        relied_on = [("linker", linker.resource_id), ("identity", str(place.outputs.get("identityId", "")))]
        relied_on += [("target", one) for one in (row.relied_on(linker.target_id) if row else ())]
        for kind, resource_id in relied_on:
            if resource_id:
                dependent = Dependent(
                    resource_id=resource_id, kind=kind, connection_id=life[0], generation=life[1]
                )
                await self.dependents.add(dependent)
        # A conflict is transient: the event comes again and finds what moved.
        await self.state.observe(connection, intents, etag=stored.etag if stored else "")
        if linker.client_id:
            # After the row, never before: a user without a connection would keep the account for ever.
            thing = account_thing(cluster_id, linker.namespace, linker.client_id)
            user = User(connection_id=connection_id, generation=connection.generation)
            await self.users.join(thing, user, settled=self._settled)
        inventory = columns(connection, name=linker.name, namespace=linker.namespace)
        await self.state.store.transact(
            "linkers",
            key_hash(naming.fold_id(cluster_id)),
            [Upsert(key=key_hash(naming.fold_id(linker.resource_id)), columns=inventory)],
        )
        return "observed"

    async def _let_go(self, connection: Connection, known: Mapping[str, Intent]) -> None:
        """An adoption has lapsed: nothing is removed, and nobody is kept from being a thing's last user.

        It may have been repeated before, with the linker on another identity each time: all that any of them
        shared is left.
        Before the row, which forgets that there was an adoption; leaving twice is fine.
        """
        user = User(connection_id=connection.connection_id, generation=connection.generation)
        # An operation that never was: whoever meets its mark after a crash need not wait for it.
        mark = naming.operation_id(connection.connection_id, "let-go")
        taken = {step: intent for step, intent in known.items() if step != "service_account"}
        for thing in sorted(all_things_of(connection, taken)):
            leaving = await self.users.leave(thing, user, operation_id=mark)
            if leaving.last:
                await self.users.forget(thing, operation_id=mark)

    async def _place(self, connection: Connection, linker: Linker, known: Intent | None) -> Intent:
        """What tells later whether cluster and identity are still the same: the issuer, the identity's id."""
        cluster = await self.clusters.describe(connection.spec.cluster_id)
        outputs = dict(known.outputs) if known else {}
        if cluster is not None and cluster.issuer:
            outputs["issuer"] = cluster.issuer
        if linker.auth_type:
            outputs["auth"] = linker.auth_type
        if outputs.get("identityClientId", "") != linker.client_id:
            identity_id = await self._identity_of(linker)
            looks = int(outputs.get("identityLooks", 0)) + (identity_id is not None)
            given_up = identity_id is not None and (looks >= IDENTITY_LOOKS or not linker.client_id)
            for name in ("identityClientId", "identityId", "identityLooks"):
                outputs.pop(name, None)  # of the identity before
            if identity_id or given_up:
                outputs |= {"identityClientId": linker.client_id, "identityId": identity_id}
            else:
                outputs["identityLooks"] = looks
        return Intent(
            connection_id=connection.connection_id,
            step="preflight",
            generation=connection.generation,
            planned=known.planned if known else {"provenance": Provenance.OBSERVED},
            outputs=outputs,
        )

    async def _identity_of(self, linker: Linker) -> str | None:
        """Id of a linker's identity, empty if no watched subscription has it; ``None`` if we may not look.

        A linker names its identity by client id alone, and its subscription not always, so the identities of
        one subscription after another are listed.
        """
        if not linker.client_id:
            return ""
        named, own = linker.identity_subscription_id, naming.subscription_of(linker.resource_id)
        first = [one for one in dict.fromkeys((named, own)) if one in self.subscription_ids]
        denied, wanted = False, linker.client_id.lower()
        for subscription_id in (*first, *sorted(self.subscription_ids - {*first})):
            try:
                found = await self.identities.list(f"/subscriptions/{subscription_id}")
            except PermanentError as error:
                denied = True
                told = {"id": linker.resource_id, "code": error.code}
                bind(self.logger).warning("observe-identity", extra=told)
                continue
            for one in found:
                if one.client_id.lower() == wanted:
                    return one.resource_id
        return None if denied else ""

    async def _settled(self, operation_id: OperationId) -> bool:
        return await self.state.settled(operation_id, lease_seconds=self.users.lease_seconds)


def _marked(known: Mapping[str, Intent], *, left: bool) -> list[Intent]:
    """What an adoption recorded beside what a linker is seen to hold, as left, or as held again.

    A prune that found its linker alive again, half-way, has left some of it.
    """
    seen = ("preflight", "settings", "service_account")
    others = [intent for step, intent in known.items() if step not in seen]
    return [one.model_copy(update={"left": left}) for one in others if one.left is not left]


def _seen(connection: Connection, step: str, thing: KubeObject, known: Intent | None) -> Intent:
    """What a live linker holds now; what it held before, under another name or uid, is kept beside it."""
    adopted = connection.adopted_at is not None
    provenance = Provenance.ADOPTED if adopted else Provenance.OBSERVED
    planned = {"namespace": thing.namespace, "name": thing.name, "provenance": provenance}
    recorded = known.outputs if adopted and known and known.planned == planned else {}
    # The same name can only be the newest uid; under another name the earlier object may be there still.
    return intent_of(connection, step, Plan(planned=planned, outputs={**recorded, "uid": thing.uid}), known)
