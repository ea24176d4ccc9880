"""``python -m sandbox.arm --topology FILE`` serves the Resource Manager emulator."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import signal
from pathlib import Path

from sandbox.arm.application import make_app
from sandbox.server import serve
from sandbox.topology import Topology


async def _run(topology: Topology) -> None:
    task = asyncio.current_task()
    if task is not None:
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    with contextlib.suppress(asyncio.CancelledError):
        await serve(
            make_app(topology),
            name="arm",
            url=topology.arm_url,
            cert_file=topology.cert_file,
            key_file=topology.key_file,
        )


def main() -> None:
    """Read the topology and serve until told to stop."""
    parser = argparse.ArgumentParser(description="Resource Manager emulator")
    parser.add_argument("--topology", type=Path, required=True)
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_run(Topology.load(parser.parse_args().topology)))


if __name__ == "__main__":
    main()
