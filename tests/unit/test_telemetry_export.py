"""Where spans go, and that nothing of it stops or fails the work."""

import json
import logging
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult

from shared.clients import telemetry_export
from shared.clients.telemetry import OpenTelemetry
from shared.naming import trace_of
from shared.ports import SILENCE

CONNECTION = "InstrumentationKey=00000000-0000-4000-8000-000000000000;IngestionEndpoint=http://127.0.0.1:1/"


def test_without_a_connection_string_and_a_file_there_is_silence():
    telemetry = telemetry_export.opened()
    assert telemetry is SILENCE
    with telemetry.span("step x", of="o", fields={"a": 1}) as span:
        span.note({"b": 2})
        span.fail("code")
    telemetry.measure("step_seconds", 1.0, step="x")


def test_a_file_gets_a_line_for_each_span_as_it_ends(tmp_path: Path):
    file = tmp_path / "spans.jsonl"
    telemetry = telemetry_export.opened(file=str(file))
    with telemetry.span("step x", of="c-o", fields={"attempt": 1, "code": ""}):
        with telemetry.span("ARM GET t", outward=True) as call:
            call.fail("403")
        [line] = file.read_text().splitlines()
    inner, outer = [json.loads(text) for text in file.read_text().splitlines()]
    assert json.loads(line) == inner
    assert (inner["kind"], inner["error"], inner["parent"]) == ("client", "403", outer["span"])
    assert (outer["trace"], outer["parent"]) == trace_of("c-o")
    assert outer["fields"] == {"attempt": 1}
    assert outer["start_ns"] <= inner["start_ns"] <= inner["end_ns"] <= outer["end_ns"]
    assert file.stat().st_mode & 0o777 == 0o600


class Broken(SpanExporter):
    """Never succeeds."""

    def export(self, _spans: object) -> SpanExportResult:
        raise RuntimeError("no way out")


def test_an_exporter_that_fails_fails_nothing_else(caplog: pytest.LogCaptureFixture):
    telemetry = OpenTelemetry(processors=[SimpleSpanProcessor(Broken())])
    with telemetry.span("step x", of="o"):
        pass
    assert "Exception while exporting" in caplog.text


def test_a_file_that_cannot_be_written_fails_nothing_else(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    telemetry = telemetry_export.opened(file=str(tmp_path / "absent" / "spans.jsonl"))
    with telemetry.span("step x", of="o"):
        pass
    assert "Exception while exporting" in caplog.text


def test_packages_that_do_not_load_leave_silence_and_a_line_in_the_log(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace.export", None)
    with caplog.at_level(logging.WARNING):
        assert telemetry_export.opened(connection_string=CONNECTION) is SILENCE
    assert "telemetry-off error=ModuleNotFoundError" in caplog.text


def test_a_variable_of_the_sdk_that_makes_no_sense_leaves_silence(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", "-1")
    assert telemetry_export.opened(connection_string=CONNECTION) is SILENCE
    assert "telemetry-off error=ValueError" in caplog.text


class Sent:
    """An exporter of Microsoft's, as far as ours uses one."""

    made: ClassVar[list[dict[str, Any]]] = []
    calls: ClassVar[list[str]] = []

    def __init__(self, **options: Any) -> None:
        self.made.append(options)

    def export(self, *_told: object, **_options: object) -> str:
        self.calls.append("export")
        return "answer"

    def shutdown(self, *_words: object, **_options: object) -> None:
        self.calls.append("shutdown")


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> type[Sent]:
    Sent.made.clear()
    Sent.calls.clear()
    module = SimpleNamespace(AzureMonitorTraceExporter=Sent, AzureMonitorMetricExporter=Sent)
    monkeypatch.setitem(sys.modules, "azure.monitor.opentelemetry.exporter", module)
    return Sent


def test_the_exporter_of_spans_is_made_by_the_first_export_and_keeps_nothing_on_disk(sent: type[Sent]):
    late = telemetry_export.azure_spans(CONNECTION)
    late.shutdown()
    assert (sent.made, sent.calls, late.force_flush()) == ([], [], True)
    assert (late.export([]), late.export([])) == ("answer", "answer")
    late.shutdown()
    assert sent.calls == ["export", "export", "shutdown"]
    [options] = sent.made
    assert (options["connection_string"], options["disable_offline_storage"]) == (CONNECTION, True)


def test_the_exporter_of_metrics_is_made_by_the_first_export(sent: type[Sent]):
    reader = telemetry_export.azure_metrics(CONNECTION)
    late = reader._exporter
    late.shutdown()
    assert (sent.made, late.force_flush()) == ([], True)
    assert (late.export(None), late.export(None)) == ("answer", "answer")
    reader.shutdown()
    assert (len(sent.made), sent.calls[-1]) == (1, "shutdown")


def test_with_a_connection_string_spans_and_metrics_are_sent(sent: type[Sent]):
    telemetry = telemetry_export.opened(connection_string=CONNECTION)
    assert isinstance(telemetry, OpenTelemetry)
    with telemetry.span("step x", of="o"):
        pass
    telemetry.measure("requests_total", kind="create", result="opened")
    telemetry.close()
    assert len(sent.made) == 2


def test_an_exception_is_let_through_as_it_is(tmp_path: Path):
    telemetry = telemetry_export.opened(file=str(tmp_path / "spans.jsonl"))
    error = ValueError("secret words")
    with pytest.raises(ValueError, match="secret words") as caught, telemetry.span("step x", of="o"):
        raise error
    assert caught.value is error
    assert "secret words" not in (tmp_path / "spans.jsonl").read_text()
