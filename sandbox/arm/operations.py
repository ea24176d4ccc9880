"""Asynchronous operations: begun by a write, finished after a while, polled under signed URLs.

An operation and what it still has to do are data, so that a restarted emulator finishes what it
had begun.
"""

from __future__ import annotations

import asyncio
import hashlib
import uuid
from collections.abc import Awaitable, Callable
from typing import Any

from sandbox.arm.call import utc_now
from sandbox.arm.errors import ArmError
from sandbox.arm.store import Store

Operation = dict[str, Any]
Completion = Callable[[Operation], Awaitable[Any]]

NO_WAIT_SECONDS = 0.05
KEPT_OPERATIONS = 500


class Operations:
    """The operations of all providers; completions are registered by kind."""

    def __init__(self, store: Store, arm_url: str) -> None:
        self._store = store
        self._arm_url = arm_url
        self._completions: dict[str, Completion] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self.seconds: dict[str, float] = {}
        """Server-side duration by kind; ``NO_WAIT_SECONDS`` where nothing is set."""
        self.on_end: Callable[[Operation], None] | None = None
        """Called with every operation that ended, to publish its event."""
        self.recorded_retry_after = False
        """Whether ``Retry-After`` has Azure's own values or one second."""

    def register(self, kind: str, completion: Completion) -> None:
        """Say what ends operations of a kind; what it returns becomes the operation's properties."""
        self._completions[kind] = completion

    def retry_after(self, recorded_seconds: int) -> str:
        """The header's value: the recorded one or, in a fast sandbox, one second."""
        return str(recorded_seconds if self.recorded_retry_after else 1)

    def begin(self, kind: str, resource_id: str, *, running: str = "InProgress", **payload: Any) -> Operation:
        """Start an operation on a resource and return its record."""
        token = str(uuid.uuid4())
        if kind.startswith("linker"):
            token += "*" + hashlib.sha256(resource_id.lower().encode()).hexdigest().upper()
        operation: Operation = {
            "name": token,
            "kind": kind,
            "resourceId": resource_id,
            "status": running,
            "running": running,
            "startTime": utc_now(),
            "payload": payload,
        }
        finished = [
            name for name, known in self._store.operations.items() if known["status"] != known["running"]
        ]
        for name in finished[: max(0, len(finished) - KEPT_OPERATIONS)]:
            del self._store.operations[name]
        self._store.operations[token] = operation
        self._store.changed()
        self._run(operation)
        return operation

    def resume(self) -> None:
        """Finish what a stopped emulator left running."""
        for operation in list(self._store.operations.values()):
            if operation["status"] == operation["running"]:
                self._run(operation)

    def get(self, token: str) -> Operation | None:
        """The operation of this name."""
        return self._store.operations.get(token)

    def url(self, path: str, api_version: str, extra: str = "") -> str:
        """An absolute, signed polling URL, long as Azure's are."""
        digest = hashlib.sha256(path.encode()).hexdigest()
        signature = f"t={int(digest[:12], 16)}&c={digest * 4}&s={digest}&h={digest[:43]}"
        return f"{self._arm_url}{path}?{extra}api-version={api_version}&{signature}"

    def _run(self, operation: Operation) -> None:
        task = asyncio.get_running_loop().create_task(self._finish(operation))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _finish(self, operation: Operation) -> None:
        await asyncio.sleep(self.seconds.get(operation["kind"], NO_WAIT_SECONDS))
        try:
            operation["properties"] = await self._completions[operation["kind"]](operation)
            operation["status"] = "Succeeded"
        except ArmError as refused:
            operation["status"] = "Failed"
            operation["error"] = {"code": refused.code, "message": refused.message}
        except Exception as unexpected:
            operation["status"] = "Failed"
            operation["error"] = {"code": "InternalServerError", "message": type(unexpected).__name__}
        operation["endTime"] = utc_now()
        self._store.changed()
        if self.on_end is not None:
            self.on_end(operation)

    async def stop(self) -> None:
        """Cancel what runs; a snapshot keeps it for the next start."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
