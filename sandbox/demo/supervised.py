"""The sandbox of one demo: a child process that never outlives it."""

from __future__ import annotations

import asyncio
import contextlib
import re
import shutil
import signal
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from sandbox.azurite import REPOSITORY
from sandbox.contract import Contract

STOP_SECONDS = 15.0
LINE_BYTES = 1 << 20
TAIL_LINES = 30
COMPLAINT = re.compile(r"^Id=\S+ \w+|\bERROR\b|outcome=(permanent|transient)")
"""How the host reports an exception, the app an error, and the engine a step that failed."""
COMPLAINT_LINES = 3
COMPLAINT_WIDTH = 240


class NotUpError(RuntimeError):
    """The sandbox did not come up; the message is what it said."""


class SupervisedSandbox:
    """``python -m sandbox up`` as a child, in a temporary folder.

    Args:
        settings: Settings of the app that differ from the sandbox's.
        latency: As ``up`` has it.
    """

    def __init__(self, settings: Mapping[str, str], *, latency: str) -> None:
        self._settings = settings
        self._latency = latency
        self.folder = Path(tempfile.mkdtemp(prefix="mooring-demo-"))
        self.state_dir = self.folder / "state"
        self._log = self.folder / "up.log"
        self._process: asyncio.subprocess.Process | None = None

    @property
    def logs(self) -> Path:
        """Where the parts write what they do."""
        logs = self.state_dir / "logs"
        return logs if logs.is_dir() else self._log

    async def start(self) -> Contract:
        """Start it and wait until everything answers.

        Raises:
            NotUpError: It ended instead.
        """
        command = [
            *(sys.executable, "-m", "sandbox", "up", "--die-with-parent"),
            *("--state-dir", str(self.state_dir), "--keep", "--latency", self._latency),
        ]
        for name, value in self._settings.items():
            command += ["--setting", f"{name}={value}"]
        with self._log.open("wb") as log:
            self._process = await asyncio.create_subprocess_exec(
                *command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
                cwd=REPOSITORY,
                limit=LINE_BYTES,
                start_new_session=True,  # so that Ctrl-C reaches it through us, in order
            )
        assert self._process.stdout is not None  # noqa: S101 - it was asked for above
        line = await self._process.stdout.readline()
        if not line:
            raise NotUpError("\n".join(self._log.read_text(errors="replace").splitlines()[-TAIL_LINES:]))
        return Contract.from_json(line.decode())

    def complaints(self) -> list[str]:
        """Last lines of the Functions host's log that tell of a failed function or step."""
        file = self.state_dir / "logs" / "functions.log"
        lines = file.read_text(errors="replace").splitlines() if file.exists() else []
        found = [line for line in lines if COMPLAINT.search(line)]
        return [line[:COMPLAINT_WIDTH] for line in found[-COMPLAINT_LINES:]]

    async def wait(self) -> None:
        """Wait until it ends by itself."""
        if self._process is not None:
            await self._process.wait()

    async def stop(self) -> None:
        """End it; its folder stays."""
        process = self._process
        if process is None or process.returncode is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGTERM)
        try:
            await asyncio.wait_for(process.wait(), STOP_SECONDS)
        except TimeoutError:
            process.kill()
            await process.wait()

    def forget(self) -> None:
        """Remove its folder."""
        shutil.rmtree(self.folder, ignore_errors=True)
