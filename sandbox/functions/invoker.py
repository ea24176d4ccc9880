"""One invocation from trigger to outputs, the same for every kind of trigger."""

from __future__ import annotations

import asyncio
import secrets
import sys
import time
import uuid
from collections.abc import Callable, Mapping
from typing import Any

from sandbox.functions.bindings import TypedValue
from sandbox.functions.definitions import FunctionDefinition
from sandbox.functions.journal import InvocationJournal
from sandbox.functions.outputs import messages_of
from sandbox.functions.storage import StorageQueues
from sandbox.functions.worker_process import WorkerProcess, WorkerResult


class Invoker:
    """Runs functions in the worker, sends their queue outputs and keeps the journal."""

    def __init__(
        self,
        *,
        worker: WorkerProcess,
        queues: StorageQueues,
        journal: InvocationJournal,
        timeout_seconds: float | None,
        resolve: Callable[[str], str],
        notify: Callable[[str], None],
    ) -> None:
        self._worker = worker
        self._queues = queues
        self._journal = journal
        self._timeout_seconds = timeout_seconds
        self._resolve = resolve
        self._notify = notify

    async def run(
        self,
        function: FunctionDefinition,
        data: TypedValue,
        metadata: Mapping[str, TypedValue],
        *,
        reason: str = "",
        trace_parent: str = "",
        honour_retry: bool = False,
    ) -> WorkerResult:
        """Run a function once, or until its retry policy is used up.

        Args:
            function: What to run.
            data: The trigger's value.
            metadata: The trigger's metadata.
            reason: What started it, for the journal; the trigger's type if empty.
            trace_parent: W3C trace context of the caller; a new one if empty.
            honour_retry: Timers only; the platform has no retry policy for the other triggers here.
        """
        policy = function.retry if honour_retry else None
        retry = 0
        while True:
            result = await self._once(
                function, data, metadata, reason=reason, trace_parent=trace_parent, retry=retry
            )
            if result.ok or policy is None:
                return result
            retry += 1
            if 0 <= policy.max_retry_count < retry:
                return result
            await asyncio.sleep(policy.delay_seconds(retry))

    async def _once(
        self,
        function: FunctionDefinition,
        data: TypedValue,
        metadata: Mapping[str, TypedValue],
        *,
        reason: str,
        trace_parent: str,
        retry: int,
    ) -> WorkerResult:
        invocation_id = str(uuid.uuid4())
        at, started = time.time(), time.monotonic()
        policy = function.retry
        result = await self._worker.invoke(
            {
                "invocation_id": invocation_id,
                "function_id": function.function_id,
                "parameter": function.parameter,
                "data": data,
                "metadata": dict(metadata),
                "trace_parent": trace_parent or f"00-{secrets.token_hex(16)}-{secrets.token_hex(8)}-00",
                "retry_count": retry,
                "max_retry_count": policy.max_retry_count if policy is not None and retry else 0,
            },
            self._timeout_seconds,
        )
        if result.ok:
            try:
                await self._send_outputs(function, result)
            except Exception as error:
                result = WorkerResult(ok=False, error=f"{type(error).__name__}: {error}")
        self._journal.record(
            function=function.name,
            trigger=reason or function.trigger_type,
            invocation_id=invocation_id,
            at=at,
            seconds=time.monotonic() - started,
            outcome="Succeeded" if result.ok else "Failed",
        )
        if not result.ok:
            print(f"Id={invocation_id} {result.error}\n{result.stack}", file=sys.stderr, flush=True)
        return result

    async def _send_outputs(self, function: FunctionDefinition, result: WorkerResult) -> None:
        """Send after the run, one by one; a failure fails the invocation, what was sent stays sent."""
        for parameter, binding in function.outputs.items():
            value: dict[str, Any] | None = (
                result.returned if parameter == "$return" else result.outputs.get(parameter)
            )
            queue_name = self._resolve(str(binding["queueName"])).lower()
            for body in messages_of(value or {}):
                queue = self._queues.queue(str(binding.get("connection") or ""), queue_name)
                await queue.send(body)
                self._notify(queue_name)
