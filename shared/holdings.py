"""What a live connection of Service Connector holds in Azure and its cluster: read, and nothing else.

Only connections whose authentication is a user-assigned identity are read as a whole. The settings of all
others are credentials: of those the metadata of the cluster objects is read, and no value.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from shared import naming
from shared.errors import RefusedError
from shared.models import Connection, Intent, Plan, Provenance
from shared.ports import (
    Clusters,
    Credential,
    Identities,
    Identity,
    KubeObject,
    Linker,
    ManagedCluster,
    RoleAssignment,
    Roles,
)

IDENTITY_AUTH = "userassignedidentity"
_NOT_THE_THING = frozenset({"provenance", "nonce", "request"})
PROTECTED_CREDENTIAL = "aks-identity-binding"
"""AKS's own credentials (identity bindings) are nobody's to take over."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Holdings:
    """One linker with all that hangs on it."""

    linker: Linker
    cluster: ManagedCluster
    secret: KubeObject
    """Without its values."""
    keys: tuple[str, ...] = ()
    """Names of the settings, if they are no credential."""
    account: KubeObject | None = None
    identity: Identity | None = None
    credential: Credential | None = None
    assignments: tuple[RoleAssignment, ...] = ()

    def plans(self) -> dict[str, Plan]:
        """What an adopted connection records, by the step that looks after it."""
        found = {"settings": _object_plan(self.secret, {"keys": list(self.keys)})}
        if self.identity is None or self.account is None:
            return found
        identity = self.identity
        provenance = Provenance.ADOPTED
        ids = {"clientId": identity.client_id, "principalId": identity.principal_id}
        found["managed_identity"] = Plan(
            planned={"resourceId": identity.resource_id, "provenance": provenance},
            outputs={"resourceId": identity.resource_id, **ids},
        )
        found["service_account"] = _object_plan(self.account, {"clientId": identity.client_id})
        if self.credential is not None:
            found["federated_credential"] = Plan(
                planned={
                    "identityId": identity.resource_id,
                    "name": self.credential.name,
                    "issuer": self.credential.issuer,
                    "subject": self.credential.subject,
                    "provenance": provenance,
                },
                outputs={"name": self.credential.name, "provenance": provenance},
            )
        if self.assignments:
            items = [_assignment_item(one) for one in self.assignments]
            found["role_assignments"] = Plan(
                planned={"assignments": items, "provenance": provenance},
                outputs={"assignments": [{**item, "provenance": provenance} for item in items]},
            )
        return found


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class HoldingsReader:
    """Reads holdings."""

    clusters: Clusters
    identities: Identities
    roles: Roles
    subscription_ids: frozenset[str]

    async def read(self, cluster_id: str, linker: Linker) -> Holdings:
        """Everything that a linker holds now.

        Raises:
            RefusedError: cluster-not-found, linker-incomplete or identity-not-found.
        """
        cluster = await self.clusters.describe(cluster_id)
        if cluster is None:
            raise RefusedError("cluster-not-found", cluster_id, field="linkerId")
        by_identity = linker.auth_type.lower() == IDENTITY_AUTH and bool(linker.client_id)
        name = naming.secret_name(linker.name)
        secret = await self._object(cluster_id, "Secret", linker, name, values=by_identity)
        bare = dataclasses.replace(secret, data={})
        if not by_identity:
            return Holdings(linker=linker, cluster=cluster, secret=bare)
        account_name = naming.service_account_name(linker.client_id)
        account = await self._object(cluster_id, "ServiceAccount", linker, account_name)
        identity = await self._identity(cluster_id, linker.client_id)
        subject = naming.subject(linker.namespace, account_name)
        return Holdings(
            linker=linker,
            cluster=cluster,
            secret=bare,
            keys=tuple(sorted(secret.data)),
            account=account,
            identity=identity,
            credential=await self._credential(identity, cluster.issuer, subject),
            assignments=await self._assignments(identity, linker.target_id),
        )

    async def _object(
        self, cluster_id: str, kind: str, linker: Linker, name: str, *, values: bool = False
    ) -> KubeObject:
        found = await self.clusters.get(cluster_id, kind, linker.namespace, name, values=values)
        if found is None:
            raise RefusedError(
                "linker-incomplete",
                f"{kind} {linker.namespace}/{name} of the linker is not in the cluster",
                field="linkerId",
                remedy=f"az aks connection update --id {linker.resource_id}",
            )
        return found

    async def _identity(self, cluster_id: str, client_id: str) -> Identity:
        own = naming.subscription_of(cluster_id)
        for subscription in (own, *sorted(self.subscription_ids - {own})):
            for identity in await self.identities.list(f"/subscriptions/{subscription}"):
                if identity.client_id.lower() == client_id.lower():
                    return identity
        raise RefusedError(
            "identity-not-found",
            f"no identity of the listed subscriptions has the client id {client_id}",
            field="linkerId",
            remedy="add the identity's subscription to MOORING_SUBSCRIPTION_IDS, with the right to read it",
        )

    async def _credential(self, identity: Identity, issuer: str, subject: str) -> Credential | None:
        for one in await self.identities.list_credentials(identity.resource_id):
            ours = PROTECTED_CREDENTIAL not in one.name.lower()
            if ours and issuer and (one.issuer, one.subject) == (issuer, subject):
                return one
        return None

    async def _assignments(self, identity: Identity, target_id: str) -> tuple[RoleAssignment, ...]:
        """The identity's roles on the target or on what it is a part of, up to its top-level resource."""
        scopes = naming.ancestors(target_id)[:-1]
        found = await self.roles.list_for_principal(scopes[-1], identity.principal_id)
        there = [one for one in found if naming.fold_id(one.scope) in scopes]
        return tuple(sorted(there, key=lambda one: (naming.fold_id(one.scope), one.name)))


