"""``GET /api/connections/{id}/configuration``: what is told from the records, and never a credential."""

from __future__ import annotations

from typing import Any

import pytest

from shared import naming
from shared.catalogue import catalogue
from shared.targets import WORKLOAD_IDENTITY
from tests.fakes.http_app import HttpApp
from tests.fakes.local_app import CLUSTER, LocalApp, create_body, delete_body
from tests.fakes.their_linker import LINKER, SECRET, THEIRS, TheirLinker, make_linker

ID = naming.connection_id(CLUSTER, "shop", "orders-blob")
ENDPOINT, CLIENT = "AZURE_STORAGEBLOB_RESOURCEENDPOINT", "AZURE_STORAGEBLOB_CLIENTID"
BLOB = "https://orders.blob.core.windows.net/"


async def configured(app: LocalApp, connection_id: str = ID, **params: str) -> tuple[int, Any]:
    before = len(app.journal.calls)
    status, found, _ = await HttpApp(app).call("get_configuration", connectionId=connection_id, params=params)
    asked = {call.name.partition(".")[0] for call in app.journal.calls[before:]}
    assert asked <= {"state"}, "only the records are read"
    assert {call.name for call in app.journal.calls[before:]} <= {"state.get", "state.query"}
    return status, found


def values(found: Any) -> dict[str, str | None]:
    return {one["name"]: one["value"] for one in found["configurations"]}


async def created(app: LocalApp, **changes: Any) -> None:
    await app.send(create_body(**changes))
    await app.settle()


async def adopted(app: LocalApp, **changes: str) -> TheirLinker:
    theirs = make_linker(app)
    theirs.change(**changes)
    await app.send({"action": "adopt", "linkerId": LINKER})
    await app.settle()
    return theirs


async def test_the_settings_are_those_in_the_secret(app: LocalApp):
    await created(app)
    status, found = await configured(app)
    assert (status, found["clientType"]) == (200, "python")
    secret = await app.clusters.get(CLUSTER, "Secret", "shop", "sc-ordersblob-secret", values=True)
    assert secret is not None
    assert values(found) == secret.data
    assert values(found)[ENDPOINT] == BLOB


async def test_another_client_type_shows_what_its_settings_would_be(app: LocalApp):
    await created(app)
    _, own = await configured(app)
    status, found = await configured(app, clientType="springBoot")
    assert (status, found["clientType"]) == (200, "springBoot")
    assert values(found)["spring.cloud.azure.storage.blob.endpoint"] == BLOB
    assert values(own)[CLIENT] in values(found).values()
    assert ENDPOINT not in values(found)


async def test_a_client_type_that_the_target_has_not_is_refused_at_its_parameter(app: LocalApp):
    await created(app)
    status, problem = await configured(app, clientType="cobol")
    assert (status, problem["code"], problem["field"]) == (400, "unknown-client-type", "clientType")
    assert "python" in problem["remedy"]


async def test_before_anything_is_made_the_keys_are_known_and_the_values_are_not(app: LocalApp):
    await app.send(create_body())
    assert values((await configured(app))[1]) == {ENDPOINT: None, CLIENT: None}


async def test_an_earlier_life_tells_no_values(app: LocalApp):
    await created(app)
    stored = await app.services.state.connection(ID)
    assert stored is not None
    reborn = stored.value.model_copy(update={"generation": 2})
    await app.services.state.observe(reborn, [], etag=stored.etag)
    assert await app.services.state.intents(ID), "rows of the earlier life are still there"
    assert values((await configured(app))[1]) == {ENDPOINT: None, CLIENT: None}


@pytest.mark.parametrize("name", ["orders-blob", "nothing"])
async def test_what_is_not_there_has_no_configuration(app: LocalApp, name: str):
    await created(app)
    await app.send(delete_body(), message_id="d")
    await app.settle()
    status, problem = await configured(app, naming.connection_id(CLUSTER, "shop", name))
    assert (status, problem["code"]) == (404, "not-found")


async def test_an_adopted_connection_shows_its_keys_and_the_values_that_are_known(app: LocalApp):
    make_linker(app)
    data = {ENDPOINT: "x", "RENAMED_CLIENTID": "y"}
    app.clusters.put_object(CLUSTER, "Secret", "shop", SECRET, data=data)
    await app.send({"action": "adopt", "linkerId": LINKER})
    await app.settle()
    assert values((await configured(app, THEIRS))[1]) == {ENDPOINT: BLOB, "RENAMED_CLIENTID": None}
    other = values((await configured(app, THEIRS, clientType="springBoot"))[1])
    assert other["spring.cloud.azure.storage.blob.endpoint"] == BLOB


async def test_of_a_connection_with_a_credential_nothing_is_told_but_where_to_ask(app: LocalApp):
    await adopted(app, auth_type="secret", client_id="")
    status, found = await configured(app, THEIRS)
    assert (status, values(found)) == (200, {})
    status, problem = await configured(app, THEIRS, clientType="java")
    assert (status, problem["code"]) == (400, "unknown-client-type")
    assert problem["remedy"] == f"az aks connection list-configuration --id {LINKER}"


async def test_an_adopted_client_type_that_the_catalogue_has_not_shows_the_recorded_keys(app: LocalApp):
    await adopted(app, client_type="cobol")
    assert values((await configured(app, THEIRS))[1]) == {ENDPOINT: None, CLIENT: None}


async def test_of_a_target_that_the_catalogue_has_not_nothing_is_told(app: LocalApp):
    await adopted(app)
    stored = await app.services.state.connection(THEIRS)
    assert stored is not None
    spec = stored.value.spec.model_copy(update={"target_type": "unknown"})
    intents = list((await app.services.state.intents(THEIRS)).values())
    connection = stored.value.model_copy(update={"spec": spec})
    await app.services.state.observe(connection, intents, etag=stored.etag)
    assert set(values((await configured(app, THEIRS))[1]).values()) == {None}
    status, problem = await configured(app, THEIRS, clientType="java")
    assert (status, problem["code"]) == (400, "unknown-target-type")


def test_no_template_that_can_be_shown_has_a_credential_in_it():
    rows = catalogue()
    assert rows.credentials
    for row in rows.rows:
        for group in row.auth[WORKLOAD_IDENTITY].settings:
            text = " ".join(group.values.values())
            assert [name for name in rows.credentials if f"{{{name}}}" in text] == [], row.name
