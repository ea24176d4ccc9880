"""OpenTelemetry with exporters in memory: what was told, as plain values."""

from __future__ import annotations

import dataclasses
from typing import Any

from opentelemetry.sdk.metrics import Counter, Histogram, _Gauge
from opentelemetry.sdk.metrics.export import AggregationTemporality, InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from shared.clients.telemetry import OpenTelemetry
from shared.metrics import METRICS
from shared.naming import trace_of


@dataclasses.dataclass(frozen=True, slots=True)
class Told:
    """One span."""

    name: str
    trace: str
    span: str
    parent: str
    error: str
    fields: dict[str, Any]
    links: tuple[str, ...]
    kind: str


class Listener(OpenTelemetry):
    """The product's own telemetry, strict: metrics have the attributes that their table says."""

    def __init__(self, *, ratio: float = 1.0) -> None:
        delta = AggregationTemporality.DELTA
        self._exporter = InMemorySpanExporter()
        self._reader = InMemoryMetricReader(
            preferred_temporality={Counter: delta, Histogram: delta, _Gauge: delta}
        )
        super().__init__(
            processors=[SimpleSpanProcessor(self._exporter)], readers=[self._reader], ratio=ratio
        )

    def measure(self, metric: str, value: float = 1.0, **attributes: str) -> None:
        assert set(attributes) == set(METRICS[metric].attributes), (metric, attributes)
        super().measure(metric, value, **attributes)

    def spans(self, of: str = "") -> list[Told]:
        """Spans that have ended, of one operation's trace if it is named."""
        found = [_told(one) for one in self._exporter.get_finished_spans()]
        return [one for one in found if not of or one.trace == trace_of(of)[0]]

    def names(self, of: str = "") -> list[str]:
        return [one.name for one in self.spans(of)]

    def values(self) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
        """Sums of counters and histograms, and values of gauges, since the last call."""
        data = self._reader.get_metrics_data()
        if data is None:
            return {}
        return {
            (metric.name, tuple(sorted(point.attributes.items()))): getattr(
                point, "value", getattr(point, "sum", None)
            )
            for resource in data.resource_metrics
            for scope in resource.scope_metrics
            for metric in scope.metrics
            for point in metric.data.data_points
        }


def _told(span: ReadableSpan) -> Told:
    own: Any = span.context
    return Told(
        name=span.name,
        trace=f"{own.trace_id:032x}",
        span=f"{own.span_id:016x}",
        parent=f"{span.parent.span_id:016x}" if span.parent else "",
        error="" if span.status.is_ok else str(span.status.description),
        fields=dict(span.attributes or {}),
        links=tuple(f"{link.context.trace_id:032x}" for link in span.links),
        kind=span.kind.name,
    )
