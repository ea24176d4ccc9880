"""What must hold when nothing is under way: Azure and the clusters hold exactly what the rows say."""

from __future__ import annotations

import collections
import contextlib
from collections.abc import Iterator
from typing import Any

from shared.models import OperationId
from shared.naming import fold_id
from shared.rows import key_hash
from shared.users import Users
from tests.simulation.expected import ROLES, settings_of
from tests.simulation.left import object_name
from tests.simulation.oracles import Oracles
from tests.simulation.records import SERVING, Held, Records
from tests.simulation.row_oracle import FINAL
from tests.simulation.storage import SimulatedStore
from tests.simulation.world import SimulatedWorld

GAVE_UP = frozenset({"attempts-exhausted", "time-exhausted"})
GHOST = OperationId("ghost")
NEEDED = ("managed_identity", "role_assignments", "federated_credential", "service_account", "settings")
"""Steps whose things a configured connection has."""


def told_once(records: Records, events: list[dict[str, Any]], *, faults: bool) -> Iterator[str]:
    """Every operation has ended, once, and was told of; what was told is what is recorded."""
    told: collections.defaultdict[str, set[str]] = collections.defaultdict(set)
    for event in events:
        told[event["data"]["operationId"]].add(event["data"]["state"])
    for operation in records.operations():
        if operation.state.value not in FINAL:
            stands = f"{operation.kind} rests {operation.state}: {operation.waiting}"
            yield f"operation {operation.operation_id}: {stands}"
        elif told[operation.operation_id] - {operation.state.value}:
            yield f"operation {operation.operation_id} was told as {told[operation.operation_id]}"
        elif not told[operation.operation_id] and not faults:
            yield f"operation {operation.operation_id} was never told"


def nothing_open(records: Records, open_rows: int) -> Iterator[str]:
    """No connection waits for an operation, no operation is noted as open."""
    if open_rows:
        yield f"{open_rows} operations are still noted as open"
    for held in records.held():
        if held.connection.active:
            yield f"connection {held.connection.connection_id} still has active {held.connection.active}"


def nobody_gave_up(world: SimulatedWorld, records: Records, *, since: float) -> Iterator[str]:
    """What was begun in a world where every call is answered has not tried in vain until it gave up."""
    for operation in records.operations():
        if operation.code in GAVE_UP and world.opened[operation.operation_id] >= since:
            yield f"operation {operation.operation_id} was opened in calm and ended {operation.code}"


def nothing_leaked(world: SimulatedWorld, oracles: Oracles, records: Records) -> Iterator[str]:
    """Whatever we made stands in the rows of a connection that is alive."""
    alive = [held for held in records.held() if held.connection.state.live]
    settled = {held.connection.connection_id for held in alive if records.well_ended(held)}
    identities = {one for held in alive for one in held.identity_ids(ever=True)}
    linked = {one.principal_id for one in world.identities.values() if one.client_id in world.linked}
    linked_once = {
        one.principal_id for key, one in world.identities.items() if key in world.linked_identities
    }
    unread = {
        held.connection.connection_id
        for held in alive
        if (made := records.made_by(held)) is not None and made.operation_id in oracles.left.unread
    }
    roles = {
        (fold_id(item["scope"]), item["name"])
        for held in alive
        for item in held.assignments(ever=True)
        # What an update that succeeded has replaced is gone, unless a linker needed it then, or may have:
        # of one that cannot be read nobody knows that it works through no other client id of the identity.
        if held.connection.connection_id not in settled
        or item in held.assignments()
        or item["principalId"] in linked
        or (held.connection.connection_id in unread and item["principalId"] in linked_once)
    }
    credentials = {one for held in alive for one in held.credentials(ever=True)}
    steps = ("service_account", "settings")
    objects = {one for held in alive for step in steps for one in held.objects(step, ever=True)}
    objects |= {one for held in alive for one in held.restored()}
    kept, unseen, reported = oracles.left.names(), oracles.left.unseen_accounts(), records.reported()
    for key, identity in world.identities.items():
        if identity.principal_id in oracles.made_identities and key not in identities | kept:
            yield f"leaked identity {key}"
        for name in world.credentials.get(key, {}):
            made = (identity.client_id, name) in oracles.made_credentials
            if made and (key, name) not in credentials and name not in kept:
                yield f"leaked credential {name} of {key}"
    for place in world.assignments:
        if place in oracles.made_roles and place not in roles and place[1] not in kept:
            yield f"leaked role assignment {place}"
    for cluster_id, cluster in world.clusters.items():
        for (kind, namespace, name), there in cluster.objects.items():
            place = object_name(cluster_id, namespace, name)
            if place in kept or (place in unseen and there.uid in reported):
                continue
            if there.uid in oracles.made_objects and (cluster_id, namespace, name) not in objects:
                yield f"leaked {kind} {namespace}/{name}"
    yield from _gone_users(alive, records)


def _gone_users(alive: list[Held], records: Records) -> Iterator[str]:
    users = {(held.connection.connection_id, held.connection.generation) for held in alive}
    for shared in records.shared():
        for user in shared.users:
            if (user.connection_id, user.generation) not in users:
                yield f"{shared.thing} is used by {user}, which is gone"


