"""Managed identities and their federated credentials, through azure-mgmt-msi.

Rules of the service (learn.microsoft.com, "Important considerations and restrictions for federated
identity credentials"): at most 20 credentials per identity, one write at a time per identity (409), exactly
one audience. No operation is asynchronous and there are no etags.
"""

from __future__ import annotations

import builtins
from collections.abc import Mapping
from typing import Any

from shared.clients.arm_connection import ArmConnection, split_id
from shared.clients.arm_errors import ask, ask_all
from shared.clients.error_rules import Intent
from shared.errors import PermanentError, TransientError
from shared.metrics import bucket_of
from shared.naming import protected_credential, resource_group_of, subscription_of
from shared.ports import Credential, Identity

CREDENTIALS_LIMIT = 20


class AzureIdentities:
    """``ports.Identities`` over Azure.

    Args:
        arm: How to reach Resource Manager.
    """

    def __init__(self, arm: ArmConnection) -> None:
        self._arm = arm
        self._clients: dict[str, Any] = {}

    async def get(self, resource_id: str) -> Identity | None:
        """Read one identity."""
        client, group, name = self._locate(resource_id)
        found = await ask(client.user_assigned_identities.get(group, name), Intent.READ)
        return None if found is None else _identity(found, resource_id)

    async def ensure(self, resource_id: str, *, location: str, tags: Mapping[str, str]) -> Identity:
        """Make or update one identity; tags that are not named are kept, since a PUT replaces them all."""
        client, group, name = self._locate(resource_id)
        present = await ask(client.user_assigned_identities.get(group, name), Intent.READ)
        if present is not None:
            kept = dict(present.tags or {})
            if all(kept.get(key) == value for key, value in tags.items()):
                return _identity(present, resource_id)
            tags, location = {**kept, **tags}, present.location
        body = {"location": location, "tags": dict(tags)}
        made = await ask(client.user_assigned_identities.create_or_update(group, name, body), Intent.ENSURE)
        return _identity(_expect(made), resource_id)

    async def delete(self, resource_id: str) -> None:
        """Delete one identity and, with it, its credentials; absent is fine."""
        client, group, name = self._locate(resource_id)
        await ask(client.user_assigned_identities.delete(group, name), Intent.DELETE)

    async def get_credential(self, identity_id: str, name: str) -> Credential | None:
        """Read one credential."""
        client, group, identity = self._locate(identity_id)
        found = await ask(client.federated_identity_credentials.get(group, identity, name), Intent.READ)
        return None if found is None else _credential(found)

    async def list_credentials(self, identity_id: str) -> builtins.list[Credential]:
        """All credentials of an identity; empty if the identity is gone."""
        client, group, identity = self._locate(identity_id)

        listed = await ask_all(client.federated_identity_credentials.list(group, identity))
        ratio = len(listed or []) / CREDENTIALS_LIMIT
        self._arm.telemetry.measure("fic_used_ratio", ratio, bucket=bucket_of(ratio))
        return [_credential(found) for found in listed or []]

    async def ensure_credential(self, identity_id: str, credential: Credential) -> Credential:
        """Make or change one credential.

        Raises:
            NotYetError: ``credential-write-busy``: another write to this identity was going on (409).
        """
        client, group, identity = self._locate(identity_id)
        operations = client.federated_identity_credentials
        body = {
            "properties": {
                "issuer": credential.issuer,
                "subject": credential.subject,
                "audiences": list(credential.audiences),
            },
        }
        made = await ask(operations.create_or_update(group, identity, credential.name, body), Intent.ENSURE)
        return _credential(_expect(made))

    async def delete_credential(self, identity_id: str, name: str) -> None:
        """Delete one credential; absent is fine.

        Raises:
            PermanentError: ``credential-protected``: it is AKS's own, whoever asks.
        """
        if protected_credential(name):
            raise PermanentError("credential-protected", f"{name} belongs to AKS's identity bindings")
        client, group, identity = self._locate(identity_id)
        await ask(client.federated_identity_credentials.delete(group, identity, name), Intent.DELETE)

    async def list(self, scope_id: str) -> builtins.list[Identity]:
        """All identities of a resource group or of a subscription; empty if it is gone."""
        subscription, group = subscription_of(scope_id), resource_group_of(scope_id)
        if not subscription:
            raise PermanentError("resource-id-invalid", scope_id)
        operations = self._client(subscription).user_assigned_identities
        listed = await ask_all(
            operations.list_by_resource_group(group.rsplit("/", 1)[-1])
            if group
            else operations.list_by_subscription(),
        )
        # One that is just being made has no ids yet; the next look finds it.
        return [
            _identity(found, found.id) for found in listed or [] if found.client_id and found.principal_id
        ]

    async def aclose(self) -> None:
        """Close the SDK's clients."""
        clients, self._clients = list(self._clients.values()), {}
        for client in clients:
            await client.close()

    def _locate(self, resource_id: str) -> tuple[Any, str, str]:
        subscription, group, name = split_id(
            resource_id, "Microsoft.ManagedIdentity", "userAssignedIdentities"
        )
        return self._client(subscription), group, name

    def _client(self, subscription: str) -> Any:
        if subscription not in self._clients:
            # The version's own module: the package's top level would load a switch over all versions.
            from azure.mgmt.msi.v2024_11_30.aio import ManagedServiceIdentityClient

            self._clients[subscription] = ManagedServiceIdentityClient(
                self._arm.credential,
                subscription,
                **self._arm.options(),
            )
        return self._clients[subscription]


def _identity(found: Any, asked_id: str) -> Identity:
    """MSI answers ``resourcegroups`` in its own casing, so the id stays as it was asked for."""
    if not found.client_id or not found.principal_id:
        raise TransientError("identity-incomplete", f"{asked_id} has no client or principal id yet")
    return Identity(
        resource_id=asked_id,
        client_id=found.client_id,
        principal_id=found.principal_id,
        location=found.location or "",
        tags=dict(found.tags or {}),
    )


def _credential(found: Any) -> Credential:
    return Credential(
        name=found.name or "",
        issuer=found.issuer or "",
        subject=found.subject or "",
        audiences=tuple(found.audiences or ()),
    )


def _expect(made: Any) -> Any:
    if made is None:
        raise PermanentError("answer-missing", "the service accepted the write and answered nothing")
    return made
