"""The host's side of the worker: start, invoke, kill, start again.

The rules: an invocation that outlives ``functionTimeout`` fails and the worker process is
restarted; every other invocation that ran in it fails too (``WebScriptHostExceptionHandler``).
A worker that dies by itself is started again in the same way.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import os
import socket
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sandbox.functions.channel import Channel

_WORKER = str(Path(__file__).with_name("worker.py"))
_RESTART_PAUSE_SECONDS = (0.0, 0.0, 0.5, 2.0, 5.0)
_STABLE_SECONDS = 30.0
_WORKER_WAIT_SECONDS = 60.0


class AppLoadError(Exception):
    """The app did not load; ``stack`` is the worker's traceback."""

    def __init__(self, error: str, stack: str) -> None:
        super().__init__(error)
        self.stack = stack


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class WorkerResult:
    """What a worker said about one invocation."""

    ok: bool
    error: str = ""
    stack: str = ""
    returned: dict[str, Any] = dataclasses.field(default_factory=dict)
    outputs: dict[str, dict[str, Any]] = dataclasses.field(default_factory=dict)


class WorkerProcess:
    """One worker process at a time, and the invocations that run in it."""

    def __init__(self, app_folder: Path, environment: Mapping[str, str]) -> None:
        self._app_folder = str(app_folder)
        # PYTHONPATH would put folders before the installed packages, which the platform does not do.
        self._environment = {key: value for key, value in environment.items() if key != "PYTHONPATH"}
        self._process: asyncio.subprocess.Process | None = None
        self._channel: Channel | None = None
        self._pending: dict[str, asyncio.Future[WorkerResult]] = {}
        self._ready = asyncio.Event()
        self._stopping = False
        self._death_reason = ""
        self._supervisor: asyncio.Task[None] | None = None
        self.restarts = 0
        """How often a worker was started again."""

    @property
    def process_id(self) -> int | None:
        """The operating system's id of the current worker."""
        return None if self._process is None else self._process.pid

    async def start(self) -> list[dict[str, Any]]:
        """Start the first worker and return the functions it found.

        Raises:
            AppLoadError: The app does not load, or the worker died while loading it.
        """
        functions = await self._launch()
        self._supervisor = asyncio.create_task(self._supervise(), name="worker-supervisor")
        return functions

    async def invoke(self, message: dict[str, Any], timeout_seconds: float | None) -> WorkerResult:
        """Run one invocation; a timeout kills the worker and all that runs in it."""
        invocation_id = str(message["invocation_id"])
        future: asyncio.Future[WorkerResult] = asyncio.get_running_loop().create_future()
        try:
            # Only what was handed to a worker dies with it; the rest waits for the next worker, and
            # that wait is not part of the function's time.
            async with asyncio.timeout(_WORKER_WAIT_SECONDS):
                await self._ready.wait()
        except TimeoutError:
            return WorkerResult(ok=False, error="no worker process could be started")
        try:
            async with asyncio.timeout(timeout_seconds):
                self._pending[invocation_id] = future
                if self._channel is not None:
                    with contextlib.suppress(ConnectionError):
                        await self._channel.send({"kind": "invoke", **message})
                return await future
        except TimeoutError:
            reason = (
                f"Timeout value of {timeout_seconds:g} s exceeded by an invocation; the worker is restarted."
            )
            self._kill(reason)
            return WorkerResult(ok=False, error=reason)
        finally:
            self._pending.pop(invocation_id, None)

    async def stop(self) -> None:
        """End the worker; what still runs in it fails."""
        self._stopping = True
        if self._channel is not None:
            self._channel.close()
        if self._process is not None and self._process.returncode is None:
            try:
                await asyncio.wait_for(self._process.wait(), 1.0)
            except TimeoutError:
                self._kill("the host is stopping")
                await self._process.wait()
        if self._supervisor is not None:
            await self._supervisor

    def _kill(self, reason: str) -> None:
        self._ready.clear()
        self._death_reason = reason
        if self._process is not None and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()

    async def _launch(self) -> list[dict[str, Any]]:
        ours, theirs = socket.socketpair()
        try:
            descriptor = theirs.fileno()
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-P",
                _WORKER,
                str(descriptor),
                self._app_folder,
                pass_fds=(descriptor,),
                stdin=asyncio.subprocess.DEVNULL,
                cwd=self._app_folder,
                env={**self._environment, "FUNCTIONS_WORKER_DIRECTORY": os.path.dirname(_WORKER)},  # noqa: PTH120
            )
        finally:
            theirs.close()
        self._channel = await Channel.over(ours)
        loaded = await self._channel.receive()
        if loaded is None or loaded["kind"] == "failed":
            self._channel.close()
            await self._process.wait()
            if loaded is None:
                raise AppLoadError(f"the worker ended while loading (exit {self._process.returncode})", "")
            raise AppLoadError(loaded["error"], loaded["stack"])
        self._ready.set()
        functions: list[dict[str, Any]] = loaded["functions"]
        return functions

    async def _supervise(self) -> None:
        loop = asyncio.get_running_loop()
        failures = 0
        while True:
            started = loop.time()
            await self._read_results()
            self._ready.clear()
            if self._process is not None:
                await self._process.wait()
            killed = bool(self._death_reason)
            self._fail_pending()
            if self._stopping:
                return
            failures = 0 if killed or loop.time() - started > _STABLE_SECONDS else failures + 1
            pause = _RESTART_PAUSE_SECONDS[min(failures, len(_RESTART_PAUSE_SECONDS) - 1)]
            await asyncio.sleep(pause)
            try:
                await self._launch()
            except AppLoadError as error:
                # The channel is at its end, so the next turn comes at once and waits longer.
                print(f"worker restart failed: {error}", file=sys.stderr, flush=True)
                continue
            self.restarts += 1

    async def _read_results(self) -> None:
        channel = self._channel
        while channel is not None and (message := await channel.receive()) is not None:
            fields = {key: value for key, value in message.items() if key not in {"kind", "invocation_id"}}
            future = self._pending.get(message["invocation_id"])
            if future is not None and not future.done():
                future.set_result(WorkerResult(**fields))
        if channel is not None:
            channel.close()

    def _fail_pending(self) -> None:
        code = None if self._process is None else self._process.returncode
        reason = self._death_reason or f"the worker process exited with code {code}"
        self._death_reason = ""
        for future in self._pending.values():
            if not future.done():
                future.set_result(WorkerResult(ok=False, error=reason))
