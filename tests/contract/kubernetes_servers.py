"""The two servers that the Kubernetes contract runs against, and the client it runs with.

``emulator`` is always there; ``real`` needs KUBEBUILDER_ASSETS (a folder with kube-apiserver and etcd).
Each is started once per test run, through the sandbox's own entry point.
"""

from __future__ import annotations

import atexit
import contextlib
import dataclasses
import functools
import http.server
import json
import os
import shutil
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa
from kubernetes.aio import client

from sandbox.certificates import make_certificates
from sandbox.topology import Topology

AKS_SERVER_APPLICATION = "6dae42f8-4368-4678-94ff-3960e28e3630"
CLUSTER = "aks-1"
ASSETS = os.environ.get("KUBEBUILDER_ASSETS", "")


def free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


class EntraIssuer:
    """An OpenID Connect issuer with a key of its own, where the topology says that Entra is."""

    def __init__(self, topology: Topology) -> None:
        self._key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self.issuer = f"{topology.entra_url}/{topology.tenant_id}/"
        keys_url = f"{self.issuer}discovery/v2.0/keys"
        algorithm = jwt.algorithms.RSAAlgorithm
        public = algorithm.to_jwk(self._key.public_key(), as_dict=True) | {"kid": "k1", "use": "sig"}
        metadata = {
            "issuer": self.issuer,
            "jwks_uri": keys_url,
            "authorization_endpoint": f"{self.issuer}authorize",
            "response_types_supported": ["id_token"],
            "subject_types_supported": ["pairwise"],
            "id_token_signing_alg_values_supported": ["RS256"],
        }
        tenant = f"/{topology.tenant_id}"
        documents = {
            f"{tenant}/.well-known/openid-configuration": metadata,
            f"{tenant}/discovery/v2.0/keys": {"keys": [public]},
        }

        class Documents(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                found = documents.get(self.path)
                self.send_response(200 if found else 404)
                self.send_header("Content-Type", "application/json")
                self.end_headers()
                self.wfile.write(json.dumps(found).encode())

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base's name
                """Say nothing."""

        port = int(topology.entra_url.rpartition(":")[2])
        server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Documents)
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(topology.cert_file, topology.key_file)
        server.socket = tls.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()

    def token(self, oid: str, audience: str = AKS_SERVER_APPLICATION, **claims: Any) -> str:
        now = int(time.time())
        body = {"aud": audience, "iss": self.issuer, "oid": oid, "sub": oid, "iat": now, "nbf": now}
        body |= {"exp": now + 3600, **claims}
        return jwt.encode(body, self._key, algorithm="RS256", headers={"kid": "k1"})


@dataclasses.dataclass(frozen=True)
class Answer:
    status: int
    body: Any
    content_type: str


