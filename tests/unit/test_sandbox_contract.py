"""The line that ``python -m sandbox up`` prints is a contract, written down and kept."""

from __future__ import annotations

import dataclasses
import json
import os
import re
from pathlib import Path

import pytest

from sandbox.app_settings import write_app_files
from sandbox.azurite import AzuriteMissingError, find_azurite
from sandbox.contract import SCHEMA_VERSION, Contract, ContractError, make_contract
from sandbox.layout import StateDirBusyError, claim, prepare
from sandbox.processes import free_ports
from sandbox.role_files import role_properties
from sandbox.topology import Topology

REFERENCE = Path(__file__).parents[2] / "docs" / "reference" / "sandbox.md"


@pytest.fixture
def topology(tmp_path: Path) -> Topology:
    return prepare(tmp_path)


@pytest.fixture
def contract(topology: Topology) -> Contract:
    return make_contract(
        topology,
        topology_file=Path(topology.state_dir) / "topology.json",
        functions_urls=[topology.functions_url, "https://127.0.0.1:1"],
        pids={"up": 1},
    )


def test_every_key_is_described_in_the_reference_and_no_other() -> None:
    text = REFERENCE.read_text()
    table = text[text.index("## The contract") : text.index("## ", text.index("## The contract") + 3)]
    described = re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)
    assert described == [field.name for field in dataclasses.fields(Contract)]
    assert f"schema version is {SCHEMA_VERSION}" in text


def test_what_is_printed_is_one_line_that_reads_back_equal(contract: Contract) -> None:
    line = contract.to_json()
    assert "\n" not in line
    assert Contract.from_json(line) == contract


@pytest.mark.parametrize(
    "change",
    [{"schema_version": SCHEMA_VERSION + 1}, {"surprise": 1}],
    ids=["another version", "an unknown key"],
)
def test_a_contract_that_is_not_ours_is_refused(contract: Contract, change: dict[str, int]) -> None:
    raw = json.loads(contract.to_json()) | change
    with pytest.raises(ContractError):
        Contract.from_json(json.dumps(raw))


def test_a_contract_with_a_missing_key_is_refused(contract: Contract) -> None:
    raw = json.loads(contract.to_json())
    del raw["arm_url"]
    with pytest.raises(ContractError, match="arm_url"):
        Contract.from_json(json.dumps(raw))


def test_every_url_is_https_on_loopback_without_a_trailing_slash(contract: Contract) -> None:
    urls = {key: value for key, value in dataclasses.asdict(contract).items() if key.endswith("_url")}
    assert len(urls) > 8
    for key, url in urls.items():
        assert url.startswith("https://127.0.0.1:"), key
        assert not url.endswith("/"), key


def test_faults_reach_each_functions_host_by_its_own_name(contract: Contract) -> None:
    parts = contract.framed_parts
    assert list(parts) == ["arm", "entra", "kubernetes", "dataplane", "functions", "functions-2"]
    assert parts["functions-2"] == "https://127.0.0.1:1"


def test_a_kept_sandbox_comes_up_with_the_same_ports_and_keys(tmp_path: Path, topology: Topology) -> None:
    assert prepare(tmp_path) == topology


def test_no_two_parts_share_a_port() -> None:
    ports = free_ports(40)
    assert len(set(ports)) == 40


def test_settings_of_the_command_line_win_over_the_sandboxes_own(topology: Topology) -> None:
    overrides = {"MOORING_STORAGE_API_VERSION": "2020-01-01", "PROVE": "on"}
    values = json.loads(write_app_files(topology, overrides).read_text())["Values"]
    assert values["MOORING_STORAGE_API_VERSION"] == "2020-01-01"
    assert values["PROVE"] == "on"
    assert values["MOORING_ARM_ENDPOINT"] == topology.arm_url


def test_the_app_gets_no_storage_key(topology: Topology) -> None:
    settings = write_app_files(topology, {}).read_text()
    assert topology.azurite_key not in settings
    assert topology.owner_client_secret not in settings


def test_a_role_of_the_command_line_tool_becomes_a_role_of_the_rest_interface() -> None:
    raw = {"Name": "Reader of things", "Actions": ["a/read"], "AssignableScopes": ["/x"], "Description": "d"}
    assert role_properties(raw, "/subscriptions/s") == {
        "roleName": "Reader of things",
        "description": "d",
        "type": "CustomRole",
        "assignableScopes": ["/subscriptions/s"],
        "permissions": [{"actions": ["a/read"], "notActions": [], "dataActions": [], "notDataActions": []}],
    }


def test_a_file_that_is_no_role_is_left_alone() -> None:
    assert role_properties({"targets": []}, "/subscriptions/s") is None
    assert role_properties([1], "/subscriptions/s") is None


def test_a_folder_has_one_sandbox_at_a_time_and_the_second_is_told_of_the_first(tmp_path: Path) -> None:
    with claim(tmp_path), pytest.raises(StateDirBusyError, match=rf"process {os.getpid()}\)"):
        claim(tmp_path)
    claim(tmp_path).close()


@pytest.mark.parametrize("content", [None, ""], ids=["missing", "empty"])
def test_a_contract_that_is_not_there_names_the_argument_and_the_command(
    tmp_path: Path, content: str | None
) -> None:
    file = tmp_path / "sandbox.json"
    if content is not None:
        file.write_text(content)
    with pytest.raises(ContractError, match=r"--contract .*sandbox\.json: (?s:.*)`make up > sandbox\.json`"):
        Contract.load(str(file))


def test_a_variable_that_names_no_azurite_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("AZURITE", str(tmp_path / "absent"))
    with pytest.raises(AzuriteMissingError, match=r"AZURITE names .*absent"):
        find_azurite()
