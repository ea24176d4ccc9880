"""Connections, operations, steps and intents as rows: what is read together, what is written together.

Partition ``<connection id>`` of table ``connections`` holds the connection row, its intents and every
operation with its steps, so that one entity-group transaction covers an outcome. Each such
transaction replaces the operation row with If-Match: that is what makes a join of parallel steps
safe, and what lets superseding an operation stop whatever still runs for it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from datetime import datetime

from shared import naming
from shared.models import Connection, ConnectionId, Intent, Operation, OperationId, OperationState, StepRecord
from shared.ports import Change, Columns, Insert, Remove, Replace, Row, StateStore, Upsert
from shared.rows import Listed, columns, key_hash, parse, parse_all
from shared.spec import Model

CONNECTIONS = "connections"
OPEN_OPERATIONS = "openoperations"
BUCKETS = 16

CONNECTION_KEY = "a|connection"


@dataclasses.dataclass(frozen=True, slots=True)
class Stored[T: Model]:
    """A value with what is needed to replace it, and the service's own times."""

    value: T
    etag: str
    written_at: datetime
    read_at: datetime


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """One operation with everything that an outcome may change."""

    connection: Stored[Connection]
    operation: Stored[Operation]
    steps: Mapping[str, Stored[StepRecord]]
    intents: Mapping[str, Intent]
    read_at: datetime

    def lease_left_seconds(self, step: str) -> float:
        """Seconds that the lease of a running step still has; 0 if it is not running or has expired."""
        stored = self.steps[step]
        if not stored.value.holder:
            return 0.0
        age = (stored.read_at - stored.written_at).total_seconds()
        return max(0.0, stored.value.lease_seconds - age)