def ghosts_change_nothing(records: Records, store: SimulatedStore) -> Iterator[str]:
    """A run of an earlier life that comes back, whatever kept it, sends nobody of the present life away.

    Leases keep such runs away as long as hosts obey them; here one is made to come.
    """
    users = Users(store, lease_seconds=0.0)
    lives = [
        (shared.thing, user) for shared in records.shared() for user in shared.users if user.generation > 1
    ]
    for thing, user in lives:
        before = store.tables["users"][key_hash(thing)]["thing"].etag
        ghost = user.model_copy(update={"generation": user.generation - 1})
        with contextlib.suppress(StopIteration):
            users.leave(thing, ghost, operation_id=GHOST).send(None)
        row = store.tables["users"][key_hash(thing)].get("thing")
        if row is None or row.etag != before:
            yield f"{thing}: a run of life {ghost.generation} changed what life {user.generation} uses"


def nothing_missing(world: SimulatedWorld, records: Records) -> Iterator[str]:
    """A configured connection has all that it needs, unless somebody else took it away."""
    for held in records.held():
        spec, intents = held.connection.spec, held.intents
        if held.connection.state not in SERVING:
            continue
        unmade = [step for step in NEEDED if step not in intents or not intents[step].outputs]
        if unmade and records.ended_unmended(held):
            continue
        if unmade:
            yield f"{spec.name}: configured, and nothing is on record of {', '.join(unmade)}"
            continue
        identity_id = fold_id(str(intents["managed_identity"].outputs["resourceId"]))
        name = str(intents["federated_credential"].outputs["name"])
        mended = max((world.opened[one] for one in records.repairs(held)), default=0.0)
        touched = {thing for thing, at in world.touched.items() if at >= mended}
        target_id = fold_id(spec.target_id)
        above = {target_id, target_id.partition("/blobservices/")[0]}
        relied = {*above, fold_id(spec.cluster_id), identity_id, f"{identity_id}|{name.lower()}"}
        well = records.well_ended(held)
        texts = [*_other_settings(world, held, touched)] if well else []
        if not relied & touched:
            texts += _missing(world, held, identity_id, name, touched)
            texts += _other_roles(held) if well else []
        yield from (f"{spec.name}: {text}" for text in texts)


def _other_roles(held: Held) -> Iterator[str]:
    """The roles on record are those of the target's row for what is asked of it now."""
    spec = held.connection.spec
    wanted = {(fold_id(spec.target_id), role) for role in ROLES[spec.target_type, spec.intent]}
    there = {
        (fold_id(item["scope"]), item["roleDefinitionId"].rsplit("/", 1)[-1]) for item in held.assignments()
    }
    if there != wanted:
        yield f"configured with roles {sorted(there)}, and asked for {sorted(wanted)}"


def _other_settings(world: SimulatedWorld, held: Held, touched: set[str]) -> Iterator[str]:
    """The secret holds every key and value of what is asked for now, and no other."""
    wanted = settings_of(held.connection.spec, str(held.intents["managed_identity"].outputs["clientId"]))
    for cluster_id, namespace, name in held.objects("settings"):
        place = f"{cluster_id}|{namespace}"
        cluster = world.clusters.get(cluster_id)
        there = cluster.objects.get(("Secret", namespace, name)) if cluster else None
        ours = there is not None and there.uid == held.intents["settings"].outputs["uid"]
        if there is None or not ours or {place, f"{place}|Secret|{name}"} & touched:
            continue
        wrong = {key for key in wanted.keys() | there.data.keys() if wanted.get(key) != there.data.get(key)}
        if f"{place}|Secret|{name}" in world.touched:
            # A key that somebody wrote is theirs, and stays when it is none of ours any more.
            wrong &= wanted.keys()
        if wrong:
            yield f"configured with other settings than were asked for: {', '.join(sorted(wrong))}"


def _missing(
    world: SimulatedWorld, held: Held, identity_id: str, credential: str, touched: set[str]
) -> Iterator[str]:
    identity = world.identities.get(identity_id)
    if identity is None or identity.client_id != held.intents["managed_identity"].outputs["clientId"]:
        yield f"configured without its identity {identity_id}"
    present = world.credentials.get(identity_id, {}).get(credential)
    planned = held.intents["federated_credential"].planned
    if present is None or (present.issuer, present.subject) != (planned["issuer"], planned["subject"]):
        yield f"configured without its credential {credential}"
    for item in held.intents["role_assignments"].outputs["assignments"]:
        place = (fold_id(item["scope"]), item["name"])
        if place not in world.assignments and "|".join(place) not in touched:
            yield f"configured without its role {item['role']} at {item['scope']}"
    for step, kind in (("service_account", "ServiceAccount"), ("settings", "Secret")):
        for cluster_id, namespace, name in held.objects(step):
            place = f"{cluster_id}|{namespace}"
            if {place, f"{place}|{kind}|{name}"} & touched:
                continue
            there = world.clusters[cluster_id].objects.get((kind, namespace, name))
            if there is None or there.uid != held.intents[step].outputs["uid"]:
                yield f"configured without its {kind}"
            elif identity and identity.client_id not in {*there.data.values(), *there.annotations.values()}:
                yield f"configured with a {kind} that does not name its identity"


def nothing_left(
    world: SimulatedWorld, oracles: Oracles, records: Records, *, watched: bool
) -> Iterator[str]:
    """After the last delete there is nothing of ours anywhere, and nobody uses anything.

    Where prunes only report, Service Connector's connections stay watched (``watched``).
    """
    staying = set()
    for held in records.held():
        if watched and held.connection.linker_id:
            staying.add(held.connection.connection_id)
        elif held.connection.state.live:
            name = held.connection.spec.name
            yield f"connection {held.connection.connection_id} {name} ends {held.connection.state}"
    for shared in records.shared():
        if {user.connection_id for user in shared.users} - staying:
            yield f"users row left: {shared.thing} {shared.users}"
    yield from nothing_leaked(world, oracles, records)
