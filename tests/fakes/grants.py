"""Data rights that services keep themselves, in a dictionary: Cosmos DB's roles, Redis' access policies."""

from __future__ import annotations

import dataclasses

from shared.errors import NotYetError, PermanentError, TransientError
from shared.naming import fold_id, resource_of
from shared.ports import RoleAssignment
from shared.target_parts import GrantKind
from tests.fakes.azure_world import AzureWorld


class InMemoryGrants:
    """``ports.Grants`` for tests; strict about what the services refuse."""

    def __init__(self, world: AzureWorld, kind: GrantKind) -> None:
        self._world, self._kind = world, kind
        self._begun: set[tuple[str, str, str]] = set()

    async def get(self, scope: str, name: str) -> RoleAssignment | None:
        return self._world.grants.get(self._key(scope, name))

    async def ensure(self, assignment: RoleAssignment) -> RoleAssignment:
        root = resource_of(assignment.scope)
        if fold_id(root) not in self._world.resources:
            raise TransientError("parent-not-found", root)
        if f"/{self._kind.definitions}/".lower() not in assignment.role_definition_id.lower():
            raise AssertionError(f"{assignment.role_definition_id} is no role of this service")
        key = self._key(assignment.scope, assignment.name)
        present = self._world.grants.get(key)
        if present is not None and _triple(present) != _triple(assignment):
            raise PermanentError("role-assignment-foreign", assignment.name)
        for one in await self.list(root):
            if one.name == assignment.name or one.principal_id.lower() != assignment.principal_id.lower():
                continue
            if _triple(one) == _triple(assignment):
                return dataclasses.replace(one, scope=assignment.scope, existing=True)
            if self._kind.one_each:
                raise PermanentError("access-policy-taken", one.name)
        if present is None:
            self._begin("put", key)
        self._world.grants[key] = dataclasses.replace(assignment, existing=False)
        return assignment

    async def delete(self, scope: str, name: str) -> None:
        key = self._key(scope, name)
        if key in self._world.grants:
            self._begin("delete", key)
            del self._world.grants[key]

    async def list(self, scope: str) -> list[RoleAssignment]:
        here, root = f"{fold_id(scope)}/", fold_id(resource_of(scope))
        found = sorted(self._world.grants.items())
        return [one for (at, _), one in found if at == root and f"{fold_id(one.scope)}/".startswith(here)]

    def _key(self, scope: str, name: str) -> tuple[str, str]:
        return fold_id(resource_of(scope)), name.lower()

    def _begin(self, verb: str, key: tuple[str, str]) -> None:
        """A slow service answers the first time that it has begun."""
        if self._world.slow_grants and (verb, *key) not in self._begun:
            self._begun.add((verb, *key))
            raise NotYetError("grant-pending", key[1])
        self._begun.discard((verb, *key))


def _triple(one: RoleAssignment) -> tuple[str, str, str]:
    return fold_id(one.scope), one.principal_id.lower(), one.role_definition_id.rsplit("/", 1)[-1].lower()
