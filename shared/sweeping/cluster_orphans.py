"""Secrets, config maps and service accounts that look like a connection's and that nobody on record owns.

They look so by our labels or by Service Connector's names (``sc-<folded name>-secret``, ``sc-account-<client
id>``; azure-cli ``serviceconnector/_utils.py``), which has none for config maps and SecretProviderClasses.
They are reported: whoever made them was never seen alive.
"""

from __future__ import annotations

import dataclasses
import re

from shared import naming
from shared.inventory import Entry
from shared.orphans import Orphan, OrphanKind, orphan_id, record_id
from shared.ports import KubeObject
from shared.steps.base import (
    ANNOTATION_CLIENT_ID,
    ANNOTATION_KEEP,
    LABEL_CONNECTION,
    LABEL_MANAGED_BY,
    LABEL_WORKLOAD,
    account_thing,
)
from shared.sweeping import on_record
from shared.sweeping.cluster_view import ACCOUNT, CONFIG_MAP, PROVIDER_CLASS, SECRET, ClusterView
from shared.sweeping.ledger import Ledger, side_by_side
from shared.sweeping.lookout import Lookout
from shared.sweeping.on_record import OnRecord

PAGE = 200
LABELS_SHOWN = 32
"""Kubernetes does not bound their number, a row its size: 32 of 380 characters fit."""
_SECRET = re.compile(r"sc-([a-z0-9]+)-secret")
_CONFIG_MAP = re.compile(r"sc-([a-z0-9]+)-configmap")
_PROVIDER_CLASS = re.compile(r"sc-([a-z0-9]+)-secretproviderclass")
_ACCOUNT = re.compile(r"sc-account-([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})")
_NAMES = {SECRET: _SECRET, CONFIG_MAP: _CONFIG_MAP, PROVIDER_CLASS: _PROVIDER_CLASS, ACCOUNT: _ACCOUNT}
_OURS_ALONE = frozenset({CONFIG_MAP, PROVIDER_CLASS})
"""Kinds that Service Connector does not make: their names alone say nothing."""
_KINDS = {
    SECRET: OrphanKind.SECRET,
    CONFIG_MAP: OrphanKind.CONFIG_MAP,
    PROVIDER_CLASS: OrphanKind.PROVIDER_CLASS,
    ACCOUNT: OrphanKind.SERVICE_ACCOUNT,
}


@dataclasses.dataclass(slots=True, kw_only=True)
class OnView:
    """What this run has learned of a cluster's connections; mutable, filled while they are looked at."""

    view: ClusterView
    ended: set[str] = dataclasses.field(default_factory=set)
    """Connections that are over: what bears their names is nobody's."""
    accounts: set[tuple[str, str]] = dataclasses.field(default_factory=set)
    """Namespace and name of every service account that a connection on record uses."""
    living: set[tuple[str, str, str]] = dataclasses.field(default_factory=set)
    """Kind, namespace and name of every object that a living linker computes."""

    def __post_init__(self) -> None:
        """Compute what linkers compute, once."""
        for linker in (self.view.linkers or {}).values():
            self.living.add((SECRET, linker.namespace, naming.secret_name(linker.name)))
            if linker.client_id:
                name = naming.service_account_name(linker.client_id)
                self.living.add((ACCOUNT, linker.namespace, name))

    def know(self, record: OnRecord) -> None:
        """Note what is on record of one connection."""
        if not record.present:
            self.ended.add(record.connection.connection_id)
            return
        for plan in record.plans("service_account"):
            self.accounts.add((str(plan.planned.get("namespace")), str(plan.planned.get("name"))))


async def report(lookout: Lookout, ledger: Ledger, found: OnView, *, after: str) -> bool:
    """Report what nobody owns; False if the time was up before the end."""
    view = found.view
    if view.linkers is None:
        return True  # nobody can say then whose an object is
    present = await lookout.inventory.connections(view.cluster_id) - found.ended
    candidates = {
        f"{kind}|{namespace}|{name}": one
        for kind, objects in view.objects.items()
        for (namespace, name), one in objects.items()
        if _suspect(one, found, present)
    }

    known = {orphan.orphan_id for orphan in await lookout.orphans.list(view.cluster_id)}

    async def one(thing: KubeObject) -> None:
        if (thing.namespace, thing.name) in found.accounts or await _used(lookout, view, thing):
            return
        if await _owned(lookout, ledger, view, thing):
            return
        if _orphan_id(view, thing) not in known and not await _still_there(lookout, ledger, view, thing):
            return
        await lookout.orphaned(ledger, _orphan(view, thing, ledger))

    keys = [key for key in sorted(candidates) if key > after]
    for first in range(0, len(keys), PAGE):
        part = keys[first : first + PAGE]
        await side_by_side(one, [candidates[key] for key in part])
        ledger.move("orphans", part[-1])
        if ledger.over() and part[-1] != keys[-1]:
            return False
    looked_at = {_KINDS[kind] for kind in view.objects}
    reported = await lookout.orphans.list(view.cluster_id)
    await lookout.missed(ledger, [orphan for orphan in reported if orphan.kind in looked_at])
    return True


