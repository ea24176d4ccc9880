"""``python -m sandbox demo``: options, exit code, and the end of everything that was started."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import signal
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sandbox.demo.stage import Stage

PATIENCE_WHEN_SLOW = 10.0
INTERRUPTED = 130


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``demo``."""
    parser.add_argument("--keep", action="store_true", help="leave the sandbox up at the end, until Ctrl-C")
    parser.add_argument("--latency", choices=("none", "recorded-p50"), default="none")


def run(arguments: argparse.Namespace) -> int:
    """Tell the story.

    Returns:
        0 if all was as told, 1 if something was not, 130 when interrupted.
    """
    try:
        return asyncio.run(_run(keep=arguments.keep, latency=arguments.latency))
    except KeyboardInterrupt:
        return INTERRUPTED


async def _run(*, keep: bool, latency: str) -> int:
    # Imported here, because the other commands need neither rich nor Azure's clients.
    from sandbox.demo.stage import NotAsToldError, Stage
    from sandbox.demo.story import Clocks, introduce, tell
    from sandbox.demo.supervised import SupervisedSandbox

    started = time.monotonic()
    patience = 1.0 if latency == "none" else PATIENCE_WHEN_SLOW
    stage, clocks = Stage(patience=patience), Clocks()
    sandbox = SupervisedSandbox(clocks.settings(), latency=latency)
    as_told = failed = False
    ending = asyncio.Event()
    task = asyncio.current_task()
    with contextlib.suppress(NotImplementedError):  # Windows' loop has no signal handlers
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel if task else ending.set)
    try:
        introduce(stage, clocks)
        contract = await stage.during("the sandbox starts", sandbox.start())
        stage.told(f"the sandbox is up, {time.monotonic() - started:.1f} s")
        await tell(contract, stage, clocks, patience=patience)
        as_told = True
        _close(stage, seconds=time.monotonic() - started)
        if keep:
            _explain_keep(stage, contract.state_dir)
            await sandbox.wait()
    except asyncio.CancelledError:
        return 0 if as_told else INTERRUPTED
    except NotAsToldError as error:
        failed = True
        stage.failed(error.line, error.cause, str(sandbox.logs), sandbox.complaints())
    except Exception as error:
        failed = True
        cause = f"{type(error).__name__}: {error}"
        stage.failed(f"what follows '{stage.line}'", cause, str(sandbox.logs), sandbox.complaints())
    finally:
        await sandbox.stop()
        if not failed:
            sandbox.forget()
    return 0 if as_told else 1


def _close(stage: Stage, *, seconds: float) -> None:
    stage.title("", "All as told.")
    stage.table([*stage.summary.rows, ("in all", f"{seconds:.1f} s, the start of the sandbox included")])
    stage.title("", "To look around yourself:")
    stage.command("make up", ["such a sandbox, to stay; see docs/reference/sandbox.md"])
    stage.command(".venv/bin/python -m sandbox demo --keep", ["this story; its sandbox stays up at the end"])


def _explain_keep(stage: Stage, state_dir: str) -> None:
    stage.title("", f"The sandbox stays up until Ctrl-C; its contract is {state_dir}/contract.json.")
    stage.command(f"kubectl --kubeconfig {state_dir}/kubeconfig get secret,serviceaccount -A", [])
