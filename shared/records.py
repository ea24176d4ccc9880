"""What became of each request, and which connections rely on which Azure resource.

Both are written by intake and read by people and events; neither is part of an operation's
transaction. A request's record makes a repeated message the same request. A dependent's row leads
from a deleted resource, or anything above it, to the connections it held up.
"""

from __future__ import annotations

from datetime import datetime

from shared import naming
from shared.errors import StateConflictError
from shared.inventory import Entry, Inventory
from shared.models import ConnectionId
from shared.ports import Insert, Remove, Replace, StateStore, Upsert
from shared.rows import Listed, columns, key_hash, parse, parse_all
from shared.spec import Model, Note

REQUESTS = "requests"
DEPENDENTS = "dependents"
CLIENT = "client"
"""Kind of a dependent that is known by client id only."""
_TRIES = 8


class RequestRecord(Note):
    """What became of one request; its key makes a repeated message the same request."""

    key: str
    request_id: str = ""
    outcome: str
    """opened, attached, unchanged, nothing-to-do or rejected."""
    body_hash: str = ""
    connection_id: str = ""
    operation_id: str = ""
    action: str = ""
    code: str = ""
    detail: str = ""
    field: str = ""
    remedy: str = ""
    source: str = ""
    """queue, http or poison."""
    received_at: datetime


class Dependent(Model):
    """One connection that relies on one Azure resource."""

    resource_id: str
    """As it was written; rows are found by the folded id and by those above it."""
    kind: str
    """target, identity, credential, cluster, linker or client."""
    connection_id: ConnectionId
    generation: int

    @property
    def places(self) -> tuple[str, ...]:
        """Ids under which the rows stand: the resource's and all above it, or a client id's alone."""
        found = naming.ancestors(self.resource_id)
        return (_client_place(found[0].rpartition("/")[-1]),) if self.kind == CLIENT else found


def client_of(linker_id: str, client_id: str, connection_id: ConnectionId, generation: int) -> Dependent:
    """That a linker works through whatever identity has that client id.

    A linker names its identity by client id alone, and which resource that is cannot always be found out.
    """
    return Dependent(
        resource_id=f"{linker_id}{_client_place(client_id)}",
        kind=CLIENT,
        connection_id=connection_id,
        generation=generation,
    )


class RequestLog:
    """Requests by their key, and refusals by day."""

    def __init__(self, store: StateStore) -> None:
        self._store = store

    async def find(self, key: str) -> RequestRecord | None:
        """What became of the request with that key."""
        row = await self._store.get(REQUESTS, key_hash(key), "request")
        return parse(RequestRecord, row) if row else None

    async def remember(
        self,
        record: RequestRecord,
        *,
        instead_of: RequestRecord | None = None,
    ) -> RequestRecord:
        """Record what became of a request; the first decision of a key stays and is returned.

        A refusal decides nothing: whatever another delivery of the same request has decided meanwhile
        stands, and takes the place of a refusal. ``instead_of`` is an earlier refusal that this record
        follows, so that of two refusals the later one stays.

        Raises:
            StateConflictError: too much moved meanwhile (transient).
        """
        partition, rejected = key_hash(record.key), record.outcome == "rejected"
        values = columns(record, outcome=record.outcome, operation=record.operation_id, code=record.code)
        look = rejected or instead_of is not None
        for _ in range(_TRIES):
            row = await self._store.get(REQUESTS, partition, "request") if look else None
            known = parse(RequestRecord, row) if row else None
            if known is not None and known.outcome != "rejected":
                return known
            if rejected:
                # The day's list first: a refusal that can be found twice is better than one that is lost.
                day = f"rejected-{record.received_at:%Y-%m-%d}"
                await self._store.transact(REQUESTS, day, [Upsert(key=partition, columns=values)])
            if known is not None and rejected and instead_of is None:
                return known
            change = (
                Replace(key="request", columns=values, etag=row.etag)
                if row
                else Insert(key="request", columns=values)
            )
            try:
                await self._store.transact(REQUESTS, partition, [change])
            except StateConflictError:
                look = True
                continue
            return record
        raise StateConflictError("record of a request")

    async def rejected(self, day: str) -> Listed[RequestRecord]:
        """Refusals of one day (``YYYY-MM-DD``, UTC)."""
        return parse_all(RequestRecord, await self._store.query(REQUESTS, f"rejected-{day}"))


class Dependents:
    """Connections by the resources they rely on."""

    def __init__(self, store: StateStore) -> None:
        self._store = store
        self._inventory = Inventory(store)

    async def add(self, dependent: Dependent) -> None:
        """Record that a connection relies on a resource, findable from the resource and all above it.

        A stale row is harmless and a missing one is not, so rows are written before the effect and only a
        sweep removes those of lives that are over: what they lead to is looked at again anyway.
        """
        for place in dependent.places:
            values = columns(dependent, kind=dependent.kind, connection=dependent.connection_id)
            change = Upsert(key=_dependent_key(dependent), columns=values)
            await self._store.transact(DEPENDENTS, key_hash(place), [change])
        await self._inventory.note(Entry.model_validate(dependent.model_dump()))

    async def remove(self, dependent: Dependent) -> int:
        """Drop the rows of a life that is over; absent is fine. Returns how many there can have been."""
        for place in dependent.places:
            change = Remove(key=_dependent_key(dependent))
            await self._store.transact(DEPENDENTS, key_hash(place), [change])
        return len(dependent.places)

    async def of(self, resource_id: str) -> list[Dependent]:
        """Connections that rely on a resource or on anything below it: one read."""
        rows = await self._store.query(DEPENDENTS, key_hash(naming.fold_id(resource_id)))
        return [parse(Dependent, row) for row in rows]

    async def of_client(self, client_id: str) -> list[Dependent]:
        """Observed connections whose linkers work through whatever identity has that client id: one read."""
        return await self.of(_client_place(client_id))


def _client_place(client_id: str) -> str:
    return f"/clients/{client_id.lower()}"


def _dependent_key(dependent: Dependent) -> str:
    return f"{key_hash(dependent.resource_id)}|{dependent.connection_id}|{dependent.generation}"
