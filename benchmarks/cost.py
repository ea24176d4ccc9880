"""What 1,000 creates and an idle month cost on Flex Consumption, from counts that were measured.

    .venv/bin/python benchmarks/cost.py [--executions 8] [--queue-messages 8] ... [--json]

The counts are those of one create as ``benchmarks/one_connection.py`` prints them; the defaults are its
output on a 2-core machine on 2026-11-26: the seconds with ``--latency recorded-p50``, the rest without.
Prices are list prices in US dollars and go out of date: read them again before you rely on a sum.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys

CREATES = 1000
MONTH_MINUTES = 60 * 24 * 30


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Prices:
    """US dollars, as read in September 2026, and what each month has for nothing."""

    gb_second: float = 0.000026
    execution: float = 0.40 / 1_000_000
    queue_operation: float = 0.004 / 10_000
    table_operation: float = 0.00036 / 10_000
    event_operation: float = 0.60 / 1_000_000
    log_gb: float = 2.76
    free_gb_seconds: int = 100_000
    free_executions: int = 250_000


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """One create, beginning with its message and ending when it is configured."""

    executions: int = 8
    """Measured: one run of ``connection_requests`` and one of ``connection_steps`` for each hop."""
    azure_seconds: float = 9.7
    """Measured with Azure's recorded latencies: time in calls to Resource Manager and Kubernetes."""
    queue_messages: int = 8
    """Measured; each is sent, received and deleted."""
    table_operations: int = 117
    """Measured, the middle of three runs: reads and transactions, together, the timer's among them."""
    event_operations: int = 2
    """Assumed: one event of a deletion, published and delivered, for each create some day."""
    log_kilobytes: float = 65.0
    """35 measured: spans (``benchmarks/telemetry.py``); 30 assumed: lines, the host's own among them."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """How it is run."""

    name: str
    memory_gb: float
    at_a_time: int
    """Executions that share an instance; its memory is billed once."""


CASES = (
    Case(name="2048 MB, one execution at a time", memory_gb=2.0, at_a_time=1),
    Case(name="2048 MB, eight at a time", memory_gb=2.0, at_a_time=8),
    Case(name="512 MB, eight at a time", memory_gb=0.5, at_a_time=8),
)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """US dollars for 1,000 creates, without what a month has for nothing."""

    case: str
    gb_seconds: float
    compute: float
    executions: float
    queues: float
    tables: float
    events: float
    logs: float

    @property
    def total(self) -> float:
        """All of it."""
        return self.compute + self.executions + self.queues + self.tables + self.events + self.logs


def cost(counts: Counts, case: Case, prices: Prices) -> Cost:
    """Of 1,000 creates. An execution is billed for a second at least."""
    seconds = max(counts.executions * 1.0, counts.azure_seconds)
    gb_seconds = CREATES * seconds * case.memory_gb / case.at_a_time
    return Cost(
        case=case.name,
        gb_seconds=gb_seconds,
        compute=gb_seconds * prices.gb_second,
        executions=CREATES * counts.executions * prices.execution,
        queues=CREATES * counts.queue_messages * 3 * prices.queue_operation,
        tables=CREATES * counts.table_operations * prices.table_operation,
        events=CREATES * counts.event_operations * prices.event_operation,
        logs=CREATES * counts.log_kilobytes / 1_000_000 * prices.log_gb,
    )


def idle_month(memory_gb: float, prices: Prices, *, timer_seconds: float = 1.0) -> tuple[float, float]:
    """GB-seconds and US dollars of the timer, which runs every minute, in a month without a request."""
    gb_seconds = MONTH_MINUTES * timer_seconds * memory_gb
    return gb_seconds, gb_seconds * prices.gb_second + MONTH_MINUTES * prices.execution


def table(counts: Counts, prices: Prices) -> str:
    """The table of docs/reference/cost.md."""
    lines = [
        "| 1,000 creates | GB-s | compute | executions | queues | tables | events | logs | total |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for case in CASES:
        one = cost(counts, case, prices)
        parts = (one.compute, one.executions, one.queues, one.tables, one.events, one.logs, one.total)
        shown = " | ".join(f"${part:.4f}" for part in parts)
        lines.append(f"| {one.case} | {one.gb_seconds:,.0f} | {shown} |")
    lines += ["", "| a month without a request | GB-s | total | of the free GB-s |", "|---|---|---|---|"]
    for case in (CASES[1], CASES[2]):
        gb_seconds, dollars = idle_month(case.memory_gb, prices)
        share = gb_seconds / prices.free_gb_seconds
        lines.append(f"| {case.memory_gb * 1024:.0f} MB | {gb_seconds:,.0f} | ${dollars:.2f} | {share:.0%} |")
    return "\n".join(lines) + "\n"


def main() -> int:
    """Print the tables, or the counts and costs as JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for field in dataclasses.fields(Counts):
        parser.add_argument(
            f"--{field.name.replace('_', '-')}", type=type(field.default), default=field.default
        )
    parser.add_argument("--json", action="store_true")
    options = vars(parser.parse_args())
    as_json = options.pop("json")
    counts, prices = Counts(**options), Prices()
    if as_json:
        costs = [cost(counts, case, prices) for case in CASES]
        rows = [{**dataclasses.asdict(one), "total": one.total} for one in costs]
        print(json.dumps({"counts": dataclasses.asdict(counts), "costs": rows}, indent=2))
    else:
        print(table(counts, prices), end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