class State:
    """Typed access to the state store."""

    def __init__(self, store: StateStore) -> None:
        self.store = store

    async def connection(self, connection_id: ConnectionId) -> Stored[Connection] | None:
        """One connection's row."""
        row = await self.store.get(CONNECTIONS, connection_id, CONNECTION_KEY)
        return _stored(Connection, row) if row else None

    async def operation(self, operation_id: OperationId) -> Stored[Operation] | None:
        """One operation's row."""
        row = await self.store.get(CONNECTIONS, naming.connection_of(operation_id), f"op|{operation_id}")
        return _stored(Operation, row) if row else None

    async def settled(self, operation_id: OperationId, *, lease_seconds: float) -> bool:
        """Say whether an operation ended so long ago that nothing it sent can land any more.

        One that does not exist has. A run of one that was overtaken may go on for a lease of its own.
        """
        other = await self.operation(operation_id)
        if other is None:
            return True
        if not other.value.state.final or other.value.ended_at is None:
            return False
        leases = 2 if other.value.state is OperationState.SUPERSEDED else 1
        return (other.read_at - other.value.ended_at).total_seconds() >= leases * lease_seconds

    async def load(self, operation_id: OperationId) -> Snapshot | None:
        """Everything of one operation, or ``None`` if there is no such operation."""
        partition = naming.connection_of(operation_id)
        own = await self.store.query(
            CONNECTIONS, partition, key_from=f"op|{operation_id}", key_to=f"op|{operation_id}~"
        )
        if not own:
            return None
        shared = await self.store.query(CONNECTIONS, partition, key_from="a|", key_to="j|")
        operation = _stored(Operation, own[0])
        steps = [_stored(StepRecord, row) for row in own[1:]]
        connection = _stored(Connection, shared[0])
        intents = [parse(Intent, row) for row in shared[1:]]
        return Snapshot(
            connection=connection,
            operation=operation,
            steps={step.value.name: step for step in steps},
            intents={intent.step: intent for intent in intents},
            read_at=own[0].read_at,
        )

    async def operations(self, connection_id: ConnectionId) -> list[Operation]:
        """All operations of a connection, oldest first."""
        rows = await self.store.query(CONNECTIONS, connection_id, key_from="op|", key_to="op}")
        found = [parse(Operation, row) for row in rows if is_operation(row)]
        return sorted(found, key=lambda operation: operation.opened_at)

    async def intents(self, connection_id: ConnectionId) -> dict[str, Intent]:
        """Intents of a connection by step name."""
        rows = await self.store.query(CONNECTIONS, connection_id, key_from="i|", key_to="j|")
        found = [parse(Intent, row) for row in rows]
        return {intent.step: intent for intent in found}

    async def connections(self, *, limit: int = 1000, after: str = "") -> Listed[Connection]:
        """Connection rows, in the order of their ids, behind one."""
        found = await self.store.scan(CONNECTIONS, key=CONNECTION_KEY, limit=limit, after=after)
        return parse_all(Connection, found)

    async def commit(
        self,
        snapshot: Snapshot,
        operation: Operation,
        *,
        steps: Iterable[StepRecord] = (),
        connection: Connection | None = None,
        intents: Iterable[Intent] = (),
        forget: Iterable[str] = (),
    ) -> Snapshot:
        """Write an outcome: one transaction that includes the operation row with If-Match.

        Returns the snapshot as it now stands.

        Raises:
            StateConflictError: something moved; reload and decide again.
        """
        operation = operation.model_copy(update={"revision": operation.revision + 1})
        partition = operation.connection_id
        changes: list[Change] = [
            Replace(
                key=_operation_key(operation),
                columns=_operation_columns(operation),
                etag=snapshot.operation.etag,
            )
        ]
        new_steps, steps = dict(snapshot.steps), tuple(steps)
        for step in steps:
            etag = snapshot.steps[step.name].etag
            changes.append(Replace(key=_step_key(step), columns=_step_columns(step), etag=etag))
        new_intents = dict(snapshot.intents)
        for intent in intents:
            changes.append(Upsert(key=_intent_key(intent.step), columns=columns(intent, step=intent.step)))
            new_intents[intent.step] = intent
        for name in forget:
            changes.append(Remove(key=_intent_key(name)))
            new_intents.pop(name, None)
        new_connection = snapshot.connection
        if connection is not None and connection != snapshot.connection.value:
            etag = snapshot.connection.etag
            changes.append(Replace(key=CONNECTION_KEY, columns=_connection_columns(connection), etag=etag))
            new_connection = dataclasses.replace(snapshot.connection, value=connection)
        etags = await self.store.transact(CONNECTIONS, partition, changes)
        for step in steps:
            written = dataclasses.replace(snapshot.steps[step.name], value=step, etag=etags[_step_key(step)])
            new_steps[step.name] = written
        return Snapshot(
            connection=dataclasses.replace(
                new_connection, etag=etags.get(CONNECTION_KEY, new_connection.etag)
            ),
            operation=dataclasses.replace(
                snapshot.operation, value=operation, etag=etags[_operation_key(operation)]
            ),
            steps=new_steps,
            intents=new_intents,
            read_at=snapshot.read_at,
        )

    async def save_step(self, snapshot: Snapshot, step: StepRecord) -> None:
        """Replace one step row alone (marks and nudges, never outcomes).

        Raises:
            StateConflictError: the step moved on; then the mark is not needed.
        """
        etag = snapshot.steps[step.name].etag
        change = Replace(key=_step_key(step), columns=_step_columns(step), etag=etag)
        await self.store.transact(CONNECTIONS, naming.connection_of(step.operation_id), [change])

    async def open(
        self,
        operation: Operation,
        steps: Iterable[StepRecord],
        *,
        connection: Connection,
        connection_etag: str,
        superseded: Iterable[Stored[Operation]] = (),
    ) -> None:
        """Announce in ``openoperations``, then write operation, steps and connection in one transaction.

        An empty ``connection_etag`` inserts the connection: the insert decides a race of two creates.

        Raises:
            StateConflictError: somebody opened or ended an operation meanwhile; decide again.
        """
        await self.store.transact(
            OPEN_OPERATIONS,
            _bucket(operation.operation_id),
            [Upsert(key=operation.operation_id, columns={"schema": 1, "kind": operation.kind.value})],
        )
        connection_columns = _connection_columns(connection)
        changes: list[Change] = [
            Insert(key=_operation_key(operation), columns=_operation_columns(operation)),
            Replace(key=CONNECTION_KEY, columns=connection_columns, etag=connection_etag)
            if connection_etag
            else Insert(key=CONNECTION_KEY, columns=connection_columns),
        ]
        changes += [Insert(key=_step_key(step), columns=_step_columns(step)) for step in steps]
        for stored in superseded:
            key = _operation_key(stored.value)
            changes.append(Replace(key=key, columns=_operation_columns(stored.value), etag=stored.etag))
        await self.store.transact(CONNECTIONS, operation.connection_id, changes)

    async def observe(self, connection: Connection, intents: Iterable[Intent], *, etag: str) -> None:
        """Write an observed connection with what it was seen to hold, in one transaction.

        Raises:
            StateConflictError: the row is not (or no longer) what the etag says.
        """
        written = _connection_columns(connection)
        changes: list[Change] = [
            Replace(key=CONNECTION_KEY, columns=written, etag=etag)
            if etag
            else Insert(key=CONNECTION_KEY, columns=written)
        ]
        changes += [Upsert(key=_intent_key(one.step), columns=columns(one, step=one.step)) for one in intents]
        await self.store.transact(CONNECTIONS, connection.connection_id, changes)

    async def close(self, operation_id: OperationId) -> None:
        """Remove an ended operation from what the timer looks at."""
        await self.store.transact(OPEN_OPERATIONS, _bucket(operation_id), [Remove(key=operation_id)])

    async def is_open(self, operation_id: OperationId) -> bool:
        """Say whether an operation is still looked at by the timer: its end was not told yet."""
        return await self.store.get(OPEN_OPERATIONS, _bucket(operation_id), operation_id) is not None

    async def open_operations(self) -> list[tuple[OperationId, float]]:
        """Operations that are not known to have ended, and for how many seconds each is noted there.

        By the service's own times: a clock that runs ahead would make a young note look old.
        """
        found: list[tuple[OperationId, float]] = []
        for bucket in range(BUCKETS):
            rows = await self.store.query(OPEN_OPERATIONS, f"{bucket:02d}")
            found += [(OperationId(row.key), (row.read_at - row.written_at).total_seconds()) for row in rows]
        return found


