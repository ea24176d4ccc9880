"""Child processes that die with their parent, and free ports for them.

A sandbox is half a dozen processes; whatever happens to the one that started them (a signal, a
crash, a killed test run), none may stay behind holding a port.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import dataclasses
import os
import random
import signal
import socket
import ssl
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import aiohttp

FIRST_PORT = 20_000
LAST_PORT = 32_000
"""Below the range from which systems take ports of outgoing connections, so that a port chosen
here is still free when the child binds it a second later."""

LOG_TAIL_LINES = 25
READY_POLL_SECONDS = 0.05
STOP_SECONDS = 5.0
PR_SET_PDEATHSIG = 1


class ChildFailedError(RuntimeError):
    """A child process ended, or did not answer in time; the message has the tail of its log."""


@dataclasses.dataclass(frozen=True, slots=True)
class Child:
    """One running child process."""

    name: str
    process: asyncio.subprocess.Process
    log_file: Path

    @property
    def pid(self) -> int:
        """Process id; also the id of the child's own process group."""
        return self.process.pid

    def tail(self) -> str:
        """Last lines of the child's log."""
        text = self.log_file.read_text(errors="replace") if self.log_file.exists() else ""
        return "\n".join(text.splitlines()[-LOG_TAIL_LINES:])


def free_ports(count: int) -> list[int]:
    """Choose ports on 127.0.0.1 that nothing listens on.

    Args:
        count: How many.

    Returns:
        Different ports, all of which could be bound a moment ago.
    """
    chooser = random.SystemRandom()
    ports: list[int] = []
    while len(ports) < count:
        port = chooser.randint(FIRST_PORT, LAST_PORT)
        if port in ports:
            continue
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        ports.append(port)
    return ports


def _dies_with(parent_pid: int) -> Callable[[], None] | None:
    """Code that runs in the child before it becomes the program (Linux: prctl(2))."""
    if sys.platform != "linux":
        return None
    libc = ctypes.CDLL(None, use_errno=True)

    def ask_for_signal() -> None:
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent_pid:  # the parent died before the call above took effect
            os._exit(1)

    return ask_for_signal


async def start_child(
    name: str,
    command: Sequence[str],
    *,
    log_folder: Path,
    environment: Mapping[str, str] | None = None,
    folder: Path | None = None,
) -> Child:
    """Start a program in a process group of its own, its output in ``log_folder/NAME.log``.

    Args:
        name: What to call it in messages and in the log's name.
        command: Program and arguments.
        log_folder: Existing folder for the log.
        environment: Variables on top of this process's own.
        folder: Working directory.

    Returns:
        The running child.
    """
    log_file = log_folder / f"{name}.log"
    with log_file.open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env={**os.environ, **(environment or {})},
            cwd=folder,
            start_new_session=True,
            preexec_fn=_dies_with(os.getpid()),
        )
    return Child(name, process, log_file)


async def wait_ready(
    child: Child,
    url: str,
    *,
    ca_file: str,
    timeout_seconds: float,
    statuses: frozenset[int] = frozenset({200}),
) -> float:
    """Wait until ``url`` answers, or until the child is dead.

    Args:
        child: The process that serves ``url``.
        url: What to ask.
        ca_file: The sandbox's CA.
        timeout_seconds: How long to wait.
        statuses: Answers that mean "ready"; empty for any.

    Returns:
        Seconds waited.

    Raises:
        ChildFailedError: The child ended, did not answer in time, or says why it never will (an
            ``error`` in a JSON answer).
    """
    started = time.monotonic()
    context = ssl.create_default_context(cafile=ca_file)
    timeout = aiohttp.ClientTimeout(total=timeout_seconds)
    async with aiohttp.ClientSession(timeout=timeout) as session:
        while True:
            code = child.process.returncode
            if code is not None:
                raise ChildFailedError(f"{child.name} ended with exit code {code}:\n{child.tail()}")
            waited = time.monotonic() - started
            if waited > timeout_seconds:
                raise ChildFailedError(
                    f"{child.name} did not answer {url} in {timeout_seconds:.0f} s:\n{child.tail()}",
                )
            problem = ""
            with contextlib.suppress(aiohttp.ClientError, TimeoutError):
                async with session.get(url, ssl=context) as response:
                    if not statuses or response.status in statuses:
                        return time.monotonic() - started
                    problem = await _problem(response)
            if problem:
                raise ChildFailedError(f"{child.name} cannot serve: {problem}\n{child.tail()}")
            await asyncio.sleep(READY_POLL_SECONDS)


async def _problem(response: aiohttp.ClientResponse) -> str:
    """The ``error`` of a part that answers "not ready" for good."""
    if response.content_type != "application/json":
        return ""
    answer = await response.json()
    return str(answer.get("error") or "") if isinstance(answer, dict) else ""


async def stop_children(children: Sequence[Child], timeout_seconds: float = STOP_SECONDS) -> None:
    """End all children: SIGTERM to each, SIGKILL to the process groups of those that stay."""
    for child in children:
        if child.process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                child.process.terminate()
    waits = [asyncio.ensure_future(child.process.wait()) for child in children]
    if waits:
        await asyncio.wait(waits, timeout=timeout_seconds)
    for child in children:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(child.pid, signal.SIGKILL)  # also what the child itself left behind
    for wait in waits:
        await wait
