"""Counts and times a whole sweep: calls to Azure and clusters, table reads and writes, seconds, memory.

    .venv/bin/python benchmarks/sweep.py [--clusters 50] [--connections 5000] [--times 1 10] [--latency-ms 0]

The world and the tables are the in-memory twins of the ports that the unit tests use (they pass the ports'
contract tests): calls are exact, seconds are those of the product's own work on this machine, one slice
after the other, and waiting for Azure is not in them unless ``--latency-ms`` puts it there, to every call.
Each size runs in a process of its own, so that its peak of memory is its own; that holds the world and the
tables too, so the peak before the sweep stands beside it. Rows are written as a create leaves them.
"""

from __future__ import annotations

import argparse
import asyncio
import collections
import dataclasses
import json
import resource
import subprocess
import sys
import tempfile
import time
import tracemalloc
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.sweep_world import fill, lose, template  # noqa: E402 - found through the line above
from shared.clients.clock import SystemClock  # noqa: E402
from shared.sweeping.sweeps import SliceMessage  # noqa: E402
from tests.fakes.journal import Call  # noqa: E402
from tests.fakes.local_app import LocalApp  # noqa: E402

Json = dict[str, Any]
HOUR = 3600.0


class Counted:
    """Counts calls by port and method; keeps no list of them, which would be the largest thing in memory."""

    def __init__(self, app: LocalApp) -> None:
        self.calls: collections.Counter[str] = collections.Counter()
        self._app = app
        app.journal.before = self._note

    def _note(self, call: Call) -> None:
        self.calls[call.name] += 1
        self._app.journal.calls.clear()


async def main_size(clusters: int, connections: int, latency_ms: float, *, trace: bool) -> Json:
    """Make a world of that size and sweep it."""
    with tempfile.TemporaryDirectory() as folder:
        app, model = await template(Path(folder))
        began = time.perf_counter()
        for cluster in range(clusters):
            await fill(app, model, cluster, connections // clusters)
        built_seconds = time.perf_counter() - began
        counted = Counted(app)
        built_mb = peak_mb()
        first = await swept(app, counted, latency_ms, trace=trace)
        app.clock.advance(HOUR)
        # What events missed since: one target, one identity, one linker, and a cluster.
        lose(app, clusters)
        second = await swept(app, counted, latency_ms, trace=trace)
        return {
            "clusters": clusters,
            "connections": connections,
            "made in seconds": round(built_seconds, 1),
            "peak MB of the process before": built_mb,
            "in order": first,
            "with losses": second,
        }


async def swept(app: LocalApp, counted: Counted, latency_ms: float, *, trace: bool) -> Json:
    """One sweep from its beginning to its end, with its counts and times."""
    counted.calls.clear()
    if latency_ms:
        add_latency(app, latency_ms / 1000)
    if trace:
        tracemalloc.start()
    began, cpu_began = time.perf_counter(), time.process_time()
    sweep, _ = await app.services.sweeping.sweeper.start(asked_by="request")
    # The budget of a slice is told by a real clock; the app's own stands still.
    slices = dataclasses.replace(app.services.sweeping.slices, clock=SystemClock())
    while texts := app.queue.take("sweep-slices"):
        for text in texts:
            await slices.run_one(SliceMessage.model_validate_json(text))
    seconds, cpu_seconds = time.perf_counter() - began, time.process_time() - cpu_began
    traced_mb = round(tracemalloc.get_traced_memory()[1] / 1e6, 1) if trace else None
    tracemalloc.stop()
    calls = collections.Counter(counted.calls)
    stored = await app.services.sweeping.sweeps.get(sweep.sweep_id)
    assert stored is not None
    assert stored.value.state.value == "done", stored.value
    rows = [one.value for one in await app.services.sweeping.sweeps.slices(sweep.sweep_id)]
    azure = ("identities", "roles", "resources", "linkers")
    found = counted_of(calls)
    return {
        "seconds": round(seconds, 2),
        "CPU seconds": round(cpu_seconds, 2),
        "slices": len(rows),
        "messages": sum(one.messages for one in rows),
        "ARM calls": sum(found[name] for name in azure) + calls["clusters.describe"],
        "Kubernetes calls": found["clusters"] - calls["clusters.describe"],
        "table reads": calls["state.get"] + calls["state.query"] + calls["state.scan"],
        "table transactions": calls["state.transact"],
        "MB allocated at most by the sweep": traced_mb,
        "peak MB of the process": peak_mb(),
        "found": dict(stored.value.totals),
        "by call": dict(sorted(calls.items())),
    }


def counted_of(calls: collections.Counter[str]) -> collections.Counter[str]:
    found: collections.Counter[str] = collections.Counter()
    for name, number in calls.items():
        found[name.split(".")[0]] += number
    return found


def add_latency(app: LocalApp, seconds: float) -> None:
    """Every call of a port takes so long, as a network would make it."""
    lookout = app.services.sweeping.slices.workers["cluster"].lookout
    ports = [getattr(lookout.outside, field.name) for field in dataclasses.fields(lookout.outside)]
    for port in [*ports, lookout.store]:
        if not getattr(port, "_slow", False):
            port._port, port._slow = Slow(port._port, seconds), True


class Slow:
    """A port whose coroutine methods take a while."""

    def __init__(self, port: Any, seconds: float) -> None:
        self._port, self._seconds = port, seconds

    def __getattr__(self, name: str) -> Any:
        inner = getattr(self._port, name)
        if not asyncio.iscoroutinefunction(inner):
            return inner

        async def slow(*arguments: Any, **options: Any) -> Any:
            await asyncio.sleep(self._seconds)
            return await inner(*arguments, **options)

        return slow


def peak_mb() -> float:
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1)


def main() -> int:
    """Run each size in a process of its own and print one JSON line for it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--clusters", type=int, default=50)
    parser.add_argument("--connections", type=int, default=5000)
    parser.add_argument("--times", type=int, nargs="*", default=[1, 10])
    parser.add_argument("--latency-ms", type=float, default=0.0)
    parser.add_argument("--trace", action="store_true", help="trace allocations (four times slower)")
    parser.add_argument("--here", action="store_true", help="run the first size in this process")
    options = parser.parse_args()
    if options.here:
        size = options.connections * options.times[0]
        print(
            json.dumps(
                asyncio.run(main_size(options.clusters, size, options.latency_ms, trace=options.trace))
            ),
            flush=True,
        )
        return 0
    print("# in-memory ports with every call counted; no network", flush=True)
    for times in options.times:
        command = [sys.executable, __file__, "--here", "--times", str(times)]
        command += ["--clusters", str(options.clusters), "--connections", str(options.connections)]
        command += ["--latency-ms", str(options.latency_ms)]
        command += ["--trace"] if options.trace else []
        subprocess.run(command, check=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
