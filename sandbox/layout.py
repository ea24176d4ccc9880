"""Laying out a new sandbox: its ports, names, keys and certificates."""

from __future__ import annotations

import base64
import fcntl
import os
import secrets
import uuid
from pathlib import Path
from typing import IO

from sandbox.certificates import make_certificates
from sandbox.dataplane import postgres
from sandbox.processes import free_ports
from sandbox.topology import Topology

POOL_ACCOUNTS = 32
"""Storage accounts whose blobs can be used in the life of one sandbox."""


LOCK_NAME = "up.lock"


class StateDirBusyError(RuntimeError):
    """Another sandbox runs in the folder."""


def claim(state_dir: Path) -> IO[str]:
    """Keep other sandboxes out of a folder for as long as the file that is returned is open.

    The lock is the kernel's (flock(2)), so that a process that was killed leaves none behind.

    Raises:
        StateDirBusyError: Another process has the folder; the message has its id.
    """
    file = (state_dir / LOCK_NAME).open("a+", encoding="ascii")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.seek(0)
        pid = file.read().strip() or "unknown"
        file.close()
        raise StateDirBusyError(
            f"a sandbox runs in {state_dir} already (process {pid}): "
            f"use it ({state_dir}/contract.json), end it with `kill {pid}`, or choose another --state-dir",
        ) from None
    file.truncate(0)
    file.write(f"{os.getpid()}\n")
    file.flush()
    return file


def prepare(state_dir: Path) -> Topology:
    """Load the topology of a sandbox that was kept, or lay out a new one."""
    file = state_dir / "topology.json"
    if file.exists():
        return Topology.load(file)
    (state_dir / "azurite").mkdir()
    ca_file, cert_file, key_file = make_certificates(state_dir / "certificates")
    postgres.trust(ca_file)
    arm, entra, kubernetes, dataplane, queue, table, blob, functions = (
        f"https://127.0.0.1:{port}" for port in free_ports(8)
    )
    tag = secrets.token_hex(3)
    account = "mooringstate"
    topology = Topology(
        state_dir=str(state_dir),
        ca_file=ca_file,
        cert_file=cert_file,
        key_file=key_file,
        tenant_id=str(uuid.uuid4()),
        subscription_id=str(uuid.uuid4()),
        location="westeurope",
        arm_url=arm,
        entra_url=entra,
        kubernetes_url=kubernetes,
        dataplane_url=dataplane,
        queue_url=f"{queue}/{account}",
        table_url=f"{table}/{account}",
        blob_url=f"{blob}/{account}",
        functions_url=functions,
        resource_group="rg-shop",
        cluster_name="aks-shop",
        storage_account=f"stshop{tag}",
        vault_name=f"kv-shop-{tag}",
        app_client_id=str(uuid.uuid4()),
        app_principal_id=str(uuid.uuid4()),
        owner_client_id=str(uuid.uuid4()),
        owner_client_secret=secrets.token_urlsafe(24),
        owner_principal_id=str(uuid.uuid4()),
        msi_header=secrets.token_hex(16),
        kubernetes_admin_token=secrets.token_urlsafe(24),
        azurite_account=account,
        azurite_key=base64.b64encode(secrets.token_bytes(64)).decode(),
        azurite_pool=tuple(f"pool{number:02}" for number in range(POOL_ACCOUNTS)),
        function_keys={
            "default": secrets.token_urlsafe(32),
            "master": secrets.token_urlsafe(32),
            "eventgrid_extension": secrets.token_urlsafe(32),
        },
        kubebuilder_assets=os.environ.get("KUBEBUILDER_ASSETS", ""),
    )
    topology.save(file)
    return topology
