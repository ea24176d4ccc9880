"""What was asked for: each request has one record and one end, and in calm whatever is asked for is made."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from shared.models import Kind, OperationId, OperationState
from shared.naming import fold_id, identity_name, secret_name, service_account_name, workload_key
from shared.records import RequestRecord
from shared.rows import key_hash
from shared.steps.base import LABEL_WORKLOAD
from tests.simulation.oracles import Oracles
from tests.simulation.records import SERVING
from tests.simulation.storage import SimulatedStore
from tests.simulation.workload import Wanted, Workload

CARRIED_OUT_BY: Mapping[str, Kind] = {**{kind.value: kind for kind in Kind}, "update": Kind.CREATE}
"""Kind of operation by action."""
REFUSED = frozenset({"body-differs"})
"""Codes of what is refused because another connection of that name lives."""
CREDENTIALS_OF_AN_IDENTITY = 20
"""Entra's limit (learn.microsoft.com/entra/workload-id, workload-identity-federation-considerations)."""


class Asked:
    """Reads what became of a run's requests."""

    def __init__(self, workload: Workload, oracles: Oracles, store: SimulatedStore) -> None:
        self._workload, self._oracles, self._store = workload, oracles, store

    def recorded(self) -> Iterator[str]:
        """Every request has one record, and an operation of its action that has ended."""
        records = self._oracles.records
        for request_id in self._workload.sent:
            record = self._record(request_id)
            if record is None:
                yield f"request {request_id} has no record"
                continue
            if record.outcome == "rejected" or not record.operation_id:
                continue
            operation = records.operation(OperationId(record.operation_id))
            if operation is None or not operation.state.final:
                yield f"request {request_id} was {record.outcome} and its operation has no end"
                continue
            carried_out = record.outcome in {"opened", "attached"}
            if carried_out and operation.kind is not CARRIED_OUT_BY[record.action]:
                yield f"request {request_id} asked to {record.action} and {operation.kind} carries it out"
            if record.action == "delete" and operation.state is OperationState.SUPERSEDED:
                yield f"delete {operation.operation_id} was overtaken"

    def again(self) -> dict[str, Wanted]:
        """Ask once more for every connection; those against which nothing stands, by request."""
        free = {one.name for one in self._workload.wanted if not self._stands_against(one)}
        return {key: one for key, one in self._workload.ask_again().items() if one.name in free}

    def made(self, asked: Mapping[str, Wanted]) -> Iterator[str]:
        """Whatever went wrong before: what is asked for in calm is made, if nothing stands against it."""
        records = self._oracles.records
        for request_id, wanted in asked.items():
            record = self._record(request_id)
            if record is None or self._stands_against(wanted):
                continue
            held = records.held_by(record.connection_id)
            said = f"{wanted.name}, asked for again: {record.outcome} {record.code}"
            if record.outcome == "rejected":
                if record.code not in REFUSED or held is None or not held.connection.state.live:
                    yield said
            elif held is None or held.connection.state not in SERVING:
                operation = records.operation(OperationId(record.operation_id))
                ended = f"{operation.kind} {operation.state} {operation.code}" if operation else ""
                yield f"{said}, {ended}; rests {held and held.connection.state}"

    def _record(self, request_id: str) -> RequestRecord | None:
        row = self._store.tables["requests"].get(key_hash(f"id:{request_id}"), {}).get("request")
        return self._oracles.records.parse(RequestRecord, row.columns) if row is not None else None

    def _stands_against(self, wanted: Wanted) -> bool:
        """Say whether something outside keeps a connection from being made."""
        world, cluster_id = self._workload.world, fold_id(wanted.cluster_id)
        cluster = world.clusters.get(cluster_id)
        if cluster is None or wanted.namespace not in cluster.namespaces:
            return True
        secret = secret_name(wanted.name)
        identity = identity_name(wanted.cluster_id, wanted.namespace, wanted.workload)
        trusting = world.credentials.get(fold_id(wanted.identity_id), {}) if wanted.identity_id else {}
        theirs = {
            name
            for (_, namespace, name), one in cluster.objects.items()
            if namespace == wanted.namespace and one.uid not in self._oracles.made_objects
        }
        return (
            fold_id(wanted.target) not in world.resources
            or len(trusting) >= CREDENTIALS_OF_AN_IDENTITY
            or any(one.endswith(f"/{identity}") for one in world.foreign)
            or any(place[0] == cluster_id and place[2] == wanted.namespace for place in world.handled)
            # Values that somebody wrote are theirs: only a repair takes them over.
            or f"{cluster_id}|{wanted.namespace}|Secret|{secret}" in world.touched
            or secret in theirs
            or any(name.startswith("sc-account-") for name in theirs)
            or self._account_taken(wanted)
        )

    def _account_taken(self, wanted: Wanted) -> bool:
        """Say whether another workload has the account that an identity of a team's has in this namespace."""
        world = self._workload.world
        identity = world.identities.get(fold_id(wanted.identity_id)) if wanted.identity_id else None
        if identity is None:
            return False
        name = service_account_name(identity.client_id)
        objects = world.clusters[fold_id(wanted.cluster_id)].objects
        there = objects.get(("ServiceAccount", wanted.namespace, name))
        own = workload_key(wanted.cluster_id, wanted.namespace, wanted.workload)
        return there is not None and there.labels.get(LABEL_WORKLOAD) != own
