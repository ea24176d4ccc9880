"""What stops ``azd down``: run as azd runs it, with a command line of Azure that answers as told.

The PowerShell twin of the script is not run here, for want of PowerShell.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest
import yaml

from tests.infra.deployment import ROOT

HOOKS = yaml.safe_load((ROOT / "azure.yaml").read_text(encoding="utf-8"))["hooks"]
SUBSCRIPTION = "11111111-2222-3333-4444-555555555555"
AZ = """#!/bin/sh
case "$*" in
  *"--subscription 11111111-2222-3333-4444-555555555555"*) ;;
  *) echo false; exit 0 ;;  # the default subscription is another one
esac
case "$1" in
  group) echo "$*" >> "$ASKED"; {group} ;;
  identity) {identity} ;;
esac
"""
NAMED = {"IDENTITY_RESOURCE_GROUP": "rg-ids", "AZURE_ENV_NAME": "prod", "AZURE_SUBSCRIPTION_ID": SUBSCRIPTION}


def run(
    tmp_path: Path,
    *,
    group: str = "echo true",
    identity: str = "echo 0",
    environment: Mapping[str, str] = NAMED,
) -> tuple[int, str]:
    """Exit status and message of the hook."""
    az = tmp_path / "az"
    az.write_text(AZ.format(group=group, identity=identity))
    az.chmod(0o755)
    path = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "ASKED": str(tmp_path / "asked")}
    command = ["sh", str(ROOT / HOOKS["predown"]["posix"]["run"])]
    done = subprocess.run(command, env={**environment, **path}, capture_output=True, text=True, check=False)
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


@pytest.mark.parametrize("answers", [{}, {"group": "echo false", "identity": "exit 1"}])
def test_azd_down_goes_on_when_no_identity_is_left(tmp_path: Path, answers: dict[str, str]):
    assert run(tmp_path, **answers) == (0, "")


@pytest.mark.parametrize(
    ("left_out", "more", "group"),
    [
        ("AZURE_SUBSCRIPTION_ID", {}, "rg-ids"),
        ("IDENTITY_RESOURCE_GROUP", {}, "rg-mooring-prod-identities"),
        ("IDENTITY_RESOURCE_GROUP", {"MOORING_IDENTITY_RESOURCE_GROUP_NAME": "rg-own"}, "rg-own"),
    ],
)
def test_azd_down_is_stopped_from_a_clone_that_knows_less(
    tmp_path: Path, left_out: str, more: dict[str, str], group: str
):
    known = {name: value for name, value in NAMED.items() if name != left_out}
    status, said = run(tmp_path, identity="echo 2", environment={**known, **more})
    assert status == 1
    assert f"the group {group} holds" in said
    if "AZURE_SUBSCRIPTION_ID" in known:
        assert f"--name {group} --subscription" in (tmp_path / "asked").read_text()


def test_the_groups_default_name_is_the_templates():
    prefix = json.loads((ROOT / "infra" / "abbreviations.json").read_text(encoding="utf-8"))["resourceGroup"]
    main = (ROOT / "infra" / "main.bicep").read_text(encoding="utf-8")
    assert "'${prefix.resourceGroup}mooring-${environmentName}-identities'" in main
    for name in ("predown.sh", "predown.ps1"):
        assert f"{prefix}mooring-$" in (ROOT / "infra" / "hooks" / name).read_text(encoding="utf-8")


def test_a_deployment_without_a_policy_is_stopped_and_told_why(tmp_path: Path):
    command = ["sh", "-c", HOOKS["predeploy"]["posix"]["run"]]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "policy.sample.toml" in done.stderr
    (tmp_path / "policy.toml").touch()
    assert subprocess.run(command, cwd=tmp_path, check=False).returncode == 0