@dataclasses.dataclass
class Server:
    """A started ``python -m sandbox.kube`` with one cluster."""

    kind: str
    topology: Topology
    topology_file: Path
    entra: EntraIssuer
    process: subprocess.Popen[bytes] | None = None
    url: str = ""
    issuer: str = ""

    def start(self) -> None:
        log = Path(self.topology.state_dir) / "kube.log"
        with log.open("ab") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "sandbox.kube", "--topology", str(self.topology_file)],
                stdout=output,
                stderr=output,
                cwd=Path(__file__).parents[2],
            )
        deadline = time.monotonic() + 90
        while True:
            with contextlib.suppress(urllib.error.URLError, ConnectionError):
                if self.control("GET", "/sandbox/ready").status == 200:
                    return
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(log.read_text())
            time.sleep(0.02)

    def stop(self) -> None:
        if self.process is not None:
            self.process.terminate()
            self.process.wait(30)
            self.process = None

    def control(self, method: str, path: str, body: Any = None) -> Answer:
        return self.fetch(method, self.topology.kubernetes_url + path, body)

    def fetch(
        self, method: str, url: str, body: Any = None, token: str = "", headers: dict[str, str] | None = None
    ) -> Answer:
        data = None if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        request = urllib.request.Request(url, data, headers or {}, method=method)  # noqa: S310 - loopback
        if data is not None and not request.has_header("Content-type"):
            request.add_header("Content-Type", "application/json")
        if token:
            request.add_header("Authorization", f"Bearer {token}")
        tls = ssl.create_default_context(cafile=self.topology.ca_file)
        opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=tls)
        )
        try:
            response = opener.open(request, timeout=60)
        except urllib.error.HTTPError as error:
            response = error
        with response:
            raw = response.read()
            content_type = response.headers.get("Content-Type", "")
            return Answer(response.status, decoded(raw), content_type)

    def raw(self, method: str, path: str, body: Any = None, **headers: str) -> Answer:
        """A request by the administrator; header names with underscores for hyphens."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.fetch(method, self.url + path, body, self.topology.kubernetes_admin_token, named)

    def make_cluster(self, incarnation: str) -> None:
        made = self.control("PUT", f"/sandbox/clusters/{CLUSTER}", {"incarnation": incarnation})
        assert made.status == 200, made
        self.url, self.issuer = made.body["server"], made.body["issuer"]

    def compact(self) -> None:
        """Make the server forget its history."""
        if self.kind == "emulator":
            assert self.control("POST", f"/sandbox/clusters/{CLUSTER}/compact").status == 204
            return
        folder = Path(self.topology.state_dir) / "kubernetes-real" / CLUSTER
        etcd_port = json.loads((folder / "ports.json").read_text())[0]
        version = self.raw("GET", "/api/v1/namespaces").body["metadata"]["resourceVersion"]
        url = f"http://127.0.0.1:{etcd_port}/v3/kv/compaction"
        assert self.fetch("POST", url, {"revision": version, "physical": True}).status == 200

    def configuration(self, token: str | None = None) -> client.Configuration:
        configuration = client.Configuration()
        configuration.host = self.url
        configuration.ssl_ca_cert = self.topology.ca_file
        configuration.proxy = None
        if token != "":
            configuration.api_key = {
                "authorization": f"Bearer {token or self.topology.kubernetes_admin_token}",
            }
        return configuration


def decoded(raw: bytes) -> Any:
    """A JSON document, a list of the documents of a stream, or text."""
    if not raw.startswith((b"{", b"[")):
        return raw.decode()
    documents = [json.loads(line) for line in raw.splitlines()] if b"\n{" in raw else [json.loads(raw)]
    return documents[0] if len(documents) == 1 else documents


def new_server(kind: str, folder: Path) -> Server:
    """A server that is not started yet, with files of its own."""
    ca_file, cert_file, key_file = make_certificates(folder / "tls")
    entra_port, port = free_ports(2)
    texts = {field.name: "" for field in dataclasses.fields(Topology) if field.type == "str"}
    texts |= {
        "state_dir": str(folder),
        "ca_file": ca_file,
        "cert_file": cert_file,
        "key_file": key_file,
        "tenant_id": str(uuid.uuid4()),
        "entra_url": f"https://127.0.0.1:{entra_port}",
        "kubernetes_url": f"https://127.0.0.1:{port}",
        "kubernetes_admin_token": f"admin-{uuid.uuid4()}",
        "kubebuilder_assets": ASSETS if kind == "real" else "",
    }
    topology = Topology(**texts)  # type: ignore[arg-type]
    topology.save(folder / "topology.json")
    return Server(kind, topology, folder / "topology.json", EntraIssuer(topology))


@functools.cache
def running_server(kind: str) -> Server:
    """The server of this test run with one cluster."""
    folder = Path(tempfile.mkdtemp(prefix=f"kube-{kind}-"))
    server = new_server(kind, folder)

    def end() -> None:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)

    atexit.register(end)
    server.start()
    server.make_cluster(str(uuid.uuid4()))
    return server


def eventually(check: Callable[[], bool], seconds: float = 15) -> None:
    """Wait until the check holds: controllers of a real server act a moment later."""
    deadline = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < deadline, "did not come true in time"
        time.sleep(0.05)


def secret(name: str, **fields: Any) -> dict[str, Any]:
    """A Secret to create."""
    metadata = {"name": name, **fields.pop("metadata", {})}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, **fields}


def status_of(error: client.ApiException) -> dict[str, Any]:
    """The Status object of a refused call."""
    body: dict[str, Any] = json.loads(error.body)
    assert body["kind"] == "Status"
    assert body["code"] == error.status
    return body
