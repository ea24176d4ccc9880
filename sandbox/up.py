"""``python -m sandbox up``: start a whole local Azure, say where it is, stay until told to end.

Everything starts at once; readiness is waited for in parallel, and a part that dies is reported
with the end of its log at once instead of being waited for.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import ctypes
import os
import shutil
import signal
import ssl
import sys
import tempfile
import time
from collections.abc import Coroutine, Iterable
from pathlib import Path
from typing import Any

import aiohttp

from sandbox.app_settings import write_app_files
from sandbox.azurite import REPOSITORY, AzuriteMissingError, azurite_command, azurite_environment
from sandbox.contract import Contract, make_contract
from sandbox.layout import LOCK_NAME, StateDirBusyError, claim, prepare
from sandbox.owner import RefusedError
from sandbox.processes import (
    PR_SET_PDEATHSIG,
    Child,
    ChildFailedError,
    free_ports,
    start_child,
    stop_children,
    wait_ready,
)
from sandbox.seed import Seeder
from sandbox.topology import Topology

READY_SECONDS = 120.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``up``."""
    parser.add_argument("--state-dir", type=Path, help="folder of the sandbox (default: a temporary one)")
    parser.add_argument("--keep", action="store_true", help="leave the state folder behind")
    parser.add_argument("--hosts", type=int, default=1, help="Functions hosts on the one storage")
    parser.add_argument("--setting", action="append", default=[], metavar="NAME=VALUE", help="app setting")
    parser.add_argument("--latency", choices=("none", "recorded-p50"), default="none")
    parser.add_argument("--no-app", action="store_true", help="start no Functions host")
    parser.add_argument("--app", type=Path, default=REPOSITORY, help="folder of the function app")
    parser.add_argument("--die-with-parent", action="store_true", help="end when the starting process ends")


def run(arguments: argparse.Namespace) -> int:
    """Run ``up`` until a signal ends it.

    Returns:
        Exit code: 0 after a signal, 1 when the sandbox could not start.
    """
    if arguments.die_with_parent and sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    settings: dict[str, str] = {}
    for pair in arguments.setting:
        name, equals, value = pair.partition("=")
        if not equals:
            print(f"--setting wants NAME=VALUE, not {pair!r}", file=sys.stderr)
            return 2
        settings[name] = value
    state_dir: Path = arguments.state_dir or Path(tempfile.mkdtemp(prefix="mooring-sandbox-"))
    state_dir = state_dir.resolve()
    topology_file = state_dir / "topology.json"
    if not topology_file.exists() and state_dir.exists():
        others = [entry.name for entry in state_dir.iterdir() if entry.name != LOCK_NAME]
        if others:
            print(
                f"--state-dir {state_dir} is neither empty nor the folder of a sandbox (it has {others[0]}): "
                "name a new folder",
                file=sys.stderr,
            )
            return 2
    state_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    try:
        lock = claim(state_dir)
    except StateDirBusyError as error:
        print(error, file=sys.stderr)
        return 2
    try:
        sandbox = Sandbox(
            prepare(state_dir),
            topology_file,
            settings=settings,
            app=None if arguments.no_app else arguments.app.resolve(),
            hosts=arguments.hosts,
            latency=arguments.latency,
        )
        return asyncio.run(sandbox.live())
    finally:
        if not arguments.keep:
            shutil.rmtree(state_dir, ignore_errors=True)
        lock.close()


