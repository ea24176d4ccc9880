"""The catalogue of targets: the rows of ``catalogue.json``, read once, and how one is chosen.

A new target is one row. Everything that Service Connector can connect from AKS has one, whether or not
Mooring connects it: a row says for each auth kind if it works, and if not, why.
"""

from __future__ import annotations

import dataclasses
import functools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from shared import naming, templates
from shared.conditions import Condition
from shared.errors import RefusedError
from shared.facts import Fact
from shared.ports import Privileges
from shared.target_parts import (
    AZURE_ROLE,
    GRANT_KINDS,
    AuthKind,
    Child,
    DatabaseAccess,
    KeySource,
    ReadCheck,
    Role,
    RolesByVariant,
    SettingGroup,
)
from shared.targets import DEFERRED, GATED, WORKLOAD_IDENTITY, WORKS, TargetType

_FILE = Path(__file__).with_name("catalogue.json")
_GROUPS = "microsoft.resources/resourcegroups"


@dataclasses.dataclass(frozen=True, slots=True)
class Catalogue:
    """All rows."""

    rows: tuple[TargetType, ...]
    credentials: frozenset[str] = frozenset()
    """Placeholders of value templates that stand for a credential."""
    credential_settings: frozenset[str] = frozenset()
    """Folded names of settings that have a credential in them, of every row and auth kind."""
    also_watched: frozenset[str] = frozenset()
    """Folded types of targets without a row of that type: of other sources than AKS, or without an id."""

    @property
    def working(self) -> tuple[TargetType, ...]:
        """Rows that a request can name today."""
        return tuple(row for row in self.rows if row.works)

    def find(self, type_name: str) -> TargetType:
        """The row of a name.

        Raises:
            RefusedError: ``unknown-target-type``.
        """
        for row in self.rows:
            if row.name == type_name:
                return row
        raise RefusedError(
            "unknown-target-type",
            "the catalogue has no such target type",
            field="connection.target.type",
            remedy=f"use one of {', '.join(row.name for row in self.working)}",
        )

    def match(self, target_id: str) -> TargetType | None:
        """The first row whose ids look like this one, in any casing."""
        return next((row for row in self.rows if row.names(target_id) is not None), None)

    def choose(
        self,
        type_name: str,
        target_id: str,
        client_type: str,
        intent: str = "",
        *,
        auth: str = WORKLOAD_IDENTITY,
    ) -> TargetType:
        """The row of a request, once all that it names is known to belong together.

        Raises:
            RefusedError: ``unknown-target-type``, ``unknown-auth-type``, ``target-deferred``,
                ``target-not-offered``, ``target-type-mismatch``, ``unknown-client-type`` or
                ``unknown-intent``.
        """
        row = self.find(type_name)
        _check_offered(row, auth)
        row.existence_id(target_id)
        row.check_client_type(client_type, auth=auth)
        row.roles(intent)
        return row

    def watched_types(self) -> frozenset[str]:
        """Folded types that any connection's target, or a part of one, may be of, with those above them."""
        whole = [row.id_template.replace("[", "").replace("]", "") for row in self.rows]
        parts = ((row, child) for row in self.rows for child in row.children if child.is_resource)
        whole += [row.scope_template + child.suffix for row, child in parts]
        ids = [above for template in whole for above in naming.ancestors(template)]
        return (frozenset(naming.type_of(one) for one in ids) | self.also_watched) - {_GROUPS, ""}


def _check_offered(row: TargetType, auth: str) -> None:
    if auth not in row.auth:
        raise RefusedError(
            "unknown-auth-type",
            f"{row.name} has no authentication by {auth}",
            field="connection.authType",
            remedy=f"use one of {', '.join(row.auth)}",
        )
    offered = row.auth[auth]
    field, remedy = "connection.target.type", "docs/reference/targets.md lists what works"
    what = row.name if auth == WORKLOAD_IDENTITY else f"{row.name} by {auth}"
    if offered.status == DEFERRED:
        raise RefusedError(
            "target-deferred", f"{what} is not connected yet: {offered.reason}", field=field, remedy=remedy
        )
    if offered.status not in {WORKS, GATED}:
        raise RefusedError(
            "target-not-offered", f"{what} is not connected: {offered.reason}", field=field, remedy=remedy
        )


@functools.cache
def catalogue() -> Catalogue:
    """The catalogue that is part of the product, read once."""
    return parse(_FILE.read_text(encoding="utf-8"))


def parse(text: str) -> Catalogue:
    """Rows from the catalogue file's JSON.

    Raises:
        KeyError: a row lacks a column; the file is part of the product, so this is a defect of it.
    """
    document = json.loads(text)
    listed = {**document["roles"], **document["nativeRoles"]}
    roles = {name: Role(name=name, id=role_id) for name, role_id in listed.items()}
    conditions = {name: _condition(one) for name, one in document["conditions"].items()}
    rows = tuple(_row(row, roles, conditions) for row in document["targets"])
    credentials = frozenset(document["credentials"])
    groups = (group for row in rows for auth in row.auth.values() for group in auth.settings)
    values = ((key, value) for group in groups for key, value in group.values.items())
    return Catalogue(
        rows=rows,
        credentials=credentials,
        credential_settings=frozenset(
            key.lower() for key, value in values if templates.places(value) & credentials
        ),
        also_watched=frozenset(map(str.lower, document["alsoWatched"])),
    )


