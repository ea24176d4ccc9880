"""A minimal vault: secrets over the REST interface that ``azure-keyvault-secrets`` speaks.

The vault's real host name is part of every id it answers (``https://NAME.vault.azure.net/...``),
as clients take ids apart; only the URL it is reached by differs. Vaults use role-based access
control and soft delete, both as new vaults do by default.
"""

from __future__ import annotations

import json
import re
import time
from pathlib import Path
from typing import Any

from aiohttp import web

from sandbox.dataplane.access import AccessChecks, Resource
from sandbox.dataplane.callers import Caller, CallerRefusedError, CallerTokens
from sandbox.dataplane.vault_store import Secret, SecretVersion, VaultStore
from sandbox.topology import Topology

VAULT_TYPE = "Microsoft.KeyVault/vaults"
AUDIENCE = "https://vault.azure.net"
RIGHTS = "Microsoft.KeyVault/vaults/secrets"
RECOVERABLE_DAYS = 90
SECRET_NAME = re.compile(r"[0-9A-Za-z-]{1,127}")


class VaultService:
    """Answers everything below ``/vault/NAME``."""

    def __init__(self, topology: Topology, tokens: CallerTokens, access: AccessChecks) -> None:
        self._topology = topology
        self._tokens = tokens
        self._access = access
        self._store = VaultStore(Path(topology.state_dir) / "vaults.json")

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Check one request and answer it."""
        vault_name = request.match_info["vault"]
        vault = await self._access.resource(VAULT_TYPE, vault_name)
        if vault is None:
            return _error(404, "VaultNotFound", f"The vault '{vault_name}' does not exist.")
        try:
            caller = await self._tokens.caller(request.headers.get("Authorization"), (AUDIENCE,))
        except CallerRefusedError as refusal:
            request["caller"] = ""
            return self._unauthenticated(refusal)
        request["caller"] = caller.principal_id
        parts = [part for part in request.match_info["path"].split("/") if part]
        return await _Conversation(self._store, self._access, request, vault, caller).answer(parts)

    def _unauthenticated(self, refusal: CallerRefusedError) -> web.Response:
        text = "AKV10000: Request is missing a Bearer or PoP token."
        if not refusal.missing:
            text = f"AKV10032: Invalid token. {refusal}"
        response = _error(401, "Unauthorized", text)
        tenant_url = f"{self._topology.entra_url}/{self._topology.tenant_id}"
        response.headers["WWW-Authenticate"] = f'Bearer authorization="{tenant_url}", resource="{AUDIENCE}"'
        return response


class _Conversation:
    """One authenticated request to one vault."""

    def __init__(
        self,
        store: VaultStore,
        access: AccessChecks,
        request: web.Request,
        vault: Resource,
        caller: Caller,
    ) -> None:
        self._store = store
        self._access = access
        self._request = request
        self._vault = vault
        self._caller = caller
        self._key = f"{vault.id.lower()}@{vault.incarnation}"
        self._base = f"https://{request.match_info['vault'].lower()}.vault.azure.net"

    async def answer(self, parts: list[str]) -> web.Response:
        method = self._request.method
        match (method, *parts):
            case ("GET", "secrets" | "deletedsecrets"):
                return await self._list(deleted=parts[0] == "deletedsecrets")
            case ("GET", "secrets", name, "versions"):
                return await self._versions(name)
            case ("GET", "secrets", name, *version):
                return await self._get(name, version[0] if version else "")
            case ("PUT", "secrets", name):
                return await self._set(name)
            case ("DELETE", "secrets", name):
                return await self._delete(name)
            case ("GET", "deletedsecrets", name):
                return await self._get_deleted(name)
            case ("DELETE", "deletedsecrets", name):
                return await self._purge(name)
            case ("POST", "deletedsecrets", name, "recover"):
                return await self._recover(name)
        return _error(405, "MethodNotAllowed", f"{method} is not supported here.")

    async def _refusal(self, verb: str, name: str = "") -> web.Response | None:
        scope = f"{self._vault.id}/secrets/{name}" if name else self._vault.id
        data_action = f"{RIGHTS}/{verb}/action" if verb != "delete" else f"{RIGHTS}/delete"
        if not self._vault.by_roles:
            text = (
                f"The user, group or application 'appid={self._caller.client_id};"
                f"oid={self._caller.principal_id}' does not have secrets permission on key vault."
            )
            return _error(403, "Forbidden", text, inner="ForbiddenByPolicy")
        if await self._access.allowed(self._caller.principal_id, scope, data_action=data_action):
            return None
        text = (
            "Caller is not authorized to perform action on resource.\r\nIf role assignments, deny "
            "assignments or role definitions were changed recently, please observe propagation time.\r\n"
            f"Caller: appid={self._caller.client_id};oid={self._caller.principal_id}\r\n"
            f"Action: '{data_action}'\r\n"
            f"Resource: '{scope.lower()}'\r\nDecisionReason: 'DeniedWithNoValidRBAC' "
        )
        return _error(403, "Forbidden", text, inner="ForbiddenByRbac")

    async def _list(self, *, deleted: bool) -> web.Response:
        if refusal := await self._refusal("readMetadata"):
            return refusal
        rows = []
        for secret in self._store.secrets(self._key, deleted=deleted):
            row = self._bundle(secret, secret.versions[-1], with_value=False)
            row["id"] = f"{self._base}/secrets/{secret.name}"
            rows.append(row)
        return web.json_response({"value": rows, "nextLink": None})

    async def _versions(self, name: str) -> web.Response:
        if refusal := await self._refusal("readMetadata", name):
            return refusal
        secret = self._store.secret(self._key, name)
        if secret is None:
            return _not_found(name)
        rows = [self._bundle(secret, version, with_value=False) for version in secret.versions]
        return web.json_response({"value": rows, "nextLink": None})

    async def _get(self, name: str, version_id: str) -> web.Response:
        if refusal := await self._refusal("getSecret", name):
            return refusal
        secret = self._store.secret(self._key, name)
        versions = secret.versions if secret else []
        if version_id:
            versions = [version for version in versions if version.version == version_id]
        if secret is None or not versions:
            return _not_found(f"{name}/{version_id}" if version_id else name)
        if not versions[-1].enabled:
            return _error(
                403,
                "Forbidden",
                "Operation get is not allowed on a disabled secret.",
                inner="SecretDisabled",
            )
        return web.json_response(self._bundle(secret, versions[-1]))

    async def _set(self, name: str) -> web.Response:
        if refusal := await self._refusal("setSecret", name):
            return refusal
        try:
            body = await self._request.json()
        except json.JSONDecodeError:
            body = None
        if not isinstance(body, dict) or not isinstance(body.get("value"), str):
            return _error(400, "BadParameter", "Property  has invalid value")
        if not SECRET_NAME.fullmatch(name):
            return _error(400, "BadParameter", f"The request URI contains an invalid name: {name}")
        if self._store.secret(self._key, name, deleted=True):
            text = (
                f"Secret {name} is currently in a deleted but recoverable state, and its name cannot be "
                "reused; in this state, the secret can only be recovered or purged."
            )
            return _error(409, "Conflict", text, inner="ObjectIsDeletedButRecoverable")
        version = self._store.add_version(self._key, name, body["value"], body)
        secret = self._store.secret(self._key, name)
        return web.json_response(self._bundle(secret, version) if secret else {})

    async def _delete(self, name: str) -> web.Response:
        if refusal := await self._refusal("delete", name):
            return refusal
        secret = self._store.secret(self._key, name)
        if secret is None:
            return _not_found(name)
        secret.deleted_at = int(time.time())
        self._store.save()
        return web.json_response(self._bundle(secret, secret.versions[-1]))

    async def _get_deleted(self, name: str) -> web.Response:
        if refusal := await self._refusal("readMetadata", name):
            return refusal
        secret = self._store.secret(self._key, name, deleted=True)
        if secret is None:
            return _not_found(name)
        return web.json_response(self._bundle(secret, secret.versions[-1], with_value=False))

    async def _purge(self, name: str) -> web.Response:
        if refusal := await self._refusal("purge", name):
            return refusal
        if self._store.secret(self._key, name, deleted=True) is None:
            return _not_found(name)
        self._store.forget(self._key, name)
        return web.Response(status=204)

    async def _recover(self, name: str) -> web.Response:
        if refusal := await self._refusal("recover", name):
            return refusal
        secret = self._store.secret(self._key, name, deleted=True)
        if secret is None:
            return _not_found(name)
        secret.deleted_at = None
        self._store.save()
        return web.json_response(self._bundle(secret, secret.versions[-1], with_value=False))

    def _bundle(self, secret: Secret, version: SecretVersion, *, with_value: bool = True) -> dict[str, Any]:
        attributes: dict[str, Any] = {
            "enabled": version.enabled,
            "created": version.created,
            "updated": version.updated,
            "recoveryLevel": "Recoverable+Purgeable",
            "recoverableDays": RECOVERABLE_DAYS,
        }
        if version.not_before is not None:
            attributes["nbf"] = version.not_before
        if version.expires is not None:
            attributes["exp"] = version.expires
        bundle: dict[str, Any] = {
            "id": f"{self._base}/secrets/{secret.name}/{version.version}",
            "attributes": attributes,
            "tags": version.tags,
        }
        if version.content_type is not None:
            bundle["contentType"] = version.content_type
        if secret.deleted_at is not None:
            bundle["recoveryId"] = f"{self._base}/deletedsecrets/{secret.name}"
            bundle["deletedDate"] = secret.deleted_at
            bundle["scheduledPurgeDate"] = secret.deleted_at + RECOVERABLE_DAYS * 86_400
        elif with_value:
            bundle["value"] = version.value
        return bundle


def _not_found(name: str) -> web.Response:
    text = (
        f"A secret with (name/id) {name} was not found in this key vault. If you recently deleted this "
        "secret you may be able to recover it using the correct recovery command."
    )
    return _error(404, "SecretNotFound", text)


def _error(status: int, code: str, message: str, inner: str = "") -> web.Response:
    error: dict[str, Any] = {"code": code, "message": message}
    if inner:
        error["innererror"] = {"code": inner}
    return web.json_response({"error": error}, status=status)
