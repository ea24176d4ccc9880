"""Where spans and metrics go: Application Insights, a file, both, or nobody.

Microsoft's exporter may take seconds to import on a small machine (without bytecode). It is imported by the
first export, in the SDK's own thread, so that no message waits for it.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from shared.clients.telemetry import OpenTelemetry
from shared.logs import bind
from shared.ports import SILENCE, Telemetry

if TYPE_CHECKING:
    from opentelemetry.sdk.metrics.export import MetricReader
    from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor

SPANS_EVERY_SECONDS = 5.0
METRICS_EVERY_SECONDS = 60.0
TIMEOUT_SECONDS = 10.0
_OPTIONS = {"disable_offline_storage": True, "timeout": TIMEOUT_SECONDS}
"""What could not be sent is dropped: a message's run must not wait for a disk, nor fill it."""


def opened(*, connection_string: str = "", file: str = "", ratio: float = 1.0) -> Telemetry:
    """Telemetry as the settings want it.

    Args:
        connection_string: Application Insights'; it holds no key that would let anybody in once local
            authentication is off. The identity is taken from ``APPLICATIONINSIGHTS_AUTHENTICATION_STRING``,
            which the exporter reads itself. Empty: nothing is sent.
        file: File to which spans are appended as lines of JSON, for a sandbox. Empty: none.
        ratio: Share of the traces that are told.

    Returns:
        Silence, if neither is given: then no part of OpenTelemetry is imported. Silence and one line in the
        log, if it cannot be opened: work goes on without it.
    """
    if not connection_string and not file:
        return SILENCE
    try:
        return _opened(connection_string=connection_string, file=file, ratio=ratio)
    except (ImportError, ValueError) as error:
        # A package that does not load, or a variable of the SDK's own (OTEL_...) that is no number.
        log = bind(logging.getLogger("mooring"))
        log.warning("telemetry-off", extra={"error": type(error).__name__})
        return SILENCE


def _opened(*, connection_string: str, file: str, ratio: float) -> Telemetry:
    from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor

    processors: list[SpanProcessor] = []
    readers: list[MetricReader] = []
    if file:
        processors.append(SimpleSpanProcessor(span_file(file)))
    if connection_string:
        processors.append(
            BatchSpanProcessor(
                azure_spans(connection_string), schedule_delay_millis=SPANS_EVERY_SECONDS * 1000
            )
        )
        readers.append(azure_metrics(connection_string))
    return OpenTelemetry(processors=processors, readers=readers, ratio=ratio)


def azure_spans(connection_string: str) -> Any:
    """Microsoft's exporter of spans, imported when it is first needed."""
    from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

    class Late(SpanExporter):
        """Opened by the first export."""

        def __init__(self) -> None:
            self._inner: SpanExporter | None = None

        def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
            if self._inner is None:
                from azure.monitor.opentelemetry.exporter import AzureMonitorTraceExporter

                self._inner = AzureMonitorTraceExporter(connection_string=connection_string, **_OPTIONS)
            return self._inner.export(spans)

        def shutdown(self) -> None:
            if self._inner is not None:
                self._inner.shutdown()

        def force_flush(self, timeout_millis: int = 30_000) -> bool:  # noqa: ARG002 - the SDK's
            return True

    return Late()


def azure_metrics(connection_string: str) -> Any:
    """Microsoft's exporter of metrics, likewise, behind a reader that collects once a minute."""
    from opentelemetry.sdk.metrics import Counter, Histogram, _Gauge
    from opentelemetry.sdk.metrics.export import (
        AggregationTemporality,
        MetricExporter,
        MetricExportResult,
        MetricsData,
        PeriodicExportingMetricReader,
    )

    class Late(MetricExporter):
        """Opened by the first export."""

        def __init__(self) -> None:
            # A gauge that is told once and not again by every host for as long as that lives.
            delta = AggregationTemporality.DELTA
            super().__init__(preferred_temporality={Counter: delta, Histogram: delta, _Gauge: delta})
            self._inner: MetricExporter | None = None

        def export(
            self,
            metrics_data: MetricsData,
            timeout_millis: float = TIMEOUT_SECONDS * 1000,
            **options: Any,
        ) -> MetricExportResult:
            if self._inner is None:
                from azure.monitor.opentelemetry.exporter import AzureMonitorMetricExporter

                self._inner = AzureMonitorMetricExporter(connection_string=connection_string, **_OPTIONS)
            return self._inner.export(metrics_data, timeout_millis, **options)

        def shutdown(self, timeout_millis: float = 30_000, **options: Any) -> None:
            if self._inner is not None:
                self._inner.shutdown(timeout_millis, **options)

        def force_flush(self, timeout_millis: float = TIMEOUT_SECONDS * 1000) -> bool:  # noqa: ARG002 - the SDK's
            return True

    return PeriodicExportingMetricReader(Late(), export_interval_millis=METRICS_EVERY_SECONDS * 1000)


def span_file(path: str) -> Any:
    """Appends each span to a file as it ends, as one line of JSON; several hosts may share the file."""
    from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

    class Lines(SpanExporter):
        """One write a line, so that the lines of two hosts do not mix."""

        def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
            text = "".join(f"{json.dumps(_line(span), separators=(',', ':'))}\n" for span in spans)
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            try:
                os.write(descriptor, text.encode())
            finally:
                os.close(descriptor)
            return SpanExportResult.SUCCESS

    return Lines()


def _line(span: ReadableSpan) -> dict[str, Any]:
    own: Any = span.context
    return {
        "trace": f"{own.trace_id:032x}",
        "span": f"{own.span_id:016x}",
        "parent": f"{span.parent.span_id:016x}" if span.parent else "",
        "name": span.name,
        "kind": span.kind.name.lower(),
        "start_ns": span.start_time,
        "end_ns": span.end_time,
        "error": span.status.description or "" if not span.status.is_ok else "",
        "fields": dict(span.attributes or {}),
        "links": [f"{link.context.trace_id:032x}" for link in span.links],
    }
