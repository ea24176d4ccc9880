"""Azurite: Microsoft's storage emulator, started the way Mooring's clients need it.

TLS and ``--oauth basic`` because identity-based connections are the only kind the product has, and
``--skipApiVersionCheck`` because the SDKs speak newer service versions than Azurite knows. Basic
OAuth checks a token's audience, issuer prefix and lifetime, not its signature: whoever may do what
is decided in front of it (``sandbox/dataplane``), where that matters.
"""

from __future__ import annotations

import base64
import hashlib
import os
import shutil
from pathlib import Path
from urllib.parse import urlsplit

from sandbox.topology import Topology

REPOSITORY = Path(__file__).resolve().parent.parent

KEEP_ALIVE_SECONDS = 120
"""Azurite's default of 5 s closes idle connections under a client's pool, which then sees resets."""


class AzuriteMissingError(RuntimeError):
    """Azurite is not installed where the sandbox looks for it."""


def find_azurite() -> Path:
    """Find the ``azurite`` program.

    Returns:
        The file named by the variable ``AZURITE``, else the repository's ``node_modules``, else
        one on the ``PATH``.

    Raises:
        AzuriteMissingError: None of them exists.
    """
    named = os.environ.get("AZURITE")
    candidates = [Path(named)] if named else [REPOSITORY / "node_modules" / ".bin" / "azurite"]
    on_path = shutil.which("azurite")
    if on_path and not named:
        candidates.append(Path(on_path))
    for candidate in candidates:
        if candidate.is_file() and os.access(candidate, os.X_OK):
            return candidate
    if named:
        raise AzuriteMissingError(
            f"the variable AZURITE names {named}, which is no program: "
            "correct it, or `unset AZURITE` to use the one that `make up` installs",
        )
    raise AzuriteMissingError(
        f"Azurite is not in {candidates[0].parent}: `make up` or `npm ci` in the repository installs it; "
        "or set AZURITE to the program",
    )


def pool_key(account: str) -> str:
    """Key of one spare account: derived from its name, since nothing secret lives there."""
    return base64.b64encode(hashlib.sha512(account.encode()).digest()).decode()


def azurite_command(topology: Topology) -> list[str]:
    """Command line that starts Azurite for this sandbox."""
    command = [str(find_azurite())]
    for service, url in (
        ("blob", topology.blob_url),
        ("queue", topology.queue_url),
        ("table", topology.table_url),
    ):
        parts = urlsplit(url)
        command += [f"--{service}Host", "127.0.0.1", f"--{service}Port", str(parts.port)]
        command += [f"--{service}KeepAliveTimeout", str(KEEP_ALIVE_SECONDS)]
    return [
        *command,
        *("--cert", topology.cert_file, "--key", topology.key_file),
        *("--oauth", "basic", "--skipApiVersionCheck", "--disableProductStyleUrl"),
        *("--disableTelemetry", "--location", str(Path(topology.state_dir) / "azurite")),
    ]


def azurite_environment(topology: Topology) -> dict[str, str]:
    """Variables Azurite reads: its accounts (the product's, then the spare ones)."""
    accounts = [f"{topology.azurite_account}:{topology.azurite_key}"]
    accounts += [f"{account}:{pool_key(account)}" for account in topology.azurite_pool]
    return {"AZURITE_ACCOUNTS": ";".join(accounts)}


def connection_string(topology: Topology) -> str:
    """Account-key connection string of the product's account, for tools; the product has no use for it."""
    return (
        f"DefaultEndpointsProtocol=https;AccountName={topology.azurite_account};"
        f"AccountKey={topology.azurite_key};BlobEndpoint={topology.blob_url};"
        f"QueueEndpoint={topology.queue_url};TableEndpoint={topology.table_url};"
    )
