"""A real Azurite over TLS and OAuth, and Functions host processes on it, for the host's tests."""

from __future__ import annotations

import contextlib
import dataclasses
import http.client
import http.server
import json
import os
import shutil
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import jwt
import pytest
from azure.core.exceptions import ResourceExistsError, ResourceNotFoundError
from azure.storage.queue import QueueClient, QueueServiceClient

from sandbox.certificates import make_certificates
from sandbox.topology import Topology

ROOT = Path(__file__).resolve().parents[2]
APPS = ROOT / "tests" / "data" / "functions_app"
ACCOUNT_KEY = "Zm9yLXRoZS1mdW5jdGlvbnMtaG9zdC10ZXN0cw=="
KEYS = {"default": "host-key", "master": "master-key", "eventgrid_extension": "grid-key"}
QUEUES = ("incoming", "plain", "split", "many", "failing", "slow", "hanging", "seen", "ticks")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def wait_for[T](read: Callable[[], T], *, seconds: float = 15.0, what: str) -> T:
    """Return the first true answer of ``read``."""
    pause = threading.Event()
    deadline = time.monotonic() + seconds
    while True:
        answer = read()
        if answer:
            return answer
        assert time.monotonic() < deadline, f"waited {seconds:g} s for {what}"
        pause.wait(0.05)


class Host:
    """A running host process."""

    def __init__(self, topology: Topology, url: str, process: subprocess.Popen[bytes], log: Path) -> None:
        self.topology = topology
        self.url = url
        self.process = process
        self.log = log

    def request(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: dict[str, str] | None = None,
    ) -> tuple[int, http.client.HTTPMessage, bytes]:
        parts = urlsplit(self.url)
        trust = ssl.create_default_context(cafile=self.topology.ca_file)
        connection = http.client.HTTPSConnection("127.0.0.1", parts.port or 443, timeout=30, context=trust)
        with contextlib.closing(connection):
            connection.request(method, path, body, headers or {})
            response = connection.getresponse()
            return response.status, response.headers, response.read()

    def json(self, path: str, key: str = "") -> Any:
        return json.loads(self.request("GET", path, headers={"x-functions-key": key})[2])

    def invocations(self, function: str) -> list[dict[str, Any]]:
        return [entry for entry in self.json("/sandbox/invocations") if entry["function"] == function]

    def wait_ready(self) -> None:
        def ready() -> bool:
            assert self.process.poll() is None, self.log.read_text()
            with contextlib.suppress(ConnectionError):
                return self.request("GET", "/sandbox/ready")[0] == 200
            return False

        wait_for(ready, what="the host to be ready")


class Sandbox:
    """Azurite, a topology and the hosts on it."""

    def __init__(
        self,
        folder: Path,
        service: QueueServiceClient,
        connection_string: str,
        certificates: tuple[str, str, str],
    ) -> None:
        self.folder = folder
        self.service = service
        self.connection_string = connection_string
        self.certificates = certificates

    @contextlib.contextmanager
    def host(
        self,
        name: str,
        *options: str,
        app: str = "app",
        schedule: str = "0 0 0 1 1 *",
        state: str = "state",
        ready: bool = True,
        settings: dict[str, str] | None = None,
        identity: bool = False,
    ) -> Iterator[Host]:
        url = f"https://127.0.0.1:{free_port()}"
        topology = self.topology(url, state)
        file = self.folder / f"{name}.topology.json"
        topology.save(file)
        values = {"IN_QUEUE": "incoming", "SCHEDULE": schedule, **(settings or {})}
        if not identity:
            values["Storage"] = self.connection_string
        values_file = self.folder / f"{name}.settings.json"
        values_file.write_text(json.dumps({"IsEncrypted": False, "Values": values}))
        log = self.folder / f"{name}.log"
        command = [
            sys.executable,
            "-m",
            "sandbox.functions",
            "--topology",
            str(file),
            "--app",
            str(APPS / app),
        ]
        command += ["--settings", str(values_file), "--name", name, *options]
        with log.open("wb") as output:
            process = subprocess.Popen(command, cwd=ROOT, stdout=output, stderr=subprocess.STDOUT)
        host = Host(topology, url, process, log)
        try:
            if ready:
                host.wait_ready()
            yield host
        finally:
            process.terminate()
            process.wait(timeout=20)

    def topology(self, url: str, state: str) -> Topology:
        fields = dataclasses.fields(Topology)
        values: dict[str, Any] = {field.name: "" for field in fields if field.default is dataclasses.MISSING}
        ca_file, cert_file, key_file = self.certificates
        values |= {"state_dir": str(self.folder / state), "functions_url": url, "function_keys": KEYS}
        values |= {"ca_file": ca_file, "cert_file": cert_file, "key_file": key_file}
        return Topology(**values)

    def queue(self, name: str) -> QueueClient:
        return self.service.get_queue_client(name)

    def take(self, name: str, count: int = 1, seconds: float = 15.0) -> list[str]:
        """Return and remove ``count`` messages, in any order."""
        found: list[str] = []

        def enough() -> bool:
            with contextlib.suppress(ResourceNotFoundError):
                for message in self.queue(name).receive_messages(max_messages=32, messages_per_page=32):
                    found.append(message.content)
                    self.queue(name).delete_message(message)
            return len(found) >= count

        wait_for(enough, seconds=seconds, what=f"{count} messages in {name}")
        return sorted(found)

    def content(self, name: str) -> list[str]:
        return [message.content for message in self.queue(name).peek_messages(32)]


