"""Prunes an orphan that a person has named: it is taken on the record as it was reported, and pruned from it.

So uid proof, use check, keep annotation, saving and evidence are those of every prune. Before that it is
looked at: what is not there any more, is another incarnation, has an owner or is protected is refused.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from shared import naming
from shared.errors import PermanentError, RefusedError
from shared.inventory import Entry, Inventory
from shared.models import Cause, Connection, ConnectionState, Intent, Kind, OperationId, Plan, Provenance
from shared.opening import Answer, Asked, Opener
from shared.orphans import Orphan, OrphanKind, Orphans, record_id
from shared.policy import Policy
from shared.ports import Clock
from shared.spec import ConnectionSpec
from shared.state import State
from shared.steps.base import (
    ANNOTATION_KEEP,
    TAG_WORKLOAD,
    account_thing,
    credential_thing,
    identity_thing,
)
from shared.steps.federated_credential import PROTECTED
from shared.steps.objects import PROTECTED_ACCOUNT, account_of
from shared.steps.surroundings import Outside
from shared.users import Users

KINDS: Mapping[OrphanKind, tuple[str, str, str]] = {
    OrphanKind.SECRET: ("settings", "Secret", "secrets"),
    OrphanKind.CONFIG_MAP: ("settings", "ConfigMap", "configmaps"),
    OrphanKind.PROVIDER_CLASS: ("settings", "SecretProviderClass", "secretproviderclasses"),
    OrphanKind.SERVICE_ACCOUNT: ("service_account", "ServiceAccount", "serviceaccounts"),
}
"""Step, Kubernetes kind and plural of cluster objects."""
_SETTINGS = frozenset({OrphanKind.SECRET, OrphanKind.CONFIG_MAP, OrphanKind.PROVIDER_CLASS})


@dataclasses.dataclass(frozen=True, slots=True)
class _Found:
    """An orphan as it is now, in the words of the step that removes it."""

    step: str
    planned: Mapping[str, Any]
    outputs: Mapping[str, Any]
    resource_id: str
    thing: str = ""
    """Name of its users row, if it has one."""
    issuer: str = ""
    """Of a cluster object: the OIDC issuer of the cluster's life that it is in."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class OrphanPruner:
    """Opens prunes of orphans."""

    state: State
    orphans: Orphans
    users: Users
    outside: Outside
    opener: Opener
    clock: Clock
    load_policy: Callable[[], Policy]

    async def prune(self, orphan_id: str, *, key: str, source: str = "request") -> Answer:
        """Open the prune of one orphan.

        Args:
            orphan_id: of a row of ``orphans``.
            key: makes a repeat recognisable.
            source: request if a person named it, else sweep.

        Raises:
            RefusedError: ``not-found``, ``orphan-gone``, ``orphan-changed``, ``orphan-protected``,
                ``orphan-owned``, ``policy-denied`` or ``policy-unreadable``.
        """
        orphan = await self.orphans.get(orphan_id)
        if orphan is None:
            raise RefusedError("not-found", f"there is no orphan {orphan_id[:64]}")
        wish = f"orphan|{orphan_id}|{key}"
        opened = await self.state.operation(naming.operation_id(record_id(orphan_id), wish))
        if opened is not None:
            # Asked again: the thing may be gone by now, by just this prune.
            cause, generation = opened.value.cause, opened.value.generation
        else:
            self._require_unprotected(orphan)
            found = await self._look(orphan)
            await self._require_unowned(orphan, found)
            generation = (await self._record(orphan, found)).generation
            cause = Cause(kind="orphan", resource_id=found.resource_id, source=source)
        answer = await self.opener.open(
            Asked(
                kind=Kind.PRUNE,
                connection_id=record_id(orphan_id),
                key=wish,
                cause=cause,
                generation=generation,
            ),
        )
        await self.orphans.put(orphan.model_copy(update={"prune": OperationId(answer.operation_id)}))
        return answer

    def _require_unprotected(self, orphan: Orphan) -> None:
        if orphan.kind is OrphanKind.SERVICE_ACCOUNT and orphan.name == PROTECTED_ACCOUNT:
            raise RefusedError("orphan-protected", "every namespace needs its account default")
        if orphan.kind is OrphanKind.CREDENTIAL and PROTECTED in orphan.name.lower():
            raise RefusedError("orphan-protected", f"{orphan.name} is AKS's own")
        if not orphan.namespace:
            return
        try:
            policy = self.load_policy()
        except PermanentError as error:
            raise RefusedError(error.code, error.detail, remedy=error.remedy) from error
        if policy.protects(orphan.namespace):
            raise RefusedError("orphan-protected", f"namespace {orphan.namespace} is protected by the policy")
        if orphan.cluster_id and not policy.watches(orphan.cluster_id, orphan.namespace):
            raise RefusedError(
                "policy-denied", f"the policy does not list namespace {orphan.namespace} of its cluster"
            )

    async def _look(self, orphan: Orphan) -> _Found:
        if orphan.kind is OrphanKind.IDENTITY:
            return await self._identity(orphan)
        if orphan.kind is OrphanKind.CREDENTIAL:
            return await self._credential(orphan)
        step, kind, plural = KINDS[orphan.kind]
        try:
            cluster = await self.outside.clusters.describe(orphan.cluster_id)
            there = await self.outside.clusters.get(orphan.cluster_id, kind, orphan.namespace, orphan.name)
        except PermanentError as error:
            if error.code != "cluster-gone":
                raise
            there = None
        if there is None or cluster is None:
            raise _gone(orphan)
        if there.uid != orphan.uid:
            raise _changed(orphan)
        if ANNOTATION_KEEP in there.annotations:
            raise RefusedError("orphan-protected", f"{orphan.name} bears the annotation {ANNOTATION_KEEP}")
        account = orphan.kind is OrphanKind.SERVICE_ACCOUNT
        return _Found(
            step=step,
            planned={
                **({"kind": kind} if orphan.kind in _SETTINGS - {OrphanKind.SECRET} else {}),
                "namespace": orphan.namespace,
                "name": orphan.name,
                "provenance": Provenance.OBSERVED,
            },
            outputs={"uid": orphan.uid},
            resource_id=f"{orphan.cluster_id}/namespaces/{orphan.namespace}/{plural}/{orphan.name}",
            thing=account_thing(orphan.cluster_id, orphan.namespace, account_of(orphan.name))
            if account
            else "",
            issuer=cluster.issuer,
        )

    async def _identity(self, orphan: Orphan) -> _Found:
        identity = await self.outside.identities.get(orphan.resource_id)
        if identity is None:
            raise _gone(orphan)
        workload = identity.tags.get(TAG_WORKLOAD, "")
        if identity.principal_id != orphan.uid or not workload:
            raise _changed(orphan)
        return _Found(
            step="managed_identity",
            planned={
                "resourceId": orphan.resource_id,
                "provenance": Provenance.OBSERVED,
                "workload": workload,
            },
            outputs={"resourceId": orphan.resource_id, "principalId": identity.principal_id},
            resource_id=orphan.resource_id,
            thing=identity_thing(orphan.resource_id),
        )

    async def _credential(self, orphan: Orphan) -> _Found:
        identity_id = orphan.resource_id.rpartition("/federatedIdentityCredentials/")[0]
        there = await self.outside.identities.get_credential(identity_id, orphan.name)
        if there is None:
            raise _gone(orphan)
        if (there.issuer, there.subject) != (orphan.evidence.get("issuer"), orphan.evidence.get("subject")):
            raise _changed(orphan)
        planned = {
            "identityId": identity_id,
            "name": orphan.name,
            "issuer": there.issuer,
            "subject": there.subject,
            "provenance": Provenance.OBSERVED,
        }
        return _Found(
            step="federated_credential",
            planned=planned,
            outputs={"name": orphan.name},
            resource_id=orphan.resource_id,
            thing=credential_thing(identity_id, there.issuer, there.subject),
        )

    async def _require_unowned(self, orphan: Orphan, found: _Found) -> None:
        """Refuse what a connection on record holds: by the name of its settings, or as a user of it."""
        pseudo = record_id(orphan.orphan_id)
        if orphan.kind in _SETTINGS:
            owner = naming.connection_id(orphan.cluster_id, orphan.namespace, _connection_name(orphan))
            stored = await self.state.connection(owner)
            if stored is not None and (stored.value.state.live or stored.value.active):
                raise _owned(orphan, owner)
        shared = await self.users.get(found.thing) if found.thing else None
        for user in shared.users if shared else ():
            if user.connection_id != pseudo:
                raise _owned(orphan, user.connection_id)

    async def _record(self, orphan: Orphan, found: _Found) -> Connection:
        """A row of its own for the orphan, as an observed connection has one, with just that thing."""
        connection_id = record_id(orphan.orphan_id)
        stored = await self.state.connection(connection_id)
        present = stored.value if stored else None
        if present is not None and present.active:
            return present
        alive = present is not None and present.state.live
        spec = ConnectionSpec(
            name=_connection_name(orphan),
            cluster_id=orphan.cluster_id,
            namespace=orphan.namespace,
            workload=orphan.name,
            target_type="unknown",
            target_id=orphan.resource_id or orphan.cluster_id,
        )
        connection = Connection(
            connection_id=connection_id,
            spec=spec,
            body_hash=naming.spec_hash(spec),
            state=ConnectionState.OBSERVED,
            generation=(present.generation + (0 if alive else 1)) if present else 1,
            last_operation=present.last_operation if present else OperationId(""),
            created_at=present.created_at if present and alive else self.clock.now(),
        )
        recorded = {found.step: Plan(planned=found.planned, outputs=found.outputs)}
        if found.issuer:
            # What is put back after the prune belongs into this life of the cluster and no other.
            planned, outputs = {"provenance": Provenance.OBSERVED}, {"issuer": found.issuer}
            recorded["preflight"] = Plan(planned=planned, outputs=outputs)
        await Inventory(self.state.store).note(
            Entry(
                resource_id=found.resource_id,
                kind="orphan",
                connection_id=connection_id,
                generation=connection.generation,
            ),
        )
        intents = [
            Intent(
                connection_id=connection_id,
                step=step,
                generation=connection.generation,
                planned=plan.planned,
                outputs=plan.outputs,
            )
            for step, plan in recorded.items()
        ]
        await self.state.observe(connection, intents, etag=stored.etag if stored else "")
        return connection


def _connection_name(orphan: Orphan) -> str:
    """The name of the connection that such an object would be of."""
    return naming.settings_name_part(orphan.name) if orphan.kind in _SETTINGS else orphan.name


def _gone(orphan: Orphan) -> RefusedError:
    return RefusedError("orphan-gone", f"{orphan.name} is not there any more")


def _changed(orphan: Orphan) -> RefusedError:
    return RefusedError(
        "orphan-changed",
        f"{orphan.name} is not the one that was reported",
        remedy="look at it, and at what the next sweep reports",
    )


def _owned(orphan: Orphan, connection_id: str) -> RefusedError:
    return RefusedError(
        "orphan-owned", f"connection {connection_id} holds {orphan.name}", remedy="delete that connection"
    )
