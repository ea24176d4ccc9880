"""ARM resources and linkers in dictionaries."""

from __future__ import annotations

import builtins
from collections.abc import Mapping
from typing import Any

from shared.errors import MooringError, PermanentError
from shared.naming import fold_id, type_of
from shared.ports import Linker, Lock
from tests.fakes.azure_world import AzureWorld


class InMemoryResources:
    """``ports.Resources`` for tests."""

    def __init__(self, world: AzureWorld) -> None:
        self._world = world
        self.broken: dict[str, MooringError] = {}
        """Errors by folded id, for answers that are neither 200 nor a definite not-found."""
        self.may_list_keys = True
        """Whether the app may have keys of targets."""
        self.list_broken: MooringError | None = None
        """Error of every list."""
        self.locks_broken: MooringError | None = None
        """Error of every list of locks."""

    async def get(self, resource_id: str, *, api_version: str) -> Mapping[str, Any] | None:
        if not api_version:
            raise ValueError("an API version is needed")
        key = fold_id(resource_id)
        if key in self.broken:
            raise self.broken[key]
        if key in self._world.unregistered:
            return {"id": resource_id, "registrationState": "NotRegistered"}
        if key in self._world.groups:
            return {"id": resource_id}
        if key in self._world.identities:
            return {"id": resource_id, "location": self._world.identities[key].location}
        return self._world.resources.get(key)

    async def list(self, subscription_id: str, *, resource_type: str, name: str = "") -> list[str]:
        if "'" in resource_type or "'" in name:
            raise PermanentError("filter-invalid", "a quote in a type or name")
        if self.list_broken is not None:
            raise self.list_broken
        present = {key: str(body["id"]) for key, body in self._world.resources.items()}
        present |= {key: found.resource_id for key, found in self._world.identities.items()}
        return [
            resource_id
            for key, resource_id in sorted(present.items())
            if key.startswith(f"/subscriptions/{subscription_id.lower()}/")
            and type_of(key) == resource_type.lower()
            and (not name or key.rsplit("/", 1)[-1] == name.lower())
        ]

    async def list_keys(self, resource_id: str, *, action: str, api_version: str) -> Mapping[str, Any] | None:
        key = fold_id(resource_id)
        if not api_version:
            raise ValueError("an API version is needed")
        if not self.may_list_keys:
            raise PermanentError("access-denied", f"cannot {action} of {resource_id}")
        if any(
            one.level == "ReadOnly" and f"{key}/".startswith(f"{fold_id(one.scope)}/")
            for one in self._world.locks
        ):
            raise PermanentError("scope-locked", resource_id)
        if key in self.broken:
            raise self.broken[key]
        return (
            self._world.keys.get(key)
            if key.partition("/authorizationrules/")[0] in self._world.resources
            else None
        )

    async def locks(self, subscription_id: str) -> builtins.list[Lock]:
        if self.locks_broken is not None:
            raise self.locks_broken
        above = f"/subscriptions/{subscription_id.lower()}/"
        return [one for one in self._world.locks if f"{fold_id(one.scope)}/".startswith(above)]


class InMemoryLinkers:
    """``ports.Linkers`` for tests."""

    def __init__(self, world: AzureWorld) -> None:
        self._world = world

    async def get(self, linker_id: str) -> Linker | None:
        return self._world.linkers.get(fold_id(linker_id))

    async def list(self, cluster_id: str) -> list[Linker]:
        prefix = f"{fold_id(cluster_id)}/providers/microsoft.servicelinker/linkers/"
        return [linker for key, linker in sorted(self._world.linkers.items()) if key.startswith(prefix)]
