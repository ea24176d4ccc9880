"""The queue listener: one serial loop per queue function, as in ``QueueListener``.

Receive under a ten-minute lease, start every message at once, and poll again as soon as no more
than ``newBatchThreshold`` are running. Leases are renewed at the half.
"""

from __future__ import annotations

import asyncio
import re
import sys

from azure.core.exceptions import AzureError, HttpResponseError

from sandbox.functions.bindings import queue_metadata, queue_value
from sandbox.functions.definitions import FunctionDefinition
from sandbox.functions.invoker import Invoker
from sandbox.functions.polling import Backoff
from sandbox.functions.settings import QueueOptions, SettingsError
from sandbox.functions.storage import ReceivedMessage, StorageQueue

LEASE_SECONDS = 600
"""Hard-coded in the real listener; ``visibilityTimeout`` is something else."""
POISON_SUFFIX = "-poison"
NAME_LIMIT = 63
_NOT_OURS_ANY_MORE = {"MessageNotFound", "PopReceiptMismatch", "QueueNotFound"}


def poison_queue_name(queue_name: str) -> str | None:
    """Return the name of a queue's poison queue, or None when it has none."""
    name = queue_name + POISON_SUFFIX
    return None if queue_name.endswith(POISON_SUFFIX) or len(name) > NAME_LIMIT else name


def valid_queue_name(text: str) -> str:
    """Return a queue name in lower case.

    Raises:
        SettingsError: Storage would refuse it (3 to 63 letters, digits and single hyphens).
    """
    name = text.lower()
    if not 3 <= len(name) <= NAME_LIMIT or re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", name) is None:
        raise SettingsError(f"'{text}' is not a queue name")
    return name


def is_binary(function: FunctionDefinition) -> bool:
    """Say whether the trigger asks for bytes (``data_type=func.DataType.BINARY``)."""
    return str(function.trigger.get("dataType", "")).lower() == "binary"


def _taken_over(error: HttpResponseError) -> bool:
    return str(getattr(error, "error_code", "")) in _NOT_OURS_ANY_MORE or error.status_code == 404


class QueueListener:
    """Listens on one queue for one function."""

    def __init__(
        self,
        *,
        function: FunctionDefinition,
        queue: StorageQueue,
        poison: StorageQueue | None,
        options: QueueOptions,
        invoker: Invoker,
        lease_seconds: int = LEASE_SECONDS,
    ) -> None:
        self.function = function
        self.queue = queue
        self._poison = poison
        self._options = options
        self._invoker = invoker
        self._lease_seconds = lease_seconds
        self._backoff = Backoff(options.max_polling_seconds)
        self._wake = asyncio.Event()
        self._stopping = asyncio.Event()
        self._running: set[asyncio.Task[None]] = set()
        self._loop_task: asyncio.Task[None] | None = None
        self.on_poison: list[QueueListener] = []
        """Listeners of this host on the poison queue; they are woken when something gets there."""

    def start(self) -> None:
        """Start polling."""
        self._loop_task = asyncio.create_task(self._loop(), name=f"queue {self.queue.name}")

    def notify(self) -> None:
        """End the current back-off: this host has just written to the queue."""
        self._wake.set()

    async def stop_polling(self) -> None:
        """Stop taking messages; those that run go on."""
        self._stopping.set()
        self._wake.set()
        if self._loop_task is not None:
            await self._loop_task

    async def wait_running(self) -> None:
        """Wait for the messages that run."""
        while self._running:
            await asyncio.wait(self._running)

    async def _loop(self) -> None:
        while not self._stopping.is_set():
            self._wake.clear()
            messages = await self._receive()
            if not messages:
                await self._pause(self._backoff.next_seconds(found=False))
                continue
            self._backoff.next_seconds(found=True)
            for message in messages:
                task = asyncio.create_task(self._process(message))
                self._running.add(task)
                task.add_done_callback(self._running.discard)
            while len(self._running) > self._options.new_batch_threshold and not self._stopping.is_set():
                await asyncio.wait(self._running, return_when=asyncio.FIRST_COMPLETED)

    async def _pause(self, seconds: float) -> None:
        try:
            await asyncio.wait_for(self._wake.wait(), seconds)
        except TimeoutError:
            return

    async def _receive(self) -> list[ReceivedMessage]:
        try:
            return await self.queue.receive(self._options.batch_size, self._lease_seconds)
        except AzureError as error:
            # A client error other than a missing queue ends the real host, which then starts again:
            # either way the queue is polled later, and the reason has been said.
            self._say(f"polling failed: {type(error).__name__} {getattr(error, 'error_code', '')}")
            return []

    async def _process(self, message: ReceivedMessage) -> None:
        try:
            await self._handle(message)
        except AzureError as error:
            taken = isinstance(error, HttpResponseError) and _taken_over(error)
            what = "was taken over by another host" if taken else f"failed: {type(error).__name__}"
            self._say(f"completing message {message.facts.message_id} {what}")

    async def _handle(self, message: ReceivedMessage) -> None:
        if self._poison is not None and message.facts.dequeue_count > self._options.max_dequeue_count:
            await self._move_to_poison(message)
            return
        body = self.queue.decode(message.content)
        if body is None:
            self._say(f"message {message.facts.message_id} is not base64")
            if self._poison is not None:
                await self._move_to_poison(message)
            return
        binary = is_binary(self.function)
        renewal = asyncio.create_task(self._renew(message))
        try:
            result = await self._invoker.run(
                self.function,
                queue_value(body, binary=binary),
                queue_metadata(message.facts, body, binary=binary),
            )
        finally:
            renewal.cancel()
            await asyncio.gather(renewal, return_exceptions=True)
        if result.ok:
            await self.queue.delete(message)
        elif self._poison is None:
            # Left invisible for the rest of its lease: the real host's guard against a fast loop.
            return
        elif message.facts.dequeue_count >= self._options.max_dequeue_count:
            await self._move_to_poison(message)
        else:
            await self.queue.release(message, self._options.visibility_seconds)

    async def _move_to_poison(self, message: ReceivedMessage) -> None:
        if self._poison is None:
            return
        self._say(f"moving message {message.facts.message_id} to '{self._poison.name}'")
        # The text as it stands: body only, no reason. Two calls, so a crash between them duplicates.
        await self._poison.send_raw(message.content)
        for listener in self.on_poison:
            listener.notify()
        await self.queue.delete(message)

    async def _renew(self, message: ReceivedMessage) -> None:
        while True:
            await asyncio.sleep(self._lease_seconds / 2)
            try:
                await self.queue.renew(message, self._lease_seconds)
            except HttpResponseError as error:
                self._say(f"renewing message {message.facts.message_id} failed: {error.status_code}")
                if _taken_over(error):
                    return
            except AzureError as error:
                self._say(f"renewing message {message.facts.message_id} failed: {type(error).__name__}")

    def _say(self, text: str) -> None:
        print(f"queue '{self.queue.name}' ({self.function.name}): {text}", file=sys.stderr, flush=True)
