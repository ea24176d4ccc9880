"""``python -m sandbox.kube --topology FILE``: the emulator, or real servers behind the same control URL."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import signal
from pathlib import Path

from sandbox.server import serve
from sandbox.topology import Topology


async def run(topology: Topology) -> None:
    """Serve until SIGTERM or SIGINT, then save and end."""
    if topology.kubebuilder_assets:
        from sandbox.kube.real import make_app
    else:
        from sandbox.kube.app import make_app
    serving = asyncio.ensure_future(
        serve(
            make_app(topology),
            name="kubernetes",
            url=topology.kubernetes_url,
            cert_file=topology.cert_file,
            key_file=topology.key_file,
        ),
    )
    loop = asyncio.get_running_loop()
    for signal_number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signal_number, serving.cancel)
    with contextlib.suppress(asyncio.CancelledError):
        await serving


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m sandbox.kube", description=__doc__)
    parser.add_argument("--topology", type=Path, required=True, help="file that Topology.save wrote")
    asyncio.run(run(Topology.load(parser.parse_args().topology)))


if __name__ == "__main__":
    main()
