"""The app's own tokens: one credential for all clients of the process, closed at the end.

In Azure that is the user-assigned identity named by ``AZURE_CLIENT_ID``; on a desk, where none is named,
whatever ``DefaultAzureCredential`` finds (a developer's ``az login``). There is no key, no secret and no
connection string to fall back on. The SDK is imported and the credential made with the first token.
"""

from __future__ import annotations

import asyncio
import re
import time
from typing import TYPE_CHECKING, Any, Self

from shared.clients.call_spans import token_call
from shared.clients.http_pool import RETRIES, RETRY_AFTER_LIMIT_SECONDS, RETRY_BACKOFF_SECONDS, HttpPool
from shared.errors import Pace, TransientError

if TYPE_CHECKING:
    from azure.core.credentials import AccessToken

REFRESH_MARGIN_SECONDS = 300
"""A token is replaced this long before it ends; no request of ours lasts longer."""
LAST_SECONDS = 60
"""One that cannot be replaced is used until this long before it ends."""
AGAIN_SECONDS = 15
"""Before it is tried again to replace a token that can still be used."""


_AADSTS = re.compile(r"AADSTS\d+")


class AppCredential:
    """The app's identity, as an SDK's token credential.

    Tokens are kept here, so that sixteen invocations that start together ask for one token, not sixteen. Who
    wants a token that is there waits for nobody who is fetching another.

    Args:
        pool: Connections.
        client_id: Client id of the app's user-assigned identity, empty on a desk.
    """

    def __init__(self, pool: HttpPool, *, client_id: str = "") -> None:
        self._pool = pool
        self._client_id = client_id
        self._inner: Any = None
        self._tokens: dict[tuple[str, ...], AccessToken] = {}
        self._locks: dict[tuple[str, ...], asyncio.Lock] = {}
        self._failed_at: dict[tuple[str, ...], float] = {}

    async def get_token(self, *scopes: str, claims: str | None = None, **options: Any) -> AccessToken:
        """A token for one scope; SDK clients call this.

        Args:
            scopes: As Entra names it, such as ``https://storage.azure.com/.default``.
            claims: Claims that a service asked for in a challenge; such a request is never answered
                from memory.
            options: Passed on (``tenant_id``, ``enable_cae``).

        Raises:
            TransientError: ``token-unavailable``. Being no SDK error it ends the calling client's own
                retries at once: the credential has had its own.
        """
        from azure.core.exceptions import AzureError

        kept = None if claims else self._kept(scopes)
        if kept is not None:
            return kept
        async with self._locks.setdefault(scopes, asyncio.Lock()):
            kept = None if claims else self._kept(scopes)  # whoever had the lock may have fetched it
            if kept is not None:
                return kept
            try:
                with token_call(self._pool.telemetry, "own"):
                    token: AccessToken = await self._open().get_token(*scopes, claims=claims, **options)
            except AzureError as error:
                # Only the kind of error and Entra's code: the text quotes the token service's answer.
                found = _AADSTS.search(str(error))
                detail = f"{type(error).__name__} {found.group(0) if found else ''}".strip()
                self._failed_at[scopes] = time.time()
                usable = None if claims else self._kept(scopes)
                if usable is None:
                    raise TransientError("token-unavailable", detail, pace=Pace.SLOW) from error
                return usable
            self._tokens[scopes] = token
            return token

    def _kept(self, scopes: tuple[str, ...]) -> AccessToken | None:
        """The token that is there, if it may be used now without trying to replace it."""
        kept = self._tokens.get(scopes)
        if kept is None:
            return None
        just_failed = time.time() - self._failed_at.get(scopes, 0.0) < AGAIN_SECONDS
        margin_seconds = LAST_SECONDS if just_failed else REFRESH_MARGIN_SECONDS
        return kept if kept.expires_on - time.time() > margin_seconds else None

    async def token(self, scope: str) -> str:
        """The bare token for one scope, for clients that are not Azure SDK clients."""
        return (await self.get_token(scope)).token

    def forget(self, scope: str) -> None:
        """Ask anew next time: a service refused the kept token."""
        self._tokens.pop((scope,), None)

    async def close(self) -> None:
        """Close the credential; SDK clients never do that, the process does."""
        if self._inner is not None:
            await self._inner.close()
            self._inner = None
        self._tokens.clear()

    async def aclose(self) -> None:
        """Same as ``close``."""
        await self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_exception: object) -> None:
        """A client that is closed must not close everybody's credential."""

    def _open(self) -> Any:
        if self._inner is None:
            from azure.identity.aio import DefaultAzureCredential, ManagedIdentityCredential

            options: dict[str, Any] = {
                "transport": self._pool.transport(),
                "retry_total": RETRIES,
                "retry_backoff_factor": RETRY_BACKOFF_SECONDS,
                "retry_backoff_max": RETRY_AFTER_LIMIT_SECONDS,
            }
            if self._client_id:
                self._inner = ManagedIdentityCredential(client_id=self._client_id, **options)
            else:
                self._inner = DefaultAzureCredential(
                    exclude_shared_token_cache_credential=True,
                    exclude_visual_studio_code_credential=True,
                    **options,
                )
        return self._inner