def find_azurite() -> str:
    for candidate in (
        ROOT / "node_modules" / ".bin" / "azurite",
        Path(os.environ.get("AZURITE") or "/nowhere"),
    ):
        if candidate.exists():
            return str(candidate)
    pytest.skip(
        "AZURITE IS MISSING: run 'npm ci' or name the program in AZURITE; the Functions host is not tested"
    )


@contextlib.contextmanager
def running_sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    azurite = find_azurite()
    folder = tmp_path_factory.mktemp("functions-host")
    ca_file, cert_file, key_file = certificates = make_certificates(folder / "tls")
    ports = [free_port() for _ in range(3)]
    command = [
        azurite,
        "--skipApiVersionCheck",
        "--disableTelemetry",
        "--silent",
        "--location",
        str(folder / "az"),
    ]
    command += ["--oauth", "basic", "--cert", cert_file, "--key", key_file]
    for kind, port in zip(("blob", "queue", "table"), ports, strict=True):
        command += [f"--{kind}Port", str(port)]
    process = subprocess.Popen(
        command,
        env={**os.environ, "AZURITE_ACCOUNTS": f"tests:{ACCOUNT_KEY}"},
        stdout=subprocess.DEVNULL,
    )
    connection_string = (
        f"DefaultEndpointsProtocol=https;AccountName=tests;AccountKey={ACCOUNT_KEY};"
        f"QueueEndpoint=https://127.0.0.1:{ports[1]}/tests;"
    )
    try:

        def listening() -> bool:
            with contextlib.suppress(ConnectionError), socket.create_connection(("127.0.0.1", ports[1]), 1):
                return True
            return False

        wait_for(listening, seconds=30, what="Azurite")
        with QueueServiceClient.from_connection_string(
            connection_string,
            api_version="2025-11-05",
            connection_verify=ca_file,
        ) as service:
            for name in QUEUES:
                with contextlib.suppress(ResourceExistsError):
                    service.create_queue(name)
            yield Sandbox(folder, service, connection_string, certificates)
    finally:
        process.terminate()
        process.wait(timeout=20)
        shutil.rmtree(folder / "az", ignore_errors=True)


@contextlib.contextmanager
def identity_endpoint() -> Iterator[tuple[str, list[dict[str, list[str]]]]]:
    """Serve App Service's managed-identity protocol; Azurite checks a token's claims, not its signature."""
    asked: list[dict[str, list[str]]] = []

    class Endpoint(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(parse_qs(urlsplit(self.path).query))
            known = self.headers["X-IDENTITY-HEADER"] == "header-1"
            issued = int(time.time())
            claims = {"aud": "https://storage.azure.com", "iss": "https://sts.windows.net/tenant/"}
            times = {"iat": issued, "nbf": issued - 60, "exp": issued + 3600}
            token = jwt.encode({**claims, **times}, "k" * 32, algorithm="HS256")
            answer = {"access_token": token, "expires_on": str(issued + 3600), "token_type": "Bearer"}
            body = json.dumps(answer | {"resource": "https://storage.azure.com"}).encode()
            self.send_response(200 if known else 401)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_arguments: object) -> None:
            return

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Endpoint) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/msi/token", asked
        finally:
            server.shutdown()
            thread.join()
