"""No part of a sandbox outlives the process that started it, and a dead one is reported."""

from __future__ import annotations

import asyncio
import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from sandbox.layout import prepare
from sandbox.processes import ChildFailedError, start_child, stop_children, wait_ready

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="parent-death signals and pidfds are Linux's")

PARENT = """
import asyncio, pathlib, sys
from sandbox.processes import start_child

async def main():
    child = await start_child("sleeper", ["sleep", "60"], log_folder=pathlib.Path(sys.argv[1]))
    print(child.pid, flush=True)
    await asyncio.sleep(60)

asyncio.run(main())
"""


def ends(pid: int, *, within_seconds: float) -> bool:
    """Wait for a process that is not ours to wait for."""
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([handle], [], [], within_seconds)[0])
    finally:
        os.close(handle)


def test_a_child_ends_when_its_parent_is_killed(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", PARENT, str(tmp_path)],
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parents[2],
    ) as parent:
        assert parent.stdout is not None
        child_pid = int(parent.stdout.readline())
        assert not ends(child_pid, within_seconds=0)
        parent.send_signal(signal.SIGKILL)
        parent.wait()
        assert ends(child_pid, within_seconds=5)


async def test_a_child_that_dies_is_reported_at_once_with_its_log(tmp_path: Path) -> None:
    topology = prepare(tmp_path)
    child = await start_child("broken", ["sh", "-c", "echo no such luck; exit 3"], log_folder=tmp_path)
    started = time.monotonic()
    with pytest.raises(ChildFailedError, match=r"exit code 3:\nno such luck"):
        await wait_ready(child, topology.arm_url, ca_file=topology.ca_file, timeout_seconds=30)
    assert time.monotonic() - started < 5


async def test_a_child_that_ignores_the_signal_is_killed_with_its_own_children(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "said")
    script = f"trap '' TERM; sleep 60 & echo $! > {tmp_path / 'said'}; wait; sleep 60"
    child = await start_child("stubborn", ["sh", "-c", script], log_folder=tmp_path)
    grandchild = await asyncio.to_thread((tmp_path / "said").read_text)
    await stop_children([child], timeout_seconds=0.2)
    assert child.process.returncode == -signal.SIGKILL
    assert ends(int(grandchild), within_seconds=5)
