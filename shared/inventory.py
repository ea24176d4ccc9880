"""Which clusters are watched, and which connections hang on each cluster and subscription.

What a sweep goes through. ``dependents`` leads from a resource to its connections; this is the other way: all
that a cluster or a subscription holds up, in the order of the connections, so that a sweep reads a page at a
time and each connection once. Written whenever a connection comes to rely on something; table ``linkers``.
"""

from __future__ import annotations

from shared import naming
from shared.errors import StateConflictError
from shared.models import ConnectionId
from shared.ports import Change, Insert, Remove, Replace, StateStore, Upsert
from shared.rows import columns, key_hash, parse
from shared.spec import Model

TABLE = "linkers"
CLUSTERS = "clusters"
ISSUERS_KEPT = 10
ORPHANS_SCOPE = "orphans"
"""Scope of the records on which orphans are pruned: no sweep looks at them, only its housekeeping."""
_PRESENT, _ENDED = "a|", "z|"
_BEHIND = "~"
"""Sorts behind every character that a key of ours has."""
_OF_CLUSTER = frozenset({"cluster", "linker", "client"})
_CLUSTER_TYPE = "microsoft.containerservice/managedclusters"
_TRIES = 8


class WatchedCluster(Model):
    """A cluster that connections rely on, or did."""

    cluster_id: str
    issuer: str = ""
    """OIDC issuer when a sweep last saw the cluster; empty before that."""
    former_issuers: tuple[str, ...] = ()
    """Issuers of earlier clusters under this id, and of one that is gone: no cluster signs with them."""


class Entry(Model):
    """One connection's life that relies on one resource, found from the cluster or subscription."""

    resource_id: str
    kind: str
    connection_id: ConnectionId
    generation: int

    @property
    def scope(self) -> str:
        """The cluster of a cluster, linker or client, one for all orphans, else the subscription; folded."""
        if self.kind == "orphan":
            return ORPHANS_SCOPE
        if self.kind in _OF_CLUSTER:
            found = [
                one for one in naming.ancestors(self.resource_id) if naming.type_of(one) == _CLUSTER_TYPE
            ]
            return found[0] if found else ""
        return subscription_scope(naming.subscription_of(self.resource_id))

    @property
    def key(self) -> str:
        """Sorts by connection, so that what belongs to one stands together."""
        return f"{self.connection_id}|{self.generation:06d}|{key_hash(naming.fold_id(self.resource_id))}"


class Inventory:
    """Clusters, and connections by cluster and subscription."""

    def __init__(self, store: StateStore) -> None:
        self._store = store

    async def note(self, entry: Entry) -> None:
        """Record what a connection relies on; twice is fine."""
        if not entry.scope:
            return
        if entry.kind in _OF_CLUSTER:
            await self._know(entry)
        values = columns(entry, kind=entry.kind, connection=entry.connection_id)
        change = Upsert(key=f"{_PRESENT}{entry.key}", columns=values)
        await self._store.transact(TABLE, _partition(entry.scope), [change])

    async def clusters(self) -> list[WatchedCluster]:
        """Every cluster that any connection ever relied on, in no order."""
        return [parse(WatchedCluster, row) for row in await self._store.query(TABLE, CLUSTERS)]

    async def saw_issuer(self, cluster_id: str, issuer: str) -> None:
        """Record which issuer a cluster has now, empty if it is gone; the one before is a dead one then.

        Raises:
            StateConflictError: too many others changed the row meanwhile (transient).
        """
        key = key_hash(naming.fold_id(cluster_id))
        for _ in range(_TRIES):
            row = await self._store.get(TABLE, CLUSTERS, key)
            if row is None:
                return
            known = parse(WatchedCluster, row)
            if known.issuer == issuer:
                return
            dead = tuple(one for one in (*known.former_issuers, known.issuer) if one not in {"", issuer})
            seen = known.model_copy(
                update={"issuer": issuer, "former_issuers": tuple(dict.fromkeys(dead))[-ISSUERS_KEPT:]}
            )
            change = Replace(key=key, columns=_cluster_columns(seen), etag=row.etag)
            try:
                await self._store.transact(TABLE, CLUSTERS, [change])
            except StateConflictError:
                continue
            return
        raise StateConflictError("row of a watched cluster")

    async def page(
        self, scope: str, *, after: str = "", limit: int, ended: bool = False
    ) -> list[tuple[str, Entry]]:
        """Entries of a scope with their keys, in order, behind a key.

        Args:
            scope: as ``Entry.scope`` says.
            after: the last key of the page before.
            limit: at most so many.
            ended: those of connections that have ended instead of the present ones.
        """
        prefix = _ENDED if ended else _PRESENT
        rows = await self._store.query(
            TABLE,
            _partition(scope),
            key_from=f"{prefix}{after}{_BEHIND if after else ''}",
            key_to=f"{prefix}{_BEHIND}",
            limit=limit,
        )
        return [(row.key.removeprefix(prefix), parse(Entry, row)) for row in rows]

    async def connections(self, scope: str) -> set[str]:
        """Ids of the present connections of a scope, without reading one of them."""
        rows = await self._store.query(
            TABLE, _partition(scope), key_from=_PRESENT, key_to=f"{_PRESENT}{_BEHIND}"
        )
        return {row.key.removeprefix(_PRESENT).partition("|")[0] for row in rows}

    async def retire(self, entry: Entry) -> None:
        """Keep an entry of a connection that has ended aside: only its history is of interest."""
        values = columns(entry, kind=entry.kind, connection=entry.connection_id)
        changes: list[Change] = [
            Remove(key=f"{_PRESENT}{entry.key}"),
            Upsert(key=f"{_ENDED}{entry.key}", columns=values),
        ]
        await self._store.transact(TABLE, _partition(entry.scope), changes)

    async def forget(self, entry: Entry, *, ended: bool = False) -> None:
        """Drop an entry, one that was put aside if ``ended``; absent is fine."""
        change = Remove(key=f"{_ENDED if ended else _PRESENT}{entry.key}")
        await self._store.transact(TABLE, _partition(entry.scope), [change])

    async def _know(self, entry: Entry) -> None:
        """Add a cluster to the list, unless it is there with what was seen of it."""
        key = key_hash(entry.scope)
        if await self._store.get(TABLE, CLUSTERS, key) is not None:
            return
        change = Insert(key=key, columns=_cluster_columns(WatchedCluster(cluster_id=_written(entry))))
        try:
            await self._store.transact(TABLE, CLUSTERS, [change])
        except StateConflictError:
            return


def subscription_scope(subscription_id: str) -> str:
    """The scope of a subscription."""
    return f"/subscriptions/{subscription_id.lower()}" if subscription_id else ""


def _written(entry: Entry) -> str:
    """The cluster's id in the casing in which the entry has it."""
    return "/" + "/".join(entry.resource_id.strip("/").split("/")[: entry.scope.count("/")])


def _partition(scope: str) -> str:
    return f"of|{key_hash(naming.fold_id(scope))}"


def _cluster_columns(cluster: WatchedCluster) -> dict[str, str | int | bool]:
    return dict(columns(cluster, cluster=cluster.cluster_id, issuer=cluster.issuer))
