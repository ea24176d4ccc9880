"""``python -m sandbox catalogue``: one object for each target, auth kind and client type, and tables."""

import argparse
import json
from typing import Any

import pytest

from sandbox import catalogue as command
from sandbox.catalogue import combinations
from shared.catalogue import catalogue

ROWS = catalogue().rows
STATUSES = {"works", "policy-gated", "deferred", "not-offered"}


def test_the_printed_catalogue_has_every_combination_once():
    rows = list(combinations())
    keys = [(one["target"], one["authType"], one["clientType"]) for one in rows]
    assert len(set(keys)) == len(keys)
    assert set(keys) >= {
        (row.name, auth, client_type)
        for row in ROWS
        for auth, kind in row.auth.items()
        for client_type in (*row.listed_client_types, *kind.client_types)
    }
    assert {one["target"] for one in rows} == {row.name for row in ROWS}
    for one in rows:
        assert one["status"] in STATUSES
        assert bool(one["keys"]) or one["status"] == "not-offered"
        assert ("reason" in one) == (one["status"] != "works")
        json.dumps(one)


def printed(target: str, auth: str, client_type: str = "python") -> dict[str, Any]:
    key = (target, auth, client_type)
    [found] = [one for one in combinations() if (one["target"], one["authType"], one["clientType"]) == key]
    return found


def test_of_several_variants_the_first_is_printed_with_the_others_in_a_list():
    row, found = catalogue().find("cognitiveservices"), printed("cognitiveservices", "workloadIdentity")
    together = [found, *found["variants"]]
    assert [one["variant"] for one in together] == [
        "Azure OpenAI",
        "Azure AI multi-service resource",
        "Azure AI services",
    ]
    for one in together:
        facts = {"variant": one["variant"]}
        assert list(one["keys"]) == list(row.setting_templates("python", facts))
        assert [role["name"] for role in one["roles"]] == [
            role.name for role in row.roles(variant=one["variant"])
        ]
    assert "variants" not in printed("storage-blob", "workloadIdentity")


def test_of_a_mounted_vault_the_object_that_is_written_is_printed_with_its_parameters():
    row, found = catalogue().find("keyvault"), printed("keyvault", "csiDriver")
    assert (found["keysAre"], found["writes"]) == ("parameters", "SecretProviderClass")
    assert found["parameters"] == row.auth["csiDriver"].parameters
    assert "AZURE_KEYVAULT_NAME" in found["keys"], "as Service Connector documents them"
    assert set(found["keys"].values()) <= set(found["parameters"].values()), "the same under other names"
    mounted = {(one["target"], one["authType"]) for one in combinations() if "keysAre" in one}
    assert mounted == {("keyvault", "csiDriver")}


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_the_command_prints_one_object_a_line(options: list[str], capsys: pytest.CaptureFixture[str]):
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    assert command.run(parser.parse_args(options)) == 0
    assert [json.loads(line) for line in capsys.readouterr().out.splitlines()] == list(combinations())


def test_the_command_prints_tables_for_people(capsys: pytest.CaptureFixture[str]):
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    assert command.run(parser.parse_args(["--table"])) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("`")[1] for line in lines[2:] if line.startswith("| `")] == [row.name for row in ROWS]
