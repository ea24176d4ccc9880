"""A recovery as rows: which clusters it goes through, and what it found of each connection.

A recovery is a sweep that was asked for by ``recovery`` (or ``recovery-dry-run``), with slices of its own: so
no other sweep runs beside it, and it goes on over crashes and time limits as sweeps do. What it found stands
in the sweep's partition, a row a connection, and goes with the sweep.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Any

from shared import naming
from shared.errors import PermanentError
from shared.inventory import Inventory
from shared.policy import Policy
from shared.ports import Resources, StateStore, Upsert
from shared.rows import columns, parse, parse_all
from shared.spec import Note
from shared.sweeping import scope, shown
from shared.sweeping.sweeps import TABLE, Slice, Sweep

RECOVERY, DRY_RUN = "recovery", "recovery-dry-run"
ASKED = frozenset({RECOVERY, DRY_RUN})
KIND = "recovery"
CLUSTER_TYPE = "Microsoft.ContainerService/managedClusters"
SHOWN = 1000


class Outcome(StrEnum):
    """What became of one connection."""

    RECOVERED = "recovered"
    WOULD_RECOVER = "would-recover"
    ON_RECORD = "on-record"
    NOT_RECOVERED = "not-recovered"


class Found(Note):
    """One connection that a recovery met."""

    connection_id: str
    cluster_id: str
    namespace: str
    object: str
    """Kind and name of what has the settings."""
    name: str = ""
    workload: str = ""
    target_id: str = ""
    identity_id: str = ""
    outcome: Outcome
    reason: str = ""
    """Why it was not recovered."""
    detail: str = ""
    notes: tuple[str, ...] = ()
    """What is missing of one that was recovered."""


class FoundRows:
    """What recoveries found."""

    def __init__(self, store: StateStore) -> None:
        self._store = store

    async def put(self, sweep_id: str, found: Found) -> None:
        """Record what became of a connection; the last word counts."""
        values = columns(found, outcome=found.outcome.value, reason=found.reason)
        change = Upsert(key=_key(found.connection_id, found.namespace, found.object), columns=values)
        await self._store.transact(TABLE, sweep_id, [change])

    async def get(self, sweep_id: str, connection_id: str, namespace: str, thing: str) -> Found | None:
        """What an earlier run of the same recovery said."""
        row = await self._store.get(TABLE, sweep_id, _key(connection_id, namespace, thing))
        return parse(Found, row) if row else None

    async def of(self, sweep_id: str, *, limit: int = SHOWN) -> list[Found]:
        """What one recovery found, in no order; at most ``limit``."""
        rows = await self._store.query(TABLE, sweep_id, key_from="found|", key_to="found}", limit=limit)
        return parse_all(Found, rows)


def _key(connection_id: str, namespace: str, thing: str) -> str:
    """A label may hold any text, and may stand on more than one object."""
    return f"found|{naming.digest([connection_id, namespace, thing])}"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class RecoveryScope:
    """Cuts a recovery into slices, one a cluster."""

    inventory: Inventory
    resources: Resources
    load_policy: Callable[[], Policy]
    subscription_ids: frozenset[str]

    async def cut(self, sweep: Sweep) -> list[Slice]:
        """Clusters that the policy lists: by name, or among those of our subscriptions.

        A subscription whose clusters may not be listed, though the policy lists some by a pattern, has a
        slice of its own, which says that.

        Nothing is on record after a loss, and the policy may name clusters by pattern, so Azure is asked.

        Raises:
            TransientError: Azure cannot be asked now; the sweep is cut by the timer then.
        """
        try:
            policy = self.load_policy()
        except PermanentError:
            # The one slice says so when it runs.
            return [Slice(sweep_id=sweep.sweep_id, slice_id=KIND, kind=KIND)]
        found = {naming.fold_id(one): one for one in scope.clusters(await self.inventory.clusters(), policy)}
        unlisted: list[str] = []
        for subscription_id in sorted(self.subscription_ids):
            try:
                there = await self.resources.list(subscription_id, resource_type=CLUSTER_TYPE)
            except PermanentError:
                # Only what the policy names is looked at there; if it lists more, a slice says so.
                unlisted += [subscription_id] if scope.by_pattern(policy, subscription_id) else []
                continue
            for cluster_id in there:
                found[naming.fold_id(cluster_id)] = cluster_id
        whats = [
            *(f"/subscriptions/{one}" for one in unlisted),
            *(
                cluster_id
                for key, cluster_id in sorted(found.items())
                if naming.subscription_of(key) in self.subscription_ids and scope.listed(policy, cluster_id)
            ),
        ]
        return [
            Slice(
                sweep_id=sweep.sweep_id,
                slice_id=f"{KIND}-{naming.digest([naming.fold_id(what)], 12)}",
                kind=KIND,
                what=what,
            )
            for what in whats
        ]


def answer(sweep: Sweep, slices: list[Slice], found: list[Found], *, base_url: str) -> dict[str, Any]:
    """One recovery as HTTP shows it."""
    whole = shown.sweep(sweep, slices, base_url=base_url)
    return {
        **whole,
        "url": f"{base_url}/recoveries/{sweep.sweep_id}",
        "dryRun": sweep.asked_by == DRY_RUN,
        "connections": [_shown(one) for one in found],
        "truncated": len(found) >= SHOWN,
    }


def _shown(found: Found) -> Mapping[str, Any]:
    return {
        "connectionId": found.connection_id,
        "clusterId": found.cluster_id,
        "namespace": found.namespace,
        "object": found.object,
        "name": found.name or None,
        "workload": found.workload or None,
        "targetId": found.target_id or None,
        "identityId": found.identity_id or None,
        "outcome": found.outcome.value,
        "reason": found.reason or None,
        "detail": found.detail or None,
        "notes": list(found.notes),
    }
