"""What Microsoft's exporter sends to Application Insights, read by a server that stands in for it."""

from __future__ import annotations

import gzip
import json
import re
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from sandbox.certificates import make_certificates
from shared.naming import trace_of

CLIENT = "22222222-2222-4222-8222-222222222222"
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
    """Takes envelopes over TLS, and gives tokens as App Service does; ``status`` is what it answers."""

    def __init__(self, folder: Path, status: int = 200) -> None:
        self.envelopes: list[dict[str, Any]] = []
        self.posts = 0
        self.authorizations: set[str] = set()
        self.asked: list[str] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.asked.append(self.path)
                token = {"access_token": "of-the-app", "expires_on": "4000000000", "token_type": "Bearer"}
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.end_headers()
                self.wfile.write(json.dumps(token).encode())

            def do_POST(self) -> None:
                outer.authorizations.add(self.headers.get("Authorization", ""))
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

        self.ca_file, cert_file, key_file = make_certificates(folder)
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(cert_file, key_file)
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.socket = tls.wrap_socket(self.server.socket, server_side=True)
        self.url = f"https://127.0.0.1:{self.server.server_port}/"

    def data(self, kind: str) -> list[dict[str, Any]]:
        return [one["data"]["baseData"] for one in self.envelopes if one["data"]["baseType"] == kind]


@pytest.fixture
def ingestion(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Ingestion]:
    running = Ingestion(tmp_path, getattr(request, "param", 200))
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
        env={
            "PATH": "/usr/bin:/bin",
            "REQUESTS_CA_BUNDLE": ingestion.ca_file,
            "IDENTITY_ENDPOINT": f"{ingestion.url}msi/token",
            "IDENTITY_HEADER": "h",
            "APPLICATIONINSIGHTS_AUTHENTICATION_STRING": f"ClientId={CLIENT};Authorization=AAD",
            **off,
        },
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


def test_it_signs_in_as_the_apps_own_identity_since_keys_are_off(ingestion: Ingestion):
    assert told_to(ingestion).returncode == 0
    assert ingestion.authorizations == {"Bearer of-the-app"}
    assert ingestion.asked
    for path in ingestion.asked:
        asked = parse_qs(urlsplit(path).query)
        assert asked["client_id"] == [CLIENT]
        assert asked["resource"] == ["https://monitor.azure.com/"]


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
