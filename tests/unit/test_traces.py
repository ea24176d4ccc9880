"""What is told of operations that end in other ways than well."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from shared import naming, traces
from shared.clients.call_spans import answered
from shared.models import Cause, Connection, ConnectionState, Kind, Operation, OperationState
from tests.fakes.linker_events import written_event
from tests.fakes.local_app import STORAGE, make_app
from tests.fakes.snapshots import ID, SPEC
from tests.fakes.telemetry import Listener
from tests.fakes.their_linker import LINKER, make_linker
from tests.unit.test_adopt_records import adopt_body

NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)
CONNECTION = Connection(
    connection_id=ID, spec=SPEC, body_hash="", state=ConnectionState.PRUNING, created_at=NOW
)


def prune(**changes: Any) -> Operation:
    cause = Cause(kind="target", resource_id=STORAGE, event_time=changes.pop("event_time", ""))
    return Operation(
        operation_id=naming.operation_id(ID, "k"),
        connection_id=ID,
        kind=Kind.PRUNE,
        state=OperationState.SUCCEEDED,
        generation=1,
        plan=(),
        cause=cause,
        opened_at=NOW,
        ended_at=NOW + timedelta(seconds=100),
    ).model_copy(update=changes)


@pytest.mark.parametrize(
    ("changes", "result"),
    [
        ({}, "pruned"),
        ({"report_only": True}, "reported"),
        ({"code": "resource-alive"}, "resource-alive"),
        ({"state": OperationState.FAILED, "code": "access-denied"}, "access-denied"),
        ({"state": OperationState.SUPERSEDED, "code": "superseded-by-delete"}, "superseded-by-delete"),
    ],
)
def test_a_prune_is_counted_by_its_end(changes: dict[str, Any], result: str):
    listener = Listener()
    traces.ended(listener, prune(**changes), CONNECTION)
    values = listener.values()
    assert values[("prune_total", (("result", result),))] == 1
    assert (("time_to_pruned_seconds", ()) in values) is (result == "pruned")


@pytest.mark.parametrize(
    ("event_time", "seconds"),
    [
        ("2026-11-26T11:59:00.1234567Z", 159.876544),
        ("2026-11-26T11:59:00", 160),
        ("", 100),
        ("yesterday", 100),
        ("2026-11-26T12:10:00Z", 0),
    ],
)
def test_a_prunes_time_counts_from_the_deletion_where_that_is_known(event_time: str, seconds: float):
    listener = Listener()
    traces.ended(listener, prune(event_time=event_time), CONNECTION)
    assert listener.values()[("time_to_pruned_seconds", ())] == pytest.approx(seconds)


def test_an_operation_without_an_end_is_not_told():
    listener = Listener()
    traces.ended(listener, prune(ended_at=None), CONNECTION)
    assert (listener.spans(), listener.values()) == ([], {})


def test_an_operation_that_is_told_twice_is_the_same_span():
    listener = Listener()
    for _ in range(2):
        traces.ended(listener, prune(), CONNECTION)
    assert len({(span.trace, span.span) for span in listener.spans()}) == 1


def test_a_failure_without_a_code_is_a_failure():
    listener = Listener()
    traces.ended(listener, prune(state=OperationState.FAILED), CONNECTION)
    [span] = listener.spans()
    assert span.error == "failed"


def test_no_answer_has_no_status():
    listener = Listener()
    with listener.span("ARM GET x", outward=True) as span:
        answered(span, 0)
    assert listener.spans()[0].fields == {}


async def test_looks_at_a_linker_have_a_span_that_their_calls_belong_to(tmp_path: Path):
    listener = Listener()
    app = make_app(tmp_path, telemetry=listener)
    make_linker(app)
    assert await app.services.events.receive(written_event(LINKER)) == ["observed"]
    [observed] = [span for span in listener.spans() if span.name == "observe linker"]
    assert (observed.fields["outcome"], observed.fields["linker"], observed.parent) == (
        "observed",
        naming.fold_id(LINKER),
        "",
    )
    caller = f"00-{'a' * 32}-{'b' * 16}-01"
    record = await app.services.intake.receive(
        json.dumps(adopt_body()), message_id="m", source="http", caller=caller
    )
    [adopted] = [span for span in listener.spans() if span.name == "adopt"]
    assert (record.outcome, adopted.links, adopted.error) == ("opened", ("a" * 32,), "")
    assert adopted.fields["linker"] == LINKER
    assert [span.links for span in listener.spans(record.operation_id)] == [("a" * 32,)]
