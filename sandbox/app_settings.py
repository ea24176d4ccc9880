"""Settings of the app inside the sandbox: the only thing in which it differs from the app in Azure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from sandbox.dataplane.postgres import RealServer
from sandbox.topology import DEAD_LETTER_CONTAINER, Topology
from shared.catalogue import catalogue

STORAGE_API_VERSION = "2025-11-05"
"""Newest service version that Azurite 3.35 knows."""

SPANS_FILE = "spans.jsonl"
"""In the state folder: what ``python -m sandbox trace`` reads."""

POLICY = """\
# Written by the sandbox: its one cluster may connect any namespace to its one subscription.
version = 1

[[allow]]
clusters = ["{cluster_id}"]
namespaces = ["*"]
subscriptions = ["{subscription_id}"]
target_types = [{target_types}]
identities = []
"""


def write_app_files(topology: Topology, overrides: Mapping[str, str]) -> Path:
    """Write the app's policy and its settings below the state folder.

    Args:
        topology: The sandbox.
        overrides: Settings given on the command line; they win.

    Returns:
        The settings file: ``{"Values": {...}}``, the shape of ``local.settings.json``.
    """
    folder, real = Path(topology.state_dir), RealServer.of_environment()
    policy_file = folder / "policy.toml"
    policy_file.write_text(
        POLICY.format(
            cluster_id=topology.cluster_id,
            subscription_id=topology.subscription_id,
            target_types=", ".join(f'"{row.name}"' for row in catalogue().working),
        ),
    )
    values = {
        "FUNCTIONS_WORKER_RUNTIME": "python",
        "AzureWebJobsStorage__queueServiceUri": topology.queue_url,
        "AzureWebJobsStorage__tableServiceUri": topology.table_url,
        "AzureWebJobsStorage__blobServiceUri": topology.blob_url,
        "AzureWebJobsStorage__credential": "managedidentity",
        "AzureWebJobsStorage__clientId": topology.app_client_id,
        "AZURE_CLIENT_ID": topology.app_client_id,
        "AZURE_TENANT_ID": topology.tenant_id,
        "AZURE_AUTHORITY_HOST": topology.entra_url,
        "IDENTITY_ENDPOINT": f"{topology.entra_url}/msi/token",
        "IDENTITY_HEADER": topology.msi_header,
        "SSL_CERT_FILE": topology.ca_file,
        "REQUESTS_CA_BUNDLE": topology.ca_file,
        "MOORING_ARM_ENDPOINT": topology.arm_url,
        "MOORING_CA_FILE": topology.ca_file,
        "MOORING_POSTGRES_PORT": str(real.port if real else 5432),
        "MOORING_DEAD_LETTER_CONTAINER": DEAD_LETTER_CONTAINER,
        "MOORING_STORAGE_API_VERSION": STORAGE_API_VERSION,
        "MOORING_SUBSCRIPTION_IDS": topology.subscription_id,
        "MOORING_IDENTITY_RESOURCE_GROUP_ID": (
            f"/subscriptions/{topology.subscription_id}/resourceGroups/{topology.identity_resource_group}"
        ),
        "MOORING_POLICY_FILE": str(policy_file),
        "MOORING_TRACE_FILE": str(folder / SPANS_FILE),
        # Once a year: what happens here is asked for by HTTP, so that every run is the same.
        "MOORING_SWEEP_SCHEDULE": "0 0 0 1 1 *",
        **overrides,
    }
    settings_file = folder / "app-settings.json"
    settings_file.touch(mode=0o600)
    settings_file.write_text(json.dumps({"IsEncrypted": False, "Values": values}, indent=1))
    return settings_file
