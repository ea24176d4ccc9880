"""Managed identities in a dictionary, with the service's limits."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from shared.errors import NotYetError, PermanentError, TransientError
from shared.naming import fold_id, protected_credential, resource_group_of, type_of
from shared.ports import Credential, Identity
from tests.fakes.azure_world import AzureWorld

CREDENTIALS_LIMIT = 20


class InMemoryIdentities:
    """``ports.Identities`` for tests."""

    def __init__(self, world: AzureWorld) -> None:
        self._world = world
        self.busy: set[str] = set()
        """Folded ids of identities whose credentials are being written by somebody else."""

    async def get(self, resource_id: str) -> Identity | None:
        found = self._world.identities.get(_key(resource_id))
        return None if found is None else dataclasses.replace(found, resource_id=resource_id)

    async def ensure(self, resource_id: str, *, location: str, tags: Mapping[str, str]) -> Identity:
        key = _key(resource_id)
        if resource_group_of(resource_id) not in self._world.groups:
            raise PermanentError("resource-group-missing", resource_id)
        subscription = key.split("/resourcegroups/", maxsplit=1)[0]
        if f"{subscription}/providers/microsoft.managedidentity" in self._world.unregistered:
            raise PermanentError("provider-not-registered", resource_id)
        present = self._world.identities.get(key)
        made = Identity(
            resource_id=resource_id,
            client_id=present.client_id if present else self._world.guid(),
            principal_id=present.principal_id if present else self._world.guid(),
            location=present.location if present else location,
            tags={**(present.tags if present else {}), **tags},
        )
        self._world.identities[key] = made
        self._world.credentials.setdefault(key, {})
        return made

    async def delete(self, resource_id: str) -> None:
        _key(resource_id)
        self._world.remove(resource_id)

    async def get_credential(self, identity_id: str, name: str) -> Credential | None:
        return self._world.credentials.get(_key(identity_id), {}).get(name)

    async def list_credentials(self, identity_id: str) -> list[Credential]:
        return list(self._world.credentials.get(_key(identity_id), {}).values())

    async def ensure_credential(self, identity_id: str, credential: Credential) -> Credential:
        key = _key(identity_id)
        if key not in self._world.identities:
            raise TransientError("parent-not-found", identity_id)
        if key in self.busy:
            raise NotYetError("credential-write-busy", identity_id)
        present = self._world.credentials[key]
        twins = [
            one
            for one in present.values()
            if (one.issuer, one.subject) == (credential.issuer, credential.subject)
        ]
        if any(one.name != credential.name for one in twins) or len(credential.audiences) != 1:
            raise PermanentError(
                "bad-request", "issuer and subject exist already, or not exactly one audience"
            )
        if credential.name not in present and len(present) >= CREDENTIALS_LIMIT:
            raise PermanentError("bad-request", "too many credentials")
        present[credential.name] = credential
        return credential

    async def delete_credential(self, identity_id: str, name: str) -> None:
        key = _key(identity_id)
        if protected_credential(name):
            raise PermanentError("credential-protected", name)
        if key in self.busy:
            raise NotYetError("credential-write-busy", identity_id)
        self._world.credentials.get(key, {}).pop(name, None)

    async def list(self, scope_id: str) -> list[Identity]:
        prefix = f"{fold_id(scope_id)}/"
        return [found for key, found in sorted(self._world.identities.items()) if key.startswith(prefix)]


def _key(resource_id: str) -> str:
    if type_of(resource_id) != "microsoft.managedidentity/userassignedidentities":
        raise PermanentError("resource-id-invalid", resource_id)
    return fold_id(resource_id)
