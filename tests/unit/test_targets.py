"""Every row turns an id and Azure's answer into the documented settings, roles and reads."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.catalogue import catalogue, parse
from shared.errors import PermanentError, RefusedError
from tests.fakes.target_examples import CLIENT, Example, examples

ROOT = Path(__file__).parents[2]
GROUP = "/subscriptions/11111111-2222-3333-4444-555555555555/resourceGroups/Rg"
ACCOUNT = f"{GROUP}/providers/Microsoft.Storage/storageAccounts/acc"
VAULT = f"{GROUP}/providers/Microsoft.KeyVault/vaults/Kv-1"
ROWS = catalogue().rows
IN_AZURE = [row for row in ROWS if row.id_template]
EXAMPLES = [one for row in IN_AZURE for one in examples(row)]
WORKING = [one for one in EXAMPLES if one.row.works]
of_every_target = pytest.mark.parametrize("example", EXAMPLES, ids=str)
of_every_working_target = pytest.mark.parametrize("example", WORKING, ids=str)

BLOB = "https://acc.z3.blob.storage.azure.net/"
URI = "https://kv-1.vault.azure.net/"
SCOPE = "https://management.azure.com/.default"
ZONED: dict[str, dict[str, Any]] = {
    "storage-blob": {"properties": {"primaryEndpoints": {"blob": BLOB}}},
    "keyvault": {"properties": {"vaultUri": "https://kv-1.vault.azure.net"}},
}
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


def example(name: str, variant: str = "") -> Example:
    return next(one for one in EXAMPLES if (one.row.name, one.variant) == (name, variant))


@pytest.mark.parametrize("target_type", ["storage-blob", "keyvault"])
@pytest.mark.parametrize("client_type", ["dotnet", "java", "python", "nodejs", "none", "springBoot"])
def test_the_endpoint_is_the_one_that_azure_answers(target_type: str, client_type: str):
    row = catalogue().find(target_type)
    facts = row.facts(
        {"storage-blob": ACCOUNT, "keyvault": VAULT}[target_type], ZONED[target_type], client_id=CLIENT
    )
    expected = EXPECTED[(target_type, "springBoot" if client_type == "springBoot" else "python")]
    assert row.settings(client_type, facts) == expected


@of_every_working_target
def test_the_settings_are_filled_from_the_answer_for_every_client_type(example: Example):
    row, facts = example.row, example.facts()
    for client_type in row.client_types:
        (group,) = [
            group
            for group in row.auth["workloadIdentity"].groups(client_type)
            if group.variant in ("", example.variant)
        ]
        filled = row.settings(client_type, facts)
        assert filled == {key: example.expected(template) for key, template in group.values.items()}
        assert not any("{" in value for value in filled.values())
        assert CLIENT in " ".join(filled.values())


@of_every_target
def test_what_azure_answers_of_a_target_gives_its_facts(example: Example):
    facts = example.facts()
    for name, fact in example.row.wanted.items():
        if not fact.variants or example.variant in fact.variants:
            assert facts[name] == example.expected(fact.publicly)
    assert facts.get("variant", "") == example.variant


@of_every_target
def test_an_answer_without_a_fact_is_an_error(example: Example):
    if example.row.wanted:
        with pytest.raises(PermanentError) as caught:
            example.row.facts(example.id, {"kind": example.answer.get("kind", "")}, client_id=CLIENT)
        assert caught.value.code == "endpoint-missing"


@of_every_target
def test_an_id_is_known_in_every_spelling_and_names_what_is_looked_at_again(example: Example):
    row = example.row
    for spelling in (example.id, example.id.lower(), example.id.upper(), example.id + "/"):
        assert row.names(spelling) is not None
        assert row.existence_id(spelling).lower() in example.id.lower()
        assert row.scope(spelling).lower() in example.id.lower()
    assert row.names(row.existence_id(example.id)) is not None
    assert example.id.startswith(row.parent_id(example.id))


@of_every_target
def test_an_id_with_one_more_or_one_less_segment_is_another_ones(example: Example):
    assert example.row.names(example.id.rpartition("/")[0]) is None
    assert example.row.names(example.id + "/x") is None
    assert example.row.names(example.id + "/x/y") is None
    assert example.row.names("/x" + example.id) is None


@of_every_target
def test_a_part_of_a_target_narrows_the_scope_and_nothing_else(example: Example):
    row = example.row
    assert len(example.children) == len(row.children)
    for child in example.children:
        assert row.scope(child) == child
        assert row.existence_id(child) == row.existence_id(example.id)
        assert row.names(child + "/x") is None
        facts = row.facts(child, example.answer, client_id=CLIENT, parent=example.parent)
        assert row.settings("none", facts) == row.settings("none", example.facts())


@of_every_working_target
def test_an_intent_gives_its_own_roles_and_another_one_is_refused(example: Example):
    row = example.row
    assert row.roles(variant=example.variant) == row.default_roles.get(example.variant, row.roles())
    for intent in row.intents:
        assert set(row.roles(intent, variant=example.variant)) <= set(row.roles(intent))
    with pytest.raises(RefusedError) as caught:
        row.roles("dance")
    assert (caught.value.code, caught.value.field) == ("unknown-intent", "connection.intent")
    assert all(intent in caught.value.remedy for intent in row.intents)


def test_a_row_without_narrow_roles_takes_no_intent():
    with pytest.raises(RefusedError) as caught:
        catalogue().find("redis-enterprise").roles("read")
    assert caught.value.remedy == "leave it out"


def test_the_roles_of_an_account_follow_its_kind_once_that_is_known():
    row = catalogue().find("cognitiveservices")
    assert [role.name for role in row.roles(variant="Azure OpenAI")] == [
        "Cognitive Services OpenAI Contributor"
    ]
    assert [role.name for role in row.roles("read", variant="Azure OpenAI")] == [
        "Cognitive Services OpenAI User"
    ]
    assert len(row.roles()) == 2, "before that, the policy must allow them all"


@pytest.mark.parametrize(
    ("name", "variant", "intent", "child", "path"),
    [
        ("storage-blob", "", "", -1, "https://acc.blob.core.windows.net/?comp=list&maxresults=1"),
        ("storage-blob", "", "read", 0, "https://acc.blob.core.windows.net/c1?restype=container&comp=list&maxresults=1"),
        ("storage-queue", "", "read", -1, "https://acc.queue.core.windows.net/?comp=list&maxresults=1"),
        ("storage-queue", "", "write", 0, "https://acc.queue.core.windows.net/q1?comp=metadata"),
        ("storage-queue", "", "send", -1, ""),
        ("storage-queue", "", "receive", 0, ""),
        ("storage-table", "", "", -1, "https://acc.table.core.windows.net/Tables?$top=1"),
        ("storage-table", "", "", 0, "https://acc.table.core.windows.net/t1()?$top=1"),
        ("keyvault", "", "", -1, "https://Kv-1.vault.azure.net/secrets?api-version=7.4&maxresults=1"),
        ("keyvault", "", "read", 0, "https://Kv-1.vault.azure.net/secrets/s1/versions?api-version=7.4&maxresults=1"),
        ("appconfig", "", "", -1, "https://conf1.azconfig.io/keys?api-version=1.0"),
        ("cognitiveservices", "Azure OpenAI", "", -1, "https://ai1.openai.azure.com/openai/models?api-version=2024-10-21"),
        ("cognitiveservices", "Azure AI multi-service resource", "", -1, ""),
        ("servicebus", "", "", -1, ""),
        ("servicebus", "", "send", 0, ""),
        ("eventhub", "", "", -1, ""),
        ("signalr", "", "", -1, ""),
        ("webpubsub", "", "", -1, ""),
        ("cosmos-sql", "", "", 0, ""),
        ("redis", "", "", -1, ""),
    ],
)  # fmt: skip
def test_the_read_that_proves_access_is_one_that_the_roles_allow(
    name: str, variant: str, intent: str, child: int, path: str
):
    one = example(name, variant)
    target_id = one.id if child < 0 else one.children[child]
    facts = one.row.facts(target_id, one.answer, client_id=CLIENT, parent=one.parent)
    read = one.row.read(target_id, facts, intent=intent)
    assert (read.url if read else "") == path
    if read:
        assert read.token_scope.startswith("https://")
        assert read.token_scope.endswith("/.default")


def test_a_part_that_has_no_read_of_its_own_is_not_proved_by_reading_the_whole():
    document = json.loads((ROOT / "shared/catalogue.json").read_text())
    del document["targets"][0]["children"][0]["readPath"]
    (row, *_), one = parse(json.dumps(document)).rows, example("storage-blob")
    facts = row.facts(one.children[0], one.answer, client_id=CLIENT)
    assert row.read(one.children[0], facts) is None
    assert row.read(one.id, facts) is not None


@pytest.mark.parametrize("written", [ACCOUNT, f"{ACCOUNT}/blobServices/default"])
def test_a_blob_target_is_the_account_in_both_forms_of_its_id(written: str):
    row = catalogue().match(written.lower())
    assert row is not None
    assert row.name == "storage-blob"
    assert row.existence_id(written) == row.scope(written) == ACCOUNT


def test_names_keep_the_casing_of_the_request():
    assert catalogue().find("keyvault").existence_id(VAULT) == VAULT


def test_what_an_id_leaves_out_has_a_default():
    row, cache = catalogue().find("redis"), f"{GROUP}/providers/Microsoft.Cache/Redis/c1"
    names = row.names(cache)
    assert names is not None
    assert names["database"] == "0"
    assert example("redis").facts()["database"] == "3"


@pytest.mark.parametrize(
    "other",
    [
        "", "/", GROUP, f"{ACCOUNT}/blobServices/other", f"{ACCOUNT}x/y",
        VAULT.replace("Key", "\u212aey"), f"{VAULT}/keys/k", f"/x{ACCOUNT}",
    ],
)  # fmt: skip
def test_other_ids_match_no_row(other: str):
    assert catalogue().match(other) is None


@given(st.text(max_size=60))
def test_matching_never_raises(text: str):
    assert catalogue().match(text) is None
    catalogue().match(ACCOUNT + text)


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("keyvault", {}),
        ("keyvault", {"properties": None}),
        ("keyvault", {"properties": {"vaultUri": ""}}),
        ("keyvault", {"properties": {"vaultUri": "http://x/"}}),
        ("servicebus", {"properties": {"serviceBusEndpoint": "http://x.example/"}}),
        ("servicebus", {"properties": {"serviceBusEndpoint": "https:///"}}),
        ("signalr", {"properties": {"hostName": "evil/;AccessKey=x"}}),
        ("appconfig", {"properties": {"endpoint": "conf1.azconfig.io"}}),
    ],
)
def test_an_endpoint_that_is_not_what_it_should_be_is_an_error(name: str, answer: dict[str, Any]):
    with pytest.raises(PermanentError) as caught:
        catalogue().find(name).facts(example(name).id, answer, client_id=CLIENT)
    assert caught.value.code == "endpoint-missing"


def test_a_value_with_braces_is_not_filled_in_a_second_time():
    row = catalogue().find("storage-blob")
    facts = {"endpoint": "https://{clientId}/", "clientId": CLIENT}
    assert row.settings("none", facts)["AZURE_STORAGEBLOB_RESOURCEENDPOINT"] == "https://{clientId}/"


def test_a_row_cannot_be_changed():
    row = catalogue().rows[0]
    with pytest.raises(dataclasses.FrozenInstanceError):
        row.name = "other"  # type: ignore[misc]
    for mapping in (row.wanted, row.intents, row.auth, row.default_roles):
        with pytest.raises(TypeError):
            mapping["none"] = ()  # type: ignore[index]
