"""The tree that `python -m sandbox trace` prints."""

import argparse
import io
import json
from pathlib import Path
from typing import Any

import pytest

from sandbox import trace
from shared.naming import trace_of

OPERATION = "c0ffee-0123"
TRACE, FIRST = trace_of(OPERATION)


def line(name: str, span: str, parent: str, at_ms: int, took_ms: int, **more: Any) -> str:
    told = {
        "trace": TRACE,
        "span": span,
        "parent": parent,
        "name": name,
        "kind": "internal",
        "start_ns": (1_000_000 + at_ms) * 1_000_000,
        "end_ns": (1_000_000 + at_ms + took_ms) * 1_000_000,
        "error": "",
        "fields": {},
        "links": [],
        **more,
    }
    return json.dumps(told)


STEP = line("step preflight", "a", FIRST, 60, 200, fields={"outcome": "done", "operation_id": OPERATION})
CALL = line("ARM GET t", "b", "a", 70, 12, fields={"status": 403}, error="403")
OPENED = line("open create", "o", FIRST, 0, 40, fields={"outcome": "opened"})
ENDED = line(
    "create",
    FIRST,
    "",
    5,
    12_345,
    fields={"state": "succeeded", "connection": "orders", "operation_id": OPERATION},
)


def spans(tmp_path: Path, *lines: str) -> list[trace.Told]:
    file = tmp_path / "spans.jsonl"
    file.write_text("\n".join(lines))
    return trace.read(file)


def test_an_operation_is_a_tree_with_times_and_ends(tmp_path: Path):
    lines = list(trace.tree(spans(tmp_path, CALL, STEP, OPENED, ENDED), OPERATION))
    assert lines == [
        "create orders  succeeded",
        f"operation {OPERATION}, trace {TRACE}",
        "        at      took",
        "   +0.005s    12.3 s  create  succeeded",
        "   +0.000s     40 ms  ├─ open create  opened",
        "   +0.060s    200 ms  └─ step preflight  done",
        "   +0.070s     12 ms     └─ ARM GET t  403",
    ]


def test_an_operation_that_goes_on_shows_what_has_ended(tmp_path: Path):
    lines = list(trace.tree(spans(tmp_path, STEP, OPENED), OPERATION))
    assert lines[0] == "has not ended"
    assert [text[22:] for text in lines[3:]] == ["├─ open create  opened", "└─ step preflight  done"]


def test_a_line_that_is_being_written_and_one_that_came_twice_count_once(tmp_path: Path):
    found = spans(tmp_path, STEP, STEP, CALL[:-4])
    assert [told.name for told in found] == ["step preflight"]


def test_the_last_operations_are_listed(tmp_path: Path):
    assert trace.listed(spans(tmp_path, OPENED, STEP, ENDED)) == [
        f"{OPERATION}  create   orders  succeeded  12.3 s"
    ]
    assert trace.listed([]) == ["no operation has ended yet"]


def test_an_operation_of_which_nothing_is_told_is_no_tree(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    class Loaded:
        state_dir = str(tmp_path)

    monkeypatch.setattr(trace.Contract, "load", lambda _place: Loaded)
    assert trace.run(argparse.Namespace(operation="x", contract="-")) == 1
    assert "nothing is told of x" in capsys.readouterr().err
    (tmp_path / "spans.jsonl").write_text(ENDED)
    assert trace.run(argparse.Namespace(operation="", contract="-")) == 0
    assert trace.run(argparse.Namespace(operation=OPERATION, contract="-")) == 0
    assert "create  succeeded" in capsys.readouterr().out


def test_a_bad_contract_is_said(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.setattr("sys.stdin", io.StringIO("{}"))
    assert trace.run(argparse.Namespace(operation="", contract="-")) == 2
    assert capsys.readouterr().err
