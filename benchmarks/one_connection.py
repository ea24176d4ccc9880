"""Counts and times one create and one delete in the sandbox: calls by service, queue hops, seconds.

    .venv/bin/python benchmarks/one_connection.py [--latency recorded-p50] [--runs 3]

Starts a sandbox of its own, sends each request through the queue as a user would, and reads the
emulators' journals, the Functions host's invocations and Azurite's access log. Beside the seconds of a
run stands the sum of its calls to Resource Manager and Kubernetes, which is what waiting for Azure costs.
"""

from __future__ import annotations

import argparse
import collections
import json
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import requests
from azure.storage.queue import QueueClient

ROOT = Path(__file__).parent.parent
FOLLOWED = ("connection_steps", "resource_events")
ACCESS = re.compile(r'"(GET|PUT|POST|DELETE|MERGE|PATCH|HEAD) (\S+) HTTP')


class Bench:
    """One sandbox and the counters of one request."""

    def __init__(self, contract: dict[str, Any], *, quiet_seconds: float) -> None:
        self.quiet_seconds = quiet_seconds
        self.contract = contract
        self.session = requests.Session()
        self.session.trust_env = False  # a machine-wide CA bundle must not win over the sandbox's
        self.session.verify = contract["ca_file"]
        self.queue = self.queue_named("connection-requests")
        self.azurite_log = Path(contract["state_dir"]) / "logs" / "azurite.log"

    def queue_named(self, name: str) -> QueueClient:
        """A queue of the app's storage."""
        return QueueClient.from_connection_string(
            self.contract["azurite_connection_string"],
            name,
            api_version="2025-11-05",
            connection_verify=self.contract["ca_file"],
        )

    def request(self, body: dict[str, Any]) -> dict[str, Any]:
        """Send one request and wait for its end; returns seconds and counts."""
        found = self.measure(lambda: self.queue.send_message(json.dumps(body)))
        return {"state": self.state(body["requestId"]), **found}

    def measure(self, begin: Callable[[], object]) -> dict[str, Any]:
        """Begin something and count until the product is quiet again."""
        for part in ("arm_url", "kubernetes_url", "entra_url"):
            self.session.delete(f"{self.contract[part]}/sandbox/calls")
        self.session.delete(f"{self.contract['functions_url']}/sandbox/invocations")
        offset = self.azurite_log.stat().st_size
        started_at = time.time()
        begin()
        steps = self.follow()
        log = self.azurite_log.read_bytes()[offset:].decode(errors="replace")
        app = self.contract["app_principal_id"]
        arm = [one for one in self.calls("arm_url") if one["caller"] == app]
        kube = [one for one in self.calls("kubernetes_url") if one["caller"] == app]
        lines = [match.groups() for match in ACCESS.finditer(log)]
        account = self.contract["table_url"].rsplit("/", 1)[-1]
        tables = [path for _, path in lines if path.startswith(f"/{account}/") and "/messages" not in path]
        return {
            "seconds": round(max(one["at"] + one["seconds"] for one in steps) - started_at, 2),
            "arm calls": len(arm),
            "arm seconds": round(sum(one["seconds"] for one in arm), 2),
            "kubernetes calls": len(kube),
            "kubernetes seconds": round(sum(one["seconds"] for one in kube), 2),
            "step hops": sum(1 for one in steps if one["function"] == "connection_steps"),
            "table reads": sum(1 for path in tables if "$batch" not in path),
            "table transactions": sum(1 for path in tables if "$batch" in path),
            "queue sends": sum(1 for method, path in lines if method == "POST" and "/messages" in path),
            "queue deletes": sum(1 for method, path in lines if method == "DELETE" and "/messages/" in path),
            "queue polls": sum(1 for method, path in lines if method == "GET" and "/messages" in path),
            "arm by call": dict(collections.Counter(_shape(one) for one in arm)),
        }

    def follow(self) -> list[dict[str, Any]]:
        """Wait until nothing has run for a while, without asking the product (that would be counted)."""
        while True:
            time.sleep(0.25)
            found = self.session.get(f"{self.contract['functions_url']}/sandbox/invocations").json()
            steps = [one for one in found if one["function"] in FOLLOWED]
            if steps and time.time() - max(one["at"] + one["seconds"] for one in steps) > self.quiet_seconds:
                return steps

    def state(self, request_id: str) -> str:
        """How the product says that the request ended."""
        url = f"{self.contract['functions_url']}/api/operations"
        params = {"requestId": request_id, "code": self.contract["function_keys"]["default"]}
        return str(self.session.get(url, params=params).json()["operations"][0]["state"])

    def calls(self, part: str) -> list[dict[str, Any]]:
        """The journal of one emulator."""
        found: list[dict[str, Any]] = self.session.get(f"{self.contract[part]}/sandbox/calls").json()
        return found


def _shape(call: dict[str, Any]) -> str:
    kinds = re.findall(r"/(?:providers/[^/]+/)?([a-zA-Z]+)(?=/[^/]+/?$|$)", call["path"])
    return f"{call['method']} {kinds[-1] if kinds else call['path']}"


def main() -> int:
    """Run and print one JSON line per request."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--latency", default="none", choices=["none", "recorded-p50"])
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args()
    command = [sys.executable, "-m", "sandbox", "up", "--die-with-parent", "--latency", options.latency]
    up = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert up.stdout is not None
    try:
        bench = Bench(json.loads(up.stdout.readline()), quiet_seconds=3 if options.latency == "none" else 15)
        for run in range(options.runs):
            name = f"bench-{run}"
            where = {"name": name, "clusterId": bench.contract["cluster_id"], "namespace": "default"}
            target = {"type": "storage-blob", "id": bench.contract["storage_account_id"]}
            create = {"action": "create", "connection": {**where, "target": target, "clientType": "python"}}
            print(json.dumps({"create": bench.request({**create, "requestId": f"c{run}"})}), flush=True)
            delete = {"action": "delete", "connection": where, "requestId": f"d{run}"}
            print(json.dumps({"delete": bench.request(delete)}), flush=True)
    finally:
        up.terminate()
        up.wait(timeout=20)
    return 0


if __name__ == "__main__":
    sys.exit(main())
