"""What stops ``azd down``: run as azd runs it, with a command line of Azure that answers as told.

The PowerShell twin of the script is not run here, for want of PowerShell.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.infra.deployment import ROOT

HOOKS = yaml.safe_load((ROOT / "azure.yaml").read_text(encoding="utf-8"))["hooks"]
AZ = """#!/bin/sh
case "$1" in
  group) {group} ;;
  identity) {identity} ;;
esac
"""


def run(
    tmp_path: Path, *, group: str = "echo true", identity: str = "echo 0", env: str = "rg-ids"
) -> tuple[int, str]:
    """Exit status and message of the hook."""
    az = tmp_path / "az"
    az.write_text(AZ.format(group=group, identity=identity))
    az.chmod(0o755)
    environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "IDENTITY_RESOURCE_GROUP": env}
    command = ["sh", str(ROOT / HOOKS["predown"]["posix"]["run"])]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    return done.returncode, done.stderr


def test_azd_down_is_stopped_while_workload_identities_are_left(tmp_path: Path):
    status, said = run(tmp_path, identity="echo 2")
    assert status == 1
    assert "rg-ids holds workload identities (2)" in said
    assert "docs/deploying.md" in said


@pytest.mark.parametrize("answers", [{"identity": "exit 1"}, {"group": "exit 1", "identity": "exit 1"}])
def test_azd_down_is_stopped_when_nobody_can_say(tmp_path: Path, answers: dict[str, str]):
    status, said = run(tmp_path, **answers)
    assert status == 1
    assert "(unknown)" in said


@pytest.mark.parametrize("answers", [{}, {"group": "echo false", "identity": "exit 1"}, {"env": ""}])
def test_azd_down_goes_on_when_no_identity_is_left(tmp_path: Path, answers: dict[str, str]):
    assert run(tmp_path, **answers) == (0, "")


def test_a_deployment_without_a_policy_is_stopped_and_told_why(tmp_path: Path):
    command = ["sh", "-c", HOOKS["predeploy"]["posix"]["run"]]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "policy.sample.toml" in done.stderr
    (tmp_path / "policy.toml").touch()
    assert subprocess.run(command, cwd=tmp_path, check=False).returncode == 0
