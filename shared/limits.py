"""What keeps us within bounds: throttles, caps, canaries, leases; rows of table ``subscriptions``."""

from __future__ import annotations

from datetime import datetime, timedelta

from shared import naming
from shared.errors import StateConflictError
from shared.ports import Insert, Remove, Replace, StateStore, Upsert
from shared.rows import columns, key_hash, parse
from shared.spec import Model

TABLE = "subscriptions"
_TRIES = 8


class Throttle(Model):
    """No writes to a subscription before an instant."""

    not_before: datetime


class Cap(Model):
    """Operations that removed something from one cluster within one hour."""

    operations: tuple[str, ...]


class Canary(Model):
    """A resource that answered 200."""

    resource_id: str
    api_version: str


class Lease(Model):
    """An exclusive right to write one thing for a while."""

    holder: str
    seconds: float


class Limits:
    """Throttles, caps, canaries and leases."""

    def __init__(self, store: StateStore) -> None:
        self._store = store

    async def throttle(self, subscription_id: str, *, not_before: datetime) -> None:
        """Ask everybody to leave a subscription alone until then; the later of two wins."""
        known = await self.throttled_until(subscription_id)
        if known is None or known < not_before:
            values = columns(Throttle(not_before=not_before), until=not_before.isoformat())
            await self._store.transact(TABLE, "throttle", [Upsert(key=subscription_id, columns=values)])

    async def throttled_until(self, subscription_id: str) -> datetime | None:
        """The instant before which a subscription is to be left alone, past or future."""
        row = await self._store.get(TABLE, "throttle", subscription_id)
        return parse(Throttle, row).not_before if row else None

    async def throttled_seconds(self) -> float:
        """Seconds until the last subscription may be asked again, 0 if all may."""
        rows = await self._store.query(TABLE, "throttle")
        left = [(parse(Throttle, row).not_before - row.read_at).total_seconds() for row in rows]
        return max([0.0, *left])

    async def take_cap(self, cluster_id: str, operation_id: str, *, limit: int, now: datetime) -> bool:
        """Take one of the removals that a cluster may see in this hour; an operation takes one at most.

        Raises:
            StateConflictError: too many others counted meanwhile (transient).
        """
        partition, key = f"cap|{key_hash(naming.fold_id(cluster_id))}", f"{now:%Y-%m-%dT%H}"
        for _ in range(_TRIES):
            row = await self._store.get(TABLE, partition, key)
            taken = parse(Cap, row).operations if row else ()
            if operation_id in taken:
                return True
            if len(taken) >= limit:
                return False
            values = columns(Cap(operations=(*taken, operation_id)), count=len(taken) + 1)
            change = (
                Replace(key=key, columns=values, etag=row.etag) if row else Insert(key=key, columns=values)
            )
            try:
                await self._store.transact(TABLE, partition, [change])
            except StateConflictError:
                continue
            return True
        raise StateConflictError("cap of the cluster")

    async def remember_canary(self, resource_id: str, *, api_version: str) -> None:
        """Record that a resource answered 200, as a witness for later."""
        canary = Canary(resource_id=naming.fold_id(resource_id), api_version=api_version)
        partition = _canary_partition(resource_id)
        change = Upsert(key=key_hash(canary.resource_id), columns=columns(canary, id=canary.resource_id))
        await self._store.transact(TABLE, partition, [change])

    async def canaries(self, resource_id: str, *, limit: int) -> list[Canary]:
        """Witnesses of the same subscription and type as a resource, the newest first, without itself."""
        rows = await self._store.query(TABLE, _canary_partition(resource_id))
        newest = sorted(rows, key=lambda row: row.written_at, reverse=True)
        found = [parse(Canary, row) for row in newest]
        return [one for one in found if one.resource_id != naming.fold_id(resource_id)][:limit]

    async def forget_canary(self, canary: Canary) -> None:
        """Drop a witness that did not answer."""
        partition, key = _canary_partition(canary.resource_id), key_hash(canary.resource_id)
        await self._store.transact(TABLE, partition, [Remove(key=key)])

    async def acquire(self, name: str, *, holder: str, seconds: float) -> bool:
        """Take a lease, or keep one that this holder has; an expired one is free (by the service's time)."""
        row = await self._store.get(TABLE, f"lease|{key_hash(name)}", "lease")
        values = columns(Lease(holder=holder, seconds=seconds), holder=holder)
        if row is None:
            change: Insert | Replace = Insert(key="lease", columns=values)
        else:
            lease = parse(Lease, row)
            age_seconds = (row.read_at - row.written_at).total_seconds()
            if lease.holder != holder and age_seconds < lease.seconds:
                return False
            change = Replace(key="lease", columns=values, etag=row.etag)
        try:
            await self._store.transact(TABLE, f"lease|{key_hash(name)}", [change])
        except StateConflictError:
            return False
        return True

    async def release(self, name: str, *, holder: str) -> None:
        """Give a lease back; one that is held by another by now stays."""
        row = await self._store.get(TABLE, f"lease|{key_hash(name)}", "lease")
        if row is None or parse(Lease, row).holder != holder:
            return
        try:
            await self._store.transact(TABLE, f"lease|{key_hash(name)}", [Remove(key="lease", etag=row.etag)])
        except StateConflictError:
            return


def hour_end(now: datetime) -> datetime:
    """The instant at which the cap of the present hour ends."""
    return now.replace(minute=0, second=0, microsecond=0) + timedelta(hours=1)


def _canary_partition(resource_id: str) -> str:
    kind = naming.type_of(resource_id)
    return f"canary|{naming.subscription_of(resource_id)}|{key_hash(kind)}"
