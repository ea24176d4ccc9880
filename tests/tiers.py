"""Says in one loud line which tiers of tests can run here, and what the others lack.

``MOORING_ALL_TIERS=1`` (set by ``.ci/run``) turns a missing tier into a failure.
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
ALL_TIERS = "MOORING_ALL_TIERS"


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
    if lacking and os.environ.get(ALL_TIERS):
        print("*** every tier was asked for: failing ***", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
