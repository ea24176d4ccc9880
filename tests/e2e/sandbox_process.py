"""``python -m sandbox up`` as a user starts it: a process, one line on standard output."""

from __future__ import annotations

import contextlib
import os
import selectors
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from sandbox.azurite import AzuriteMissingError, find_azurite
from sandbox.contract import Contract

REPOSITORY = Path(__file__).resolve().parent.parent.parent
START_SECONDS = 240
STOP_SECONDS = 20
SETTINGS = {
    "MOORING_PRUNE_CONFIRM_SECONDS": "1",
    "MOORING_PRUNE_GRACE_SECONDS": "20",
    "MOORING_HOLD_RECHECK_SECONDS": "1",
    "MOORING_PRUNE_CAP_PER_HOUR": "500",
    "MOORING_RETRY_SCALE": "0.2",
    "MOORING_STEP_DEADLINE_SECONDS": "15",
    "MOORING_STEP_LEASE_SECONDS": "20",
}


def require_parts() -> None:
    """Skip loudly where Node.js or Azurite is absent."""
    if shutil.which("node") is None:
        pytest.skip("!!! Node.js is not installed: NOTHING was tried end to end !!!")
    try:
        find_azurite()
    except AzuriteMissingError as error:
        pytest.skip(f"!!! {error}: NOTHING was tried end to end !!!")


@contextlib.contextmanager
def running_sandbox(
    folder: Path,
    *options: str,
    settings: Mapping[str, str] = SETTINGS,
    environment: Mapping[str, str] | None = None,
) -> Iterator[Contract]:
    """Start a sandbox, hand out its contract, end it.

    Args:
        folder: Where its standard error goes.
        options: More options of ``up``.
        settings: App settings.
        environment: Variables on top of this process's own; a real cluster is never used unasked.
    """
    require_parts()
    variables = {name: value for name, value in os.environ.items() if name != "KUBEBUILDER_ASSETS"}
    pairs = [f"--setting={name}={value}" for name, value in settings.items()]
    errors = folder / "up.log"
    with errors.open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "sandbox", "up", "--die-with-parent", *pairs, *options],
            cwd=REPOSITORY,
            env={**variables, **(environment or {})},
            stdout=subprocess.PIPE,
            stderr=log,
        )
    try:
        yield Contract.from_json(_first_line(process, errors))
    finally:
        process.terminate()
        try:
            code = process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            code = process.wait()
        assert process.stdout is not None
        process.stdout.close()
        assert code == 0, errors.read_text()[-3000:]


def _first_line(process: subprocess.Popen[bytes], errors: Path) -> str:
    assert process.stdout is not None
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        assert selector.select(START_SECONDS), f"no contract in {START_SECONDS} s: {errors.read_text()}"
    line = process.stdout.readline().decode()
    assert line, f"the sandbox did not start: {errors.read_text()[-3000:]}"
    return line
