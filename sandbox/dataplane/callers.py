"""Who is calling: bearer tokens, checked against the keys Entra publishes.

Rules: signature RS256 by a key of the tenant's key set, lifetime, issuer
``https://sts.windows.net/{tenant}/`` (the v1 form that the storage and vault audiences get), and
an audience the service answers to.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Collection
from typing import Any

import aiohttp
import jwt

from sandbox.topology import Topology

KEYS_AGE_SECONDS = 5.0
"""An unknown key id makes the key set be read again, at most this often."""


class CallerRefusedError(Exception):
    """The token does not name a caller; ``missing`` says that there was none at all."""

    def __init__(self, reason: str, *, missing: bool = False) -> None:
        super().__init__(reason)
        self.missing = missing


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """The principal a token speaks for."""

    principal_id: str
    client_id: str


class CallerTokens:
    """Verifies tokens with a cached key set."""

    def __init__(self, topology: Topology, session: aiohttp.ClientSession) -> None:
        self._issuer = f"https://sts.windows.net/{topology.tenant_id}/"
        self._keys_url = f"{topology.entra_url}/{topology.tenant_id}/discovery/v2.0/keys"
        self._session = session
        self._keys: dict[str, jwt.PyJWK] = {}
        self._read_at = float("-inf")

    async def caller(self, authorization: str | None, audiences: Collection[str]) -> Caller:
        """Say who calls.

        Args:
            authorization: The request's ``Authorization`` header.
            audiences: Audiences the service answers to; a trailing slash makes no difference.

        Returns:
            The caller.

        Raises:
            CallerRefusedError: No token, or one that must not be believed.
        """
        if not authorization:
            raise CallerRefusedError("no Authorization header", missing=True)
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise CallerRefusedError("the scheme is not Bearer")
        try:
            key = await self._key(str(jwt.get_unverified_header(token).get("kid", "")))
            claims: dict[str, Any] = jwt.decode(
                token,
                key,
                algorithms=["RS256"],
                issuer=self._issuer,
                audience=[f"{audience}{end}" for audience in audiences for end in ("", "/")],
                options={"require": ["exp", "iss", "aud", "oid"]},
            )
        except jwt.PyJWTError as error:
            raise CallerRefusedError(str(error)) from error
        return Caller(principal_id=str(claims["oid"]), client_id=str(claims.get("appid", "")))

    async def _key(self, key_id: str) -> jwt.PyJWK:
        if key_id not in self._keys and time.monotonic() - self._read_at > KEYS_AGE_SECONDS:
            async with self._session.get(self._keys_url) as response:
                response.raise_for_status()
                published = jwt.PyJWKSet.from_dict(await response.json())
            self._keys = {str(key.key_id): key for key in published.keys}
            self._read_at = time.monotonic()
        try:
            return self._keys[key_id]
        except KeyError:
            raise CallerRefusedError("the tenant publishes no key of this id") from None
