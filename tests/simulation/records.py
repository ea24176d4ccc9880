"""What the rows say, read as an outsider reads them: connections, what they hold, who uses what."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator, Mapping
from typing import Any

from shared.models import (
    Connection,
    ConnectionState,
    Intent,
    Kind,
    Operation,
    OperationState,
    Provenance,
    StepRecord,
    StepState,
)
from shared.naming import fold_id
from shared.orphans import Orphan
from shared.ports import Columns, Row
from shared.rows import columns
from shared.spec import Model
from shared.users import Shared
from tests.simulation.storage import SimulatedStore

SERVING = frozenset({ConnectionState.CONFIGURED, ConnectionState.USABLE})


@dataclasses.dataclass(frozen=True)
class Held:
    """One connection with the intents of its present life; what it is asked often is worked out once."""

    connection: Connection
    intents: Mapping[str, Intent]

    def plans(self, step: str, *, ever: bool = False) -> list[Mapping[str, Any]]:
        """What a step means to hold now, or ever meant to in this life."""
        intent = self.intents.get(step)
        if intent is None:
            return []
        return [plan.planned for plan in intent.plans()] if ever else [intent.planned]

    def assignments(self, *, ever: bool = False) -> list[Mapping[str, Any]]:
        """Role assignments under the names that we compute."""
        return [item for plan in self.plans("role_assignments", ever=ever) for item in plan["assignments"]]

    def identity_ids(self, *, ever: bool = False) -> set[str]:
        """Folded ids of identities that were made for it."""
        plans = self.plans("managed_identity", ever=ever)
        return {fold_id(plan["resourceId"]) for plan in plans if plan.get("provenance") == Provenance.CREATED}

    def credentials(self, *, ever: bool = False) -> set[tuple[str, str]]:
        """Folded identity id and name of each credential."""
        plans = self.plans("federated_credential", ever=ever)
        return {(fold_id(plan["identityId"]), plan["name"]) for plan in plans}

    def objects(self, step: str, *, ever: bool = False) -> set[tuple[str, str, str]]:
        """Cluster, namespace and name of each object."""
        cluster_id = fold_id(self.connection.spec.cluster_id)
        return {(cluster_id, plan["namespace"], plan["name"]) for plan in self.plans(step, ever=ever)}

    def restored(self) -> set[tuple[str, str, str]]:
        """Cluster, namespace and name of each object that a person had put back."""
        cluster_id = fold_id(self.connection.spec.cluster_id)
        plans = self.plans("restored_objects", ever=True)
        return {(cluster_id, one["namespace"], one["name"]) for plan in plans for one in plan["objects"]}

    @functools.cached_property
    def observed_uids(self) -> frozenset[str]:
        """Uids of cluster objects that were seen while their linker was alive."""
        return frozenset(
            str(plan.outputs.get("uid"))
            for intent in self.intents.values()
            for plan in intent.plans()
            if plan.planned.get("provenance") == Provenance.OBSERVED
        )

    @functools.cached_property
    def things(self) -> set[str]:
        """Names of the users rows that it should stand in."""
        found = {
            role_thing(item["scope"], item["principalId"], item["roleDefinitionId"])
            for item in self.assignments()
        }
        found |= {f"identity|{identity_id}" for identity_id in self.identity_ids()}
        found |= {
            f"credential|{fold_id(plan['identityId'])}|{plan['issuer']}|{plan['subject']}"
            for plan in self.plans("federated_credential")
        }
        return found | {account_thing(*key) for key in self.objects("service_account")}


def role_thing(scope: str, principal_id: str, role_definition_id: str) -> str:
    """Name of a role assignment's users row."""
    role = role_definition_id.rsplit("/", 1)[-1].lower()
    return f"role|{fold_id(scope)}|{principal_id.lower()}|{role}"


def account_thing(cluster_id: str, namespace: str, name: str) -> str:
    """Name of a service account's users row."""
    return f"account|{fold_id(cluster_id)}|{namespace}|{name.removeprefix('sc-account-')}"


