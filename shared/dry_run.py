"""What a create request would make, and what would keep it from being made: nothing is written anywhere.

What the policy refuses is not looked at either: else the answer would tell of resources that its sender
has no business with.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from shared import changes, naming, requests, setting_values
from shared.catalogue import Catalogue
from shared.errors import RefusedError
from shared.fitness import Fit, Fitness, credential_of, unseen
from shared.models import ConnectionId, Finding, Provenance
from shared.spec import PROVIDER_CLASS, ConnectionSpec
from shared.steps.base import ANNOTATION_CLIENT_ID, role_thing
from shared.steps.federated_credential import BUDGET
from shared.steps.granting import item_of
from shared.target_parts import Role
from shared.targets import TargetType

VERDICTS = frozenset({"policy-denied", "namespace-protected"})
"""Codes by which a policy speaks; every other refusal is the request's own fault."""
_UNKNOWN_ID = "{clientId}"
"""Stands in names for the client id of an identity that is not made yet."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class DryRun:
    """Tells what a create would make."""

    fitness: Fitness
    catalogue: Catalogue
    judge: Callable[[ConnectionSpec], None]
    """Refuses a wanted connection as intake does."""

    async def tell(self, body: bytes | str) -> dict[str, Any]:
        """The answer as JSON (docs/reference/http.md has the fields).

        Args:
            body: a create request.

        Raises:
            RefusedError: the body is none, or a code of the catalogue, or ``subscription-not-listed``,
                ``policy-unreadable``.
            TransientError: the app's own records cannot be read.
        """
        request = requests.decode(body)
        if not isinstance(request, requests.CreateRequest | requests.UpdateRequest):
            raise RefusedError(
                "unknown-action",
                "action: only a create or an update is planned",
                field="action",
                remedy="leave it out",
            )
        update = isinstance(request, requests.UpdateRequest)
        spec = requests.to_spec(request)
        policy = self._policy(spec)
        row = self.catalogue.find(spec.target_type)
        allowed = policy["verdict"] == "allowed"
        refused = "the policy refuses the connection"
        fit = await self.fitness.look(spec, row, update=update) if allowed else unseen(refused, spec)
        connection_id = naming.connection_id(spec.cluster_id, spec.namespace, spec.name)
        return {
            "connectionId": connection_id,
            "result": _result(fit.findings) if allowed else "failed",
            "unchanged": fit.made,
            "policy": policy,
            **self._things(spec, row, fit),
            "changes": await self._changes(connection_id, spec, row, fit) if allowed else None,
            "findings": [finding.model_dump() for finding in fit.findings],
        }

    def _policy(self, spec: ConnectionSpec) -> dict[str, str | None]:
        try:
            self.judge(spec)
        except RefusedError as error:
            if error.code not in VERDICTS:
                raise
            return {
                "verdict": "refused",
                "code": error.code,
                "detail": error.detail,
                "field": error.field,
                "remedy": error.remedy,
            }
        return {"verdict": "allowed", "code": None, "detail": None, "field": None, "remedy": None}

    def _things(self, spec: ConnectionSpec, row: TargetType, fit: Fit) -> dict[str, Any]:
        """What would be made, by kind."""
        client_id = fit.identity.client_id if fit.identity else ""
        # Not the name of an empty id with the placeholder behind it: ids are folded, placeholders are not.
        account = naming.account_name(spec, client_id)
        account += "" if client_id or spec.service_account else _UNKNOWN_ID
        settings = self._settings(spec, row, fit)
        objects = {
            place: settings if place == (spec.settings_in or "secret") else None
            for place in ("secret", "configMap", PROVIDER_CLASS)
        }
        if not spec.by_identity:
            none = ("identity", "federatedCredential", "roleAssignments", "serviceAccount")
            return {**dict.fromkeys(none), **objects}
        return {
            "identity": self._identity(spec, fit),
            "federatedCredential": _credential(spec, fit, account),
            "roleAssignments": _roles(spec, row, fit),
            "databaseUser": _database_user(spec, row),
            "serviceAccount": {
                "namespace": spec.namespace,
                "name": account,
                "provenance": (Provenance.PROVIDED if spec.service_account else Provenance.CREATED).value,
                "annotations": {ANNOTATION_CLIENT_ID: client_id or _UNKNOWN_ID},
            },
            **objects,
        }

    async def _changes(
        self, connection_id: ConnectionId, spec: ConnectionSpec, row: TargetType, fit: Fit
    ) -> dict[str, Any] | None:
        """What an update would add and remove; ``None`` if there is no connection of our own to update."""
        stored = await self.fitness.state.connection(connection_id)
        if stored is None or not stored.value.state.live or stored.value.linker_id:
            return None
        connection = stored.value
        intents = await self.fitness.state.intents(connection_id)
        of_now = {name: one for name, one in intents.items() if one.generation == connection.generation}
        roles, settings = of_now.get("role_assignments"), of_now.get("settings")
        variant = fit.facts.get("variant", "") if fit.facts else ""
        assigned = roles.outputs.get("assignments", ()) if roles else ()
        principal_id = assigned[0]["principalId"] if assigned else ""
        has = {role_thing(item): _assignment(item) for item in assigned}
        scope = row.scope(spec.target_id)
        wanted = [
            item_of(row.grants, role, scope=scope, principal_id=principal_id)
            for role in (row.roles(spec.intent, variant=variant) if spec.by_identity else ())
        ]
        wants = {role_thing(item): _assignment(item) for item in wanted}
        keys, held = _keys(spec, row, fit), list(settings.outputs.get("keys", ())) if settings else []
        return {
            "properties": [changes.field(name) for name in changes.differing(connection.spec, spec)],
            "refusal": _refusal(connection.spec, spec, row),
            "roleAssignments": _difference(has, wants),
            "keys": {
                "add": sorted(set(keys) - set(held)),
                "remove": sorted(set(held) - set(keys)),
            },
        }

    def _identity(self, spec: ConnectionSpec, fit: Fit) -> dict[str, Any]:
        resource_id = self.fitness.identity_id(spec)
        # A list of credentials without an identity is that of one which is to be made.
        seen = fit.identity is not None or fit.credentials is not None
        return {
            "resourceId": resource_id,
            "name": resource_id.rpartition("/")[-1],
            "provenance": (Provenance.PROVIDED if spec.identity_id else Provenance.CREATED).value,
            "exists": fit.identity is not None if seen else None,
            "clientId": fit.identity.client_id if fit.identity else None,
        }

    def _settings(self, spec: ConnectionSpec, row: TargetType, fit: Fit) -> dict[str, Any]:
        _, name = naming.settings_object(spec)
        return {"namespace": spec.namespace, "name": name, "keys": _keys(spec, row, fit)}


def _credential(spec: ConnectionSpec, fit: Fit, account: str) -> dict[str, Any]:
    issuer = fit.cluster.issuer if fit.cluster else ""
    wanted = credential_of(spec, issuer, fit.identity.client_id) if fit.identity else None
    return {
        # The name is a hash of the account's.
        "name": wanted.name if wanted else None,
        "issuer": issuer or None,
        "subject": naming.subject(spec.namespace, account),
        "audience": naming.AUDIENCE,
        "used": len(fit.credentials) if fit.credentials is not None else None,
        "limit": BUDGET,
    }


def _roles(spec: ConnectionSpec, row: TargetType, fit: Fit) -> dict[str, Any]:
    variant = fit.facts.get("variant", "") if fit.facts else ""
    intents = (spec.intent,) if spec.intent else tuple(row.intents)
    return {
        "kind": row.grants.name,
        "scope": row.scope(spec.target_id),
        "assigned": _named(row.roles(spec.intent, variant=variant)),
        "serviceConnector": _named(row.roles_of_connector(variant=variant)),
        "narrowest": {intent: _named(row.roles(intent, variant=variant)) for intent in intents},
    }


def _assignment(item: Mapping[str, Any]) -> dict[str, str]:
    role_id = str(item["roleDefinitionId"]).rsplit("/", 1)[-1]
    return {"name": str(item["role"]), "id": role_id, "scope": str(item["scope"])}


def _difference(has: Mapping[str, Any], wants: Mapping[str, Any]) -> dict[str, list[Any]]:
    return {
        "add": [one for thing, one in wants.items() if thing not in has],
        "remove": [one for thing, one in has.items() if thing not in wants],
    }


def _refusal(present: ConnectionSpec, wanted: ConnectionSpec, row: TargetType) -> dict[str, str] | None:
    try:
        changes.refuse_change(present, wanted, row)
    except RefusedError as error:
        return {
            "code": error.code,
            "detail": error.detail,
            "field": error.field,
            "remedy": error.remedy,
        }
    return None


def _database_user(spec: ConnectionSpec, row: TargetType) -> dict[str, Any] | None:
    if row.database is None:
        return None
    told = {
        intent: {
            "database": list(given.on_database),
            "schema": list(given.on_schema),
            "tables": list(given.on_tables),
            "sequences": list(given.on_sequences),
            "lasting": given.lasting,
        }
        for intent, given in row.database.privileges.items()
    }
    intents = (spec.intent,) if spec.intent else tuple(row.intents)
    return {
        "name": naming.database_user(spec.name),
        "granted": told[spec.intent],
        "serviceConnector": told[""],
        "narrowest": {intent: told[intent] for intent in intents},
    }


def _named(roles: Sequence[Role]) -> list[dict[str, str]]:
    return [{"name": role.name, "id": role.id} for role in roles]


def _keys(spec: ConnectionSpec, row: TargetType, fit: Fit) -> list[str]:
    variant = fit.facts.get("variant", "") if fit.facts else ""
    return list(setting_values.keys(row, spec, variant=variant))


def _result(findings: Sequence[Finding]) -> str:
    """The worst of all findings; what a create would wait for is no fault."""
    results = {finding.result for finding in findings}
    return next((one for one in ("failed", "unknown") if one in results), "ok")
