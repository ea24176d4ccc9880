"""What the rows say, read as an outsider reads them: connections, what they hold, who uses what."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

from shared.models import Connection, ConnectionState, Intent, Operation, Provenance, StepRecord
from shared.naming import fold_id
from shared.ports import Row
from shared.users import Shared
from tests.simulation.storage import SimulatedStore

SERVING = frozenset({ConnectionState.CONFIGURED, ConnectionState.USABLE})


@dataclasses.dataclass(frozen=True, slots=True)
class Held:
    """One connection with the intents of its present life."""

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
        return {fold_id(plan["resourceId"]) for plan in plans if plan["provenance"] == Provenance.CREATED}

    def credentials(self, *, ever: bool = False) -> set[tuple[str, str]]:
        """Folded identity id and name of each credential."""
        plans = self.plans("federated_credential", ever=ever)
        return {(fold_id(plan["identityId"]), plan["name"]) for plan in plans}

    def objects(self, step: str, *, ever: bool = False) -> set[tuple[str, str, str]]:
        """Cluster, namespace and name of each object."""
        cluster_id = fold_id(self.connection.spec.cluster_id)
        return {(cluster_id, plan["namespace"], plan["name"]) for plan in self.plans(step, ever=ever)}

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

    def held(self) -> Iterator[Held]:
        """Every connection, dead ones too."""
        for partition, rows in self._store.tables["connections"].items():
            row = rows.get("a|connection")
            if row is None:
                continue
            connection = self.parse(Connection, row.columns)
            intents = [
                self.parse(Intent, other.columns) for key, other in rows.items() if key.startswith("i|")
            ]
            assert connection.connection_id == partition
            yield Held(
                connection,
                {one.step: one for one in intents if one.generation == connection.generation},
            )

    def operations(self) -> Iterator[Operation]:
        """Every operation."""
        for rows in self._store.tables["connections"].values():
            for key, row in rows.items():
                if key.startswith("op|") and key.count("|") == 1:
                    yield self.parse(Operation, row.columns)

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

    def shared(self) -> Iterator[Shared]:
        """Every users row."""
        for row in self._store.all_rows("users").values():
            yield self.parse(Shared, row.columns)
