"""Says in one loud line which tiers of tests can run here, and what the others lack.

``MOORING_ALL_TIERS=1`` (set by ``.ci/run``) turns a missing tier into a failure.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
ALL_TIERS = "MOORING_ALL_TIERS"
POLICY_SINCE = (1, 30)
"""Kubernetes that has ValidatingAdmissionPolicy for good (kubernetes.io, "Validating Admission Policy")."""


def kubernetes() -> tuple[int, int] | None:
    """Version of the API server at hand, ``None`` if there is none."""
    server = Path(os.environ.get("KUBEBUILDER_ASSETS", "")) / "kube-apiserver"
    if not server.is_file():
        return None
    told = subprocess.run([server, "--version"], stdout=subprocess.PIPE, text=True, check=True).stdout
    major, minor = re.findall(r"v(\d+)\.(\d+)", told)[0]
    return int(major), int(minor)


def missing() -> dict[str, str]:
    """Tiers that cannot run here, with what they lack."""
    lacking: dict[str, str] = {}
    azurite = ROOT / "node_modules" / ".bin" / "azurite"
    if not azurite.exists() or shutil.which("node") is None:
        lacking["sandbox (contract, e2e)"] = "Azurite: npm ci"
    assets = os.environ.get("KUBEBUILDER_ASSETS", "")
    if not assets or not (Path(assets) / "kube-apiserver").exists():
        lacking["live (real Kubernetes)"] = "KUBEBUILDER_ASSETS with kube-apiserver and etcd"
    if not os.environ.get("MOORING_RECORDINGS"):
        lacking["recordings (classifier)"] = "MOORING_RECORDINGS, a folder of recorded Azure traffic"
    if not os.environ.get("MOORING_BICEP_CHECKER"):
        lacking["types (infra)"] = "MOORING_BICEP_CHECKER, a checker of Bicep against Azure's types"
    if not os.environ.get("MOORING_REFERENCE"):
        lacking["reference (catalogue)"] = "MOORING_REFERENCE, a folder with Service Connector's targets"
    if not os.environ.get("POSTGRES_URL"):
        lacking["databases (real PostgreSQL)"] = (
            "POSTGRES_URL of a superuser, with TLS (.ci/postgres starts one)"
        )
    return lacking


def main() -> int:
    """Print the line; 1 if everything was asked for and something is lacking."""
    lacking = missing()
    for tier, what in lacking.items():
        print(f"*** TIER NOT RUN: {tier} needs {what} ***", file=sys.stderr)
    version = kubernetes()
    if version is not None and version < POLICY_SINCE:
        have, needs = (f"{major}.{minor}" for major, minor in (version, POLICY_SINCE))
        told = (
            f"NOT TRIED in a real API server: the admission policy needs Kubernetes {needs}, this is {have}"
        )
        print(f"*** {told} ***", file=sys.stderr)
    if lacking and os.environ.get(ALL_TIERS):
        print("*** every tier was asked for: failing ***", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
