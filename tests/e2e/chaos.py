"""Hosts that are killed and come back, and a storm of accidents around them; all of it from one seed."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import math
import os
import random
import re
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any

import aiohttp

from sandbox.azurite import azurite_command, azurite_environment
from sandbox.contract import Contract
from sandbox.processes import Child, ChildFailedError, start_child, stop_children, wait_ready
from sandbox.topology import Topology
from tests.e2e.sandbox_process import REPOSITORY
from tests.e2e.world import Answer, Json, World, eventually

SCALE = 0.1
"""Every clock of the product and of its host runs in a tenth of its time."""
SETTINGS = {
    "MOORING_STEP_LEASE_SECONDS": "15",
    "MOORING_STEP_DEADLINE_SECONDS": "9",
    "MOORING_RETRY_SCALE": f"{SCALE:g}",
    "MOORING_PRUNE_CONFIRM_SECONDS": "6",
}
QUEUE_LEASE_SECONDS = 60
"""What the Functions host takes a message for: 600 s on the platform."""
TIMER_SECONDS = 6.0
"""The timer is run by hand this often, besides its own minute; the hosts' lock of it is as old at most."""
READY_SECONDS = 60.0
ASK_SECONDS = 60.0
"""How long a question may go unanswered: hosts, storage and the cluster are all away for a while."""
EXECUTED = re.compile(r"Executed 'Functions\.(\w+)' \((\w+),")


class Absence:
    """When something that all work needs was not there, in seconds since the epoch."""

    def __init__(self) -> None:
        self._spans: list[list[float]] = []

    def begin(self) -> None:
        self._spans.append([time.time(), math.inf])

    def end(self) -> None:
        if self._spans and self._spans[-1][1] == math.inf:
            self._spans[-1][1] = time.time()

    def within(self, start: float, end: float) -> float:
        """Seconds of absence between two instants."""
        return sum(max(0.0, min(end, there) - max(start, gone)) for gone, there in self._spans)


class Hosts:
    """Functions hosts of one sandbox, each at its own URL, through all their lives."""

    def __init__(self, contract: Contract, urls: list[str]) -> None:
        self.urls = urls
        self.lives: list[int] = [0] * len(urls)
        self._contract = contract
        self._alive: dict[int, Child] = {}
        self.ready: set[int] = set()
        self.none_ready = Absence()
        self._logs = Path(contract.state_dir) / "logs"

    async def start(self, number: int) -> None:
        """Start a host and wait until it takes messages."""
        contract, url = self._contract, self.urls[number]
        self.lives[number] += 1
        command = [sys.executable, "-m", "sandbox.functions", "--topology", contract.topology_file]
        command += ["--app", str(REPOSITORY), "--settings", f"{contract.state_dir}/app-settings.json"]
        command += ["--url", url, "--name", f"host-{number}", "--lease-seconds", str(QUEUE_LEASE_SECONDS)]
        command += ["--timer-lock-seconds", str(TIMER_SECONDS)]
        name = f"host-{number}-life-{self.lives[number]}"
        child = await start_child(name, command, log_folder=self._logs, folder=REPOSITORY)
        self._alive[number] = child
        ready, ca_file = f"{url}/sandbox/ready", contract.ca_file
        try:
            await wait_ready(child, ready, ca_file=ca_file, timeout_seconds=READY_SECONDS)
            self.ready.add(number)
            self.none_ready.end()
        except ChildFailedError:
            if self._alive.get(number) is child:
                raise
            # Killed while it started: whoever did so starts it again.

    @property
    def alive(self) -> list[int]:
        return sorted(self._alive)

    async def kill(self, number: int) -> None:
        """``kill -9``: the host is gone at once, and its worker with it."""
        child = self._alive.pop(number)
        self.ready.discard(number)
        if not self.ready:
            self.none_ready.begin()
        os.kill(child.pid, signal.SIGKILL)
        await child.process.wait()

    async def stop(self) -> None:
        await stop_children(list(self._alive.values()))

    def executed(self) -> dict[tuple[str, str], int]:
        """How often each function ended in each way, in all lives."""
        counts: dict[tuple[str, str], int] = {}
        for log in self._logs.glob("host-*-life-*.log"):
            for function, outcome in EXECUTED.findall(log.read_text(errors="replace")):
                counts[function, outcome] = counts.get((function, outcome), 0) + 1
        return counts


class ChaoticWorld:
    """Asks whichever host answers, until one does; sends until the queue has taken it."""

    def __init__(self, world: World, hosts: Hosts) -> None:
        self.world = world
        self.hosts = hosts

    async def ask(self, method: str, path: str, body: Json | None = None) -> Answer:
        """Call the API; an answer is one below 500."""
        tried = 0

        async def call() -> Answer | None:
            nonlocal tried
            tried += 1
            url = self.hosts.urls[tried % len(self.hosts.urls)]
            answer = await self.world.api(method, path, body, url=url)
            return answer if answer.status < 500 else None

        return await insisting(call)

    async def send(self, message: Json) -> None:
        async def call() -> bool:
            await self.world.send(message)
            return True

        await insisting(call)

    async def tend(self) -> None:
        """Run the timer by hand for as long as this runs."""
        headers = {"x-functions-key": self.world.contract.function_keys["master"]}
        while True:
            for number in sorted(self.hosts.ready)[:1]:
                tend = f"{self.hosts.urls[number]}/admin/functions/tend"
                with contextlib.suppress(aiohttp.ClientError, OSError):
                    await self.world.api("POST", tend, {"input": ""}, headers=headers, key=None)
            await asyncio.sleep(TIMER_SECONDS)