def _row(
    row: Mapping[str, Any], roles: Mapping[str, Role], conditions: Mapping[str, Condition]
) -> TargetType:
    return TargetType(
        name=row["type"],
        title=row["title"],
        api_version=row["apiVersion"],
        soft_delete=row["softDelete"],
        id_template=row["id"],
        existence_template=row["existenceId"],
        scope_template=row["scope"],
        parent_template=row.get("parentId", ""),
        children=tuple(
            Child(
                suffix=child["id"],
                read_path=child.get("readPath", ""),
                is_resource=child.get("resource", True),
            )
            for child in row.get("children", ())
        ),
        defaults=MappingProxyType(row.get("defaults", {})),
        variants=MappingProxyType(row.get("variants", {})),
        requires=tuple(conditions[name] for name in row.get("requires", ())),
        wanted=MappingProxyType({name: _fact(fact) for name, fact in row["facts"].items()}),
        grants=GRANT_KINDS[row.get("grants", AZURE_ROLE.name)],
        database=_database(row["database"]) if "database" in row else None,
        default_roles=_roles(row["roles"], roles),
        connector_roles=_roles(row.get("connectorRoles", row["roles"]), roles),
        intents=MappingProxyType({name: _roles(listed, roles) for name, listed in row["intents"].items()}),
        read_check=_read_check(row["readCheck"]) if "readCheck" in row else None,
        listed_client_types=tuple(row["clientTypes"]),
        auth=MappingProxyType({name: _auth(kind, conditions) for name, kind in row["auth"].items()}),
    )


def _condition(condition: Mapping[str, Any]) -> Condition:
    paths = condition["path"]
    return Condition(
        finding=condition["finding"],
        paths=(paths,) if isinstance(paths, str) else tuple(paths),
        expected=frozenset(map(str.lower, condition.get("expected", ()))),
        refused=frozenset(map(str.lower, condition.get("refused", ()))),
        code=condition.get("code", ""),
        waits=condition.get("waits", ""),
        of_parent=condition.get("of") == "parent",
        detail=condition["detail"],
        remedy=condition["remedy"],
        ways={value.lower(): tuple(places) for value, places in condition.get("ways", {}).items()},
    )


def _fact(fact: Mapping[str, Any]) -> Fact:
    paths = fact["path"]
    return Fact(
        paths=(paths,) if isinstance(paths, str) else tuple(paths),
        form=fact["as"],
        of_parent=fact.get("of") == "parent",
        variants=tuple(fact.get("variants", ())),
        publicly=fact["publicly"],
        optional=fact.get("optional", False),
    )


def _database(database: Mapping[str, Any]) -> DatabaseAccess:
    return DatabaseAccess(
        token_scope=database["tokenScope"],
        privileges=MappingProxyType(
            {
                intent: Privileges(
                    schema=database["schema"],
                    on_database=tuple(given.get("database", ())),
                    on_schema=tuple(given.get("schema", ())),
                    on_tables=tuple(given.get("tables", ())),
                    on_sequences=tuple(given.get("sequences", ())),
                    lasting=given["lasting"],
                )
                for intent, given in database["privileges"].items()
            }
        ),
    )


def _roles(listed: Sequence[str] | Mapping[str, Sequence[str]], roles: Mapping[str, Role]) -> RolesByVariant:
    by_variant = listed if isinstance(listed, Mapping) else {"": listed}
    return MappingProxyType(
        {variant: tuple(roles[name] for name in names) for variant, names in by_variant.items()}
    )


def _read_check(check: Mapping[str, Any]) -> ReadCheck:
    return ReadCheck(
        token_scope=check["tokenScope"],
        path=check["path"],
        fact=check.get("fact", "endpoint"),
        variants=tuple(check.get("variants", ())),
        intents=tuple(check.get("intents", ())),
    )


def _auth(kind: Mapping[str, Any], conditions: Mapping[str, Condition]) -> AuthKind:
    groups = (
        SettingGroup(
            client_types=tuple(group["clientTypes"]),
            variant=group.get("variant", ""),
            values=MappingProxyType(group["values"]),
        )
        for group in kind["settings"]
    )
    return AuthKind(
        status=kind["status"],
        reason=kind.get("reason", ""),
        settings=tuple(groups),
        requires=tuple(conditions[name] for name in kind["requires"]) if "requires" in kind else None,
        keys=_key_source(kind["keys"]) if "keys" in kind else None,
        parameters=MappingProxyType(kind.get("parameters", {})),
    )


def _key_source(keys: Mapping[str, Any]) -> KeySource:
    return KeySource(
        action=keys["action"],
        id_template=keys["id"],
        fetched=MappingProxyType(keys["values"]),
        named=MappingProxyType(keys.get("named", {})),
    )
