"""Bearer tokens: signature, audience, issuer and time, against the Entra emulator's published keys."""

from __future__ import annotations

import hashlib
import time
from typing import Any

import aiohttp

from sandbox.arm.errors import unauthenticated
from sandbox.topology import Topology

AUDIENCES = (
    "https://management.azure.com",
    "https://management.azure.com/",
    "https://management.core.windows.net",
    "https://management.core.windows.net/",
)
KEPT_TOKENS = 2000


class Authentication:
    """Turns an ``Authorization`` header into the caller's claims."""

    def __init__(self, topology: Topology, session: aiohttp.ClientSession) -> None:
        self._topology = topology
        self._session = session
        self._keys: dict[str, Any] = {}
        self._seen: dict[str, dict[str, Any]] = {}

    async def caller(self, header: str) -> dict[str, Any]:
        """Claims of the caller.

        Raises:
            ArmError: 401 with a ``WWW-Authenticate`` challenge.
        """
        tenant = self._topology.tenant_id
        scheme, _, token = header.partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise unauthenticated(
                tenant,
                "AuthenticationFailed",
                "Authentication failed. The 'Authorization' header is missing.",
            )
        digest = hashlib.sha256(token.encode()).hexdigest()
        known = self._seen.get(digest)
        if known is None:
            known = await self._verify(token)
            if len(self._seen) > KEPT_TOKENS:
                self._seen.clear()
            self._seen[digest] = known
        if known["exp"] < time.time():
            raise unauthenticated(tenant, "ExpiredAuthenticationToken", "The access token has expired.")
        return known

    async def _verify(self, token: str) -> dict[str, Any]:
        import jwt

        tenant = self._topology.tenant_id
        try:
            key = await self._key(jwt.get_unverified_header(token).get("kid", ""))
            claims: dict[str, Any] = jwt.decode(
                token,
                key,
                algorithms=["RS256"],
                audience=list(AUDIENCES),
                issuer=f"https://sts.windows.net/{tenant}/",
                options={"require": ["exp", "oid"]},
            )
        except jwt.ExpiredSignatureError as error:
            message = "The access token has expired."
            raise unauthenticated(tenant, "ExpiredAuthenticationToken", message) from error
        except jwt.InvalidAudienceError as error:
            message = "The access token has been obtained for wrong audience or resource."
            raise unauthenticated(tenant, "InvalidAuthenticationTokenAudience", message) from error
        except (jwt.PyJWTError, KeyError, aiohttp.ClientError) as error:
            message = "The access token is invalid."
            raise unauthenticated(tenant, "InvalidAuthenticationToken", message) from error
        return claims

    async def _key(self, kid: str) -> Any:
        if kid not in self._keys:
            import jwt

            url = f"{self._topology.entra_url}/{self._topology.tenant_id}/discovery/v2.0/keys"
            async with self._session.get(url) as response:
                published = jwt.PyJWKSet.from_dict(await response.json())
            self._keys = {key.key_id: key.key for key in published.keys if key.key_id}
        return self._keys[kid]
