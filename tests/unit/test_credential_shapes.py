"""Keys and tokens are refused and never saved, plain things are taken; one table for each side."""

from __future__ import annotations

from typing import Any

import pytest

from shared import credential_shapes, naming
from shared.catalogue import catalogue
from shared.setting_values import harmless
from tests.fakes.local_app import CLUSTER, STORAGE, LocalApp, create_body
from tests.fakes.recoveries import lose_tables, outcomes, recovered, secret_of
from tests.fakes.sweeps import connected
from tests.unit.test_restore import VALUES, pruned
from tests.unit.test_setting_values import ID

HEX = "0123456789abcdef" * 2
GUID = "01234567-89ab-cdef-0123-456789abcdef"

CREDENTIALS = {
    "a key of Azure AI": HEX,
    "in capitals": HEX.upper(),
    "a longer run": f"{HEX}{HEX}",
    "in a sentence": f"use {HEX} for now",
    "in a URL": f"https://host.example/hooks/{HEX}",
    "a GUID without dashes": GUID.replace("-", ""),
    "a digest of nothing that we know": f"crc:{HEX}",
    "GitHub, personal": f"ghp_{'a' * 36}",
    "GitHub, of an app": "ghs_16C7e42F292c6912E7710c838347Ae178B4a",
    "GitHub, refreshing": f"ghr_{'1b' * 18}",
    "GitHub, for a user": f"ghu_{'b1' * 18}",
    "GitHub, of OAuth": f"gho_{'b1' * 18}",
    "GitHub, fine-grained": "github_pat_11aaaaaaaa",
    "Slack, of a bot": "xoxb-1-2-abc",
    "Slack, of a user": "xoxp-1-2-abc",
    "Slack, of an app": "xoxa-1-2-abc",
    "AWS": "AKIAIOSFODNN7EXAMPLE",
    "AWS, for a while": "ASIAIOSFODNN7EXAMPLE",
    "OpenAI": "sk-abcdefghijklmnop",
    "OpenAI, of a project": "sk-proj-abcdefghijklmnop",
    "a JWT": "eyJhbGciOiJub25lIn0.e30.",
    "a private key": "-----BEGIN PRIVATE KEY-----",
    "a password in a URL": "redis://:hunter2@host:6380",
}
PLAIN = {
    "nothing": "",
    "a word": "info",
    "a flag": "true",
    "words": "grüß dich, world",
    "a name": "orders-api_v1.2",
    "a long name": "task-runner-of-the-disk-cleanup-service",
    "a short prefix": "sk-SK",
    "a number": "4096",
    "a fraction": "0.75",
    "a long word": "b" * 40,
    "a long number": "12345678901234567890123456789012",
    "a time": "2026-11-26T12:00:00Z",
    "a GUID": GUID,
    "a GUID in capitals": GUID.upper(),
    "two GUIDs": f"{GUID},{GUID}",
    "31 digits": HEX[:31],
    "a URL": "https://orders.blob.core.windows.net/",
    "a URL with port and path": "https://vault-1.vault.azure.net:443/secure/v1#top",
    "a host": "orders.servicebus.windows.net",
    "an address": "sb://orders.servicebus.windows.net/",
    "a path": "/dbs/orders/colls/lines",
    "an id": STORAGE,
    "an id with a long name": STORAGE.replace("/rg/", "/RgProductionWestEurope01/"),
    "a digest": f"sha256:{HEX}{HEX}",
    "another digest": f"sha512:{HEX}{HEX}{HEX}{HEX}",
    "an image": f"registry.example/team/app@sha256:{HEX}{HEX}",
}
CREDENTIAL_NAMES = [
    *("AZURE_OPENAI_KEY", "OPENAI_API_KEY", "apiKey", "openAiKey", "APIKEY", "account-key", "storage.key"),
    *("KEY", "key", "Key", "KEY_1", "KEY2", "PRIMARYKEY", "SSH_PASSPHRASE", "passphrase", "GH_TOKEN"),
    *("accessToken", "CLIENT_SECRET", "clientsecret", "DB_PASSWORD", "dbPassword", "Password1"),
    # Of the catalogue, in any casing: what Service Connector gives a credential.
    *("AZURE_COSMOS_CONNECTIONSTRING", "azure_redis_connectionstring", "spring.data.mongodb.uri"),
    "spring.kafka.properties.schema.registry.basic.auth.user.info",
]
PLAIN_NAMES = [
    *("AZURE_KEYVAULT_RESOURCEENDPOINT", "AZURE_KEYVAULT_URL", "monkey", "MONKEY", "TURKEY", "hotkey"),
    *("KEY_PREFIX", "KEYBOARD", "keyFile", "SORT_KEYS", "LOG_LEVEL", "spring.cloud.azure.keyvault.uri"),
    *("A", "_", "REGION", "V1", "AZURE_COSMOS_LISTKEYURL", "AZURE_STORAGEBLOB_ENDPOINT_2"),
]


