"""``GET /api/targets``: what can be connected, as the catalogue says."""

from __future__ import annotations

import json
from typing import Any

import pytest

from shared.catalogue import catalogue
from tests.fakes.http_app import HttpApp
from tests.fakes.local_app import LocalApp


@pytest.fixture
async def targets(app: LocalApp) -> dict[str, Any]:
    status, found, headers = await HttpApp(app).call("list_targets")
    assert (status, headers["Cache-Control"]) == (200, "no-store")
    return {one["type"]: one for one in found["targets"]}


def test_every_target_of_the_catalogue_is_listed(targets: dict[str, Any]):
    assert list(targets) == [row.name for row in catalogue().rows]


def test_a_target_that_works_says_how_it_is_asked_for(targets: dict[str, Any]):
    blob = targets["storage-blob"]
    assert (blob["title"], blob["works"]) == ("Azure Blob Storage", True)
    assert blob["auth"]["workloadIdentity"] == {
        "status": "works",
        "reason": None,
        "clientTypes": ["dotnet", "java", "nodejs", "none", "python", "springBoot"],
    }
    assert blob["clientTypes"] == sorted(blob["settings"])
    assert blob["settings"]["python"] == [
        {
            "variant": None,
            "keys": ["AZURE_STORAGEBLOB_CLIENTID", "AZURE_STORAGEBLOB_RESOURCEENDPOINT"],
        }
    ]
    assert [one["name"] for one in blob["roles"]] == ["Storage Blob Data Contributor"]
    assert [one["name"] for one in blob["intents"]["read"]] == ["Storage Blob Data Reader"]
    assert all(len(one["id"]) == 36 for one in blob["roles"])
    kinds = {name: targets[name]["grants"] for name in ("storage-blob", "cosmos-sql", "redis")}
    assert list(kinds.values()) == ["azure-role", "cosmos-sql-role", "redis-access-policy"]
    assert targets["redis"]["roles"][0]["id"] == "Data Contributor"


def test_each_form_of_an_id_that_is_shown_names_the_target_itself(targets: dict[str, Any]):
    for row in catalogue().rows:
        for form in targets[row.name]["idForms"]:
            written = form.replace("[", "").replace("]", "").replace("{", "").replace("}", "")
            assert row.names(written) is not None, form
    assert len(targets["storage-blob"]["idForms"]) > 1, "a container is a part of it"


def test_what_is_not_connected_says_why(targets: dict[str, Any]):
    refused = [one for one in targets.values() if not one["works"]]
    assert refused
    for one in refused:
        assert one["auth"]["workloadIdentity"]["status"] != "works"
        assert one["auth"]["workloadIdentity"]["reason"]
    for one in targets.values():
        assert all(kind["reason"] for kind in one["auth"].values() if kind["status"] != "works")


def test_roles_and_settings_of_one_variant_name_it(targets: dict[str, Any]):
    services = targets["cognitiveservices"]
    variants = {one["variant"] for group in services["settings"].values() for one in group}
    assert variants == set(catalogue().find("cognitiveservices").variants.values())
    assert {one["variant"] for one in services["roles"]} <= {None, *variants}


async def test_no_port_is_asked(app: LocalApp):
    await HttpApp(app).call("list_targets")
    assert app.journal.calls == []


def test_no_value_template_is_shown(targets: dict[str, Any]):
    assert "{clientId}" not in json.dumps(targets)
