"""What Microsoft's exporter sends to Application Insights, read by a server that stands in for it."""

from __future__ import annotations

import gzip
import json
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from shared.naming import trace_of

KEY = "00000000-0000-4000-8000-000000000000"
ROOT = Path(__file__).parents[2]
PROGRAM = """
import datetime, sys, time
from shared.clients import telemetry_export
telemetry = telemetry_export.opened(connection_string=sys.argv[1])
began = time.perf_counter()
now = datetime.datetime.now(datetime.UTC)
with telemetry.span("step x", of="c-o", fields={"operation_id": "c-o", "step": "x"}) as span:
    fields = {"peer.service": "ARM", "method": "GET", "path": "/subscriptions/s"}
    with telemetry.span("ARM GET microsoft.keyvault/vaults", outward=True, fields=fields) as call:
        call.note({"status": 403})
        call.fail("403")
telemetry.whole("create", of="c-o", began_at=now, ended_at=now, code="", fields={"operation_id": "c-o"})
telemetry.measure("requests_total", kind="create", result="opened")
telemetry.measure("step_seconds", 2.5, step="x")
telemetry.measure("sweep_age_seconds", 60.0)
assert not [name for name in sys.modules if name.startswith("azure.monitor")], "imported before it is needed"
assert time.perf_counter() - began < 5
telemetry.close()
"""


class Ingestion:
    """Takes envelopes; ``status`` is what it answers."""

    def __init__(self, status: int = 200) -> None:
        self.envelopes: list[dict[str, Any]] = []
        self.posts = 0
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                raw = self.rfile.read(int(self.headers["Content-Length"]))
                if self.headers.get("Content-Encoding") == "gzip":
                    raw = gzip.decompress(raw)
                found = json.loads(raw)
                outer.posts += 1
                outer.envelopes += found
                count = len(found)
                answer = {"itemsReceived": count, "itemsAccepted": count, "errors": []}
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.end_headers()
                self.wfile.write(json.dumps(answer).encode())

            def log_message(self, *_words: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/"

    def data(self, kind: str) -> list[dict[str, Any]]:
        return [one["data"]["baseData"] for one in self.envelopes if one["data"]["baseType"] == kind]


@pytest.fixture
def ingestion(request: pytest.FixtureRequest) -> Iterator[Ingestion]:
    running = Ingestion(getattr(request, "param", 200))
    thread = threading.Thread(target=running.server.serve_forever)
    thread.start()
    yield running
    running.server.shutdown()
    running.server.server_close()
    thread.join()


def told_to(ingestion: Ingestion) -> subprocess.CompletedProcess[str]:
    off = {
        "APPLICATIONINSIGHTS_STATSBEAT_DISABLED_ALL": "true",
        "APPLICATIONINSIGHTS_CONTROLPLANE_DISABLED": "true",
    }
    return subprocess.run(
        [sys.executable, "-c", PROGRAM, f"InstrumentationKey={KEY};IngestionEndpoint={ingestion.url}"],
        cwd=ROOT,
        env={"PATH": "/usr/bin:/bin", **off},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def test_an_operation_is_a_request_and_its_steps_and_calls_are_dependencies(ingestion: Ingestion):
    ran = told_to(ingestion)
    assert ran.returncode == 0, ran.stderr
    [request] = ingestion.data("RequestData")
    assert (request["name"], request["id"], request["success"]) == ("create", trace_of("c-o")[1], True)
    step, call = sorted(ingestion.data("RemoteDependencyData"), key=lambda one: one["name"], reverse=True)
    assert (step["name"], step["type"], step["success"]) == ("step x", "InProc", True)
    assert step["properties"] == {"operation_id": "c-o", "step": "x"}
    assert (call["name"], call["target"], call["success"]) == (
        "ARM GET microsoft.keyvault/vaults",
        "ARM",
        False,
    )
    wanted = {"method": "GET", "path": "/subscriptions/s", "status": "403", "error": "403"}
    assert call["properties"] == wanted
    spans = [one for one in ingestion.envelopes if one["data"]["baseType"] != "MetricData"]
    assert {one["tags"]["ai.operation.id"] for one in spans} == {trace_of("c-o")[0]}
    assert {one["tags"]["ai.cloud.role"] for one in spans} == {"mooring"}
    assert not re.search(r"Bearer|eyJ", json.dumps(ingestion.envelopes))


def test_metrics_have_their_names_and_attributes(ingestion: Ingestion):
    told_to(ingestion)
    metrics = {
        one["metrics"][0]["name"]: (one["metrics"][0]["value"], one.get("properties"))
        for one in ingestion.data("MetricData")
    }
    assert metrics["requests_total"] == (1.0, {"kind": "create", "result": "opened"})
    assert metrics["step_seconds"] == (2.5, {"step": "x"})
    assert metrics["sweep_age_seconds"][0] == 60.0


@pytest.mark.parametrize("ingestion", [500, 401], indirect=True)
def test_a_service_that_refuses_changes_nothing_for_the_work(ingestion: Ingestion):
    ran = told_to(ingestion)
    assert ran.returncode == 0, ran.stderr
    assert ingestion.posts >= 1
