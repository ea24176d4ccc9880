"""What a row of the target catalogue is made of."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from shared import naming
from shared.conditions import Condition
from shared.errors import RefusedError
from shared.ports import Privileges

USER_LENGTH = 63
"""Bytes of an identifier; PostgreSQL cuts off what is longer (postgresql.org, "Lexical Structure")."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class GrantKind:
    """How a service knows who may use its data."""

    name: str
    definitions: str
    """Collection of its roles below the top-level resource; empty: Azure's own role definitions."""
    one_each: bool = False
    """A principal can have one at a resource only, so an earlier one goes before the new one comes."""
    limit: int = 0
    """Most at one resource; 0 if none is documented. Azure roles count by subscription."""
    step: str = "role_assignments"
    """The step that grants and revokes."""

    def definition_id(self, scope: str, role_id: str) -> str:
        """Id of a role's definition, for a grant at a scope."""
        if not self.definitions:
            subscription = naming.subscription_of(scope)
            return (
                f"/subscriptions/{subscription}/providers/Microsoft.Authorization/roleDefinitions/{role_id}"
            )
        return f"{naming.resource_of(scope)}/{self.definitions}/{role_id}"


AZURE_ROLE = GrantKind(name="azure-role", definitions="")
COSMOS_ROLE = GrantKind(name="cosmos-sql-role", definitions="sqlRoleDefinitions", limit=2000)
"""Native roles of Cosmos DB for NoSQL; the limit is that of an account (learn.microsoft.com/azure/cosmos-db,
"Service quotas and default limits", role-based access control)."""
REDIS_POLICY = GrantKind(name="redis-access-policy", definitions="accessPolicies", one_each=True)
"""Access policies of a cache (learn.microsoft.com/azure/azure-cache-for-redis, "configure role-based access
control"); that a user has one only is what its service answers."""
DATABASE_USER = GrantKind(name="database-user", definitions="", step="database_access")
"""A role inside a database server, with privileges there; Azure has no part in it."""
GRANT_KINDS: Mapping[str, GrantKind] = {
    kind.name: kind for kind in (AZURE_ROLE, COSMOS_ROLE, REDIS_POLICY, DATABASE_USER)
}


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Role:
    """A built-in role of Azure or of a service, or a service's access policy."""

    name: str
    id: str
    """GUID of the role definition; the name of an access policy."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseAccess:
    """How a workload is let into a database by a user of its own."""

    token_scope: str
    """Of the tokens with which the app itself signs in."""
    privileges: Mapping[str, Privileges]
    """What the user may do, by intent; the empty one is Service Connector's."""

    def right(self, intent: str) -> str:
        """The name by which a policy lists what the user may do."""
        return f"Database user ({intent or 'full'})"

    def check_name(self, connection_name: str) -> None:
        """Refuse a connection whose user's name the server would cut off, and then not find.

        Raises:
            RefusedError: ``invalid-name``.
        """
        longest = USER_LENGTH - len(naming.database_user(""))
        if len(connection_name) > longest:
            raise RefusedError(
                "invalid-name",
                f"name: a database user is named after it: at most {longest} characters",
                field="connection.name",
                remedy="choose a shorter name",
            )


RolesByVariant = Mapping[str, tuple[Role, ...]]
"""Roles by the target's variant; the key ``""`` stands for every variant."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Child:
    """A part of a target that roles can be limited to, such as a container."""

    suffix: str
    """Template of what follows the scope's id."""
    read_path: str
    """Path of a read that proves access to this part, empty if there is none."""
    is_resource: bool = True
    """Resource Manager answers a GET of it in the version of its target, and tells when it is deleted."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ReadCheck:
    """One harmless read that proves access."""

    token_scope: str
    path: str
    """Relative to the address in ``fact``."""
    fact: str
    variants: tuple[str, ...]
    """Variants that can be read; empty for all."""
    intents: tuple[str, ...]
    """Intents whose roles may read, the empty one included; empty for all."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Read:
    """A read that proves access, ready to be sent."""

    token_scope: str
    url: str


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class SettingGroup:
    """Setting keys and value templates that some client types share."""

    client_types: tuple[str, ...]
    variant: str
    """The variant they are for; empty for all."""
    values: Mapping[str, str]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class KeySource:
    """Where Azure hands out a target's keys, and what its answer calls them."""

    action: str
    id_template: str
    """Of the resource whose action it is."""
    fetched: Mapping[str, str]
    """Place in the answer by placeholder: credentials, and what goes with them."""
    named: Mapping[str, str]
    """Templates of the id's names by placeholder: what is no credential and only needed with one."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class AuthKind:
    """One way to authenticate at a target, and whether it can be asked for."""

    status: str
    """``works``, ``policy-gated``, ``deferred`` or ``not-offered``."""
    reason: str
    """Why, unless it works."""
    settings: tuple[SettingGroup, ...]
    requires: tuple[Condition, ...] | None = None
    """What Azure's answer must say instead of what the row requires."""
    keys: KeySource | None = None
    """Set if the settings hold a key of the target."""
    parameters: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """Templates of a SecretProviderClass's parameters, which then stand in the place of settings."""

    @property
    def client_types(self) -> tuple[str, ...]:
        """Client types that have settings, in alphabetical order."""
        return tuple(sorted({one for group in self.settings for one in group.client_types}))

    def groups(self, client_type: str) -> tuple[SettingGroup, ...]:
        """Settings of a client type: one group, or one for each variant."""
        return tuple(group for group in self.settings if client_type in group.client_types)
