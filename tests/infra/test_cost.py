"""The cost page is what the model says, and the model counts as Azure does."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys

import pytest

from benchmarks.cost import CASES, Counts, Prices, cost, idle_month, table
from tests.infra.deployment import ROOT

PAGE = ROOT / "docs" / "reference" / "cost.md"
BEGIN, END = "<!-- begin generated -->\n", "<!-- end generated -->"


def with_generated_part(text: str) -> str:
    before, _, rest = text.partition(BEGIN)
    return f"{before}{BEGIN}{table(Counts(), Prices())}{END}{rest.partition(END)[2]}"


def test_the_cost_page_is_what_the_model_says():
    text = PAGE.read_text(encoding="utf-8")
    assert text == with_generated_part(text), "write it again: .venv/bin/python -m tests.infra.test_cost"


def test_the_page_names_the_counts_that_the_model_begins_with():
    text = " ".join(PAGE.read_text(encoding="utf-8").split())
    counts = Counts()
    assert f"{counts.executions} executions, {counts.queue_messages} queue messages" in text
    assert (
        f"{counts.table_operations} table operations for one create; {counts.azure_seconds} s in calls"
        in text
    )


def test_an_execution_is_billed_for_a_second_at_least():
    quick = cost(dataclasses.replace(Counts(), azure_seconds=0.1), CASES[0], Prices())
    assert quick.gb_seconds == 1000 * Counts().executions * 2.0


def test_sharing_an_instance_divides_compute_and_nothing_else():
    alone, shared, small = (cost(Counts(), case, Prices()) for case in CASES)
    assert alone.gb_seconds == pytest.approx(8 * shared.gb_seconds) == pytest.approx(32 * small.gb_seconds)
    assert alone.total - alone.compute == pytest.approx(shared.total - shared.compute)


def test_the_timer_of_an_idle_month_stays_within_what_is_free():
    gb_seconds, dollars = idle_month(2.0, Prices())
    assert gb_seconds == 86_400 < Prices().free_gb_seconds
    assert dollars == pytest.approx(86_400 * 0.000026 + 43_200 * 0.4e-6)


def test_the_command_takes_other_counts():
    command = [sys.executable, str(ROOT / "benchmarks" / "cost.py"), "--queue-messages", "100", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    assert found["counts"]["queue_messages"] == 100
    assert found["costs"][0]["queues"] == pytest.approx(1000 * 100 * 3 * 0.004 / 10_000)


if __name__ == "__main__":
    PAGE.write_text(with_generated_part(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