async def insisting[T](call: Callable[[], Awaitable[T | None]]) -> T:
    """Call until it neither raises nor comes back empty, as a patient client does.

    Raises:
        TimeoutError: Not once in ``ASK_SECONDS``.
    """
    from azure.core.exceptions import AzureError

    async with asyncio.timeout(ASK_SECONDS):
        while True:
            with contextlib.suppress(aiohttp.ClientError, OSError, AzureError):
                answer = await call()
                if answer is not None:
                    return answer
            await asyncio.sleep(0.3)


@dataclasses.dataclass(frozen=True, slots=True)
class Accidents:
    """When what happens, in seconds from the beginning; all of it decided beforehand."""

    kills: list[tuple[float, int, float]]
    """When, which host, and after how long it is started again."""
    azurite: float
    cluster: float
    azure: float
    azure_fault: Json

    @classmethod
    def draw(cls, chance: random.Random) -> Accidents:
        kills, at = [], 4.0
        while at < LAST_KILL_SECONDS:
            kills.append((at, chance.randrange(2), chance.uniform(1, 4)))
            at += chance.uniform(3, 6)
        refusing = {"status": 503, "body": "upstream connect error"}
        return cls(
            kills=kills,
            azurite=chance.uniform(8, 30),
            cluster=chance.uniform(6, 30),
            azure=chance.uniform(6, 30),
            azure_fault=chance.choice([refusing, {"drop": True}]),
        )


LAST_KILL_SECONDS = 38.0
AZURITE_GRACE_SECONDS = 7.0
"""Told to end, Azurite answers nothing any more and waits without end for requests that came too late. By
then it has written what it accepted, for it saves every five seconds: no acknowledged write is lost."""
AWAY_SECONDS = 5.0


class Storm:
    """Lets the accidents happen."""

    def __init__(
        self,
        there: ChaoticWorld,
        accidents: Accidents,
        killed: Callable[[float], Coroutine[Any, Any, None]],
    ) -> None:
        self._there = there
        self._accidents = accidents
        self._killed = killed
        self.kills = 0
        self.azurite: Child | None = None
        self.no_storage = Absence()

    async def rage(self) -> None:
        """Everything at its time; returns when all is mended."""
        accidents = self._accidents
        async with asyncio.TaskGroup() as group:
            group.create_task(self._restart_azurite())
            group.create_task(self._away("kubernetes", accidents.cluster, {"drop": True}))
            group.create_task(self._away("arm", accidents.azure, accidents.azure_fault))
            for at, number, pause in accidents.kills:
                group.create_task(self._kill(at, number, pause))

    async def _kill(self, at: float, number: int, pause: float) -> None:
        await asyncio.sleep(at)
        hosts = self._there.hosts
        if number not in hosts.alive:
            number = 1 - number
        if number not in hosts.alive:
            return
        await hosts.kill(number)
        self.kills += 1
        watching = asyncio.create_task(self._killed(time.time()))
        await asyncio.sleep(pause)
        await hosts.start(number)
        await watching

    async def _away(self, part: str, at: float, fault: Json) -> None:
        await asyncio.sleep(at)
        await self._there.world.add_fault(part, path="^/", times=None, **fault)
        await asyncio.sleep(AWAY_SECONDS)
        await self._there.world.remove_fault(part, "^/")

    async def _restart_azurite(self) -> None:
        """End storage as an administrator would, and start it again on the same folder and ports."""
        await asyncio.sleep(self._accidents.azurite)
        contract = self._there.world.contract
        topology = await asyncio.to_thread(Topology.load, Path(contract.topology_file))
        self.no_storage.begin()
        pid = contract.pids["azurite"]
        os.kill(pid, signal.SIGTERM)
        try:
            await eventually(lambda: _ended(pid), patience=AZURITE_GRACE_SECONDS)
        except TimeoutError:
            os.kill(pid, signal.SIGKILL)
            await eventually(lambda: _ended(pid))
        self.azurite = await start_child(
            "azurite-again",
            azurite_command(topology),
            log_folder=Path(contract.state_dir) / "logs",
            environment=azurite_environment(topology),
            folder=REPOSITORY,
        )
        for url in (topology.queue_url, topology.table_url):
            await wait_ready(
                self.azurite,
                url,
                ca_file=topology.ca_file,
                timeout_seconds=READY_SECONDS,
                statuses=frozenset(),
            )
        self.no_storage.end()


async def _ended(pid: int) -> bool | None:
    """Another process's child cannot be waited for."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return None
