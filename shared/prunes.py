"""Prunes by month, and what they need to be undone; rows of table ``prunes``.

The list is written before the operation is opened, so that no prune is missing from it; the operation is the
truth. What a cluster object was is saved before it is removed, so that a restore can put it back.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Self

from pydantic import Field

from shared.models import Cause, ConnectionId, Operation, OperationId
from shared.ports import StateStore, Upsert
from shared.rows import Listed, columns, key_hash, parse, parse_all
from shared.spec import ConnectionSpec, Model, Note

TABLE = "prunes"


class PruneEntry(Note):
    """One prune in the list of its month."""

    operation_id: OperationId
    connection_id: ConnectionId
    cause: str
    """Kind of the cause."""
    resource_id: str
    source: str
    cluster_id: str
    namespace: str
    report_only: bool
    opened_at: datetime

    @classmethod
    def of(cls, operation: Operation, cause: Cause, spec: ConnectionSpec) -> Self:
        """The entry of a prune that is about to be opened."""
        return cls(
            operation_id=operation.operation_id,
            connection_id=operation.connection_id,
            cause=cause.kind,
            resource_id=cause.resource_id,
            source=cause.source,
            cluster_id=spec.cluster_id,
            namespace=spec.namespace,
            report_only=operation.report_only,
            opened_at=operation.opened_at,
        )


class SavedObject(Model):
    """A cluster object as it was before a prune removed it."""

    operation_id: OperationId
    kind: str
    namespace: str
    name: str
    uid: str
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    secret_type: str = ""
    data: Mapping[str, str] = Field(default_factory=dict, repr=False)
    """A secret's values, only if the catalogue says of each key that it holds no credential."""
    left_out: tuple[str, ...] = ()
    """Names of annotations that were not saved: they may hold values, or are too long."""
    issuer: str = ""
    """OIDC issuer of the cluster's life that the object was in, if known."""
    restorable: bool
    why: str = ""
    """Why it cannot be put back."""
    saved_at: datetime


class Prunes:
    """The prunes rows."""

    def __init__(self, store: StateStore) -> None:
        self._store = store

    async def note(self, entry: PruneEntry) -> None:
        """Put a prune into the list of the month in which it is opened."""
        values = columns(entry, cause=entry.cause, connection=entry.connection_id, cluster=entry.cluster_id)
        change = Upsert(key=entry.operation_id, columns=values)
        await self._store.transact(TABLE, month_of(entry.opened_at), [change])

    async def of_month(self, month: str) -> Listed[PruneEntry]:
        """Prunes opened in a month (``YYYY-MM``, UTC), the newest first."""
        found = parse_all(PruneEntry, await self._store.query(TABLE, month))
        found.sort(key=lambda one: one.opened_at, reverse=True)
        return found

    async def save(self, saved: SavedObject) -> None:
        """Save what an object was; the same object again replaces what was saved of it."""
        key = key_hash(f"{saved.kind}|{saved.namespace}|{saved.name}")
        values = columns(saved, kind=saved.kind, namespace=saved.namespace, name=saved.name)
        await self._store.transact(
            TABLE, saved_partition(saved.operation_id), [Upsert(key=key, columns=values)]
        )

    async def saved(self, operation_id: OperationId) -> list[SavedObject]:
        """What a prune has saved."""
        rows = await self._store.query(TABLE, saved_partition(operation_id))
        found = [parse(SavedObject, row) for row in rows]
        return sorted(found, key=lambda one: (one.kind, one.namespace, one.name))


def month_of(instant: datetime) -> str:
    """The month of an instant, as lists name it."""
    return f"{instant:%Y-%m}"


def saved_partition(operation_id: str) -> str:
    """Partition of what a prune has saved; partitions of one beginning stand together."""
    return f"saved|{operation_id}"
