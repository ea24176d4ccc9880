"""Who calls: the administrator's token, Entra's tokens, service accounts, nobody.

Entra's tokens are verified as AKS has kube-apiserver verify them: issuer and audience of the AKS
server application, the keys Entra publishes, and the ``oid`` claim as the user's name.
"""

from __future__ import annotations

import dataclasses
import hmac
import ssl
import time
from typing import Any

import aiohttp
import jwt

from sandbox.kube.errors import unauthorized
from sandbox.kube.tokens import Issuer
from sandbox.topology import Topology

AKS_SERVER_APPLICATION = "6dae42f8-4368-4678-94ff-3960e28e3630"
"""Audience of every AKS API server's Entra tokens, the same in all clouds."""

KEYS_MIN_SECONDS = 1.0
"""Entra's keys are fetched again for an unknown key id, at most this often."""


@dataclasses.dataclass(frozen=True, slots=True)
class User:
    """An authenticated caller."""

    name: str
    groups: tuple[str, ...] = ()
    uid: str = ""


ANONYMOUS = User("system:anonymous", ("system:unauthenticated",))


class EntraKeys:
    """Entra's public keys, fetched when first needed and kept."""

    def __init__(self, topology: Topology) -> None:
        self._url = f"{topology.entra_url}/{topology.tenant_id}/discovery/v2.0/keys"
        self._ca_file = topology.ca_file
        self._keys: dict[str, jwt.PyJWK] = {}
        self._fetched_at = -KEYS_MIN_SECONDS

    async def key(self, key_id: str) -> jwt.PyJWK | None:
        """The key of that id, or None when Entra does not publish it or does not answer."""
        if key_id not in self._keys and time.monotonic() - self._fetched_at >= KEYS_MIN_SECONDS:
            try:
                await self._fetch()
            except (aiohttp.ClientError, TimeoutError, OSError, jwt.PyJWTError):
                return None
        return self._keys.get(key_id)

    async def _fetch(self) -> None:
        tls = ssl.create_default_context(cafile=self._ca_file)
        timeout = aiohttp.ClientTimeout(total=5)
        async with (
            aiohttp.ClientSession(timeout=timeout) as session,
            session.get(self._url, ssl=tls, raise_for_status=True) as response,
        ):
            document = await response.json(content_type=None)
        self._fetched_at = time.monotonic()
        self._keys = {key.key_id: key for key in jwt.PyJWKSet.from_dict(document).keys if key.key_id}


class Authenticator:
    """Turns a bearer token into a user, for every cluster."""

    def __init__(self, topology: Topology) -> None:
        self._admin_token = topology.kubernetes_admin_token
        self._entra_issuer = f"{topology.entra_url}/{topology.tenant_id}/"
        self._entra_keys = EntraKeys(topology)

    async def user(self, authorization: str | None, issuer: Issuer) -> User:
        """The caller of a request.

        Args:
            authorization: The header's value; None or empty means anonymous.
            issuer: Of the cluster that is called.

        Raises:
            ApiError: 401 for a token that proves nothing here.
        """
        if not authorization:
            return ANONYMOUS
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() != "bearer" or not token.strip():
            return ANONYMOUS
        user = await self.token_user(token.strip(), issuer, issuer.audiences)
        if user is None:
            raise unauthorized()
        return user

    async def token_user(self, token: str, issuer: Issuer, audiences: list[str]) -> User | None:
        """Who a token stands for, or None."""
        if hmac.compare_digest(token.encode(), self._admin_token.encode()):
            return User("admin", ("system:masters", "system:authenticated"))
        try:
            unverified = jwt.decode(token, options={"verify_signature": False})
        except jwt.InvalidTokenError:
            return None
        if unverified.get("iss") == issuer.url:
            return _account(issuer.verified(token, audiences))
        if unverified.get("iss") == self._entra_issuer:
            return await self._entra_user(token)
        return None

    async def _entra_user(self, token: str) -> User | None:
        key = await self._entra_keys.key(jwt.get_unverified_header(token).get("kid", ""))
        if key is None:
            return None
        try:
            claims = jwt.decode(
                token,
                key,
                algorithms=["RS256"],
                audience=AKS_SERVER_APPLICATION,
                issuer=self._entra_issuer,
                options={"require": ["exp", "oid"]},
            )
        except jwt.InvalidTokenError:
            return None
        return User(claims["oid"], ("system:authenticated",))


def _account(claims: dict[str, Any] | None) -> User | None:
    if claims is None:
        return None
    private = claims["kubernetes.io"]
    return User(
        claims["sub"],
        (
            "system:serviceaccounts",
            f"system:serviceaccounts:{private['namespace']}",
            "system:authenticated",
        ),
        private["serviceaccount"]["uid"],
    )
