"""What a labelled secret, the identity behind it and Azure say together of one connection. Reads only.

The secret says what was asked for; whoever may write it could say anything, so nothing of that is believed
by itself. The connection's id is computed from its place and name; the identity must bear the tag of the
computed workload, or be one that the policy lists and that trusts exactly this account; the roles must be
assigned to it on the very target. What does not come together is told with a reason, and never guessed.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from shared import inscription, naming
from shared.catalogue import Catalogue
from shared.errors import DETAIL_LIMIT, PermanentError
from shared.ports import Credential, Identity, KubeObject, ManagedCluster, RoleAssignment
from shared.refusals import like_credential
from shared.request_fields import names_credential
from shared.spec import ConnectionSpec
from shared.steps.base import (
    ANNOTATION_CLIENT_ID,
    LABEL_CONNECTION,
    LABEL_MANAGED_BY,
    LABEL_WORKLOAD,
    TAG_WORKLOAD,
)
from shared.steps.granting import held_by, item_of
from shared.steps.managed_identity import own_identity_id
from shared.steps.surroundings import Outside
from shared.sweeping.cluster_view import ACCOUNT, ClusterView
from shared.sweeping.ledger import Ledger
from shared.target_parts import AZURE_ROLE, Role
from shared.targets import TargetType

TARGET_GONE, ACCOUNT_MISSING, ROLES_LEFT = "target-gone", "account-missing", "roles-left"
"""Notes of a connection that is recovered all the same."""


class Unknown(Exception):  # noqa: N818 - not an error of anybody: what cannot be told, and why
    """Why a connection is not recovered."""

    def __init__(self, reason: str, detail: str = "") -> None:
        self.reason = reason
        self.detail = detail[:DETAIL_LIMIT]
        super().__init__(reason)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """What a secret says of its connection, as far as the secret alone can be checked."""

    secret: KubeObject
    """The secret or config map."""
    connection_id: str
    spec: ConnectionSpec | None
    reason: str = ""
    """Why there is no spec."""

    @property
    def object(self) -> str:
        """Kind and name."""
        return f"{self.secret.kind} {self.secret.name}"

    @property
    def place(self) -> str:
        """Which object it is."""
        return f"{self.secret.kind} {self.secret.namespace}/{self.secret.name}"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """All that is known of one connection: what its rows will be made of."""

    claim: Claim
    spec: ConnectionSpec
    connection_id: str
    cluster: ManagedCluster
    secret: KubeObject
    account: KubeObject | None
    identity: Identity
    credential: Credential
    target: TargetType
    facts: Mapping[str, str] | None
    """``None`` if Azure says that the target is gone."""
    assignments: Sequence[Mapping[str, Any]]
    """As they were meant, under the names that we compute."""
    made: Mapping[str, RoleAssignment]
    """What is there, by ``role_of``."""
    notes: tuple[str, ...]

    @property
    def account_name(self) -> str:
        """Name of the workload's service account."""
        return naming.account_name(self.spec, self.identity.client_id)