def is_operation(row: Row) -> bool:
    """Say whether a row of ``connections`` is an operation's own."""
    return row.key.startswith("op|") and row.key.count("|") == 1


def _stored[T: Model](model: type[T], row: Row) -> Stored[T]:
    return Stored(parse(model, row), row.etag, row.written_at, row.read_at)


def _bucket(operation_id: str) -> str:
    return f"{int(key_hash(operation_id)[:4], 16) % BUCKETS:02d}"


def _operation_key(operation: Operation) -> str:
    return f"op|{operation.operation_id}"


def _step_key(step: StepRecord) -> str:
    return f"op|{step.operation_id}|{step.name}"


def _intent_key(step: str) -> str:
    return f"i|{step}"


def _operation_columns(operation: Operation) -> Columns:
    kind, state = operation.kind.value, operation.state.value
    return columns(operation, kind=kind, state=state, waiting=operation.waiting, code=operation.code)


def _step_columns(step: StepRecord) -> Columns:
    return columns(step, step=step.name, state=step.state.value, waiting=step.waiting, code=step.code)


def _connection_columns(connection: Connection) -> Columns:
    spec, state = connection.spec, connection.state.value
    return columns(connection, state=state, name=spec.name, namespace=spec.namespace, cluster=spec.cluster_id)
