"""Serve one app: ``python -m sandbox.functions --topology FILE --app FOLDER``."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import signal
from pathlib import Path

from sandbox.functions.application import make_app
from sandbox.functions.host import FunctionsHost
from sandbox.functions.queues import LEASE_SECONDS
from sandbox.functions.settings import AppSettings
from sandbox.functions.timers import LOCK_RETRY_SECONDS
from sandbox.server import serve
from sandbox.topology import Topology


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m sandbox.functions", description=__doc__)
    parser.add_argument("--topology", type=Path, required=True)
    parser.add_argument("--app", type=Path, required=True, help="folder with function_app.py and host.json")
    parser.add_argument("--url", help="https://127.0.0.1:PORT, for a second host on the same storage")
    parser.add_argument("--name", default="host1")
    parser.add_argument("--settings", type=Path, help="app settings in the shape of local.settings.json")
    parser.add_argument("--lease-seconds", type=int, default=LEASE_SECONDS, help="lease of a queue message")
    parser.add_argument("--timer-lock-seconds", type=float, default=LOCK_RETRY_SECONDS)
    return parser.parse_args()


async def _main(arguments: argparse.Namespace) -> None:
    topology = Topology.load(arguments.topology)
    settings = AppSettings.load(arguments.settings)
    # On the platform the app settings are the environment of the host process too.
    os.environ.update(settings.values)
    url = arguments.url or topology.functions_url
    host = FunctionsHost(
        topology=topology,
        app_folder=arguments.app.resolve(),
        settings=settings,
        name=arguments.name,
        url=url,
        lease_seconds=arguments.lease_seconds,
        lock_retry_seconds=arguments.timer_lock_seconds,
    )
    serving = asyncio.create_task(
        serve(
            make_app(host),
            name=arguments.name,
            url=url,
            cert_file=topology.cert_file,
            key_file=topology.key_file,
        ),
    )
    for wanted in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(wanted, serving.cancel)
    with contextlib.suppress(asyncio.CancelledError):
        await serving


if __name__ == "__main__":
    asyncio.run(_main(_arguments()))