class Sandbox:
    """The processes of one sandbox."""

    def __init__(
        self,
        topology: Topology,
        topology_file: Path,
        *,
        settings: dict[str, str],
        app: Path | None,
        hosts: int,
        latency: str,
    ) -> None:
        self._topology = topology
        self._topology_file = topology_file
        self._settings = settings
        self._app = app
        self._hosts = hosts
        self._latency = latency
        self._children: list[Child] = []
        self._functions_urls: list[str] = []
        self._cluster_server = ""
        self._logs = Path(topology.state_dir) / "logs"

    async def live(self) -> int:
        """Start, print the contract, wait for a signal, stop."""
        ended = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, ended.set)
        starting = asyncio.ensure_future(self._start())
        ending = asyncio.ensure_future(ended.wait())
        try:
            await asyncio.wait({starting, ending}, return_when=asyncio.FIRST_COMPLETED)
            if not starting.done():
                return 0
            contract = starting.result()
            print(contract.to_json(), flush=True)
            watching = [asyncio.ensure_future(self._report_end(child, ended)) for child in self._children]
            await ending
            for watch in watching:
                watch.cancel()
        except (ChildFailedError, RefusedError, AzuriteMissingError, aiohttp.ClientError, OSError) as error:
            print(
                f"the sandbox did not start: {str(error) or type(error).__name__}",
                file=sys.stderr,
                flush=True,
            )
            return 1
        finally:
            starting.cancel()
            ending.cancel()
            with contextlib.suppress(asyncio.CancelledError, Exception):
                await starting
            await stop_children(self._children)
        return 0

    async def _start(self) -> Contract:
        started = time.monotonic()
        topology = self._topology
        self._logs.mkdir(exist_ok=True)
        settings_file = write_app_files(topology, self._settings)
        await self._launch("azurite", azurite_command(topology), azurite_environment(topology))
        parts = {
            "arm": topology.arm_url,
            "entra": topology.entra_url,
            "kube": topology.kubernetes_url,
            "dataplane": topology.dataplane_url,
        }
        for name in parts:
            await self._launch(name, self._part(name))
        if self._app is not None:
            await self._launch_hosts(settings_file)
        hosts = [child for child in self._children if child.name.startswith("functions")]
        await self._gather(
            [
                self._ready_and_seeded(parts),
                *(self._wait(host, url) for host, url in zip(hosts, self._functions_urls, strict=True)),
            ],
        )
        await self._set_latency()
        contract = make_contract(
            topology,
            topology_file=self._topology_file,
            functions_urls=self._functions_urls,
            cluster_server=self._cluster_server,
            pids={"up": os.getpid(), **{child.name: child.pid for child in self._children}},
        )
        contract_file = Path(topology.state_dir) / "contract.json"
        contract_file.touch(mode=0o600)
        contract_file.write_text(contract.to_json() + "\n")
        seconds = time.monotonic() - started
        print(f"sandbox up in {seconds:.1f} s, logs in {self._logs}", file=sys.stderr, flush=True)
        return contract

    def _part(self, name: str) -> list[str]:
        return [sys.executable, "-m", f"sandbox.{name}", "--topology", str(self._topology_file)]

    async def _launch(self, name: str, command: list[str], environment: dict[str, str] | None = None) -> None:
        child = await start_child(
            name,
            command,
            log_folder=self._logs,
            environment=environment,
            folder=REPOSITORY,
        )
        self._children.append(child)

    async def _launch_hosts(self, settings_file: Path) -> None:
        more = [f"https://127.0.0.1:{port}" for port in free_ports(self._hosts - 1)]
        self._functions_urls = [self._topology.functions_url, *more][: self._hosts]
        for number, url in enumerate(self._functions_urls, 1):
            name = "functions" if number == 1 else f"functions-{number}"
            command = [
                *self._part("functions"),
                *("--app", str(self._app), "--settings", str(settings_file)),
                *("--url", url, "--name", name),
            ]
            await self._launch(name, command)

    async def _ready_and_seeded(self, parts: dict[str, str]) -> None:
        by_name = {child.name: child for child in self._children}
        waits = [self._wait(by_name[name], url) for name, url in parts.items()]
        waits += [
            wait_ready(
                by_name["azurite"],
                url,
                ca_file=self._topology.ca_file,
                timeout_seconds=READY_SECONDS,
                statuses=frozenset(),
            )
            for url in (self._topology.blob_url, self._topology.queue_url, self._topology.table_url)
        ]
        await self._gather(waits)
        self._cluster_server = await Seeder.run(self._topology)

    async def _wait(self, child: Child, url: str) -> float:
        return await wait_ready(
            child,
            f"{url}/sandbox/ready",
            ca_file=self._topology.ca_file,
            timeout_seconds=READY_SECONDS,
        )

    async def _gather(self, waits: Iterable[Coroutine[Any, Any, object]]) -> None:
        """Wait for all; the first failure ends the waiting for the others."""
        tasks = [asyncio.ensure_future(wait) for wait in waits]
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()

    async def _set_latency(self) -> None:
        if self._latency == "none":
            return
        tls = ssl.create_default_context(cafile=self._topology.ca_file)
        async with (
            aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=tls)) as session,
            session.put(
                f"{self._topology.arm_url}/sandbox/latency-profile",
                json={"profile": self._latency},
            ) as response,
        ):
            response.raise_for_status()

    async def _report_end(self, child: Child, ended: asyncio.Event) -> None:
        code = await child.process.wait()
        if not ended.is_set():
            print(f"{child.name} ended with exit code {code}:\n{child.tail()}", file=sys.stderr, flush=True)
