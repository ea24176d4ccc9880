"""Where Event Grid puts events that it could not deliver: blobs with a JSON array of events.

Shape of the blobs: learn.microsoft.com/azure/event-grid/manage-event-delivery. The names of the fields are
documented; the word for an event that was refused for good is not known and is this emulator's own.
"""

from __future__ import annotations

import json
import uuid
from datetime import UTC, datetime
from typing import Any

from sandbox.arm.call import utc_now
from sandbox.topology import Topology

EXHAUSTED = "MaxDeliveryAttemptsExceeded"
REFUSED = "Undeliverable"


def wrapped(
    event: dict[str, Any], *, reason: str, attempts: int, outcome: str, published_at: str, cloud: bool
) -> dict[str, Any]:
    """An event with what Event Grid adds to it; CloudEvents have the names in lower case."""
    added = {
        "deadLetterReason": reason,
        "deliveryAttempts": attempts,
        "lastDeliveryOutcome": outcome,
        "publishTime": published_at,
        "lastDeliveryAttemptTime": utc_now(),
    }
    return {**event, **{name.lower() if cloud else name: value for name, value in added.items()}}


class DeadLetterContainers:
    """Writes blobs into containers of the app's storage; the client is made at first use."""

    def __init__(self, topology: Topology) -> None:
        self._topology = topology
        self._service: Any = None

    async def write(self, container: str, subscription: str, event: dict[str, Any]) -> str:
        """Write one event; returns the blob's name."""
        if self._service is None:
            from azure.storage.blob.aio import BlobServiceClient

            self._service = BlobServiceClient(
                self._topology.blob_url,
                credential={
                    "account_name": self._topology.azurite_account,
                    "account_key": self._topology.azurite_key,
                },
                connection_verify=self._topology.ca_file,
                retry_total=0,
            )
        now = datetime.now(UTC)
        hour = f"{now.year}/{now.month}/{now.day}/{now.hour}"
        name = f"{subscription.upper()}/{hour}/{uuid.uuid4()}.json"
        await self._service.get_blob_client(container, name).upload_blob(json.dumps([event]).encode())
        return name

    async def close(self) -> None:
        """Close the client."""
        if self._service is not None:
            await self._service.close()
