"""One cluster's slice: its linkers, its connections, and what in it nobody owns.

One describe, one list each of linkers, namespaces, secrets, config maps and service accounts (per watched
namespace where the policy names them), and one read per connection. Nothing is removed here.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator, Sequence

from shared import naming, setting_values
from shared.drift import Drifted
from shared.errors import PermanentError, RefusedError, TransientError
from shared.inventory import Entry
from shared.models import Connection, ConnectionState
from shared.policy import Policy
from shared.ports import Linker, Row
from shared.rows import key_hash, parse
from shared.sweeping import cluster_findings, cluster_orphans, on_record, scope
from shared.sweeping.cluster_view import ACCOUNT, UNREACHABLE, ClusterView, look
from shared.sweeping.ledger import Ledger
from shared.sweeping.lookout import Lookout
from shared.sweeping.on_record import OnRecord
from shared.sweeping.pages import each_connection
from shared.throttling import THROTTLED

PART = "cluster"
STAGES = ("linkers", "connections", "orphans")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ClusterSlice:
    """Looks at one cluster."""

    lookout: Lookout

    async def work(self, ledger: Ledger) -> bool:
        """Look at as much as time allows; False if there is more to do.

        Raises:
            TransientError: go on from the ledger's cursor later.
            PermanentError: this cluster cannot be looked at.
        """
        lookout, cluster_id = self.lookout, ledger.what
        policy = lookout.load_policy()
        if not scope.listed(policy, cluster_id):
            ledger.note("not-in-policy")
            return True
        cluster = await ledger.arm(lookout.outside.clusters.describe(cluster_id))
        ledger.count_once("clusters")
        if cluster is None or cluster.issuer:
            # One that is there and names no issuer says nothing of the one that it had.
            await lookout.inventory.saw_issuer(cluster_id, cluster.issuer if cluster else "")
        if cluster is None:
            return await self._gone(ledger, cluster_id)
        view = await look(lookout.outside, ledger, cluster, policy)
        found = cluster_orphans.OnView(view=view)
        stages, after = ledger.stage(STAGES)
        for stage in stages:
            ledger.move(stage, after)
            done = await self._stage(ledger, stage, found, after)
            if not done:
                return False
            after = ""
        return True

    async def _stage(self, ledger: Ledger, stage: str, found: cluster_orphans.OnView, after: str) -> bool:
        if stage == "linkers":
            return await self._linkers(ledger, found.view, after)
        if stage == "orphans":
            return await cluster_orphans.report(self.lookout, ledger, found, after=after)

        async def one(entries: Sequence[Entry]) -> None:
            await self._connection(ledger, found, entries)

        cluster_id = found.view.cluster_id
        return await each_connection(self.lookout.inventory, ledger, cluster_id, one, after=after)

    async def _gone(self, ledger: Ledger, cluster_id: str) -> bool:
        """Azure does not know the cluster: everything on it has lost it."""
        ledger.note("cluster-gone")

        async def one(entries: Sequence[Entry]) -> None:
            record = await on_record.read(self.lookout.store, ledger, entries[0].connection_id)
            if record is None or not (record.connection.state.live and record.holds):
                return
            ledger.count("connections")
            if record.connection.state not in cluster_findings.SETTLED_WITHOUT_CLUSTER:
                await self.lookout.hints.prune(ledger, record.connection, "cluster", cluster_id)

        stage, _, after = ledger.cursor.partition(":")
        after = after if stage == "connections" else ""
        ledger.move("connections", after)
        return await each_connection(self.lookout.inventory, ledger, cluster_id, one, after=after)

    async def _linkers(self, ledger: Ledger, view: ClusterView, after: str) -> bool:
        """Record living linkers that are new or have changed, so that the inventory knows their objects."""
        if view.linkers is None or UNREACHABLE in ledger.details or not view.cluster.entra:
            return True
        rows = await self.lookout.store.query("linkers", key_hash(naming.fold_id(view.cluster_id)))
        present = await self.lookout.inventory.connections(view.cluster_id)
        known = {
            naming.fold_id(one.linker_id): one for one in _readable(rows) if one.connection_id in present
        }
        for key, linker in sorted(view.linkers.items()):
            if key <= after or not _changed(known.get(key), linker, view.policy, view.cluster_id):
                continue
            await self._observe(ledger, view, linker)
            ledger.move("linkers", key)
            if ledger.over():
                return False
        return True

    async def _observe(self, ledger: Ledger, view: ClusterView, linker: Linker) -> None:
        view.observed.add(naming.fold_id(linker.resource_id))
        ledger.calls["arm"] += 1
        ledger.calls["kubernetes"] += 1 + bool(linker.client_id)
        try:
            outcome = await self.lookout.observer.observe(linker.resource_id, tries=0)
        except PermanentError as error:
            ledger.note(error.code)
        except TransientError as error:
            if error.code == THROTTLED:
                raise
            # The next sweep finds it still new.
            ledger.note(error.code)
        else:
            ledger.count(f"linkers.{outcome.removeprefix('observe:')}")

    async def _connection(
        self, ledger: Ledger, found: cluster_orphans.OnView, entries: Sequence[Entry]
    ) -> None:
        lookout, view = self.lookout, found.view
        record = await on_record.read(lookout.store, ledger, entries[0].connection_id)
        if record is None:
            return
        found.know(record)
        ended = not record.present or record.connection.state is ConnectionState.RESTORED
        if ended and not record.connection.left_by:
            linker = _living(record, view)
            if linker is not None:
                # Made again under the same id, and no event has told of it.
                await self._observe(ledger, view, linker)
        if not record.present:
            return
        ledger.count("connections")
        lost = cluster_findings.lost(record, view)
        if lost is not None:
            await lookout.hints.prune(ledger, record.connection, *lost)
            return
        if record.connection.left_by:
            return  # the linker's own row has what is to be seen in the cluster
        if record.connection.linker_id:
            await self._observe_again(ledger, record, view)
        drifted = cluster_findings.drifted(record, view, tenant_id=lookout.tenant_id)
        values, checked = await self._values(ledger, record, view)
        await lookout.drifted(ledger, record, PART, [*drifted, *values], checked)

    async def _observe_again(self, ledger: Ledger, record: OnRecord, view: ClusterView) -> None:
        """Service Connector may make an object anew: as long as its linker lives, the new one is the one."""
        linker = _living(record, view)
        if linker is None:
            return
        account = (linker.namespace, naming.service_account_name(linker.client_id))
        recorded = {thing for _, thing in cluster_findings.recorded(record, "service_account")}
        if linker.client_id and account not in recorded and account in view.objects.get(ACCOUNT, {}):
            await self._observe(ledger, view, linker)  # it has another identity now
            return
        unknown = record.output("preflight", "identityClientId") != linker.client_id
        asked = naming.fold_id(linker.resource_id) in view.observed or UNREACHABLE in ledger.details
        if linker.client_id and unknown and not asked:
            await self._observe(ledger, view, linker)  # its identity was on no list yet
            return
        for step, kind in cluster_findings.STEPS.items():
            for plan, thing in cluster_findings.recorded(record, step):
                there = view.objects.get(kind, {}).get(thing)
                if there is not None and there.uid != plan.outputs["uid"]:
                    await self._observe(ledger, view, linker)
                    return

    async def _values(
        self, ledger: Ledger, record: OnRecord, view: ClusterView
    ) -> tuple[list[Drifted], dict[str, str]]:
        """Compare the settings' values, if anybody wrote it since they were written or compared last.

        They are compared as well if the identity is another one by now: of a repair that failed in between.
        """
        known = record.drift.get(PART)
        checked = dict(known.checked) if known else {}
        there = cluster_findings.seen(record, view, "settings")
        if there is None or record.connection.linker_id or not record.settled:
            return [], checked
        version = f"{there.uid} {there.resource_version}"
        client_id = record.output("managed_identity", "clientId")
        written_for = record.output("settings", "clientId") or client_id
        as_written = version == record.output("settings", "version") and written_for == client_id
        if as_written or checked.get("settings") == f"{version} {client_id}".rstrip():
            return [], checked
        wanted = _wanted(self.lookout, record)
        get = self.lookout.outside.clusters.get(
            view.cluster_id, there.kind, there.namespace, there.name, values=True
        )
        now = await ledger.kubernetes(get)
        if wanted is None or now is None or now.uid != there.uid:
            return [], checked
        wrong = sorted(key for key, value in wanted.items() if now.data.get(key) != value)
        if not wrong:
            return [], {"settings": f"{now.uid} {now.resource_version} {client_id}".rstrip()}
        shown = f"{there.kind} {there.namespace}/{there.name}"
        mark = f"{now.uid} {now.resource_version} {client_id}".rstrip()
        return [Drifted(kind="values-edited", thing=shown, detail=", ".join(wrong), mark=mark)], {}


def _living(record: OnRecord, view: ClusterView) -> Linker | None:
    """The living linker of a connection of Service Connector, if namespaces of such may be looked at."""
    if not record.connection.linker_id:
        return None
    linker = (view.linkers or {}).get(naming.fold_id(record.connection.linker_id))
    watched = linker is not None and view.policy.watches(view.cluster_id, linker.namespace)
    return linker if watched else None


def _readable(rows: Sequence[Row]) -> Iterator[Connection]:
    """What is on the inventory; a row that another version wrote is as good as none."""
    for row in rows:
        with contextlib.suppress(ValueError):
            yield parse(Connection, row)


def _wanted(lookout: Lookout, record: OnRecord) -> dict[str, str] | None:
    """What the settings should be, a key of the target left out; ``None`` if that is not on record."""
    spec, intent = record.connection.spec, record.intents.get("preflight")
    facts = intent.outputs.get("facts") if intent else None
    if not facts:
        return None
    known = {str(name): str(value) for name, value in facts.items()}
    if spec.by_identity:
        known["clientId"] = record.output("managed_identity", "clientId")
    try:
        return setting_values.known(lookout.catalogue.find(spec.target_type), spec, known)
    except RefusedError:
        return None


def _changed(known: Connection | None, linker: Linker, policy: Policy, cluster_id: str) -> bool:
    """Say whether a linker that may be looked at is not in the inventory as it is now."""
    if not policy.watches(cluster_id, linker.namespace):
        return False
    if known is None:
        return True
    spec = known.spec
    was = (spec.name, spec.namespace, naming.fold_id(spec.target_id), spec.client_type)
    now = (linker.name, linker.namespace, naming.fold_id(linker.target_id), linker.client_type or "none")
    return was != now
