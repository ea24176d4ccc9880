"""One run of one step, as the step sees it: save intents, record dependents, ask about other operations.

Every save is a transaction that includes the operation row: a run whose operation was superseded, or
whose lease was taken over, cannot save an intent any more and so makes nothing.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

from shared import left_rows
from shared.errors import StateConflictError
from shared.models import (
    Connection,
    ConnectionId,
    ConnectionState,
    Intent,
    Kind,
    Operation,
    OperationId,
    Plan,
    StepRecord,
    StepState,
)
from shared.ports import Row
from shared.prunes import Prunes, SavedObject
from shared.records import Dependent, Dependents
from shared.rows import parse
from shared.state import CONNECTIONS, Snapshot, State
from shared.steps.shared_things import held_things_of
from shared.users import User

SIBLING_COMMITS = 40
"""Steps that run side by side write one operation row, and each conflict is a write that one of them got
through: a few a step. Where storage is slow, eight in a row were lost; this leaves room for all of a plan."""
_REMOVING = frozenset({Kind.DELETE, Kind.PRUNE})


@dataclasses.dataclass(slots=True, kw_only=True)
class Run:
    """The engine's side of ``steps.base.Recorder``. Holds the newest snapshot; lives for one run."""

    state: State
    dependents: Dependents
    snapshot: Snapshot
    step: str
    holder: str

    async def intend(self, planned: Mapping[str, Any]) -> Mapping[str, Any]:
        """Save what is about to be made; called before each write to Azure or a cluster.

        Raises:
            StateConflictError: the operation or the lease was lost: make nothing.
        """
        for _ in range(SIBLING_COMMITS):
            operation = self.snapshot.operation.value
            known = self.snapshot.intents.get(self.step)
            if known is not None and known.generation != operation.generation:
                known = None
            intent = _merged(
                Intent(
                    connection_id=operation.connection_id,
                    step=self.step,
                    generation=operation.generation,
                    planned=dict(planned),
                ),
                known,
            )
            if intent == known:
                # Nothing to save, and so nothing that would tell of a loss.
                await self._reload()
                return intent.planned
            try:
                self.snapshot = await self.state.commit(self.snapshot, operation, intents=[intent])
            except StateConflictError:
                await self._reload()
                continue
            return intent.planned
        raise StateConflictError("intent of a step")

    async def depend(self, kind: str, resource_id: str) -> None:
        """Record that the connection relies on a resource."""
        operation = self.snapshot.operation.value
        await self.dependents.add(
            Dependent(
                resource_id=resource_id,
                kind=kind,
                connection_id=operation.connection_id,
                generation=operation.generation,
            ),
        )

    async def save(self, saved: SavedObject) -> None:
        """Save what a cluster object is, before this prune removes it."""
        await Prunes(self.state.store).save(saved)

    async def saved(self, operation_id: OperationId) -> list[SavedObject]:
        """What a prune has saved."""
        return await Prunes(self.state.store).saved(operation_id)

    async def settled(self, operation_id: OperationId) -> bool:
        """Say whether an operation has ended and nothing that it sent can land any more."""
        lease_seconds = self.snapshot.steps[self.step].value.lease_seconds
        return await self.state.settled(operation_id, lease_seconds=lease_seconds)

    async def holds(self, connection_id: ConnectionId) -> bool:
        """Say whether a connection is on record that holds, or may hold, things."""
        stored = await self.state.connection(connection_id)
        return stored is not None and (stored.value.state.live or bool(stored.value.active))

    async def linkers_of(self, identity_id: str, client_id: str) -> Mapping[str, str]:
        """Living connections of Service Connector on record that work through an identity: id and target."""
        by_client = await self.dependents.of_client(client_id)
        others = await self._living([*await self.dependents.of(identity_id), *by_client])
        found = {one.linker_id: one.spec.target_id for one in others if one.linker_id and not one.left_by}
        # What was left to a linker tells that it is there, and not what it works for.
        return {**{one.linker_id: "" for one in others if one.left_by}, **found}

    async def generation(self) -> int:
        """The connection's life that is on record now; 0 if there is none."""
        stored = await self.state.connection(self.snapshot.operation.value.connection_id)
        return stored.value.generation if stored is not None else 0

    async def held_by_others(self, identity_id: str) -> Mapping[str, Mapping[User, bool]]:
        """The shared things that other living connections hold through an identity, and who holds each.

        What a removal has left is held no more, whatever became of that removal. Of one that is being pruned
        it is sure until the step that leaves the thing is done.
        """
        found: dict[str, dict[User, bool]] = {}
        for connection in await self._living(await self.dependents.of(identity_id)):
            if connection.state is ConnectionState.DELETING:
                continue  # of two that go at once neither may leave it to the other
            user = User(connection_id=connection.connection_id, generation=connection.generation)
            pruning = connection.state is ConnectionState.PRUNING
            ahead = await self._ahead(connection) if pruning else set()
            intents = await self.state.intents(connection.connection_id)
            sure = {step: intent for step, intent in intents.items() if not pruning or step in ahead}
            certain = set(held_things_of(connection, sure))
            for thing in held_things_of(connection, intents):
                found.setdefault(thing, {})[user] = thing in certain
        return found

    async def _ahead(self, connection: Connection) -> set[str]:
        """Steps that the removals of a connection that are under way have still to finish."""
        loaded = [await self.state.load(operation_id) for operation_id in connection.active]
        return {
            name
            for one in loaded
            if one is not None and one.operation.value.begun and one.operation.value.kind in _REMOVING
            for name, step in one.steps.items()
            if step.value.state is not StepState.DONE
        }

    async def only_linkers(self, users: Iterable[User]) -> bool:
        """Say whether all of a thing's users are rows of connections of Service Connector."""
        found = [await self.state.connection(user.connection_id) for user in users]
        return all(stored is not None and bool(stored.value.linker_id) for stored in found)

    async def any_of_ours(self, users: Iterable[User]) -> bool:
        """Say whether one of a thing's users is on record as ours, or as what one of ours left to a linker.

        In that life: a connection of Service Connector may have had its id before, or after.
        """
        for user in users:
            stored = await self.state.connection(user.connection_id)
            if stored is None or stored.value.generation != user.generation:
                continue
            if stored.value.left_by or not stored.value.linker_id:
                return True
        return False

    async def leave_to(self, linker_id: str, plans: Mapping[str, Plan]) -> User:
        """Record what stays for a linker, to be pruned once that is gone; returns who uses it from now on."""
        left = await left_rows.leave_to(
            self.state,
            self.dependents,
            self.snapshot.connection.value,
            linker_id,
            plans,
            now=self.snapshot.read_at,
        )
        return User(connection_id=left.connection_id, generation=left.generation)

    async def stands(self, user: User) -> bool:
        """Say whether a user's connection is on record in that life, and no prune of it has begun."""
        stored = await self.state.connection(user.connection_id)
        if stored is None or stored.value.generation != user.generation:
            return False
        return stored.value.state.live and stored.value.state is not ConnectionState.PRUNING

    async def _living(self, dependents: Iterable[Dependent]) -> list[Connection]:
        """The connections of those dependents that live, without this one."""
        own = self.snapshot.operation.value.connection_id
        others = {one.connection_id for one in dependents} - {own}
        found = [await self.state.connection(connection_id) for connection_id in sorted(others)]
        return [stored.value for stored in found if stored is not None and stored.value.state.live]

    async def lease_left_seconds(self, operation_id: OperationId) -> float:
        """Longest lease that a step of another operation still has."""
        other = await self.state.load(operation_id)
        if other is None:
            return 0.0
        running = [name for name, step in other.steps.items() if step.value.state is StepState.RUNNING]
        return max((other.lease_left_seconds(name) for name in running), default=0.0)

    async def let_go(self, snapshot: Snapshot | None) -> None:
        """Give the lease back when the operation was overtaken: this run sends nothing any more.

        Without it ``quiesce`` would wait for the whole lease of a run that ended long ago.
        """
        record = snapshot.steps[self.step].value if snapshot is not None else None
        if snapshot is None or record is None or record.holder != self.holder:
            return
        try:
            await self.state.save_step(snapshot, record.model_copy(update={"holder": ""}))
        except StateConflictError:
            return

    async def in_doubt_seconds(self, *, removals: bool, of: str = "") -> float:
        """How long what was sent and not answered may still land: writes, or (``removals``) deletes.

        Asked are the connection's other operations, ended or overtaken, and earlier runs of this step (with
        ``of`` that step of the other operations alone). What a run has sent lands within one lease of the
        run's end, and a run ends within its own lease.
        """
        own = self.snapshot.operation.value
        rows = await self.state.store.query(CONNECTIONS, own.connection_id, key_from="op|", key_to="op}")
        asked: dict[str, Operation] = {}
        left_seconds = 0.0
        for row in rows:
            if row.key.count("|") == 1:
                # An operation's own row comes before those of its steps.
                operation = parse(Operation, row)
                if (operation.kind in _REMOVING) is removals:
                    asked[operation.operation_id] = operation
                continue
            step = parse(StepRecord, row)
            if step.operation_id not in asked or of not in {"", step.name}:
                continue
            if step.operation_id == own.operation_id:
                asks = step.name == self.step and not of
                left_seconds = max(left_seconds, _unanswered(step, row) if asks else 0.0)
                continue
            overtaken = asked[step.operation_id].state.final and step.state is StepState.RUNNING
            left_seconds = max(left_seconds, _unanswered(step, row), _under_way(step, row) * overtaken)
        return left_seconds

    async def _reload(self) -> None:
        snapshot = await self.state.load(self.snapshot.operation.value.operation_id)
        if snapshot is None or snapshot.operation.value.state.final:
            raise StateConflictError("the operation has ended")
        if snapshot.steps[self.step].value.holder != self.holder:
            raise StateConflictError("another run holds the step")
        self.snapshot = snapshot


