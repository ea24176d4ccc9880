"""The rows of a connection, made from what was seen of it. Writes tables only.

Who uses what comes first and the connection last: until its row is there nothing can be deleted for it, and a
recovery that was cut off is done again. Of connections that share an identity each is among the users of what
they share before the first is on record. A row that is there already is never touched.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from shared import naming, setting_values
from shared.errors import StateConflictError
from shared.limits import Limits
from shared.models import Connection, ConnectionId, ConnectionState, Intent, OperationId, Provenance
from shared.records import Dependent, Dependents
from shared.recovering.survey import Seen, role_of
from shared.state import State
from shared.steps.base import (
    ANNOTATION_NONCE,
    TAG_NONCE,
    TAG_WORKLOAD,
    account_thing,
    credential_thing,
    identity_thing,
    role_thing,
)
from shared.steps.making import SECRET
from shared.steps.objects import details_with
from shared.steps.provided_account import named_thing
from shared.users import User, Users

GENERATION = 1
"""Of a recovered life, and of what a create makes where there is no row: the two are the same user."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Rebuilder:
    """Writes what was seen."""

    state: State
    users: Users
    dependents: Dependents
    limits: Limits
    identity_resource_group_id: str

    async def join(self, seen: Seen) -> None:
        """Make a connection a user of all that it holds; it is not on record by that.

        Raises:
            NotYetError: ``closing``: something that it shares is being removed.
            PermanentError: ``too-many-users``; of what cannot be put into rows, before any is written.
            TransientError: the tables cannot be written now.
        """
        intents_of(seen)
        await self._depend(seen)
        await self._join(seen)

    async def write(self, seen: Seen, *, now: datetime) -> bool:
        """Put a connection on record that has joined; False if somebody has meanwhile.

        Raises:
            PermanentError: no row can hold it.
            TransientError: the tables cannot be written now.
        """
        intents = [
            Intent(
                connection_id=ConnectionId(seen.connection_id),
                step=step,
                generation=GENERATION,
                planned=planned,
                outputs=outputs,
            )
            for step, (planned, outputs) in intents_of(seen).items()
        ]
        made_at = _instant(seen.secret.created_at) or now
        connection = Connection(
            connection_id=ConnectionId(seen.connection_id),
            spec=seen.spec,
            body_hash=naming.spec_hash(seen.spec),
            state=ConnectionState.CONFIGURED,
            generation=GENERATION,
            created_at=made_at,
            configured_at=made_at,
        )
        try:
            await self.state.observe(connection, intents, etag="")
        except StateConflictError:
            return False
        return True

    async def _depend(self, seen: Seen) -> None:
        spec = seen.spec
        targets = seen.target.relied_on(spec.target_id)
        credential = f"{seen.identity.resource_id}/federatedIdentityCredentials/{seen.credential.name}"
        relied_on = [
            *(("target", one) for one in targets),
            ("cluster", spec.cluster_id),
            ("identity", seen.identity.resource_id),
            ("credential", credential),
        ]
        for kind, resource_id in relied_on:
            await self.dependents.add(
                Dependent(
                    resource_id=resource_id,
                    kind=kind,
                    connection_id=ConnectionId(seen.connection_id),
                    generation=GENERATION,
                )
            )
        if seen.facts is not None:
            await self.limits.remember_canary(targets[0], api_version=seen.target.api_version)

    async def _join(self, seen: Seen) -> None:
        identity = seen.identity
        group = naming.fold_id(self.identity_resource_group_id)
        workload = identity.tags.get(TAG_WORKLOAD, "")
        made_by_us = bool(workload) and naming.resource_group_of(identity.resource_id) == group
        things: dict[str, Mapping[str, Any]] = {
            identity_thing(identity.resource_id): {"workload": workload} if made_by_us else {},
            **{role_thing(item): {} for item in seen.assignments},
            credential_thing(identity.resource_id, seen.credential.issuer, seen.credential.subject): {},
            _account_thing(seen): _account_details(seen),
        }
        user = User(connection_id=ConnectionId(seen.connection_id), generation=GENERATION)
        for thing, details in things.items():
            await self.users.join(thing, user, settled=self._settled, details=details)

    async def _settled(self, operation_id: OperationId) -> bool:
        return await self.state.settled(operation_id, lease_seconds=self.users.lease_seconds)


