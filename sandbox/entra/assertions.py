"""Workload identity federation: a service-account token instead of a secret.

The assertion must match a federated credential of the identity in issuer, subject and audience,
character by character, and be signed by a key that the issuer publishes.
"""

from __future__ import annotations

import time
from typing import Any
from urllib.parse import urlsplit

import aiohttp

from sandbox.entra.errors import EntraError
from sandbox.entra.principals import Credential, Principal

AUDIENCE = "api://AzureADTokenExchange"
LOOPBACK = frozenset({"127.0.0.1", "localhost"})
ALGORITHMS = ["RS256", "RS384", "RS512", "ES256", "ES384"]
CLOCK_SKEW_SECONDS = 300
HELP = "https://learn.microsoft.com/entra/workload-id/workload-identity-federation"


class Assertions:
    """Verifies assertions; issuers' keys are kept until a token names one that is unknown."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session
        self._keys: dict[str, dict[str, Any]] = {}
        self.credential_seconds = 0.0
        """How long a new credential stays unknown to the token endpoint."""

    async def verify(self, assertion: str, principal: Principal) -> None:
        """Check an assertion for a principal.

        Raises:
            EntraError: With the code Entra gives for what does not match.
        """
        import jwt

        try:
            header = jwt.get_unverified_header(assertion)
            claims: dict[str, Any] = jwt.decode(assertion, options={"verify_signature": False})
        except jwt.PyJWTError as error:
            raise EntraError(50027, "JWT token is invalid or malformed.") from error
        self._match(claims, principal)
        key = await self._key(str(claims["iss"]), str(header.get("kid", "")))
        try:
            jwt.decode(
                assertion,
                key,
                algorithms=ALGORITHMS,
                audience=AUDIENCE,
                leeway=CLOCK_SKEW_SECONDS if claims.get("nbf", 0) > time.time() else 0,
                options={"require": ["exp", "iss", "sub"]},
            )
        except (jwt.ExpiredSignatureError, jwt.ImmatureSignatureError) as error:
            raise EntraError(
                700024,
                f"Client assertion is not within its valid time range. Current time: {_stamp(time.time())}, "
                f"expiry time of assertion: {_stamp(float(claims.get('exp', 0)))}.",
            ) from error
        except jwt.PyJWTError as error:
            raise EntraError(50027, "JWT token is invalid or malformed.") from error

    def _match(self, claims: dict[str, Any], principal: Principal) -> None:
        issuer, subject = str(claims.get("iss", "")), str(claims.get("sub", ""))
        audience = claims.get("aud", "")
        audiences = [audience] if isinstance(audience, str) else list(audience)
        seen = time.time() - self.credential_seconds
        known: list[Credential] = [one for one in principal.credentials if one.created_at <= seen]
        if not known:
            raise EntraError(
                70021,
                "No matching federated identity record found for presented assertion. Assertion Issuer: "
                f"'{issuer}'. Assertion Subject: '{subject}'. Assertion Audience: "
                f"'{','.join(audiences)}'. {HELP}",
            )
        for code, what, value, matches in (
            (700211, "issuer", issuer, lambda one: one.issuer == issuer),
            (700213, "subject", subject, lambda one: one.subject == subject),
            (
                700212,
                "audience",
                ",".join(audiences),
                lambda one: AUDIENCE in audiences and AUDIENCE in one.audiences,
            ),
        ):
            known = [one for one in known if matches(one)]
            if not known:
                raise EntraError(
                    code,
                    f"No matching federated identity record found for presented assertion {what} "
                    f"'{value}'. Check "
                    "your federated identity credential Subject, Audience and Issuer against the presented "
                    f"assertion. {HELP}",
                )

    async def _key(self, issuer: str, kid: str) -> Any:
        if kid not in self._keys.get(issuer, {}):
            self._keys[issuer] = await self._published(issuer)
        try:
            return self._keys[issuer][kid]
        except KeyError as error:
            raise EntraError(50027, "JWT token is invalid or malformed: its key is not published.") from error

    async def _published(self, issuer: str) -> dict[str, Any]:
        import jwt

        try:
            document = await self._fetch(issuer.rstrip("/") + "/.well-known/openid-configuration")
            if document.get("issuer") != issuer:
                raise EntraError(50166, "Request to External OIDC endpoint failed: it names another issuer.")
            keys = jwt.PyJWKSet.from_dict(await self._fetch(str(document.get("jwks_uri", ""))))
        except (aiohttp.ClientError, TimeoutError, ValueError, jwt.PyJWTError) as error:
            raise EntraError(50166, "Request to External OIDC endpoint failed.") from error
        return {key.key_id or "": key.key for key in keys.keys}

    async def _fetch(self, url: str) -> dict[str, Any]:
        """Fetch a document, from loopback over TLS only: the sandbox calls nobody outside.

        Raises:
            ValueError: Another scheme or host.
        """
        parts = urlsplit(url)
        if parts.scheme != "https" or parts.hostname not in LOOPBACK:
            raise ValueError("issuers of the sandbox are https on loopback")
        async with self._session.get(url, allow_redirects=False) as answer:
            answer.raise_for_status()
            found: dict[str, Any] = await answer.json(content_type=None)
            return found


def _stamp(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))
