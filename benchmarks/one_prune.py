"""Counts and times a prune in the sandbox, from the deletion in Azure on, and events that are not for us.

    .venv/bin/python benchmarks/one_prune.py [--latency recorded-p50] [--events 200]

The confirmation time is 2 s here (60 by default), the grace of recoverable targets 0 s (14 days): both are
waits that an operator chooses. Beside the seconds stands the sum of the calls to Azure and the cluster.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
import uuid
from pathlib import Path
from typing import Any

from one_connection import Bench

ROOT = Path(__file__).parent.parent
CONFIRM_SECONDS = 2
SETTINGS = (f"MOORING_PRUNE_CONFIRM_SECONDS={CONFIRM_SECONDS}", "MOORING_PRUNE_GRACE_SECONDS=0")


def delete_as_owner(bench: Bench, resource_id: str, api_version: str) -> None:
    """Delete a resource as the subscription's owner would, and return once Azure says it is gone."""
    contract = bench.contract
    form = {
        "grant_type": "client_credentials",
        "client_id": contract["owner_client_id"],
        "client_secret": contract["owner_client_secret"],
        "scope": "https://management.azure.com/.default",
    }
    url = f"{contract['entra_url']}/{contract['tenant_id']}/oauth2/v2.0/token"
    token = bench.session.post(url, data=form).json()["access_token"]
    headers = {"Authorization": f"Bearer {token}"}
    address = f"{contract['arm_url']}{resource_id}?api-version={api_version}"
    bench.session.delete(address, headers=headers).raise_for_status()
    while bench.session.get(address, headers=headers).status_code != 404:
        time.sleep(0.1)


def event(subscription_id: str, subject: str) -> dict[str, Any]:
    """Event Grid's event of a deleted resource."""
    return {
        "id": str(uuid.uuid4()),
        "topic": f"/subscriptions/{subscription_id}",
        "subject": subject,
        "eventType": "Microsoft.Resources.ResourceDeleteSuccess",
        "eventTime": "2026-11-26T10:00:00.0000000Z",
        "data": {"resourceUri": subject, "status": "Succeeded"},
        "dataVersion": "2",
        "metadataVersion": "1",
    }


def flood(bench: Bench, count: int) -> None:
    """Deletions of accounts that nobody here knows."""
    queue = bench.queue_named("resource-events")
    group = f"/subscriptions/{bench.contract['subscription_id']}/resourceGroups/elsewhere"
    for index in range(count):
        subject = f"{group}/providers/Microsoft.Storage/storageAccounts/unknown{index}"
        queue.send_message(json.dumps(event(bench.contract["subscription_id"], subject)))


def main() -> int:
    """Run and print one JSON line per measurement."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--latency", default="none", choices=["none", "recorded-p50"])
    parser.add_argument("--events", type=int, default=200)
    options = parser.parse_args()
    command = [sys.executable, "-m", "sandbox", "up", "--die-with-parent", "--latency", options.latency]
    command += [part for setting in SETTINGS for part in ("--setting", setting)]
    up = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert up.stdout is not None
    try:
        bench = Bench(json.loads(up.stdout.readline()), quiet_seconds=6 if options.latency == "none" else 20)
        account = bench.contract["storage_account_id"]
        where = {"name": "bench", "clusterId": bench.contract["cluster_id"], "namespace": "default"}
        target = {"type": "storage-blob", "id": account}
        connection = {**where, "target": target, "clientType": "python"}
        create = {"action": "create", "requestId": "c", "connection": connection}
        print(json.dumps({"create": bench.request(create)}), flush=True)
        pruned = bench.measure(lambda: delete_as_owner(bench, account, "2023-05-01"))
        print(json.dumps({"target deleted": pruned, "of it confirm seconds": CONFIRM_SECONDS}), flush=True)
        flooded = bench.measure(lambda: flood(bench, options.events))
        shown = {
            name: flooded[name]
            for name in ("seconds", "arm calls", "kubernetes calls", "table reads", "table transactions")
        }
        print(json.dumps({f"{options.events} irrelevant events": shown}), flush=True)
    finally:
        up.terminate()
        up.wait(timeout=20)
    return 0


if __name__ == "__main__":
    sys.exit(main())
