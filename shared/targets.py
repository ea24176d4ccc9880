"""A kind of target: everything that differs between one Azure service and another, as values.

The values are rows of ``catalogue.json`` (``shared/catalogue.py`` reads them). Setting keys and default
roles are Service Connector's (learn.microsoft.com/azure/service-connector, the how-to-integrate pages and
concept-microsoft-entra-roles), so that what was written for it works unchanged.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

from shared import naming, templates
from shared.conditions import Condition
from shared.errors import PermanentError, RefusedError
from shared.facts import Fact
from shared.target_parts import (
    AuthKind,
    Child,
    DatabaseAccess,
    GrantKind,
    Read,
    ReadCheck,
    Role,
    RolesByVariant,
)

WORKLOAD_IDENTITY = "workloadIdentity"
"""The auth kind of every connection that asks for no other."""
SECRET_AUTH = "secret"
"""The auth kind by a key of the target, which a policy must allow."""
WORKS, GATED, DEFERRED = "works", "policy-gated", "deferred"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class TargetType:
    """One row: one kind of Azure resource that a workload can be connected to."""

    name: str
    title: str
    api_version: str
    """For the GET of ``existence_id`` and of its parent."""
    soft_delete: bool
    """A deleted one can come back under its id, so a prune waits for the grace period."""
    id_template: str
    """Empty if the service is no resource of Azure."""
    existence_template: str
    scope_template: str
    parent_template: str
    """Id of the resource above that knows some of the facts; empty if the target's own GET has them all."""
    children: tuple[Child, ...]
    defaults: Mapping[str, str]
    """Names that the optional end of an id may leave out."""
    variants: Mapping[str, str]
    """Variant by the resource's ``kind``; ``*`` is every other kind. Empty: there is one variant only."""
    requires: tuple[Condition, ...]
    """What the answer of the GET of ``existence_id`` must say before anything is made."""
    wanted: Mapping[str, Fact]
    grants: GrantKind
    """What its roles are."""
    database: DatabaseAccess | None
    """Set where a workload gets a user of the database server instead of roles."""
    default_roles: RolesByVariant
    """What a workload gets without an intent: Service Connector's, where those are for data."""
    connector_roles: RolesByVariant
    """What Service Connector gives."""
    intents: Mapping[str, RolesByVariant]
    """The narrowest roles for what a workload means to do."""
    read_check: ReadCheck | None
    listed_client_types: tuple[str, ...]
    """Client types that Service Connector lists for the target, documented settings or not."""
    auth: Mapping[str, AuthKind]

    @property
    def resource_type(self) -> str:
        """Folded type of the resource whose existence decides."""
        return naming.type_of(self.existence_template)

    @property
    def works(self) -> bool:
        """A workload's identity can be connected to it today."""
        return self.auth[WORKLOAD_IDENTITY].status == WORKS

    @property
    def id_forms(self) -> tuple[str, ...]:
        """Templates of ids that name one, or a part that roles can be limited to."""
        return tuple(self._templates())

    @property
    def client_types(self) -> tuple[str, ...]:
        """Client types that have settings, in alphabetical order."""
        return self.auth[WORKLOAD_IDENTITY].client_types

    def names(self, target_id: str) -> Mapping[str, str] | None:
        """The names in a target's id by placeholder, as written, or ``None`` if it is another type's id."""
        for template in self._templates():
            found = templates.match(template, target_id)
            if found is not None:
                return {**self.defaults, **found}
        return None

    def existence_id(self, target_id: str) -> str:
        """Id of the resource to read again to learn whether the target still exists."""
        return templates.fill(self.existence_template, self._names(target_id))

    def part_id(self, target_id: str) -> str:
        """Id of the part that the target's id names, if it is a resource of its own; else empty."""
        child = self._child(target_id)
        return self.scope(target_id) if child is not None and child.is_resource else ""

    def relied_on(self, target_id: str) -> tuple[str, ...]:
        """Ids of what takes the target away when it is deleted, the part that the target's id names last."""
        return tuple(filter(None, (self.existence_id(target_id), self.part_id(target_id))))

    def parent_id(self, target_id: str) -> str:
        """Id of the resource above that knows some of the facts, or an empty string."""
        return templates.fill(self.parent_template, self._names(target_id))

    def scope(self, target_id: str) -> str:
        """Id of what the roles are assigned on: the part that the target's id names, or all of it."""
        names = self._names(target_id)
        child = self._child(target_id)
        return templates.fill(self.scope_template + (child.suffix if child else ""), names)

    def roles(self, intent: str = "", *, variant: str = "") -> tuple[Role, ...]:
        """Roles that a workload gets.

        Args:
            intent: what it means to do; empty for Service Connector's own roles.
            variant: the target's, once it is known; before that, the roles of every variant.

        Raises:
            RefusedError: ``unknown-intent``.
        """
        if intent and intent not in self.intents:
            raise RefusedError(
                "unknown-intent",
                f"{self.name} has no role for this intent",
                field="connection.intent",
                remedy=f"use one of {', '.join(self.intents)}" if self.intents else "leave it out",
            )
        return _of_variant(self.intents[intent] if intent else self.default_roles, variant)

    def rights(self, intent: str = "") -> tuple[str, ...]:
        """What a policy must list: names of roles, or of what a user of the database may do.

        Raises:
            RefusedError: ``unknown-intent``.
        """
        roles = tuple(role.name for role in self.roles(intent))
        return roles if self.database is None else (self.database.right(intent),)

    def roles_of_connector(self, *, variant: str = "") -> tuple[Role, ...]:
        """Roles that Service Connector would give, of one variant or of all."""
        return _of_variant(self.connector_roles, variant)

    @property
    def known_roles(self) -> frozenset[Role]:
        """Every role that the row has for any intent and variant."""
        groups = (self.default_roles, *self.intents.values())
        return frozenset(role for group in groups for roles in group.values() for role in roles)

    def variant(self, resource: Mapping[str, Any]) -> str:
        """The variant that Azure's answer is of; empty if the row has one only."""
        return self.variants.get(str(resource.get("kind", "")), self.variants["*"]) if self.variants else ""

    def facts(
        self,
        target_id: str,
        resource: Mapping[str, Any],
        *,
        client_id: str,
        parent: Mapping[str, Any] | None = None,
        connection_name: str = "",
    ) -> dict[str, str]:
        """What the settings are made of: names of the id, and what Azure's own answers say.

        Endpoints come from there and not from a template, because clouds and zones differ.

        Args:
            target_id: the target as the request names it.
            resource: answer of the GET of ``existence_id``.
            client_id: of the workload's identity.
            parent: answer of the GET of ``parent_id``, where there is one.
            connection_name: after which a database user is named.

        Raises:
            PermanentError: ``endpoint-missing`` if Azure's answers lack one.
        """
        variant = self.variant(resource)
        found = {**self._names(target_id), "clientId": client_id, **({"variant": variant} if variant else {})}
        if self.database is not None:
            found |= {"connectionName": connection_name, "user": naming.database_user(connection_name)}
        for name, fact in self.wanted.items():
            if fact.variants and variant not in fact.variants:
                continue
            value = fact.value((parent or {}) if fact.of_parent else resource)
            if not value and not fact.optional:
                raise PermanentError("endpoint-missing", f"{self.title} {target_id} has no {fact.paths[0]}")
            found |= {name: value} if value else {}
        return found

    def settings(
        self, client_type: str, facts: Mapping[str, str], *, auth: str = WORKLOAD_IDENTITY
    ) -> dict[str, str]:
        """Keys and values of the connection's secret.

        Raises:
            RefusedError: ``unknown-client-type``.
        """
        values = self.setting_templates(client_type, facts, auth=auth)
        return {key: templates.fill(template, facts) for key, template in values.items()}

    def setting_templates(
        self, client_type: str, facts: Mapping[str, str], *, auth: str = WORKLOAD_IDENTITY
    ) -> Mapping[str, str]:
        """Keys and value templates for the variant that the facts tell.

        Raises:
            RefusedError: ``unknown-client-type``.
        """
        self.check_client_type(client_type, auth=auth)
        groups = self.auth[auth].groups(client_type)
        return next(one for one in groups if one.variant in ("", facts.get("variant", ""))).values

    def required(self, auth: str) -> tuple[Condition, ...]:
        """What Azure's answer must say for a connection of an auth kind."""
        own = self.auth[auth].requires if auth in self.auth else None
        return self.requires if own is None else own

    def check_client_type(self, client_type: str, *, auth: str = WORKLOAD_IDENTITY) -> None:
        """Refuse a client type for which there are no settings.

        Raises:
            RefusedError: ``unknown-client-type``.
        """
        offered = self.auth[auth].client_types
        if client_type not in offered:
            raise RefusedError(
                "unknown-client-type",
                f"{self.name} has no settings for this client type",
                field="connection.clientType",
                remedy=f"use one of {', '.join(offered)}",
            )

    def read(self, target_id: str, facts: Mapping[str, str], *, intent: str = "") -> Read | None:
        """The read that proves access, or ``None`` where the roles allow none that is harmless."""
        check, child = self.read_check, self._child(target_id)
        if check is None or (check.intents and intent not in check.intents):
            return None
        if check.variants and facts.get("variant", "") not in check.variants:
            return None
        # The id's own names: an update to another part may have begun, and preflight not recorded it yet.
        path = templates.fill(child.read_path, {**facts, **self._names(target_id)}) if child else check.path
        if not path:
            return None
        return Read(token_scope=check.token_scope, url=f"{facts[check.fact].rstrip('/')}/{path}")

    def _templates(self) -> Iterator[str]:
        yield self.id_template
        yield from (self.scope_template + child.suffix for child in self.children)

    def _child(self, target_id: str) -> Child | None:
        forms = ((one, self.scope_template + one.suffix) for one in self.children)
        return next((one for one, form in forms if templates.match(form, target_id) is not None), None)

    def setting_keys(
        self, client_type: str, *, auth: str = WORKLOAD_IDENTITY, variant: str = ""
    ) -> frozenset[str]:
        """Setting keys of a client type, of one variant or of every."""
        groups = self.auth[auth].groups(client_type)
        fitting = (group for group in groups if not variant or group.variant in ("", variant))
        return frozenset(key for group in fitting for key in group.values)

    def harmless_keys(self, client_type: str) -> frozenset[str]:
        """Setting keys that hold no credential in a connection through an identity; none if it is unknown."""
        auth = self.auth.get(WORKLOAD_IDENTITY)
        groups = auth.groups(client_type) if auth else ()
        return frozenset(key for group in groups for key in group.values)

    def _names(self, target_id: str) -> Mapping[str, str]:
        found = self.names(target_id)
        if found is None:
            raise RefusedError(
                "target-type-mismatch",
                f"the target's id is not one of {self.title}",
                field="connection.target.id",
                remedy=f"{self.name} takes {' or '.join(self.id_forms)}",
            )
        return found


def _of_variant(roles: RolesByVariant, variant: str) -> tuple[Role, ...]:
    if variant and variant in roles:
        return roles[variant]
    return tuple(dict.fromkeys(role for listed in roles.values() for role in listed))
