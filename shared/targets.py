"""The catalogue of targets: everything that differs between one Azure service and another, as data.

A new target is one row of ``catalogue.json``. Setting keys and default roles are Service Connector's
(learn.microsoft.com/azure/service-connector, how-to-integrate-storage-blob, how-to-integrate-key-vault,
concept-microsoft-entra-roles), so that what was written for it works unchanged.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import re
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from shared import naming
from shared.errors import PermanentError, RefusedError

_FILE = Path(__file__).with_name("catalogue.json")
_PLACE = re.compile(r"\{(\w+)\}")
_OPTIONAL = re.compile(r"\[(.*)\]$")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Role:
    """A built-in Azure role."""

    name: str
    id: str
    """GUID of the role definition."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ReadCheck:
    """One harmless read that proves access."""

    token_scope: str
    path: str
    """Relative to the target's endpoint."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class TargetType:
    """One row: one kind of Azure resource that a workload can be connected to."""

    name: str
    title: str
    api_version: str
    """For the GET of ``existence_id``."""
    soft_delete: bool
    """A deleted one can come back under its id, so a prune waits for the grace period."""
    roles: tuple[Role, ...]
    read_check: ReadCheck
    id_template: str
    existence_template: str
    scope_template: str
    endpoint_path: str
    client_settings: Mapping[str, Mapping[str, str]]
    """Setting keys and value templates by client type."""

    @property
    def resource_type(self) -> str:
        """Folded type of the resource whose existence decides."""
        return naming.type_of(self.existence_template)

    @property
    def client_types(self) -> tuple[str, ...]:
        """Client types in alphabetical order."""
        return tuple(sorted(self.client_settings))

    def names(self, target_id: str) -> Mapping[str, str] | None:
        """The names in a target's id by placeholder, as written, or ``None`` if it is another type's id."""
        parts = [part for part in target_id.split("/") if part]
        found = _pattern(self.id_template).fullmatch("/" + "/".join(parts))
        return None if found is None else found.groupdict()

    def existence_id(self, target_id: str) -> str:
        """Id of the resource to read again to learn whether the target still exists."""
        return self._filled(self.existence_template, target_id)

    def scope(self, target_id: str) -> str:
        """Id of the resource on which the roles are assigned."""
        return self._filled(self.scope_template, target_id)

    def facts(self, target_id: str, resource: Mapping[str, Any], *, client_id: str) -> dict[str, str]:
        """What the settings are made of.

        Args:
            target_id: the target as the request names it.
            resource: answer of the GET of ``existence_id``; the endpoint comes from there and not from a
                template, because clouds and zones differ.
            client_id: of the workload's identity.

        Raises:
            PermanentError: ``endpoint-missing`` if Azure's answer names none.
        """
        value: Any = resource
        for key in self.endpoint_path.split("."):
            value = value.get(key) if isinstance(value, Mapping) else None
        if not isinstance(value, str) or not value.startswith("https://"):
            raise PermanentError("endpoint-missing", f"{self.title} {target_id} has no {self.endpoint_path}")
        endpoint = value.rstrip("/") + "/"
        return {**self._names(target_id), "endpoint": endpoint, "clientId": client_id}

    def settings(self, client_type: str, facts: Mapping[str, str]) -> dict[str, str]:
        """Keys and values of the connection's secret.

        Raises:
            RefusedError: ``unknown-client-type``.
        """
        self.check_client_type(client_type)
        templates = self.client_settings[client_type]
        return {key: _fill(template, facts) for key, template in templates.items()}

    def check_client_type(self, client_type: str) -> None:
        """Refuse a client type for which there are no settings.

        Raises:
            RefusedError: ``unknown-client-type``.
        """
        if client_type not in self.client_settings:
            raise RefusedError(
                "unknown-client-type",
                f"{self.name} has no settings for this client type",
                field="connection.clientType",
                remedy=f"use one of {', '.join(self.client_types)}",
            )

    def harmless_keys(self, client_type: str) -> frozenset[str]:
        """Setting keys that hold no credential in a connection through an identity; none if it is unknown."""
        return frozenset(self.client_settings.get(client_type, {}))

    def read_url(self, facts: Mapping[str, str]) -> str:
        """Address of the read that proves access."""
        return facts["endpoint"] + self.read_check.path

    def _names(self, target_id: str) -> Mapping[str, str]:
        found = self.names(target_id)
        if found is None:
            raise RefusedError(
                "target-type-mismatch",
                f"the target's id is not one of {self.title}",
                field="connection.target.id",
                remedy=f"{self.name} takes {self.id_template}",
            )
        return found

    def _filled(self, template: str, target_id: str) -> str:
        return _fill(template, self._names(target_id))


@dataclasses.dataclass(frozen=True, slots=True)
class Catalogue:
    """All rows."""

    rows: tuple[TargetType, ...]

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
            remedy=f"use one of {', '.join(row.name for row in self.rows)}",
        )

    def match(self, target_id: str) -> TargetType | None:
        """The first row whose ids look like this one, in any casing."""
        return next((row for row in self.rows if row.names(target_id) is not None), None)

    def choose(self, type_name: str, target_id: str, client_type: str) -> TargetType:
        """The row of a request, once type, id and client type are known to belong together.

        Raises:
            RefusedError: ``unknown-target-type``, ``target-type-mismatch`` or ``unknown-client-type``.
        """
        row = self.find(type_name)
        row.existence_id(target_id)
        row.check_client_type(client_type)
        return row

    def watched_types(self) -> frozenset[str]:
        """Folded resource types whose deletion takes a target with it: each row's own and its parents."""
        ids = [above for row in self.rows for above in naming.ancestors(row.existence_template)]
        return frozenset(naming.type_of(one) for one in ids) - {"microsoft.resources/resourcegroups"}


@functools.cache
def catalogue() -> Catalogue:
    """The catalogue that is part of the product, read once."""
    return parse(_FILE.read_text(encoding="utf-8"))


def parse(text: str) -> Catalogue:
    """Rows from the catalogue file's JSON.

    Raises:
        KeyError: a row lacks a column; the file is part of the product, so this is a defect of it.
    """
    return Catalogue(tuple(_row(row) for row in json.loads(text)["targets"]))


def _row(row: Mapping[str, Any]) -> TargetType:
    return TargetType(
        name=row["type"],
        title=row["title"],
        api_version=row["apiVersion"],
        soft_delete=row["softDelete"],
        roles=tuple(Role(name=role["name"], id=role["id"]) for role in row["roles"]),
        read_check=ReadCheck(token_scope=row["readCheck"]["tokenScope"], path=row["readCheck"]["path"]),
        id_template=row["id"],
        existence_template=row["existenceId"],
        scope_template=row["scope"],
        endpoint_path=row["endpoint"],
        client_settings=MappingProxyType(
            {
                client_type: MappingProxyType(dict(group["values"]))
                for group in row["settings"]
                for client_type in group["clientTypes"]
            }
        ),
    )


@functools.cache
def _pattern(template: str) -> re.Pattern[str]:
    """Pattern of an id template: ``{name}`` is one segment, a trailing ``[...]`` may be absent."""
    main, *optional = _OPTIONAL.split(template)
    text = _segments(main) + (f"(?:{_segments(optional[0])})?" if optional else "")
    return re.compile(text, re.IGNORECASE | re.ASCII)


def _segments(template: str) -> str:
    return _PLACE.sub(r"(?P<\1>[^/]+)", re.escape(template).replace(r"\{", "{").replace(r"\}", "}"))


def _fill(template: str, facts: Mapping[str, str]) -> str:
    return _PLACE.sub(lambda place: facts[place[1]], template)
