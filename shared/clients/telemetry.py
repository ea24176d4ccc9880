"""``ports.Telemetry`` through OpenTelemetry's SDK, with providers of its own: nothing global is set.

Spans are made and metrics added up in memory; exporters work in threads of the SDK, which also catches what
they raise. An exception's text is never taken along: it may quote other people's answers.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Sequence
from contextvars import ContextVar
from datetime import datetime
from typing import TYPE_CHECKING, Any

from shared.errors import NotYetError
from shared.logs import cut
from shared.metrics import METRICS, Instrument
from shared.naming import trace_of
from shared.ports import Fields, Span

if TYPE_CHECKING:
    from opentelemetry.sdk.metrics.export import MetricReader
    from opentelemetry.sdk.trace import SpanProcessor

SERVICE = "mooring"
_CALLER = re.compile(r"00-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-[0-9a-f]{2}")
"""W3C Trace Context, version 00; zeros alone are no id."""


class OpenTelemetry:
    """Spans and metrics of one process.

    Args:
        processors: Where spans go.
        readers: Who collects metrics.
        ratio: Share of the traces that are told, 0 to 1; the same on every host, and a trace is told whole.
    """

    def __init__(
        self,
        *,
        processors: Sequence[SpanProcessor] = (),
        readers: Sequence[MetricReader] = (),
        ratio: float = 1.0,
    ) -> None:
        from opentelemetry.sdk.metrics import MeterProvider
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
        from opentelemetry.sdk.trace.sampling import TraceIdRatioBased

        given: ContextVar[tuple[int, int] | None] = ContextVar("ids of the next span", default=None)

        class Ids(RandomIdGenerator):
            """Random ids, unless some are given."""

            def generate_trace_id(self) -> int:
                ids = given.get()
                return ids[0] if ids else super().generate_trace_id()

            def generate_span_id(self) -> int:
                ids = given.get()
                return ids[1] if ids else super().generate_span_id()

        self._given = given
        resource = Resource.create({"service.name": SERVICE})
        self._spans = TracerProvider(
            sampler=TraceIdRatioBased(ratio), resource=resource, id_generator=Ids(), shutdown_on_exit=True
        )
        for processor in processors:
            self._spans.add_span_processor(processor)
        self._tracer = self._spans.get_tracer(SERVICE)
        self._metrics = MeterProvider(metric_readers=readers, resource=resource)
        meter = self._metrics.get_meter(SERVICE)
        makers: dict[Instrument, Any] = {
            Instrument.COUNTER: meter.create_counter,
            Instrument.HISTOGRAM: meter.create_histogram,
            Instrument.GAUGE: meter.create_gauge,
        }
        self._instruments: dict[str, Any] = {
            name: makers[one.instrument](name, unit=one.unit, description=one.about)
            for name, one in METRICS.items()
        }

    @contextlib.contextmanager
    def span(
        self,
        name: str,
        *,
        of: str = "",
        caller: str = "",
        outward: bool = False,
        fields: Fields | None = None,
    ) -> Iterator[Span]:
        """A span that ends with the block, and is the present one until then."""
        from opentelemetry import trace

        kind = trace.SpanKind.CLIENT if outward else trace.SpanKind.INTERNAL
        context = trace.set_span_in_context(trace.NonRecordingSpan(_first_of(of))) if of else None
        begun = self._tracer.start_span(name, context=context, kind=kind, links=_links(caller))
        told = _Span(begun)
        told.note(fields or {})
        with trace.use_span(begun, end_on_exit=True, record_exception=False, set_status_on_exception=False):
            try:
                yield told
            except NotYetError:
                raise
            except BaseException as error:
                told.fail(str(getattr(error, "code", "") or type(error).__name__))
                raise

    def whole(
        self, name: str, *, of: str, began_at: datetime, ended_at: datetime, code: str, fields: Fields
    ) -> None:
        """Tell the first span of a trace, once it is over."""
        from opentelemetry import context, trace

        first = _first_of(of)
        token = self._given.set((first.trace_id, first.span_id))
        try:
            begun = self._tracer.start_span(
                name, context=context.Context(), kind=trace.SpanKind.SERVER, start_time=_nanoseconds(began_at)
            )
        finally:
            self._given.reset(token)
        told = _Span(begun)
        told.note(fields)
        if code:
            told.fail(code)
        begun.end(_nanoseconds(ended_at))

    def measure(self, metric: str, value: float = 1.0, **attributes: str) -> None:
        """Add to a counter, or record a value."""
        instrument = self._instruments[metric]
        kind = METRICS[metric].instrument
        if kind is Instrument.COUNTER:
            instrument.add(value, attributes)
        elif kind is Instrument.HISTOGRAM:
            instrument.record(value, attributes)
        else:
            instrument.set(value, attributes)

    def close(self) -> None:
        """Send what is left, and end the threads."""
        self._spans.shutdown()
        self._metrics.shutdown()


class _Span:
    def __init__(self, span: Any) -> None:
        self._span = span

    def note(self, fields: Fields) -> None:
        self._span.set_attributes({name: cut(value) for name, value in fields.items() if value != ""})

    def fail(self, code: str) -> None:
        from opentelemetry.trace import Status, StatusCode

        self._span.set_status(Status(StatusCode.ERROR, code))
        self._span.set_attribute("error", code)


def _first_of(thing: str) -> Any:
    from opentelemetry.trace import SpanContext, TraceFlags

    trace_id, span_id = trace_of(thing)
    return SpanContext(int(trace_id, 16), int(span_id, 16), is_remote=True, trace_flags=TraceFlags(1))


def _links(caller: str) -> list[Any]:
    from opentelemetry.trace import Link, SpanContext

    found = _CALLER.fullmatch(caller.strip())
    if found is None:
        return []
    return [Link(SpanContext(int(found[1], 16), int(found[2], 16), is_remote=True))]


def _nanoseconds(instant: datetime) -> int:
    return int(instant.timestamp() * 1_000_000) * 1000
