"""Replays what Event Grid could not deliver: from the dead-letter container back into ``resource-events``.

Event Grid writes undeliverable events as blobs, JSON arrays of events with five fields more
(learn.microsoft.com/azure/event-grid/delivery-and-retry, manage-event-delivery). A blob is removed only when
all of its events are in the queue, so a crash in between replays some of them twice, which is harmless: an
event is a hint, and the prune that it opens asks Azure. What cannot be read is set aside, and deleted
by nobody but the storage account's own rule for old blobs (``infra/modules/storage.bicep``, 30 days).
"""

from __future__ import annotations

import dataclasses
import logging
from typing import Any

from shared import event_copies, events
from shared.decoding import RepeatedKeys, decode
from shared.errors import RefusedError
from shared.logs import bind
from shared.ports import DeadLetterBlob, DeadLetters, StepQueue

BLOB_BYTES = 16 * 1024 * 1024
"""Largest blob that is read; a larger one is set aside."""
EVENTS_PER_CALL = 500
"""A call stops after the blob that reaches this; the next one goes on from there."""
BLOBS_PER_CALL = 200

_WRAPPER = frozenset(
    {"deadletterreason", "deliveryattempts", "lastdeliveryoutcome", "publishtime", "lastdeliveryattempttime"},
)
"""What Event Grid adds, in lower case (as CloudEvents have it)."""


@dataclasses.dataclass(slots=True, kw_only=True)
class Replayed:
    """What one call did. Mutable: it is counted up."""

    read: int = 0
    """Blobs."""
    replayed: int = 0
    """Events put on the queue."""
    rejected: int = 0
    """Events, or blobs as a whole, that could not be."""
    left: int = 0
    """Blobs still waiting, 5000 at most."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetterReplay:
    """Takes undelivered events in, a bounded number for each call."""

    blobs: DeadLetters | None
    """``None`` if no container is configured."""
    queue: StepQueue
    logger: logging.Logger

    async def run(self) -> Replayed:
        """Replay blobs in the order of their names.

        Raises:
            RefusedError: ``dead-letters-off``.
            TransientError: the storage is away; what is not done stays for the next call.
        """
        if self.blobs is None:
            raise RefusedError(
                "dead-letters-off",
                "no dead-letter container is configured",
                remedy="set MOORING_DEAD_LETTER_CONTAINER to the container's name, and "
                "AzureWebJobsStorage__blobServiceUri to the account's blob endpoint",
            )
        waiting = await self.blobs.waiting()
        done = Replayed(left=len(waiting))
        for blob in waiting:
            if done.read >= BLOBS_PER_CALL or done.replayed >= EVENTS_PER_CALL:
                break
            await self._replay(self.blobs, blob, done)
        bind(self.logger).info("dead-letters-replayed", extra=dataclasses.asdict(done))
        return done

    async def _replay(self, blobs: DeadLetters, blob: DeadLetterBlob, done: Replayed) -> None:
        if blob.size_bytes > BLOB_BYTES:
            self._warn(blob, "message-too-large")
            await blobs.set_aside(blob.name)
            done.left -= 1
            done.rejected += 1
            return
        content = await blobs.read(blob.name)
        done.left -= 1
        if content is None:
            return  # another call has taken it
        done.read += 1
        faults = 0
        for text in self._texts(blob, content):
            if text:
                await self.queue.forward_event(text)
                done.replayed += 1
            else:
                faults += 1
        done.rejected += faults
        if faults:
            await blobs.set_aside(blob.name)
        else:
            await blobs.remove(blob.name)

    def _texts(self, blob: DeadLetterBlob, content: bytes) -> list[str]:
        """The queue's message for each event of a blob, empty for one that cannot be replayed."""
        try:
            value = decode(content, message_bytes=BLOB_BYTES, json_bytes=BLOB_BYTES, depth=events.DEPTH)
        except RefusedError as error:
            self._warn(blob, error.code)
            return [""]
        found = value if isinstance(value, list) else [value]
        texts = [unwrapped(one) for one in found]
        if not all(texts):
            self._warn(blob, "not-an-event")
        return texts

    def _warn(self, blob: DeadLetterBlob, reason: str) -> None:
        bind(self.logger).warning("dead-letter-rejected", extra={"blob": blob.name, "reason": reason})


def unwrapped(value: Any) -> str:
    """An event as it would have been delivered, as its copy; empty if it is none, or cannot be kept."""
    if isinstance(value, dict) and not isinstance(value, RepeatedKeys):
        value = {name: part for name, part in value.items() if name.lower() not in _WRAPPER}
    return event_copies.trimmed(value)
