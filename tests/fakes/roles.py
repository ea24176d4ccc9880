"""Role assignments in a dictionary."""

from __future__ import annotations

import dataclasses

from shared.errors import PermanentError, TransientError
from shared.naming import fold_id
from shared.ports import RoleAssignment
from tests.fakes.azure_world import AzureWorld


class InMemoryRoles:
    """``ports.Roles`` for tests."""

    def __init__(self, world: AzureWorld) -> None:
        self._world = world

    async def get(self, scope: str, name: str) -> RoleAssignment | None:
        found = self._world.assignments.get((fold_id(scope), name.lower()))
        return None if found is None else dataclasses.replace(found, scope=scope)

    async def ensure(self, assignment: RoleAssignment) -> RoleAssignment:
        if not self._world.scope_exists(assignment.scope):
            raise TransientError("parent-not-found", assignment.scope)
        key = (fold_id(assignment.scope), assignment.name.lower())
        present = self._world.assignments.get(key)
        if present is not None and _triple(present) != _triple(assignment):
            raise PermanentError("role-assignment-foreign", assignment.name)
        for found in self._world.assignments.values():
            if _triple(found) == _triple(assignment) and found.name.lower() != assignment.name.lower():
                return dataclasses.replace(found, scope=assignment.scope, existing=True)
        made = dataclasses.replace(assignment, existing=False)
        self._world.assignments[key] = made
        return made

    async def delete(self, scope: str, name: str) -> None:
        self._world.assignments.pop((fold_id(scope), name.lower()), None)

    async def list_for_principal(self, scope: str, principal_id: str) -> list[RoleAssignment]:
        folded = fold_id(scope)
        return [
            found
            for (at, _), found in self._world.assignments.items()
            if found.principal_id.lower() == principal_id.lower()
            and (f"{at}/".startswith(f"{folded}/") or f"{folded}/".startswith(f"{at}/"))
        ]

    async def list(self, scope: str) -> list[RoleAssignment]:
        folded = fold_id(scope)
        found = sorted(self._world.assignments.items())
        return [one for (at, _), one in found if f"{at}/".startswith(f"{folded}/")]


def _triple(assignment: RoleAssignment) -> tuple[str, str, str]:
    role = assignment.role_definition_id.rsplit("/", 1)[-1].lower()
    return fold_id(assignment.scope), assignment.principal_id.lower(), role