def ours(secret: KubeObject) -> bool:
    """Say whether a secret or config map bears the marks of a connection of ours."""
    return secret.labels.get(LABEL_MANAGED_BY) == naming.MANAGED_BY and LABEL_CONNECTION in secret.labels


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Surveyor:
    """Surveys the connections of one cluster."""

    outside: Outside
    catalogue: Catalogue
    judge: Callable[[ConnectionSpec], None]
    """Refuses what the policy does not allow (``PermanentError``)."""
    identity_resource_group_id: str
    app_client_id: str
    view: ClusterView
    ledger: Ledger

    def claim(self, secret: KubeObject) -> Claim:
        """What a secret says, without its values."""
        connection_id = secret.labels[LABEL_CONNECTION]
        text = secret.annotations.get(inscription.ANNOTATION_REQUEST, "")
        spec = inscription.spec_of(text, cluster_id=self.view.cluster_id, namespace=secret.namespace)
        if spec is None:
            return Claim(secret=secret, connection_id=connection_id, spec=None, reason="no-inscription")
        computed = naming.connection_id(self.view.cluster_id, secret.namespace, spec.name)
        if computed != connection_id or naming.settings_object(spec) != (secret.kind, secret.name):
            return Claim(secret=secret, connection_id=connection_id, spec=None, reason="copied")
        return Claim(secret=secret, connection_id=connection_id, spec=spec)

    def identity_id(self, spec: ConnectionSpec) -> str:
        """Id of the identity that a connection must have."""
        return spec.identity_id or own_identity_id(spec, self.identity_resource_group_id)

    async def survey(self, claim: Claim, scopes: frozenset[str]) -> Seen:
        """Ask Azure for everything that a claim says.

        Args:
            claim: what the secret says; its ``spec`` is set.
            scopes: folded, where roles of the identity's connections in this cluster are explained.

        Raises:
            Unknown: something does not come together.
            TransientError: Azure or the cluster cannot be asked now.
        """
        spec = claim.spec
        if spec is None:
            raise Unknown(claim.reason)
        if not spec.by_identity:
            # Nothing in Azure tells of it: the secret's own word would be all.
            raise Unknown("connected-by-key", "nothing in Azure confirms it; send the create request again")
        try:
            spec = await self._whole(claim.secret, spec)
            self.judge(spec)
            return await self._survey(claim, spec, scopes)
        except PermanentError as error:
            raise Unknown(error.code, error.detail) from error

    async def _whole(self, secret: KubeObject, spec: ConnectionSpec) -> ConnectionSpec:
        """The wish with its additional settings, whose values the secret has."""
        text = secret.annotations[inscription.ANNOTATION_REQUEST]
        if not inscription.additional(text):
            return spec
        get = self.outside.clusters.get(
            self.view.cluster_id, secret.kind, secret.namespace, secret.name, values=True
        )
        seen = await self.ledger.kubernetes(get)
        data = seen.data if seen is not None and seen.uid == secret.uid else {}
        whole = inscription.spec_of(text, cluster_id=spec.cluster_id, namespace=spec.namespace, data=data)
        if whole is None:
            raise Unknown("no-inscription", "an additional setting is not among the values")
        known = self.catalogue.credential_settings
        if any(
            names_credential(key) or key.lower() in known or like_credential(value)
            for key, value in whole.additional_settings.items()
        ):
            raise Unknown("no-inscription", "an additional setting looks like a credential")
        return whole

    async def _survey(self, claim: Claim, spec: ConnectionSpec, scopes: frozenset[str]) -> Seen:
        notes: list[str] = []
        identity = await self._identity(spec)
        account = self._account(spec, identity)
        if account is None:
            notes.append(ACCOUNT_MISSING)
        credential = await self._credential(spec, identity)
        target = self.catalogue.find(spec.target_type)
        if target.database is not None:
            # Azure knows nothing of users inside a server, and servers are asked by steps alone.
            raise Unknown("database-user", f"whether {spec.name} has one is not asked of the server")
        facts = await self._facts(target, spec)
        roles = target.roles(spec.intent, variant=(facts or {}).get("variant", ""))
        scope = target.scope(spec.target_id)
        assignments, made, left = await self._roles(target, roles, scope, identity, scopes)
        if facts is None:
            notes.append(TARGET_GONE)
        elif len(made) < len(roles):
            lacking = ", ".join(str(one["role"]) for one in assignments if role_of(one) not in made)
            raise Unknown("role-missing", f"{lacking} is not assigned on {scope}")
        if left:
            notes.append(ROLES_LEFT)
        return Seen(
            claim=claim,
            spec=spec,
            connection_id=claim.connection_id,
            cluster=self.view.cluster,
            secret=claim.secret,
            account=account,
            identity=identity,
            credential=credential,
            target=target,
            facts=facts,
            assignments=assignments,
            made=made,
            notes=tuple(notes),
        )

    async def _identity(self, spec: ConnectionSpec) -> Identity:
        resource_id = self.identity_id(spec)
        identity = await self.ledger.arm(self.outside.identities.get(resource_id))
        if identity is None:
            raise Unknown("identity-missing", resource_id)
        workload = naming.workload_key(spec.cluster_id, spec.namespace, spec.workload)
        if not spec.identity_id and identity.tags.get(TAG_WORKLOAD) != workload:
            raise Unknown("identity-foreign", f"{resource_id} does not bear this workload's tag")
        forbidden = {self.app_client_id.lower(), *self.view.cluster.forbidden_identities}
        if {identity.client_id.lower(), naming.fold_id(resource_id)} & forbidden:
            raise Unknown("identity-forbidden", resource_id)
        return identity

    def _account(self, spec: ConnectionSpec, identity: Identity) -> KubeObject | None:
        name = naming.account_name(spec, identity.client_id)
        there = self.view.objects.get(ACCOUNT, {}).get((spec.namespace, name))
        if there is None:
            return None
        workload = naming.workload_key(spec.cluster_id, spec.namespace, spec.workload)
        marks = {LABEL_MANAGED_BY: naming.MANAGED_BY, LABEL_WORKLOAD: workload}
        client_id = there.annotations.get(ANNOTATION_CLIENT_ID, "").lower()
        marked = all(there.labels.get(label) == value for label, value in marks.items())
        if spec.service_account:
            # Its owner's: it bears none of our marks.
            marked = there.labels.get(LABEL_MANAGED_BY) != naming.MANAGED_BY
        if not marked or client_id != identity.client_id.lower():
            raise Unknown("account-foreign", f"{spec.namespace}/{name} is not this workload's")
        return there

    async def _credential(self, spec: ConnectionSpec, identity: Identity) -> Credential:
        account = naming.account_name(spec, identity.client_id)
        subject, issuer = naming.subject(spec.namespace, account), self.view.cluster.issuer
        for one in await self.ledger.arm(self.outside.identities.list_credentials(identity.resource_id)):
            if (one.issuer, one.subject, one.audiences) == (issuer, subject, (naming.AUDIENCE,)):
                return one
        raise Unknown("credential-missing", f"no credential of this cluster's issuer for {subject}")

    async def _facts(self, target: TargetType, spec: ConnectionSpec) -> Mapping[str, str] | None:
        get, version = self.outside.resources.get, target.api_version
        answer = await self.ledger.arm(get(target.existence_id(spec.target_id), api_version=version))
        if answer is None:
            return None
        parent_id = target.parent_id(spec.target_id)
        parent = await self.ledger.arm(get(parent_id, api_version=version)) if parent_id else None
        return target.facts(spec.target_id, answer, client_id="", parent=parent)

    async def _roles(
        self,
        target: TargetType,
        roles: Sequence[Role],
        scope: str,
        identity: Identity,
        scopes: frozenset[str],
    ) -> tuple[list[dict[str, Any]], dict[str, RoleAssignment], bool]:
        """What was meant, what of it is there, and whether roles of ours are there that nothing explains."""
        kind, principal_id = target.grants, identity.principal_id
        # Of Azure's roles all below a scope are listed: those of a subscription show what else there is.
        asked = f"/subscriptions/{naming.subscription_of(scope)}" if kind is AZURE_ROLE else scope
        there = await self.ledger.arm(held_by(self.outside, kind, asked, principal_id))
        here = {_role(one): one for one in there if naming.fold_id(one.scope) == naming.fold_id(scope)}
        left = any(_computed(one) and naming.fold_id(one.scope) not in scopes for one in there)
        meant = [item_of(kind, role, scope=scope, principal_id=principal_id) for role in roles]
        wanted = {role_of(item) for item in meant}
        return meant, {role: one for role, one in here.items() if role in wanted}, left


def role_of(item: Mapping[str, Any]) -> str:
    """What tells the roles of one scope apart."""
    return str(item["roleDefinitionId"]).rsplit("/", 1)[-1].lower()


def _role(assignment: RoleAssignment) -> str:
    return assignment.role_definition_id.rsplit("/", 1)[-1].lower()


def _computed(assignment: RoleAssignment) -> bool:
    """Say whether an assignment has the name that we compute for it."""
    name = naming.role_assignment_name(
        assignment.scope, assignment.principal_id, assignment.role_definition_id
    )
    return name == assignment.name.lower()
