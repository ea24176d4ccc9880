"""The catalogue's rows say what Service Connector documents, and match ids as Azure writes them."""

from __future__ import annotations

import dataclasses
import json
import uuid
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared import targets
from shared.errors import PermanentError, RefusedError

ROOT = Path(__file__).parents[2]
GROUP = "/subscriptions/11111111-2222-3333-4444-555555555555/resourceGroups/Rg"
ACCOUNT = f"{GROUP}/providers/Microsoft.Storage/storageAccounts/acc"
VAULT = f"{GROUP}/providers/Microsoft.KeyVault/vaults/Kv-1"
CLIENT = "99999999-8888-7777-6666-555555555555"
ANSWERS: dict[str, dict[str, Any]] = {
    "storage-blob": {"properties": {"primaryEndpoints": {"blob": "https://acc.z3.blob.storage.azure.net/"}}},
    "keyvault": {"properties": {"vaultUri": "https://kv-1.vault.azure.net"}},
}
IDS = {"storage-blob": ACCOUNT, "keyvault": VAULT}
BLOB = "https://acc.z3.blob.storage.azure.net/"
URI = "https://kv-1.vault.azure.net/"
SCOPE = "https://management.azure.com/.default"
EXPECTED = {
    ("storage-blob", "python"): {
        "AZURE_STORAGEBLOB_RESOURCEENDPOINT": BLOB,
        "AZURE_STORAGEBLOB_CLIENTID": CLIENT,
    },
    ("storage-blob", "springBoot"): {
        "spring.cloud.azure.storage.blob.credential.managed-identity-enabled": "true",
        "spring.cloud.azure.storage.blob.account-name": "acc",
        "spring.cloud.azure.storage.blob.endpoint": BLOB,
        "spring.cloud.azure.storage.blob.credential.client-id": CLIENT,
    },
    ("keyvault", "python"): {
        "AZURE_KEYVAULT_SCOPE": SCOPE,
        "AZURE_KEYVAULT_RESOURCEENDPOINT": URI,
        "AZURE_KEYVAULT_CLIENTID": CLIENT,
    },
    ("keyvault", "springBoot"): {
        "azure.keyvault.uri": URI,
        "azure.keyvault.client-id": CLIENT,
        "azure.keyvault.scope": SCOPE,
        "spring.cloud.azure.keyvault.secret.credential.managed-identity-enabled": "true",
        "spring.cloud.azure.keyvault.secret.endpoint": URI,
        "spring.cloud.azure.keyvault.secret.credential.client-id": CLIENT,
    },
}
ROWS = targets.catalogue().rows


@pytest.mark.parametrize("target_type", ["storage-blob", "keyvault"])
@pytest.mark.parametrize("client_type", ["dotnet", "java", "python", "nodejs", "none", "springBoot"])
def test_the_settings_are_the_documented_ones(target_type: str, client_type: str):
    row = targets.catalogue().find(target_type)
    facts = row.facts(IDS[target_type], ANSWERS[target_type], client_id=CLIENT)
    expected = EXPECTED[(target_type, "springBoot" if client_type == "springBoot" else "python")]
    assert row.settings(client_type, facts) == expected


def test_the_client_types_are_the_documented_ones():
    for row in ROWS:
        assert row.client_types == ("dotnet", "java", "nodejs", "none", "python", "springBoot")


@pytest.mark.parametrize("written", [ACCOUNT, f"{ACCOUNT}/blobServices/default"])
def test_a_blob_target_is_the_account_in_both_forms_of_its_id(written: str):
    for spelling in (
        written,
        written.lower(),
        written + "/",
        written.replace("resourceGroups", "RESOURCEGROUPS"),
    ):
        row = targets.catalogue().match(spelling)
        assert row is not None
        assert row.name == "storage-blob"
        assert row.existence_id(spelling).lower() == ACCOUNT.lower()
        assert row.scope(spelling).lower() == ACCOUNT.lower()


def test_names_keep_the_casing_of_the_request():
    assert targets.catalogue().find("keyvault").existence_id(VAULT) == VAULT


