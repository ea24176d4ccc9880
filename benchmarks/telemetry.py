"""What telling costs: CPU time, with nobody told and with Application Insights, and bytes a create.

    .venv/bin/python -m benchmarks.telemetry [--creates 500]

Nothing is sent: envelopes are made as Microsoft's exporter makes them, and measured.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from typing import Any

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

from shared.clients.telemetry import OpenTelemetry
from shared.ports import SILENCE, Telemetry

CALLS_OF_A_CREATE = 22
"""Counted in the sandbox with its defaults (docs/observability.md shows it); besides: 7 steps and 2 more."""
STEPS_OF_A_CREATE = 7
STEP = {
    "connection_id": "6135f40295abfb730ce5e25f",
    "operation_id": "6135f40295abfb730ce5e25f-c9dec5f82aeb",
    "step": "managed_identity",
    "direction": "apply",
    "attempt": 1,
    "turn": 1,
    "cluster": "aks-orders-prod",
    "namespace": "shop",
    "target_type": "storage-blob",
}
CALL = {
    "peer.service": "ARM",
    "method": "GET",
    "path": "/subscriptions/11111111-1111-4111-8111-111111111111/resourceGroups/rg-orders-prod"
    "/providers/Microsoft.ManagedIdentity/userAssignedIdentities/mooring-shop-orders-0123456789",
}


class Kept(SpanExporter):
    """Keeps what it is given."""

    def __init__(self) -> None:
        self.spans: list[ReadableSpan] = []

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Keep them."""
        self.spans += spans
        return SpanExportResult.SUCCESS


def create(telemetry: Telemetry) -> None:
    """Spans of one create, without the work."""
    with telemetry.span("open create", of="c-o", fields=STEP) as span:
        span.note({"outcome": "opened"})
    for index in range(STEPS_OF_A_CREATE):
        with telemetry.span("step managed_identity", of="c-o", fields=STEP) as span:
            for _ in range(CALLS_OF_A_CREATE // STEPS_OF_A_CREATE + (index == 0)):
                with telemetry.span(
                    "ARM GET microsoft.managedidentity/userassignedidentities", outward=True, fields=CALL
                ) as call:
                    call.note({"status": 200, "service_request_id": "0f0f0f0f-1111-2222-3333-444444444444"})
            span.note({"outcome": "done"})
        telemetry.measure("step_seconds", 1.0, step="managed_identity")


def microseconds(telemetry: Telemetry, creates: int) -> float:
    """CPU time of one create's spans with all threads, the best of three rounds."""
    best = float("inf")
    for _ in range(3):
        began = time.process_time()
        for _ in range(creates):
            create(telemetry)
        best = min(best, time.process_time() - began)
    return best / creates * 1e6


def envelope_bytes(spans: Sequence[ReadableSpan]) -> int:
    """Length of what is sent for these spans, before it is compressed."""
    from azure.monitor.opentelemetry.exporter.export.trace import _exporter

    envelopes: list[Any] = [_exporter._convert_span_to_envelope(span) for span in spans]
    return sum(len(json.dumps(one.as_dict(), default=str)) for one in envelopes)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--creates", type=int, default=500)
    creates = parser.parse_args().creates
    kept = Kept()
    told = OpenTelemetry(processors=[BatchSpanProcessor(kept)])
    print(f"nobody is told:  {microseconds(SILENCE, creates):8.1f} µs CPU a create")
    print(f"queued to send:  {microseconds(told, creates):8.1f} µs CPU a create")
    told.close()
    one = Kept()
    counted = OpenTelemetry(processors=[BatchSpanProcessor(one)])
    create(counted)
    counted.close()
    print(f"sent:            {envelope_bytes(one.spans):8d} bytes for {len(one.spans)} spans of a create")


if __name__ == "__main__":
    main()