def role_id(assignment: RoleAssignment) -> str:
    """GUID of an assignment's role, lower case."""
    return assignment.role_definition_id.rsplit("/", 1)[-1].lower()


def intent_of(connection: Connection, step: str, plan: Plan, known: Intent | None) -> Intent:
    """A plan as the step's present intent; earlier plans of other things are kept beside it."""
    about = thing_of(plan.planned)
    earlier = tuple(one for one in known.plans() if thing_of(one.planned) != about) if known else ()
    return Intent(
        connection_id=connection.connection_id,
        step=step,
        generation=connection.generation,
        planned=plan.planned,
        outputs=plan.outputs,
        previous=earlier,
    )


def thing_of(planned: Mapping[str, Any]) -> dict[str, Any]:
    """What a plan is about, whoever it belongs to and whoever asked for it."""
    return {name: value for name, value in planned.items() if name not in _NOT_THE_THING}


def still_adopted(connection: Connection, intents: Mapping[str, Intent], linker: Linker) -> bool:
    """Say whether a linker is what was adopted: an adoption is for one target and one identity."""
    identity = intents.get("managed_identity")
    client_id = str(identity.outputs.get("clientId", "")) if identity else ""
    by_identity = linker.auth_type.lower() == IDENTITY_AUTH
    return (
        connection.adopted_at is not None
        and naming.fold_id(connection.spec.target_id) == naming.fold_id(linker.target_id)
        and client_id.lower() == (linker.client_id.lower() if by_identity else "")
    )


def _object_plan(thing: KubeObject, more: Mapping[str, Any]) -> Plan:
    return Plan(
        planned={"namespace": thing.namespace, "name": thing.name, "provenance": Provenance.ADOPTED},
        outputs={"uid": thing.uid, "name": thing.name, **more},
    )


def _assignment_item(one: RoleAssignment) -> dict[str, Any]:
    return {
        "role": role_id(one),
        "scope": one.scope,
        "principalId": one.principal_id,
        "roleDefinitionId": one.role_definition_id,
        "name": one.name,
    }
