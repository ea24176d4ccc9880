"""Whether what a prune says is gone stands after all, as the connection knew it: what a run's world says."""

from __future__ import annotations

from shared.models import Cause
from shared.naming import fold_id
from tests.simulation.records import Held
from tests.simulation.world import SimulatedWorld

SLACK_SECONDS = 2.0
"""Between the end of a connection and the row that tells of it."""


def expired(world: SimulatedWorld, held: Held, retention_seconds: float) -> bool:
    """Say whether what was kept of a connection for a rebuild was kept for long enough."""
    ended = held.connection.ended_at
    kept_seconds = (world.loop.now() - ended).total_seconds() if ended else 0.0
    return kept_seconds >= retention_seconds - SLACK_SECONDS


def stands(world: SimulatedWorld, held: Held, cause: Cause) -> bool:
    """Say whether a cause other than the target is there, and is the one that the connection relied on."""
    connection, key = held.connection, fold_id(cause.resource_id)
    known = {step: {**one.planned, **one.outputs} for step, one in held.intents.items()}
    client_id = known.get("managed_identity", {}).get("clientId")
    cluster = world.clusters.get(fold_id(connection.spec.cluster_id))
    same = cluster is not None and cluster.described.issuer == known.get("preflight", {}).get("issuer")
    match cause.kind:
        case "identity":
            there = world.identities.get(key)
            return there is not None and there.client_id == client_id
        case "cluster":
            return same
        case "namespace":
            return same and cluster is not None and connection.spec.namespace in cluster.namespaces
        case "linker":
            linker = world.linkers.get(key)
            # What was left to it goes as well once it works through another identity.
            return linker is not None and (not connection.left_by or linker.client_id == client_id)
        case "credential":
            planned = known.get("federated_credential", {})
            names = world.credentials.get(fold_id(str(planned.get("identityId"))), {})
            wanted = (planned.get("issuer"), planned.get("subject"))
            return any((one.issuer, one.subject) == wanted for one in names.values())
    return False
