"""Identities of ours that nobody uses, and credentials that name the issuer of a cluster that is gone.

Reported: rows can be lost, and a sweep that took a lost row for an unused identity would take a living
workload's access away. Only an identity that leads to connections on record, all of which have ended, is
pruned without a person that names it; the prune asks again whether anything that lives uses it.
"""

from __future__ import annotations

from collections.abc import Mapping

from shared import naming
from shared.models import Connection, ConnectionState
from shared.orphans import Orphan, OrphanKind, orphan_id, record_id
from shared.ports import Credential, Identity
from shared.steps.base import TAG_WORKLOAD
from shared.sweeping.azure_lists import AzureLists
from shared.sweeping.ledger import Ledger, side_by_side
from shared.sweeping.lookout import Lookout

PAGE = 100
CONNECTIONS_SHOWN = 100


async def without_users(
    lookout: Lookout, ledger: Ledger, lists: AzureLists, used: set[str], *, after: str
) -> bool:
    """Report identities that bear our tag and have no users row; False if the time was up before the end.

    Args:
        lookout: what slices use.
        ledger: the run.
        lists: the subscription.
        used: folded ids that connections on record use, as far as this run has seen them.
        after: the id behind which to go on.
    """
    if not lists.holds_our_identities:
        return True
    group = naming.fold_id(lookout.identity_resource_group_id)
    ours = {
        key: identity
        for key, identity in (await lists.identities() or {}).items()
        if naming.resource_group_of(key) == group and TAG_WORKLOAD in identity.tags and key not in used
    }

    async def one(key: str) -> None:
        shared = await lookout.users.get(f"identity|{key}")
        own = record_id(_orphan_id(ours[key]))  # of its own prune, which has removed nothing yet
        if shared is None or all(user.connection_id == own for user in shared.users):
            await _report_unused(lookout, ledger, ours[key])

    keys = [key for key in sorted(ours) if key > after]
    for first in range(0, len(keys), PAGE):
        part = keys[first : first + PAGE]
        await side_by_side(one, part)
        ledger.move("identities", part[-1])
        if ledger.over():
            return False
    return True


async def _report_unused(lookout: Lookout, ledger: Ledger, listed: Identity) -> None:
    identity = await ledger.arm(lookout.outside.identities.get(listed.resource_id))
    if identity is None or TAG_WORKLOAD not in identity.tags:
        return  # a list may be older than the last delete
    connections = await _connections_of(lookout, listed.resource_id)
    if any(one.state.live or one.active for one in connections):
        # A connection relies on it: the users row was lost, and losing a row is no reason to lose access.
        ledger.count("usersRowsMissing")
        return
    states = {str(one.connection_id): one.state.value for one in connections[:CONNECTIONS_SHOWN]}
    evidence = {"workload": identity.tags[TAG_WORKLOAD], "connections": states}
    orphan = Orphan(
        orphan_id=_orphan_id(identity),
        kind=OrphanKind.IDENTITY,
        name=_name(identity),
        uid=identity.principal_id,
        resource_id=identity.resource_id,
        rule="no-users",
        evidence=evidence,
        first_seen_at=ledger.sweep.started_at,
        last_seen_at=ledger.sweep.started_at,
        sweep=ledger.sweep.sweep_id,
    )
    await lookout.orphaned(ledger, orphan)
    if connections:
        await lookout.hints.left_behind(ledger, orphan.orphan_id)


async def of_dead_issuers(lookout: Lookout, ledger: Ledger, lists: AzureLists, *, after: str) -> bool:
    """Look through identities that are not ours for dead issuers; False if the time was up.

    Ours were looked at with their connections: their credentials are not listed twice.
    """
    dead = await dead_issuers(lookout)
    identities = await lists.identities() if dead else None
    group = naming.fold_id(lookout.identity_resource_group_id)
    keys = [
        key
        for key, identity in sorted((identities or {}).items())
        if key > after and (naming.resource_group_of(key) != group or TAG_WORKLOAD not in identity.tags)
    ]

    async def one(key: str) -> None:
        await of_identity(lookout, ledger, lists, (identities or {})[key], dead)

    for first in range(0, len(keys), PAGE):
        part = keys[first : first + PAGE]
        await side_by_side(one, part)
        ledger.move("issuers", part[-1])
        if ledger.over():
            return False
    await _missed(lookout, ledger, lists, credentials=bool(identities))
    return True


async def dead_issuers(lookout: Lookout) -> Mapping[str, str]:
    """Issuers with which no cluster signs any more, each with the cluster that did."""
    return {
        issuer: cluster.cluster_id
        for cluster in await lookout.inventory.clusters()
        for issuer in cluster.former_issuers
    }


async def of_identity(
    lookout: Lookout, ledger: Ledger, lists: AzureLists, identity: Identity, dead: Mapping[str, str]
) -> None:
    """Prune credentials of ours that name a dead issuer, report others'."""
    for credential in await lists.credentials(identity.resource_id) or ():
        if credential.issuer in dead and not naming.protected_credential(credential.name):
            await _dead(lookout, ledger, identity, credential, dead)


async def _dead(
    lookout: Lookout,
    ledger: Ledger,
    identity: Identity,
    credential: Credential,
    dead: Mapping[str, str],
) -> None:
    resource_id = f"{identity.resource_id}/federatedIdentityCredentials/{credential.name}"
    cluster_id = dead[credential.issuer]
    ours = [
        one
        for one in await _connections_of(lookout, resource_id)
        if one.state.live and one.state is not ConnectionState.RESTORED
    ]
    for connection in ours:
        if connection.state is not ConnectionState.ORPHANED:
            await lookout.hints.prune(ledger, connection, "cluster", cluster_id)
    if ours:
        return
    orphan = Orphan(
        orphan_id=orphan_id(
            OrphanKind.CREDENTIAL, cluster_id=cluster_id, name=credential.name, resource_id=resource_id
        ),
        kind=OrphanKind.CREDENTIAL,
        cluster_id=cluster_id,
        name=credential.name,
        resource_id=resource_id,
        rule="dead-issuer",
        evidence={"issuer": credential.issuer, "subject": credential.subject},
        first_seen_at=ledger.sweep.started_at,
        last_seen_at=ledger.sweep.started_at,
        sweep=ledger.sweep.sweep_id,
    )
    await lookout.orphaned(ledger, orphan)


async def _connections_of(lookout: Lookout, resource_id: str) -> list[Connection]:
    """Connections on record that rely on a resource, or once did, whatever they are now."""
    found: dict[str, Connection] = {}
    for dependent in await lookout.dependents.of(resource_id):
        stored = await lookout.state.connection(dependent.connection_id)
        if stored is not None:
            found[dependent.connection_id] = stored.value
    return list(found.values())


async def _missed(lookout: Lookout, ledger: Ledger, lists: AzureLists, *, credentials: bool) -> None:
    """Orphans of this subscription that were not seen, of the kinds that could be looked for."""
    kinds = {OrphanKind.CREDENTIAL} if credentials else set()
    if lists.holds_our_identities and await lists.identities() is not None:
        kinds.add(OrphanKind.IDENTITY)
    if kinds:
        known = await lookout.orphans.list()
        mine = [
            one
            for one in known
            if one.kind in kinds and naming.subscription_of(one.resource_id) == lists.subscription_id
        ]
        await lookout.missed(ledger, mine)


def _orphan_id(identity: Identity) -> str:
    return orphan_id(OrphanKind.IDENTITY, name=_name(identity), resource_id=identity.resource_id)


def _name(identity: Identity) -> str:
    return identity.resource_id.rsplit("/", 1)[-1]
