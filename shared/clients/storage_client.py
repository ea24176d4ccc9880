"""How the SDK's clients of queues and blobs are made: one transport, few retries, no long waits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from shared.clients.credentials import AppCredential
from shared.clients.http_pool import RETRIES, HttpPool, refuse_long_waits
from shared.errors import PermanentError


def storage_client(
    make: Callable[..., Any],
    *where: str,
    pool: HttpPool,
    credential: AppCredential,
    api_version: str,
    **options: Any,
) -> Any:
    """One client of a storage service.

    Args:
        make: the SDK's class.
        where: URL of the service, and what in it.
        pool: connections.
        credential: the app's identity.
        api_version: service version, empty for the SDK's own.
        options: more for the SDK.

    Raises:
        PermanentError: ``settings-invalid``: the SDK does not know the version.
    """
    version = {"api_version": api_version} if api_version else {}
    try:
        return make(
            *where,
            credential=credential,
            transport=pool.transport(),
            initial_backoff=1,
            increment_base=1,
            retry_total=RETRIES,
            random_jitter_range=1,
            raw_response_hook=refuse_long_waits,
            **version,
            **options,
        )
    except ValueError as error:
        raise PermanentError(
            "settings-invalid", f"MOORING_STORAGE_API_VERSION: {api_version} is unknown to the SDK"
        ) from error