async def _still_there(lookout: Lookout, ledger: Ledger, view: ClusterView, one: KubeObject) -> bool:
    """Look again before something is reported first: its connection may have been deleted since the list."""
    get = lookout.outside.clusters.get(view.cluster_id, one.kind, one.namespace, one.name)
    now = await ledger.kubernetes(get)
    return now is not None and now.uid == one.uid


def _suspect(one: KubeObject, found: OnView, present: set[str]) -> bool:
    """Say whether an object looks like a connection's and is not one of a connection or linker we know of."""
    view = found.view
    labelled = one.labels.get(LABEL_MANAGED_BY) == naming.MANAGED_BY and bool(
        {LABEL_CONNECTION, LABEL_WORKLOAD} & set(one.labels)
    )
    named = _NAMES[one.kind].fullmatch(one.name)
    if not (labelled or (named and one.kind not in _OURS_ALONE)) or ANNOTATION_KEEP in one.annotations:
        return False
    if not view.lists(one.kind, one.namespace) or (one.kind, one.namespace, one.name) in found.living:
        return False
    if one.kind == ACCOUNT or named is None:
        return True
    return naming.connection_id(view.cluster_id, one.namespace, named[1]) not in present


async def _used(lookout: Lookout, view: ClusterView, one: KubeObject) -> bool:
    """Say whether a connection is on record as a user of a service account."""
    named = _ACCOUNT.fullmatch(one.name) if one.kind == ACCOUNT else None
    if named is None:
        return False
    shared = await lookout.users.get(account_thing(view.cluster_id, one.namespace, named[1]))
    own = record_id(_orphan_id(view, one))  # of its own prune, which has removed nothing yet
    return shared is not None and any(user.connection_id != own for user in shared.users)


async def _owned(lookout: Lookout, ledger: Ledger, view: ClusterView, one: KubeObject) -> bool:
    """Say whether settings are a connection's whose entry in the inventory was lost, and mend that."""
    named = None if one.kind == ACCOUNT else _NAMES[one.kind].fullmatch(one.name)
    if named is None:
        return False
    connection_id = naming.connection_id(view.cluster_id, one.namespace, named[1])
    record = await on_record.read(lookout.store, ledger, connection_id)
    if record is None or not record.present:
        return False
    connection, target = record.connection, lookout.catalogue.match(record.connection.spec.target_id)
    relied_on = {
        "linker": connection.linker_id,
        "cluster": "" if connection.linker_id else connection.spec.cluster_id,
        "target": target.existence_id(connection.spec.target_id) if target else "",
        "identity": record.output("managed_identity", "resourceId"),
    }
    for kind, resource_id in relied_on.items():
        if resource_id:
            entry = Entry(
                resource_id=resource_id,
                kind=kind,
                connection_id=connection_id,
                generation=connection.generation,
            )
            await lookout.inventory.note(entry)
    ledger.count("entriesMissing")
    return True


def _orphan_id(view: ClusterView, one: KubeObject) -> str:
    return orphan_id(_KINDS[one.kind], cluster_id=view.cluster_id, namespace=one.namespace, name=one.name)


def _orphan(view: ClusterView, one: KubeObject, ledger: Ledger) -> Orphan:
    """What is reported of it; its nonce is not: whoever knows one could make an object look like ours."""
    kind, client_id = _KINDS[one.kind], one.annotations.get(ANNOTATION_CLIENT_ID, "")
    return Orphan(
        orphan_id=_orphan_id(view, one),
        kind=kind,
        cluster_id=view.cluster_id,
        namespace=one.namespace,
        name=one.name,
        uid=one.uid,
        rule="no-record",
        evidence={
            "labels": dict(sorted(one.labels.items())[:LABELS_SHOWN]),
            "createdAt": one.created_at,
            "clientId": client_id,
            "linkersListed": len(view.linkers or {}),
        },
        first_seen_at=ledger.sweep.started_at,
        last_seen_at=ledger.sweep.started_at,
        sweep=ledger.sweep.sweep_id,
    )
