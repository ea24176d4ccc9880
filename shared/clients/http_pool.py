"""One pool of HTTPS connections for all Azure SDK clients of a process, and one patience for them all.

The SDKs would each open a pool of their own, and with a CA file of one's own they would make a new TLS
context, hence a new connection, for every request. Sharing one session avoids both.

The SDKs' own retries bridge a hiccup and no more: a step has 90 seconds, and whatever takes longer waits
in the queue. azure-core's default is ten retries and it sleeps as long as ``Retry-After`` says, for any
status and method (``azure/core/pipeline/policies/_retry.py``); ours are two, within eight seconds, and a
longer ``Retry-After`` is left to the engine.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from shared.ports import SILENCE, Telemetry

if TYPE_CHECKING:
    import aiohttp
    from azure.core.pipeline.transport import AioHttpTransport

RETRIES = 2
RETRY_BACKOFF_SECONDS = 0.4
RETRY_AFTER_LIMIT_SECONDS = 2.0
"""A service that asks for more patience than this is asked again through the queue."""
RETRY_WINDOW_SECONDS = 8.0
"""No retry is started later than this after the first try."""
CONNECT_TIMEOUT_SECONDS = 5
READ_TIMEOUT_SECONDS = 30


class HttpPool:
    """The process's HTTPS connections to Azure.

    Args:
        ca_file: PEM file of trusted authorities; empty for the system's.
        telemetry: Is told of the calls that adapters send through this pool.
    """

    def __init__(self, *, ca_file: str = "", telemetry: Telemetry = SILENCE) -> None:
        self.telemetry = telemetry
        self._ca_file = ca_file
        self._session: aiohttp.ClientSession | None = None

    def transport(self) -> AioHttpTransport:
        """A transport for one SDK client; closing that client leaves the pool open."""
        from azure.core.pipeline.transport import AioHttpTransport

        return AioHttpTransport(
            session=self._open(),
            session_owner=False,
            connection_timeout=CONNECT_TIMEOUT_SECONDS,
            read_timeout=READ_TIMEOUT_SECONDS,
        )

    async def aclose(self) -> None:
        """Close all connections; the last thing to be closed."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            import ssl

            import aiohttp

            context = ssl.create_default_context(cafile=self._ca_file or None)
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(ssl=context),
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,  # azure-core decompresses by itself
                trust_env=True,
            )
        return self._session


def bounded_retries(**options: Any) -> Any:
    """A retry policy for azure-core clients: two retries within eight seconds.

    Args:
        options: Further keyword arguments of ``AsyncRetryPolicy``.

    Returns:
        A policy that leaves a ``Retry-After`` of more than two seconds to the caller.
    """
    from azure.core.pipeline.policies import AsyncRetryPolicy

    class BoundedRetries(AsyncRetryPolicy):  # type: ignore[type-arg]
        """azure-core's policy with an end in sight."""

        def configure_retries(self, options: dict[str, Any]) -> dict[str, Any]:
            return {**super().configure_retries(options), "started": time.monotonic()}

        def is_retry(self, settings: dict[str, Any], response: Any) -> bool:
            wait = self.get_retry_after(response)
            if wait is not None and wait > RETRY_AFTER_LIMIT_SECONDS:
                return False
            return bool(super().is_retry(settings, response))

        def increment(self, settings: dict[str, Any], response: Any = None, error: Any = None) -> bool:
            spent = time.monotonic() - settings["started"]
            return bool(super().increment(settings, response, error)) and spent < RETRY_WINDOW_SECONDS

    return BoundedRetries(
        retry_total=RETRIES,
        retry_connect=RETRIES,
        retry_read=RETRIES,
        retry_status=RETRIES,
        retry_backoff_factor=RETRY_BACKOFF_SECONDS,
        retry_backoff_max=RETRY_AFTER_LIMIT_SECONDS,
        **options,
    )


def refuse_long_waits(response: Any) -> None:
    """Hook for clients whose retry policy cannot be replaced: end their retries on a long ``Retry-After``.

    Args:
        response: azure-core's pipeline response.

    Raises:
        TransientError: ``throttled`` or ``service-busy``, with the seconds asked for.
    """
    from azure.core.exceptions import HttpResponseError

    from shared.clients import arm_errors

    http_response = response.http_response
    if http_response.status_code < 400:  # noqa: PLR2004 - HTTP success
        return
    wait = arm_errors.retry_after_seconds(http_response.headers)
    if wait is not None and wait > RETRY_AFTER_LIMIT_SECONDS:
        error = HttpResponseError(response=http_response)
        raise arm_errors.busy(error, wait)
