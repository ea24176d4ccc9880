"""A kept sandbox comes up again with what it held."""

from __future__ import annotations

import contextlib
import ssl
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import aiohttp

from sandbox.contract import Contract
from sandbox.owner import ARM_SCOPE, STORAGE_SCOPE, Owner
from sandbox.topology import Topology

REPOSITORY = Path(__file__).parents[2]


@contextlib.contextmanager
def up(state_dir: Path, *options: str) -> Iterator[Contract]:
    with subprocess.Popen(
        [
            *(sys.executable, "-m", "sandbox", "up", "--no-app", "--die-with-parent"),
            *("--state-dir", str(state_dir), *options),
        ],
        stdout=subprocess.PIPE,
        text=True,
        cwd=REPOSITORY,
    ) as process:
        assert process.stdout is not None
        try:
            yield Contract.from_json(process.stdout.readline())
        finally:
            process.terminate()
            assert process.wait(timeout=15) == 0


async def request(contract: Contract, method: str, url: str, scope: str) -> tuple[int, str]:
    tls = ssl.create_default_context(cafile=contract.ca_file)
    topology = Topology.load(Path(contract.topology_file))
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=tls)) as http:
        token = await Owner(topology, http).token(scope)
        headers = {"Authorization": f"Bearer {token}", "x-ms-version": "2025-11-05"}
        async with http.request(method, url, headers=headers) as response:
            return response.status, await response.text()


async def test_ports_resources_and_blobs_are_those_of_before(tmp_path: Path) -> None:
    state_dir = tmp_path / "sandbox"
    with up(state_dir, "--keep") as first:
        made, _ = await request(
            first, "PUT", f"{first.storage_account_url}/kept?restype=container", STORAGE_SCOPE
        )
        assert made == 201
        group = f"{first.arm_url}{first.cluster_id}?api-version=2025-10-01"
        _, cluster = await request(first, "GET", group, ARM_SCOPE)
    with up(state_dir) as second:
        assert (second.arm_url, second.tenant_id) == (first.arm_url, first.tenant_id)
        _, listed = await request(second, "GET", f"{second.storage_account_url}/?comp=list", STORAGE_SCOPE)
        assert "<Name>kept</Name>" in listed
        _, again = await request(second, "GET", group, ARM_SCOPE)
        assert '"issuerURL"' in again
        assert cluster.partition('"issuerURL"')[2][:120] == again.partition('"issuerURL"')[2][:120]
    assert not state_dir.exists()


def test_a_folder_with_other_things_in_it_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("precious")
    done = subprocess.run(
        [sys.executable, "-m", "sandbox", "up", "--state-dir", str(tmp_path)],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "neither empty" in done.stderr
    assert (tmp_path / "mine.txt").read_text() == "precious"


def test_a_part_that_cannot_start_ends_the_sandbox_and_is_named(tmp_path: Path) -> None:
    azurite = tmp_path / "azurite"
    azurite.write_text("#!/bin/sh\necho out of luck; exit 4\n")
    azurite.chmod(0o700)
    done = subprocess.run(
        [sys.executable, "-m", "sandbox", "up", "--no-app", "--state-dir", str(tmp_path / "state")],
        cwd=REPOSITORY,
        env={"PATH": "/usr/bin:/bin", "AZURITE": str(azurite)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stdout == ""
    assert "azurite ended with exit code 4:\nout of luck" in done.stderr
    assert not (tmp_path / "state").exists()
