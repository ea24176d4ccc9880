"""The wiring of one Functions host: settings, worker, listeners, HTTP front, life and death."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

from aiohttp import web

from sandbox.functions import event_grid
from sandbox.functions.admin import handle_admin
from sandbox.functions.bindings import event_metadata, event_value, queue_metadata, queue_value
from sandbox.functions.definitions import EVENT_GRID, HTTP, QUEUE, TIMER, FunctionDefinition
from sandbox.functions.event_grid import EventGridWebhook
from sandbox.functions.http_triggers import HttpRoute, HttpTriggers, presented_key
from sandbox.functions.invoker import Invoker
from sandbox.functions.journal import InvocationJournal
from sandbox.functions.keys import KeyRing
from sandbox.functions.queues import (
    LEASE_SECONDS,
    QueueListener,
    is_binary,
    poison_queue_name,
    valid_queue_name,
)
from sandbox.functions.schedules import parse_schedule
from sandbox.functions.settings import AppSettings, HostOptions
from sandbox.functions.storage import StorageQueues
from sandbox.functions.timer_status import TimerLock, TimerStatusFile
from sandbox.functions.timers import LOCK_RETRY_SECONDS, TimerListener
from sandbox.functions.worker_process import AppLoadError, WorkerProcess
from sandbox.topology import Topology

SHUTDOWN_SECONDS = 10.0
"""How long a stopping host waits for running messages."""
START_WAIT_SECONDS = 10.0
"""How long a request waits for a host that is still starting."""


class FunctionsHost:
    """One host with one app. ``state`` is Starting, Running, Error or Stopped."""

    def __init__(
        self,
        *,
        topology: Topology,
        app_folder: Path,
        settings: AppSettings,
        name: str,
        url: str,
        lease_seconds: int = LEASE_SECONDS,
        lock_retry_seconds: float = LOCK_RETRY_SECONDS,
    ) -> None:
        self.name = name
        self.url = url
        self.settings = settings
        self.host_id = (settings.get("AzureFunctionsWebHost__hostid") or app_folder.name).lower()
        self.keys = KeyRing(topology.function_keys)
        self.journal = InvocationJournal(name)
        self.functions: dict[str, FunctionDefinition] = {}
        self.state = "Starting"
        self.load_error = ""
        self.started = time.monotonic()
        self._topology = topology
        self._app_folder = app_folder
        self._lease_seconds = lease_seconds
        self._lock_retry_seconds = lock_retry_seconds
        self._worker: WorkerProcess | None = None
        self._storage: StorageQueues | None = None
        self._invoker: Invoker | None = None
        self._http: HttpTriggers | None = None
        self._webhook: EventGridWebhook | None = None
        self._queue_listeners: list[QueueListener] = []
        self._timers: dict[str, TimerListener] = {}
        self._by_hand: set[asyncio.Task[Any]] = set()
        self._settled = asyncio.Event()

    @property
    def worker_restarts(self) -> int:
        """How often the worker was started again."""
        return 0 if self._worker is None else self._worker.restarts

    async def start(self) -> None:
        """Load the app and start its listeners; a failure is kept in ``load_error``."""
        try:
            await self._load()
            self.state = "Running"
            print(f"{self.name} running: {', '.join(self.functions) or 'no functions found'}", flush=True)
        except Exception as error:
            self.state = "Error"
            self.load_error = f"{type(error).__name__}: {error}"
            stack = error.stack if isinstance(error, AppLoadError) else ""
            print(f"{self.name} failed to load the app: {error}\n{stack}", file=sys.stderr, flush=True)
        finally:
            self._settled.set()

    async def stop(self) -> None:
        """Stop polling, wait for running messages (bounded), end the worker, close the clients."""
        self.state = "Stopped"
        polling = [listener.stop_polling() for listener in self._queue_listeners]
        running = [listener.wait_running() for listener in self._queue_listeners]
        timers = [timer.stop() for timer in self._timers.values()]
        try:
            async with asyncio.timeout(SHUTDOWN_SECONDS):
                await asyncio.gather(*polling, *timers)
                await asyncio.gather(*running, *self._by_hand)
        except TimeoutError:
            print(f"{self.name} stops with work still running", file=sys.stderr, flush=True)
        if self._worker is not None:
            await self._worker.stop()
        if self._storage is not None:
            await self._storage.close()

    def run_by_hand(self, function: FunctionDefinition, text: str) -> bool:
        """Start a run outside of its trigger; False when the host does not run."""
        if self._invoker is None or self.state != "Running":
            return False
        run: Coroutine[Any, Any, Any]
        match function.trigger_type:
            case "timertrigger" if function.name in self._timers:
                run = self._timers[function.name].run_by_hand()
            case "eventgridtrigger":
                event = json.loads(text)
                run = self._invoker.run(function, event_value(event), event_metadata(event), reason="admin")
            case _:
                binary = is_binary(function)
                value = queue_value(text.encode(), binary=binary)
                metadata = queue_metadata(None, text.encode(), binary=binary)
                run = self._invoker.run(function, value, metadata, reason="admin")
        task = asyncio.create_task(run)
        self._by_hand.add(task)
        task.add_done_callback(self._by_hand.discard)
        return True

    async def handle(self, request: web.Request) -> web.Response:
        """Answer everything that is not a control endpoint of the sandbox."""
        path = request.path.rstrip("/").lower()
        if path.startswith("/admin/"):
            return await handle_admin(self, request)
        if not await self._is_running():
            return web.Response(status=503, text="Function host is not running.")
        if path == event_grid.PATH and self._webhook is not None:
            status = self.keys.webhook_status(presented_key(request))
            return await self._webhook.handle(request) if status == 200 else web.Response(status=status)
        if self._http is None:
            return web.Response(status=404)
        return await self._http.handle(request)

    async def _is_running(self) -> bool:
        if self.state == "Starting":
            try:
                await asyncio.wait_for(self._settled.wait(), START_WAIT_SECONDS)
            except TimeoutError:
                return False
        return self.state == "Running"

    async def _load(self) -> None:
        options = HostOptions.load(self._app_folder, self.settings)
        self._worker = WorkerProcess(self._app_folder, self.settings.values)
        for raw in await self._worker.start():
            function = FunctionDefinition.parse(raw)
            self.functions[function.name] = function
        self._storage = StorageQueues(
            self.settings,
            encode_base64=options.queues.base64,
            ca_file=self._topology.ca_file,
        )
        self._invoker = Invoker(
            worker=self._worker,
            queues=self._storage,
            journal=self.journal,
            timeout_seconds=options.timeout_seconds,
            resolve=self.settings.resolve,
            notify=self._notify,
        )
        enabled = [item for item in self.functions.values() if not self.settings.is_disabled(item.name)]
        routes = [HttpRoute.of(item, options.route_prefix) for item in enabled if item.trigger_type == HTTP]
        self._http = HttpTriggers(routes, self.keys, self._invoker)
        events = {item.name: item for item in enabled if item.trigger_type == EVENT_GRID}
        self._webhook = EventGridWebhook(events, self._invoker)
        for item in enabled:
            if item.retry is not None and item.trigger_type != TIMER:
                print(f"'{item.name}': retry policies are for timers; this one is ignored", file=sys.stderr)
            if item.trigger_type == QUEUE:
                self._queue_listeners.append(
                    self._queue_listener(item, options, self._storage, self._invoker)
                )
            elif item.trigger_type == TIMER:
                self._timers[item.name] = self._timer(item, self._invoker)
        for listener in self._queue_listeners:
            poison = poison_queue_name(listener.queue.name)
            listener.on_poison = [other for other in self._queue_listeners if other.queue.name == poison]
        for listener in self._queue_listeners:
            listener.start()
        for timer in self._timers.values():
            timer.start()

    def _queue_listener(
        self,
        function: FunctionDefinition,
        options: HostOptions,
        storage: StorageQueues,
        invoker: Invoker,
    ) -> QueueListener:
        connection = str(function.trigger.get("connection") or "")
        name = valid_queue_name(self.settings.resolve(str(function.trigger["queueName"])))
        poison = poison_queue_name(name)
        return QueueListener(
            function=function,
            queue=storage.queue(connection, name),
            poison=None if poison is None else storage.queue(connection, poison),
            options=options.queues,
            invoker=invoker,
            lease_seconds=self._lease_seconds,
        )

    def _timer(self, function: FunctionDefinition, invoker: Invoker) -> TimerListener:
        folder = Path(self._topology.state_dir) / "functions" / self.host_id
        return TimerListener(
            function=function,
            schedule=parse_schedule(self.settings.resolve(str(function.trigger["schedule"]))),
            status_file=TimerStatusFile(folder, function.name),
            lock=TimerLock(folder, function.name),
            invoker=invoker,
            lock_retry_seconds=self._lock_retry_seconds,
        )

    def _notify(self, queue_name: str) -> None:
        for listener in self._queue_listeners:
            if listener.queue.name == queue_name:
                listener.notify()