@pytest.mark.parametrize(
    "other",
    [
        "",
        "/",
        GROUP,
        f"{ACCOUNT}/queueServices/default",
        f"{ACCOUNT}/blobServices/other",
        f"{ACCOUNT}/blobServices/default/containers/c",
        f"{ACCOUNT}x/y",
        VAULT.replace("Key", "\u212aey"),
        f"{VAULT}/secrets/s",
        f"/x{ACCOUNT}",
    ],
)
def test_other_ids_match_no_row(other: str):
    assert targets.catalogue().match(other) is None


@given(st.text(max_size=60))
def test_matching_never_raises(text: str):
    assert targets.catalogue().match(text) is None
    targets.catalogue().match(ACCOUNT + text)


def test_choosing_names_what_does_not_fit():
    catalogue = targets.catalogue()
    assert catalogue.choose("keyvault", VAULT, "none").name == "keyvault"
    for arguments, code, field in (
        (("redis", VAULT, "none"), "unknown-target-type", "connection.target.type"),
        (("keyvault", ACCOUNT, "none"), "target-type-mismatch", "connection.target.id"),
        (("keyvault", VAULT, "cobol"), "unknown-client-type", "connection.clientType"),
    ):
        with pytest.raises(RefusedError) as caught:
            catalogue.choose(*arguments)
        assert (caught.value.code, caught.value.field) == (code, field)
        assert caught.value.remedy


@pytest.mark.parametrize(
    "answer",
    [{}, {"properties": None}, {"properties": {"vaultUri": ""}}, {"properties": {"vaultUri": "http://x/"}}],
)
def test_an_answer_without_a_secure_endpoint_is_an_error(answer: dict[str, Any]):
    with pytest.raises(PermanentError) as caught:
        targets.catalogue().find("keyvault").facts(VAULT, answer, client_id=CLIENT)
    assert caught.value.code == "endpoint-missing"


def test_a_value_with_braces_is_not_filled_in_a_second_time():
    row = targets.catalogue().find("storage-blob")
    facts = {"endpoint": "https://{clientId}/", "clientId": CLIENT}
    assert row.settings("none", facts)["AZURE_STORAGEBLOB_RESOURCEENDPOINT"] == "https://{clientId}/"


def test_the_read_that_proves_access_is_below_the_endpoint():
    urls = {
        row.name: row.read_url(row.facts(IDS[row.name], ANSWERS[row.name], client_id=CLIENT)) for row in ROWS
    }
    assert urls == {
        "storage-blob": f"{BLOB}?comp=list&maxresults=1",
        "keyvault": f"{URI}secrets?api-version=7.4&maxresults=1",
    }
    assert {row.read_check.token_scope for row in ROWS} == {
        "https://storage.azure.com/.default",
        "https://vault.azure.net/.default",
    }


def test_watched_types_are_folded_and_leave_groups_to_the_events():
    assert targets.catalogue().watched_types() == {
        "microsoft.storage/storageaccounts",
        "microsoft.keyvault/vaults",
    }
    assert {row.resource_type for row in ROWS} == targets.catalogue().watched_types()


def test_parents_of_a_nested_target_are_watched_too():
    document = json.loads((ROOT / "shared/catalogue.json").read_text())
    document["targets"][0]["existenceId"] += "/blobServices/default"
    watched = targets.parse(json.dumps(document)).watched_types()
    assert {"microsoft.storage/storageaccounts", "microsoft.storage/storageaccounts/blobservices"} <= watched


def test_the_roles_of_the_catalogue_are_those_that_the_app_may_delegate():
    delegable = json.loads((ROOT / "infra/roles/delegable.json").read_text())["roles"]
    assert {(role["name"], role["id"]) for role in delegable} == {
        (role.name, role.id) for row in ROWS for role in row.roles
    }
    assert all(str(uuid.UUID(role["id"])) == role["id"] for role in delegable)


def test_every_row_is_complete_and_both_services_are_soft_deleted():
    assert len({row.name for row in ROWS}) == len(ROWS)
    for row in ROWS:
        assert row.roles
        assert row.soft_delete
        assert row.api_version
        assert row.names(row.existence_id(IDS[row.name])) is not None


def test_the_catalogue_is_read_once_and_cannot_be_changed():
    row = targets.catalogue().rows[0]
    assert targets.catalogue() is targets.catalogue()
    with pytest.raises(dataclasses.FrozenInstanceError):
        row.name = "other"  # type: ignore[misc]
    with pytest.raises(TypeError):
        row.client_settings["none"]["X"] = "y"  # type: ignore[index]
