"""Things that a sweep found and nobody on record owns; rows of table ``orphans``.

Reported only. One is pruned when a person names it (``POST /api/orphans/{id}/prune``), never by itself: we
have not seen it alive, so nothing but its looks says whose it was.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any

from pydantic import Field

from shared import naming
from shared.errors import StateConflictError
from shared.models import ConnectionId, OperationId
from shared.ports import Insert, Remove, Replace, StateStore
from shared.rows import Listed, columns, parse, parse_all
from shared.spec import Model

TABLE = "orphans"
LIST_LIMIT = 1000
_ID = re.compile(r"[0-9a-f]{24}-[0-9a-f]{24}")
_TRIES = 8


class OrphanKind(StrEnum):
    """What an orphan is."""

    SECRET = "secret"
    CONFIG_MAP = "config-map"
    PROVIDER_CLASS = "secret-provider-class"
    SERVICE_ACCOUNT = "service-account"
    IDENTITY = "identity"
    CREDENTIAL = "credential"


class Orphan(Model):
    """One thing without an owner on record."""

    orphan_id: str
    """As ``orphan_id()`` computes it: the same thing has the same id in every sweep."""
    kind: OrphanKind
    cluster_id: str = ""
    """Of a cluster object; of an identity or credential the cluster that it seems to be of, if known."""
    namespace: str = ""
    name: str
    uid: str = ""
    """Of a cluster object: only this incarnation may be pruned. Of an identity its principal id."""
    resource_id: str = ""
    """ARM id of an identity or credential."""
    rule: str
    """Why it is taken for an orphan: a name of ``shared/prune_rules.py``."""
    evidence: Mapping[str, Any] = Field(default_factory=dict)
    """What was seen: labels, annotations, creation time, issuer, subject, lists that were read; no values."""
    first_seen_at: datetime
    last_seen_at: datetime
    sweep: str = ""
    """Id of the sweep that saw it last."""
    prune: OperationId = OperationId("")
    """The prune that was asked for it."""


def orphan_id(
    kind: OrphanKind, *, cluster_id: str = "", namespace: str = "", name: str, resource_id: str = ""
) -> str:
    """Id of a thing; its first half is the partition, so that one id is enough to read it."""
    thing = naming.digest([kind.value, namespace, name, naming.fold_id(resource_id)])
    return f"{_partition(cluster_id)}-{thing}"


def record_id(of: str) -> ConnectionId:
    """Id of the row on which an orphan is pruned; not one that a connection has: those hash three parts."""
    return ConnectionId(naming.digest(["orphan", of]))


def sound(text: str) -> bool:
    """Say whether a text is shaped like an orphan's id; table keys refuse some characters."""
    return _ID.fullmatch(text) is not None


class Orphans:
    """The orphans rows."""

    def __init__(self, store: StateStore) -> None:
        self._store = store

    async def put(self, orphan: Orphan) -> Orphan:
        """Record a sighting; returns what is recorded now.

        The first sighting and the prune that was asked for stay, as long as it is the same incarnation.

        Raises:
            StateConflictError: too many others changed the row meanwhile (transient).
        """
        partition, key = _keys(orphan.orphan_id)
        for _ in range(_TRIES):
            row = await self._store.get(TABLE, partition, key)
            known = parse(Orphan, row) if row else None
            seen = orphan
            if known is not None and known.uid == orphan.uid:
                seen = orphan.model_copy(
                    update={
                        "first_seen_at": known.first_seen_at,
                        "prune": orphan.prune or known.prune,
                    },
                )
            values = columns(
                seen, kind=seen.kind.value, namespace=seen.namespace, name=seen.name, rule=seen.rule
            )
            change = (
                Replace(key=key, columns=values, etag=row.etag) if row else Insert(key=key, columns=values)
            )
            try:
                await self._store.transact(TABLE, partition, [change])
            except StateConflictError:
                continue
            return seen
        raise StateConflictError("row of an orphan")

    async def get(self, orphan_id: str) -> Orphan | None:
        """One orphan; ``None`` also for a text that is no orphan's id."""
        if not sound(orphan_id):
            return None
        row = await self._store.get(TABLE, *_keys(orphan_id))
        return parse(Orphan, row) if row else None

    async def list(self, cluster_id: str = "", *, limit: int = LIST_LIMIT) -> Listed[Orphan]:
        """Orphans of a cluster, or of all (also those of no known cluster), at most ``limit``."""
        if cluster_id:
            rows = await self._store.query(TABLE, _partition(cluster_id))
        else:
            rows = await self._store.scan(TABLE, limit=limit)
        return parse_all(Orphan, rows[:limit])

    async def forget(self, orphan_id: str) -> None:
        """Drop the row of a thing that is gone or has an owner by now; absent is fine."""
        partition, key = _keys(orphan_id)
        await self._store.transact(TABLE, partition, [Remove(key=key)])


def _partition(cluster_id: str) -> str:
    return naming.digest([naming.fold_id(cluster_id) if cluster_id else ""])


def _keys(orphan_id: str) -> tuple[str, str]:
    partition, _, _ = orphan_id.partition("-")
    return partition, orphan_id