def _unanswered(step: StepRecord, row: Row) -> float:
    """Seconds in which what an ended run had sent may land."""
    if step.unanswered_at is None:
        return 0.0
    return step.lease_seconds - (row.read_at - step.unanswered_at).total_seconds()


def _under_way(step: StepRecord, row: Row) -> float:
    """The same of a run that nobody waits for: it may send for a lease, if it has not given that back."""
    leases = 2 if step.holder else 1
    return leases * step.lease_seconds - (row.read_at - row.written_at).total_seconds()


def _merged(wanted: Intent, known: Intent | None) -> Intent:
    """A new plan over what this life had planned before.

    The nonce of the same things stays, because it may be on them already. Other things than before (an
    identity that was made again, a cluster with a new issuer) are a plan of their own, and the earlier
    one is kept so that a revert removes both.
    """
    if known is None:
        return wanted
    if _things(known.planned) == _things(wanted.planned):
        return known.model_copy(update={"planned": {**wanted.planned, **known.planned}, "left": False})
    earlier = tuple(plan for plan in known.plans() if _things(plan.planned) != _things(wanted.planned))
    again = [plan for plan in known.previous if _things(plan.planned) == _things(wanted.planned)]
    if again:
        return known.model_copy(
            update={
                "planned": again[0].planned,
                "outputs": again[0].outputs,
                "previous": earlier,
                "left": False,
            },
        )
    return wanted.model_copy(update={"previous": earlier})


def _things(planned: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in planned.items() if name != "nonce"}
