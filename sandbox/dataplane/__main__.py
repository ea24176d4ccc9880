"""``python -m sandbox.dataplane --topology FILE``."""

from __future__ import annotations

import argparse
import asyncio
from pathlib import Path

from sandbox.dataplane.application import make_app
from sandbox.server import serve
from sandbox.topology import Topology


def main() -> None:
    """Serve until the process is told to end."""
    parser = argparse.ArgumentParser(prog="python -m sandbox.dataplane")
    parser.add_argument("--topology", type=Path, required=True)
    topology = Topology.load(parser.parse_args().topology)
    serving = serve(
        make_app(topology),
        name="dataplane",
        url=topology.dataplane_url,
        cert_file=topology.cert_file,
        key_file=topology.key_file,
    )
    asyncio.run(serving)


if __name__ == "__main__":
    main()