class Records:
    """Reads a store behind the product's back. What was parsed once is not parsed again."""

    def __init__(self, store: SimulatedStore) -> None:
        self._store = store
        self._parsed: dict[tuple[type, str], Any] = {}
        self._held: dict[str, Held] = {}
        self._shared: dict[str, Shared] = {}

    def parse[M](self, model: type[M], columns: Mapping[str, Any]) -> M:
        """The value of a row's columns."""
        key = (model, str(columns["body"]))
        found: M | None = self._parsed.get(key)
        if found is None:
            found = model.model_validate_json(key[1])  # type: ignore[attr-defined]
            self._parsed[key] = found
        return found

    def quick_parse[M](self, model: type[M], row: Row) -> M:
        """Stands in for ``shared.rows.parse``: rows are read far more often than written."""
        return self.parse(model, row.columns)

    def quick_columns(self, value: Model, **readable: str | int | bool) -> Columns:
        """Stands in for ``shared.rows.columns``: what was just written need not be parsed to be known."""
        made = columns(value, **readable)
        self._parsed.setdefault((type(value), str(made["body"])), value)
        return made

    def held(self) -> Iterator[Held]:
        """Every connection, dead ones too; only what was written since the last look is read again."""
        changed = self._store.changed["connections"]
        for partition in sorted(changed):
            rows = self._store.tables["connections"][partition]
            row = rows.get("a|connection")
            if row is not None:
                self._held[partition] = self._hold(rows, self.parse(Connection, row.columns))
        changed.clear()
        yield from self._held.values()

    def _hold(self, rows: Mapping[str, Row], connection: Connection) -> Held:
        found = [self.parse(Intent, row.columns) for key, row in rows.items() if key.startswith("i|")]
        intents = {one.step: one for one in found if one.generation == connection.generation}
        known = self._held.get(connection.connection_id)
        same = known is not None and known.connection is connection
        return known if same and known.intents == intents else Held(connection, intents)

    def operations(self) -> Iterator[Operation]:
        """Every operation."""
        for rows in self._store.tables["connections"].values():
            for key, row in rows.items():
                if key.startswith("op|") and key.count("|") == 1:
                    yield self.parse(Operation, row.columns)

    def cluster_of(self, connection_id: str) -> str:
        """The cluster of a connection, empty if unknown; may be asked while a row is written."""
        row = self._store.tables["connections"].get(connection_id, {}).get("a|connection")
        return self.parse(Connection, row.columns).spec.cluster_id if row else ""

    def held_by(self, connection_id: str) -> Held | None:
        """One connection."""
        return next((one for one in self.held() if one.connection.connection_id == connection_id), None)

    def well_ended(self, held: Held) -> bool:
        """True if a connection is made, and what was done to it last succeeded, as did its last repair."""
        last = self.operation(held.connection.last_operation)
        well = last is not None and last.state is OperationState.SUCCEEDED
        return held.connection.state in SERVING and well and not self.ended_unmended(held)

    def repairs(self, held: Held) -> list[str]:
        """Ids of the repairs of a connection's present life that succeeded."""
        return [
            one.operation_id
            for one in self.operations()
            if one.kind is Kind.REPAIR
            and one.state is OperationState.SUCCEEDED
            and (one.connection_id, one.generation)
            == (held.connection.connection_id, held.connection.generation)
        ]

    def ended_unmended(self, held: Held) -> bool:
        """True if the last that began to make a connection's things was a repair without a good end.

        It failed, or an update overtook it that was refused at its first look. The connection stays what it
        was, and its operations say what is missing.
        """
        begun = [one for one in self._making(held) if not self._refused(one)]
        last = max(begun, key=lambda one: one.opened_at, default=None)
        ended = {OperationState.FAILED, OperationState.SUPERSEDED}
        return last is not None and last.kind is Kind.REPAIR and last.state in ended

    def made_by(self, held: Held) -> Operation | None:
        """The last that was to make a connection's things, in its present life."""
        return max(self._making(held), key=lambda one: one.opened_at, default=None)

    def _making(self, held: Held) -> list[Operation]:
        life = (held.connection.connection_id, held.connection.generation)
        making = {Kind.CREATE, Kind.REPAIR}
        return [
            one
            for one in self.operations()
            if one.kind in making and (one.connection_id, one.generation) == life
        ]

    def _refused(self, operation: Operation) -> bool:
        """Say whether an operation failed before any of its steps could make something."""
        looked = self.step(operation.operation_id, "preflight")
        unlooked = looked is not None and looked.state is not StepState.DONE
        return operation.kind is Kind.CREATE and operation.state is OperationState.FAILED and unlooked

    def operation(self, operation_id: str) -> Operation | None:
        """One operation."""
        rows = self._store.tables["connections"].get(operation_id.partition("-")[0], {})
        row = rows.get(f"op|{operation_id}")
        return self.parse(Operation, row.columns) if row else None

    def step(self, operation_id: str, name: str) -> StepRecord | None:
        """One step of one operation."""
        rows = self._store.tables["connections"].get(operation_id.partition("-")[0], {})
        row = rows.get(f"op|{operation_id}|{name}")
        return self.parse(StepRecord, row.columns) if row else None

    def reported(self) -> set[str]:
        """Uids of what sweeps have reported as orphans."""
        rows = [row for found in self._store.tables["orphans"].values() for row in found.values()]
        return {self.parse(Orphan, row.columns).uid for row in rows} - {""}

    def shared(self) -> Iterator[Shared]:
        """Every users row."""
        changed = self._store.changed["users"]
        for partition in sorted(changed):
            self._shared.pop(partition, None)
            for row in self._store.tables["users"][partition].values():
                self._shared[partition] = self.parse(Shared, row.columns)
        changed.clear()
        yield from self._shared.values()
