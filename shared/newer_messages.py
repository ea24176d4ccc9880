"""Messages of a newer version, met while a deployment is under way or after it was taken back.

What they mean is not known here, so they are neither carried out nor lost: each goes back on its queue as it
was, to be met again in ten minutes, by the version that wrote it perhaps. It is told once, where refusals
are.
A message gets a higher ``schema_version`` with every change that an older reader would misunderstand.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
from collections.abc import Awaitable
from typing import Protocol

from shared.errors import RefusedError
from shared.logs import bind
from shared.ports import StepQueue
from shared.records import RequestLog, RequestRecord
from shared.retry import QUEUE_DELAY_LIMIT_SECONDS

SCHEMA_VERSION = 1
"""Of steps and of slices, as this version writes and understands them."""


class Refuse(Protocol):
    """Records a refusal and tells of it on ``rejected``."""

    def __call__(self, error: RefusedError, *, key: str, source: str) -> Awaitable[RequestRecord]:
        """Refuse."""
        ...


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class NewerMessages:
    """Puts them back, and tells of each once."""

    queue: StepQueue
    requests: RequestLog
    refuse: Refuse
    logger: logging.Logger

    async def put_back(self, queue: str, text: str) -> bool:
        """Put a message of a newer version back; False if it is none, and to be handled as ever.

        Args:
            queue: where the message belongs, without ``-poison``.
            text: the message as received.

        Raises:
            TransientError: the queue or the table is away: the host delivers the message again.
        """
        version = version_of(text)
        if version <= SCHEMA_VERSION:
            return False
        bind(self.logger).warning("message-newer", extra={"queue": queue, "version": version})
        key = f"newer:{queue}:{hashlib.sha256(text.encode()).hexdigest()[:32]}"
        if await self.requests.find(key) is None:
            error = RefusedError(
                "message-newer",
                f"a message of {queue} has schema version {version}, this version knows {SCHEMA_VERSION}",
                remedy="finish the deployment of the newer version; the message waits in its queue",
            )
            await self.refuse(error, key=key, source="queue")
        await self.queue.put_back(queue, text, delay_seconds=QUEUE_DELAY_LIMIT_SECONDS)
        return True


def version_of(text: str) -> int:
    """Schema version of a message; 0 for what is no message of ours."""
    try:
        found = json.loads(text)
    except ValueError:
        return 0
    version = found.get("schema_version") if isinstance(found, dict) else 0
    return version if isinstance(version, int) and not isinstance(version, bool) else 0
