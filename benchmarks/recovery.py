"""What a recovery costs: connections are made on the in-memory ports, the tables emptied, every call counted.

Each connection has a workload and an identity of its own, the dearest case. Waiting for Azure is not in the
seconds.

    .venv/bin/python benchmarks/recovery.py --connections 1000
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tests.fakes.local_app import LocalApp, create_body, make_app
from tests.fakes.recoveries import lose_tables, outcomes, recovered


async def made(app: LocalApp, number: int) -> None:
    """So many connections in one cluster."""
    for index in range(number):
        await app.send(create_body(f"c{index}", workload=f"w{index}"), message_id=f"c{index}")
        if index % 50 == 49:
            await app.settle(timer=False)
    await app.settle(timer=False)


async def main(number: int) -> None:
    """Print the calls of one recovery that writes."""
    logging.disable(logging.CRITICAL)
    with tempfile.TemporaryDirectory() as folder:
        app = make_app(Path(folder))
        await made(app, number)
        lose_tables(app)
        since, began = len(app.journal.calls), time.perf_counter()
        result = await recovered(app)
        seconds = time.perf_counter() - began
        calls = Counter(call.name for call in app.journal.calls[since:])
    print(f"outcomes: {dict(Counter(outcomes(result).values()))} (the answer shows 1000 at most)")
    print(f"totals: {result['totals']['connections']}")
    print(f"Resource Manager: {result['calls']['arm']}, API server: {result['calls']['kubernetes']}")
    reads = calls["state.get"] + calls["state.query"] + calls["state.scan"]
    print(f"table reads: {reads}, table transactions: {calls['state.transact']}")
    print(f"seconds: {seconds:.1f}, messages: {[one['messages'] for one in result['slices']]}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--connections", type=int, default=1000)
    asyncio.run(main(parser.parse_args().connections))
