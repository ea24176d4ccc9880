"""One subscription's slice: targets, identities, credentials and role assignments of connections, by lists.

One list of each type of target, of identities and of role assignments, one list of credentials per identity,
and one read per connection. Nothing is removed here.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from shared import naming
from shared.drift import Drifted
from shared.errors import RefusedError
from shared.inventory import Entry, subscription_scope
from shared.models import ConnectionState
from shared.records import Dependent
from shared.sweeping import identity_orphans, on_record
from shared.sweeping.azure_lists import AzureLists
from shared.sweeping.ledger import Ledger
from shared.sweeping.lookout import Lookout
from shared.sweeping.on_record import OnRecord
from shared.sweeping.pages import each_connection

PART = "subscription"
STAGES = ("connections", "identities", "issuers")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class SubscriptionSlice:
    """Looks at one subscription."""

    lookout: Lookout

    async def work(self, ledger: Ledger) -> bool:
        """Look at as much as time allows; False if there is more to do.

        Raises:
            TransientError: go on from the ledger's cursor later.
        """
        lookout = self.lookout
        lists = AzureLists(
            outside=lookout.outside,
            ledger=ledger,
            subscription_id=ledger.what,
            identity_resource_group_id=lookout.identity_resource_group_id,
        )
        ledger.count_once("subscriptions")
        used: set[str] = set()
        dead = await identity_orphans.dead_issuers(lookout)
        stages, after = ledger.stage(STAGES)
        for stage in stages:
            ledger.move(stage, after)
            if stage == "connections":
                done = await self._connections(ledger, lists, used, dead, after=after)
            elif stage == "identities":
                done = await identity_orphans.without_users(lookout, ledger, lists, used, after=after)
            else:
                done = await identity_orphans.of_dead_issuers(lookout, ledger, lists, after=after)
            if not done:
                return False
            after = ""
        return True

    async def _connections(
        self, ledger: Ledger, lists: AzureLists, used: set[str], dead: Mapping[str, str], *, after: str
    ) -> bool:
        async def one(entries: Sequence[Entry]) -> None:
            record = await on_record.read(self.lookout.store, ledger, entries[0].connection_id)
            if record is None:
                return
            await self._tidy(ledger, record, entries, lists)
            if record.present:
                new = {_identity_of(plan.planned) for plan in record.plans("managed_identity")} - used
                used.update(new)
                await self._connection(ledger, record, lists)
                identities = (await lists.identities() or {}) if dead and new else {}
                for identity_id in sorted(new & identities.keys()):
                    identity = identities[identity_id]
                    await identity_orphans.of_identity(self.lookout, ledger, lists, identity, dead)

        scope = subscription_scope(ledger.what)
        return await each_connection(self.lookout.inventory, ledger, scope, one, after=after)

    async def _tidy(
        self, ledger: Ledger, record: OnRecord, entries: Sequence[Entry], lists: AzureLists
    ) -> None:
        """Drop the dependents of lives that are over, unless the identity of one is still there."""
        connection = record.connection
        for entry in entries:
            over = entry.generation < connection.generation
            if entry.generation > connection.generation or (not over and record.present):
                continue  # of a life that is over neither; that of the next one precedes its row
            if not over and entry.kind == "identity":
                identities = await lists.identities()
                if identities is None or naming.fold_id(entry.resource_id) in identities:
                    continue  # the trail to whoever should have removed it
            rows = await self.lookout.dependents.remove(Dependent.model_validate(entry.model_dump()))
            await self.lookout.inventory.forget(entry)
            ledger.count("rowsRemoved", rows + 1)

    async def _connection(self, ledger: Ledger, record: OnRecord, lists: AzureLists) -> None:
        connection = record.connection
        if connection.state is ConnectionState.RESTORED or not (connection.state.live and record.holds):
            return
        if connection.left_by:
            return  # it relies on its linker alone, and that is in a cluster
        gone_id = await self._gone_target(record, lists)
        if connection.linker_id:
            # It goes with its linker alone: until then its losses are told and nothing is taken away.
            lost = [Drifted(kind="target-missing", thing=connection.spec.target_id)] if gone_id else []
            identity_id = await self._linkers_identity_gone(record, lists)
            lost += [Drifted(kind="identity-missing", thing=identity_id)] if identity_id else []
            await self.lookout.drifted(ledger, record, PART, lost)
            return
        if gone_id:
            await self.lookout.hints.prune(ledger, connection, "target", gone_id)
            return
        cause = await self._identity_lost(record, lists)
        if cause is not None:
            await self.lookout.hints.prune(ledger, connection, *cause)
            return
        await self.lookout.drifted(ledger, record, PART, await self._roles_drifted(record, lists))

    async def _gone_target(self, record: OnRecord, lists: AzureLists) -> str:
        """Id of a connection's target, or of the part that it names, if it is gone; else empty."""
        spec = record.connection.spec
        try:
            row = self.lookout.catalogue.find(spec.target_type)
            target_id, part_id = row.existence_id(spec.target_id), row.part_id(spec.target_id)
        except RefusedError:
            return ""
        if naming.subscription_of(target_id) != lists.subscription_id:
            return ""
        top = [one for one in naming.ancestors(target_id) if "/providers/" in one][-1]
        listed = await lists.targets(naming.type_of(top))
        if listed is None:
            return ""
        if naming.fold_id(top) not in listed:
            return target_id
        for below in (target_id, part_id):
            unlisted = below and naming.fold_id(below) != naming.fold_id(top)
            if unlisted and await lists.there(below, api_version=row.api_version) is False:
                return below
        return ""

    async def _identity_lost(self, record: OnRecord, lists: AzureLists) -> tuple[str, str] | None:
        """Cause and id, if the identity or its credential is not the one on record."""
        identity_id = record.output("managed_identity", "resourceId")
        if not identity_id or naming.subscription_of(identity_id) != lists.subscription_id:
            return None
        identities = await lists.identities()
        if identities is None or not await lists.complete(identity_id):
            return None
        there = identities.get(naming.fold_id(identity_id))
        if there is None or there.client_id.lower() != record.output("managed_identity", "clientId").lower():
            return "identity", identity_id
        name = record.output("federated_credential", "name")
        if not name or record.connection.state is ConnectionState.ORPHANED:
            return None
        credentials = await lists.credentials(identity_id)
        planned = record.planned("federated_credential")
        wanted = (planned.get("issuer"), planned.get("subject"))
        if credentials is None or any((one.issuer, one.subject) == wanted for one in credentials):
            return None
        return "credential", f"{identity_id}/federatedIdentityCredentials/{name}"

    async def _linkers_identity_gone(self, record: OnRecord, lists: AzureLists) -> str:
        """Id of the identity of a connection of Service Connector, if the list lacks it; else empty."""
        identity_id = record.output("preflight", "identityId")
        if not identity_id or naming.subscription_of(identity_id) != lists.subscription_id:
            return ""
        identities = await lists.identities()
        complete = identities is not None and await lists.complete(identity_id)
        return identity_id if complete and naming.fold_id(identity_id) not in (identities or {}) else ""

    async def _roles_drifted(self, record: OnRecord, lists: AzureLists) -> list[Drifted]:
        """Role assignments that are gone, and those of an earlier identity that are not."""
        if not record.settled:
            return []
        plans = record.plans("role_assignments")
        found = []
        for item in plans[0].outputs.get("assignments", ()) if plans else ():
            where = (naming.fold_id(str(item["scope"])), str(item["name"]).lower())
            if naming.subscription_of(where[0]) != lists.subscription_id:
                continue
            roles = await lists.granted(item)
            if roles is not None and where not in roles:
                shown = f"{item['role']} on {item['scope']}"
                found.append(Drifted(kind="role-missing", thing=shown, mark=where[1]))
        principals = await lists.principals() if len(plans) > 1 else None
        for plan in plans[1:]:
            for item in plan.planned.get("assignments", ()):
                where = (naming.fold_id(str(item["scope"])), str(item["name"]).lower())
                principal = str(item["principalId"]).lower()
                if principals is None or principal in principals:
                    continue
                if where in (await lists.granted(item) or {}):
                    shown = f"{item['role']} on {item['scope']}"
                    found.append(Drifted(kind="role-stale", thing=shown, detail=f"principal {principal}"))
        return found


def _identity_of(planned: Mapping[str, Any]) -> str:
    return naming.fold_id(str(planned.get("resourceId", "")))
