"""One step at a time on in-memory ports, with a recorder that keeps intents as the engine would."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from shared import left_rows, naming, plans
from shared.errors import NotYetError
from shared.models import (
    Cause,
    Connection,
    ConnectionId,
    ConnectionState,
    Done,
    Finding,
    Intent,
    Kind,
    Operation,
    OperationId,
    OperationState,
    Plan,
)
from shared.policy import Policy
from shared.prunes import Prunes, SavedObject
from shared.recording import _merged
from shared.records import Dependents
from shared.spec import ConnectionSpec
from shared.steps.base import StepContext
from shared.users import User
from tests.fakes.local_app import CLUSTER, STORAGE, LocalApp


@dataclasses.dataclass(slots=True)
class MemoryRecorder:
    """``steps.base.Recorder`` for tests."""

    bench: Bench
    step: str

    async def intend(self, planned: Mapping[str, Any]) -> Mapping[str, Any]:
        wanted = Intent(
            connection_id=self.bench.connection.connection_id,
            step=self.step,
            generation=self.bench.operation.generation,
            planned=dict(planned),
        )
        intent = _merged(wanted, self.bench.intents.get(self.step))
        self.bench.intents[self.step] = intent
        return intent.planned

    async def depend(self, kind: str, resource_id: str) -> None:
        self.bench.dependents.append((kind, resource_id))

    async def save(self, saved: SavedObject) -> None:
        await Prunes(self.bench.app.store).save(saved)

    async def saved(self, operation_id: OperationId) -> list[SavedObject]:
        return await Prunes(self.bench.app.store).saved(operation_id)

    async def settled(self, operation_id: OperationId) -> bool:
        return operation_id in self.bench.ended

    async def holds(self, connection_id: ConnectionId) -> bool:
        stored = await self.bench.app.services.state.connection(connection_id)
        return stored is not None and (stored.value.state.live or bool(stored.value.active))

    async def linkers_of(self, identity_id: str, client_id: str) -> Mapping[str, str]:
        by_client = self.bench.linkers.get(client_id.lower(), {})
        return {**self.bench.linkers.get(naming.fold_id(identity_id), {}), **by_client}

    async def generation(self) -> int:
        return self.bench.connection.generation

    async def held_by_others(self, identity_id: str) -> Mapping[str, Mapping[User, bool]]:
        return self.bench.held_by_others.get(naming.fold_id(identity_id), {})

    async def only_linkers(self, users: Iterable[User]) -> bool:
        found = [await self.bench.app.services.state.connection(one.connection_id) for one in users]
        return all(stored is not None and bool(stored.value.linker_id) for stored in found)

    async def any_of_ours(self, users: Iterable[User]) -> bool:
        found = [(one, await self.bench.app.services.state.connection(one.connection_id)) for one in users]
        known = [row.value for one, row in found if row and row.value.generation == one.generation]
        return any(one.left_by or not one.linker_id for one in known)

    async def leave_to(self, linker_id: str, plans: Mapping[str, Plan]) -> User:
        state, dependents = self.bench.app.services.state, Dependents(self.bench.app.store)
        now = self.bench.app.clock.now()
        left = await left_rows.leave_to(state, dependents, self.bench.connection, linker_id, plans, now=now)
        return User(connection_id=left.connection_id, generation=left.generation)

    async def stands(self, user: User) -> bool:
        return await self.holds(user.connection_id)

    async def lease_left_seconds(self, operation_id: OperationId) -> float:
        return self.bench.leases.get(operation_id, 0.0)

    async def in_doubt_seconds(self, *, removals: bool, of: str = "") -> float:
        return self.bench.in_doubt_seconds if removals == self.bench.removals_in_doubt else 0.0


class AnyPolicy(Policy):
    """Allows whatever a bench makes: its connections are about steps, and no intake has judged them."""

    def judge(
        self, spec: ConnectionSpec, roles: Sequence[str], *, usual: Sequence[str] | None = None
    ) -> None:
        pass


class Bench:
    """A connection whose steps a test runs by hand."""

    judged = False
    """Whether a create is held to the app's policy."""

    def __init__(self, app: LocalApp, name: str = "orders-blob", **spec: str) -> None:
        self.app = app
        self.rules = app.services.engine.rules
        wanted = ConnectionSpec.model_validate(
            {
                "name": name,
                "cluster_id": CLUSTER,
                "namespace": "shop",
                "workload": "orders",
                "target_type": "storage-blob",
                "target_id": STORAGE,
                "client_type": "python",
                **spec,
            }
        )
        connection_id = naming.connection_id(wanted.cluster_id, wanted.namespace, wanted.name)
        self.connection = Connection(
            connection_id=connection_id,
            spec=wanted,
            body_hash=naming.spec_hash(wanted),
            state=ConnectionState.CONNECTING,
            created_at=app.clock.now(),
        )
        self.intents: dict[str, Intent] = {}
        self.done: dict[str, Mapping[str, Any]] = {}
        self.dependents: list[tuple[str, str]] = []
        self.linkers: dict[str, Mapping[str, str]] = {}
        """Linkers on record with their targets, by the folded id of their identity."""
        self.held_by_others: dict[str, Mapping[str, Mapping[User, bool]]] = {}
        """Names of what other connections hold, by the folded id of the identity."""
        self.ended: set[str] = set()
        self.leases: dict[str, float] = {}
        self.in_doubt_seconds = 0.0
        self.removals_in_doubt = False
        self.noted: dict[str, str] = {}
        self.runs = 0
        self.operation = self._operation(Kind.CREATE)

    def _operation(self, kind: Kind, **changes: Any) -> Operation:
        return Operation(
            operation_id=naming.operation_id(self.connection.connection_id, f"{kind.value} {self.runs}"),
            connection_id=self.connection.connection_id,
            kind=kind,
            state=OperationState.RUNNING,
            generation=self.connection.generation,
            plan=(),
            opened_at=self.app.clock.now(),
            **changes,
        )

    def become(
        self, kind: Kind, *, cause: str = "target", resource_id: str = STORAGE, **changes: Any
    ) -> None:
        """Go on as another operation of the same connection."""
        self.runs += 1
        self.done = {}
        self.noted = {}
        if kind is Kind.PRUNE:
            changes["cause"] = Cause(kind=cause, resource_id=resource_id)
        self.operation = self._operation(kind, **changes)

    def context(self, name: str) -> StepContext:
        """What one run of a step is given."""
        engine = self.app.services.engine
        self.runs += 1
        free = self.operation.kind is Kind.CREATE and not self.judged
        rules = dataclasses.replace(self.rules, load_policy=AnyPolicy) if free else self.rules
        return StepContext(
            connection=self.connection,
            operation=self.operation,
            step=name,
            intents=dict(self.intents),
            done=dict(self.done),
            noted=self.noted,
            now=self.app.clock.now(),
            nonce=f"nonce-{self.connection.spec.name}-{self.runs}",
            outside=engine.outside,
            rules=rules,
            catalogue=engine.catalogue,
            users=engine.users,
            limits=engine.limits,
            recorder=MemoryRecorder(self, name),
        )

    async def apply(self, name: str) -> Done:
        """Apply a step and record its outcome."""
        try:
            result = await plans.steps()[name].apply(self.context(name))
        except NotYetError as waits:
            self.noted |= waits.note
            raise
        if self.operation.kind in {Kind.CREATE, Kind.REPAIR} and result.outputs:
            known = self.intents.get(name)
            self.intents[name] = Intent(
                connection_id=self.connection.connection_id,
                step=name,
                generation=self.operation.generation,
                planned=known.planned if known else {},
                outputs=result.outputs,
                previous=known.previous[: result.earlier_plans] if known else (),
            )
        self.done[name] = result.outputs
        return result

    async def revert(self, name: str) -> Done:
        """Revert a step and record its outcome."""
        result = await plans.steps()[name].revert(self.context(name))
        self.done[name] = result.outputs
        return result

    async def check(self, name: str) -> dict[str, Finding]:
        """Findings of a step by name."""
        return {one.name: one for one in await plans.steps()[name].check(self.context(name))}

    async def up_to(self, name: str) -> None:
        """Apply every step of a create up to and including one."""
        for step in plans.CREATE[: plans.CREATE.index(name) + 1]:
            await self.apply(step)

    def lose_record(self, name: str) -> None:
        """As if a crash had come between the write and its record: the intent knows only what was planned."""
        self.intents[name] = self.intents[name].model_copy(update={"outputs": {}})

    def world(self) -> Any:
        """Everything in Azure and the clusters, to compare."""
        world = self.app.world
        objects = {key: value.objects for key, value in world.clusters.items()}
        return copy.deepcopy((world.identities, world.credentials, world.assignments, world.grants, objects))
