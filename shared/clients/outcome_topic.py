"""Ended operations as CloudEvents on an Event Grid topic, through azure-eventgrid's publisher."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from shared.clients.arm_errors import ask
from shared.clients.credentials import AppCredential
from shared.clients.error_rules import Intent
from shared.clients.http_pool import (
    RETRIES,
    RETRY_AFTER_LIMIT_SECONDS,
    RETRY_BACKOFF_SECONDS,
    HttpPool,
    refuse_long_waits,
)

SOURCE = "/mooring"


class EventGridOutcomeTopic:
    """``ports.OutcomeTopic`` over an Event Grid topic, or over nothing if none is configured.

    Args:
        pool: Connections.
        credential: The app's identity; it needs EventGrid Data Sender on the topic.
        endpoint: The topic's URL; empty: nobody is told and nothing is imported.
        source: ``source`` attribute of the events.
    """

    def __init__(
        self,
        pool: HttpPool,
        credential: AppCredential,
        *,
        endpoint: str = "",
        source: str = SOURCE,
    ) -> None:
        self._pool = pool
        self._credential = credential
        self._endpoint = endpoint
        self._source = source
        self._client: Any = None

    async def publish(self, *, event_type: str, subject: str, data: Mapping[str, Any], event_id: str) -> None:
        """Publish one CloudEvent; the id makes a repeat recognisable."""
        if not self._endpoint:
            return
        from azure.core.messaging import CloudEvent

        event = CloudEvent(
            source=self._source,
            type=event_type,
            subject=subject,
            data=dict(data),
            id=event_id,
        )
        await ask(self._open().send(event), Intent.ENSURE)

    async def aclose(self) -> None:
        """Close the SDK's client."""
        client, self._client = self._client, None
        if client is not None:
            await client.close()

    def _open(self) -> Any:
        if self._client is None:
            from azure.eventgrid.aio import EventGridPublisherClient

            self._client = EventGridPublisherClient(
                self._endpoint,
                self._credential,
                transport=self._pool.transport(),
                # This client builds its own retry policy and takes none.
                retry_total=RETRIES,
                retry_backoff_factor=RETRY_BACKOFF_SECONDS,
                retry_backoff_max=RETRY_AFTER_LIMIT_SECONDS,
                raw_response_hook=refuse_long_waits,
            )
        return self._client
