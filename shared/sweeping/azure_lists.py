"""What Resource Manager lists of one subscription, each list read when it is first needed and then kept.

A list that may not be read is ``None``, and noted: it says nothing about what is in it. Resource Manager's
list of resources lags behind the providers; good for finding, never for proving.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from shared import naming
from shared.errors import PermanentError
from shared.inventory import subscription_scope
from shared.ports import Credential, Identity
from shared.steps.granting import kind_of, port_of
from shared.steps.surroundings import Outside
from shared.sweeping.ledger import Ledger
from shared.target_parts import AZURE_ROLE


@dataclasses.dataclass(slots=True, kw_only=True)
class AzureLists:
    """Lists of one subscription for one run. Mutable: filled on demand."""

    outside: Outside
    ledger: Ledger
    subscription_id: str
    identity_resource_group_id: str
    _known: dict[str, Any] = dataclasses.field(default_factory=dict)
    _turns: dict[str, asyncio.Lock] = dataclasses.field(default_factory=dict)

    async def targets(self, resource_type: str) -> frozenset[str] | None:
        """Folded ids of the resources of one type."""

        async def ask() -> frozenset[str]:
            call = self.outside.resources.list(self.subscription_id, resource_type=resource_type)
            return frozenset(map(naming.fold_id, await self.ledger.arm(call)))

        return await self._once(f"targets|{resource_type}", ask, "targets-not-listed")

    async def there(self, resource_id: str, *, api_version: str) -> bool | None:
        """Say whether a resource that no list has (it is below another one) is there; one GET."""

        async def ask() -> bool:
            call = self.outside.resources.get(resource_id, api_version=api_version)
            return await self.ledger.arm(call) is not None

        return await self._once(f"there|{naming.fold_id(resource_id)}", ask, "target-not-readable")

    async def identities(self) -> Mapping[str, Identity] | None:
        """Identities by folded id; those of our own group alone if others may not be listed."""
        scope = subscription_scope(self.subscription_id)
        found = await self._identities(scope, "identities-not-listed")
        if found is None and self.holds_our_identities:
            return await self._identities(self.identity_resource_group_id, "our-identities-not-listed")
        return found

    async def principals(self) -> frozenset[str] | None:
        """Principal ids of the identities; of all of them or none: a missing one would look gone."""

        async def ask() -> frozenset[str] | None:
            found = await self._identities(subscription_scope(self.subscription_id), "identities-not-listed")
            return None if found is None else frozenset(one.principal_id.lower() for one in found.values())

        return await self._once("principals", ask, "identities-not-listed")

    @property
    def holds_our_identities(self) -> bool:
        """Say whether the identities that we make are in this subscription."""
        return naming.subscription_of(self.identity_resource_group_id) == self.subscription_id

    async def complete(self, identity_id: str) -> bool:
        """Say whether an identity would be in the list if it were there."""
        if (
            await self._identities(subscription_scope(self.subscription_id), "identities-not-listed")
            is not None
        ):
            return True
        ours = naming.fold_id(self.identity_resource_group_id)
        return naming.resource_group_of(identity_id) == ours and await self.identities() is not None

    async def granted(self, item: Mapping[str, Any]) -> Mapping[tuple[str, str], str] | None:
        """Principal of each right by folded scope and name: the subscription's roles, or a service's own.

        Args:
            item: a recorded right; of the same kind, and at the same resource if its service keeps them.
        """
        kind = kind_of(item)
        everywhere = subscription_scope(self.subscription_id)
        scope = everywhere if kind is AZURE_ROLE else naming.resource_of(str(item["scope"]))

        async def ask() -> dict[tuple[str, str], str]:
            found = await self.ledger.arm(port_of(self.outside, kind).list(scope))
            return {(naming.fold_id(one.scope), one.name.lower()): one.principal_id.lower() for one in found}

        return await self._once(f"{kind.name}|{naming.fold_id(scope)}", ask, "roles-not-listed")

    async def credentials(self, identity_id: str) -> list[Credential] | None:
        """Credentials of an identity."""

        async def ask() -> list[Credential]:
            return await self.ledger.arm(self.outside.identities.list_credentials(identity_id))

        return await self._once(f"of|{naming.fold_id(identity_id)}", ask, "credentials-not-listed")

    async def _identities(self, scope: str, denied: str) -> Mapping[str, Identity] | None:
        async def ask() -> dict[str, Identity]:
            found = await self.ledger.arm(self.outside.identities.list(scope))
            return {naming.fold_id(one.resource_id): one for one in found}

        return await self._once(f"identities|{scope}", ask, denied)

    async def _once[T](self, name: str, ask: Callable[[], Awaitable[T]], denied: str) -> T | None:
        async with self._turns.setdefault(name, asyncio.Lock()):
            if name not in self._known:
                try:
                    self._known[name] = await ask()
                except PermanentError:
                    self.ledger.note(denied)
                    self._known[name] = None
        found: T | None = self._known[name]
        return found
