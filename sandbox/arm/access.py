"""Who may do what: role assignments at a scope or above it, checked against role definitions.

Azure adds up the assignments of a principal; an action is allowed when one role's ``actions``
match it and that same role's ``notActions`` do not. Wildcards span any characters, slashes included.
"""

from __future__ import annotations

import functools
import json
import re
from pathlib import Path
from typing import Any

from sandbox.arm.ids import id_key, is_at_or_below
from sandbox.arm.store import Store

ASSIGNMENTS = "Microsoft.Authorization/roleAssignments"
DEFINITIONS = "Microsoft.Authorization/roleDefinitions"
OWNER_ROLE = "8e3af657-a8ff-443c-a75c-2fe8c4bcb635"


@functools.cache
def built_in_roles() -> dict[str, dict[str, Any]]:
    """The built-in roles by id (``properties`` of a role definition, without the subscription)."""
    rows: list[dict[str, Any]] = json.loads(Path(__file__).with_name("roles.json").read_text())
    return {
        row["name"]: {
            "roleName": row["roleName"],
            "type": "BuiltInRole",
            "description": row["roleName"],
            "assignableScopes": ["/"],
            "permissions": [
                {
                    part: row.get(part, [])
                    for part in ("actions", "notActions", "dataActions", "notDataActions")
                },
            ],
            "createdOn": "2015-02-02T21:55:09.8806423Z",
            "updatedOn": "2021-11-11T20:13:45.8978856Z",
            "createdBy": None,
            "updatedBy": None,
        }
        for row in rows
    }


@functools.lru_cache(maxsize=4096)
def _pattern(wildcard: str) -> re.Pattern[str]:
    return re.compile(re.escape(wildcard).replace(r"\*", ".*"), re.IGNORECASE)


def matches_any(action: str, wildcards: list[str]) -> bool:
    """Say whether an action is covered by one of the patterns of a role."""
    return any(_pattern(wildcard).fullmatch(action) for wildcard in wildcards)


class Access:
    """Answers permission questions from the store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def role(self, definition_id: str) -> dict[str, Any] | None:
        """Properties of a role definition, built-in or custom, by id or guid."""
        guid = definition_id.rstrip("/").rsplit("/", 1)[-1].lower()
        found = built_in_roles().get(guid)
        if found is not None:
            return found
        for body in self._store.of_type(DEFINITIONS):
            if body["name"].lower() == guid:
                return dict(body["properties"])
        return None

    def permissions(self, principal_id: str, scope: str) -> list[dict[str, list[str]]]:
        """Permission blocks that hold for a principal at a scope."""
        key = id_key(scope)
        blocks: list[dict[str, list[str]]] = []
        for body in self._store.of_type(ASSIGNMENTS):
            properties = body["properties"]
            if properties["principalId"].lower() != principal_id.lower():
                continue
            if not is_at_or_below(key, id_key(properties["scope"])):
                continue
            role = self.role(properties["roleDefinitionId"])
            blocks.extend(role["permissions"] if role else [])
        return blocks

    def allows(self, principal_id: str, scope: str, *, action: str = "", data_action: str = "") -> bool:
        """Say whether a principal may do an action, a data action, or both."""
        blocks = self.permissions(principal_id, scope)
        for wanted, plus, minus in (
            (action, "actions", "notActions"),
            (data_action, "dataActions", "notDataActions"),
        ):
            if wanted and not any(
                matches_any(wanted, block.get(plus) or []) and not matches_any(wanted, block.get(minus) or [])
                for block in blocks
            ):
                return False
        return bool(action or data_action)