def intents_of(seen: Seen) -> dict[str, tuple[dict[str, Any], dict[str, Any]]]:
    """By step: what it meant to make and what came of it, as a create would have recorded both."""
    spec, identity, credential = seen.spec, seen.identity, seen.credential
    place = (spec.cluster_id, spec.namespace, seen.account_name)
    computed = naming.credential_name(*place, credential.issuer)
    own_names = (computed, naming.former_credential_name(*place))
    facts = {"facts": dict(seen.facts)} if seen.facts is not None else {}
    provided = bool(spec.identity_id)
    own = {"provenance": Provenance.CREATED, "nonce": identity.tags.get(TAG_NONCE, "")}
    known = {**(seen.facts or {}), "clientId": identity.client_id}
    keys = sorted(setting_values.values(seen.target, spec, known)) if seen.facts is not None else []
    return {
        "preflight": ({}, {"issuer": seen.cluster.issuer, "location": seen.cluster.location, **facts}),
        "managed_identity": (
            {
                "resourceId": identity.resource_id,
                **({"provenance": Provenance.PROVIDED} if provided else own),
            },
            {
                "resourceId": identity.resource_id,
                "clientId": identity.client_id,
                "principalId": identity.principal_id,
            },
        ),
        "role_assignments": (
            {"assignments": list(seen.assignments), "provenance": Provenance.CREATED},
            {"assignments": [_made(seen, item) for item in seen.assignments if _there(seen, item)]},
        ),
        "federated_credential": (
            {
                "identityId": identity.resource_id,
                "name": computed,
                "issuer": credential.issuer,
                "subject": credential.subject,
                "provenance": Provenance.CREATED,
            },
            {
                "name": credential.name,
                "provenance": Provenance.CREATED if credential.name in own_names else Provenance.ADOPTED,
            },
        ),
        "service_account": _account(seen),
        "settings": (
            {
                **({} if seen.secret.kind == SECRET else {"kind": seen.secret.kind}),
                "namespace": spec.namespace,
                "name": seen.secret.name,
                "provenance": Provenance.CREATED,
                "nonce": seen.secret.annotations.get(ANNOTATION_NONCE, ""),
            },
            # No version: the next sweep compares the values.
            {"name": seen.secret.name, "uid": seen.secret.uid, "keys": keys},
        ),
    }


def _account_thing(seen: Seen) -> str:
    spec = seen.spec
    if spec.service_account:
        return named_thing(spec.cluster_id, spec.namespace, spec.service_account)
    return account_thing(spec.cluster_id, spec.namespace, seen.identity.client_id)


def _account_details(seen: Seen) -> Mapping[str, Any]:
    """What the users row knows of the service account, as whoever joined it would have said."""
    if seen.account is None:
        return {}
    if seen.spec.service_account:
        return {"uid": seen.account.uid}
    nonce = seen.account.annotations.get(ANNOTATION_NONCE, "")
    return details_with(nonce, seen.cluster.issuer) if nonce else {}


def _account(seen: Seen) -> tuple[dict[str, Any], dict[str, Any]]:
    """Plan and outcome of the service account: made for the workload, or named by the request."""
    there, client_id = seen.account, seen.identity.client_id
    uid = there.uid if there else ""
    place = {"namespace": seen.spec.namespace, "name": seen.account_name}
    made = {"name": seen.account_name, "uid": uid, "clientId": client_id} if there else {}
    if seen.spec.service_account:
        return {**place, "provenance": Provenance.PROVIDED, "uid": uid, "clientId": client_id}, made
    nonce = there.annotations.get(ANNOTATION_NONCE, "") if there else ""
    return {**place, "provenance": Provenance.CREATED, "nonce": nonce}, made


def _there(seen: Seen, item: Mapping[str, Any]) -> bool:
    return role_of(item) in seen.made


def _made(seen: Seen, item: Mapping[str, Any]) -> dict[str, Any]:
    """One under another name was there before us: it is used, and never deleted."""
    there = seen.made[role_of(item)]
    same = there.name.lower() == str(item["name"]).lower()
    return {**item, "name": there.name, "provenance": Provenance.CREATED if same else Provenance.ADOPTED}


def _instant(text: str) -> datetime | None:
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return None
    return found if found.tzinfo else None