async def sent(app: LocalApp, settings: dict[str, str]) -> Any:
    return await app.send(create_body(additionalSettings=settings))


@pytest.mark.parametrize("value", CREDENTIALS.values(), ids=CREDENTIALS)
async def test_the_value_of_a_credential_is_refused_and_nowhere_stored(app: LocalApp, value: str):
    record = await sent(app, {"A": value})
    assert (record.outcome, record.code) == ("rejected", "invalid-setting")
    assert record.field == "connection.additionalSettings.A"
    everything = repr([app.queue.take("rejected"), list(app.store.rows("requests"))])
    assert value not in everything


@pytest.mark.parametrize("value", PLAIN.values(), ids=PLAIN)
async def test_a_plain_value_is_taken(app: LocalApp, value: str):
    record = await sent(app, {"A": value})
    assert record.code == ""
    stored = await app.services.state.connection(ID)
    assert stored is not None
    assert stored.value.spec.additional_settings == {"A": value}


@pytest.mark.parametrize("name", CREDENTIAL_NAMES)
async def test_the_name_of_a_credential_is_refused(app: LocalApp, name: str):
    record = await sent(app, {name: "x"})
    assert (record.outcome, record.code) == ("rejected", "invalid-setting")
    assert "connect the vault" in record.detail


@pytest.mark.parametrize("name", PLAIN_NAMES)
async def test_a_plain_name_is_taken(app: LocalApp, name: str):
    assert (await sent(app, {name: "x"})).code == ""


def test_every_setting_that_the_catalogue_gives_a_credential_is_known_by_its_name():
    found = catalogue()
    by_key = {
        key.lower()
        for row in found.rows
        for auth in row.auth.values()
        for group in auth.settings
        for key, value in group.values.items()
        if any(f"{{{one}}}" in value for one in found.credentials)
    }
    assert len(by_key) > 50
    assert found.credential_settings == by_key


def test_no_setting_of_a_connection_through_an_identity_has_the_name_of_a_credential():
    keys = {
        key
        for row in catalogue().working
        for client_type in row.client_types
        for key in row.harmless_keys(client_type)
    }
    assert [key for key in keys if credential_shapes.named(key)] == []


# --- what was stored before -----------------------------------------------------------------------


@pytest.mark.parametrize("value", CREDENTIALS.values(), ids=CREDENTIALS)
async def test_a_prune_saves_no_value_of_the_shape_of_a_credential(app: LocalApp, value: str):
    prune = await pruned(app, data={**VALUES, "AZURE_STORAGEBLOB_RESOURCEENDPOINT": value})
    [saved] = [one for one in await app.services.prunes.saved(prune.operation_id) if one.kind == "Secret"]
    assert (saved.restorable, saved.data) == (False, {})
    assert "looks like a credential" in saved.why


@pytest.mark.parametrize(
    "value", [one for one in PLAIN.values() if one], ids=[one for one in PLAIN if PLAIN[one]]
)
def test_a_plain_value_has_not_the_shape_of_a_credential(value: str):
    assert not credential_shapes.shaped(value)


async def test_a_constant_of_a_credentials_name_is_not_harmless_for_a_prune(app: LocalApp):
    await connected(app, additionalSettings={"REGION": "west"})
    stored = await app.services.state.connection(naming.connection_id(CLUSTER, "shop", "orders-blob"))
    assert stored is not None
    spec = stored.value.spec.model_copy(
        update={"additional_settings": {"REGION": "west", "AZURE_OPENAI_KEY": "x"}}
    )
    known = harmless(catalogue().find(spec.target_type), spec)
    assert "REGION" in known
    assert "AZURE_OPENAI_KEY" not in known


@pytest.mark.parametrize("value", [HEX, "AccountKey=abc"])
async def test_a_recovery_puts_no_credential_on_record_that_came_into_a_constant(app: LocalApp, value: str):
    await connected(app, additionalSettings={"REGION": "west"})
    lose_tables(app)
    secret_of(app).data["REGION"] = value
    assert outcomes(await recovered(app)) == {"orders-blob": "no-inscription"}
    assert value not in repr(list(app.store.rows("connections")))
