"""Adopting records what a living linker holds, changes nothing anywhere, and does it once."""

import json
from typing import Any

import pytest

from shared import naming
from shared.models import ConnectionState, Kind
from tests.fakes.http_app import HttpApp
from tests.fakes.linker_events import receive, written_event
from tests.fakes.local_app import CLUSTER, STORAGE, LocalApp, create_body
from tests.fakes.their_linker import (
    ASSIGNMENT,
    CREDENTIAL,
    IDENTITY,
    LINKER,
    SECRET,
    THEIRS,
    TheirLinker,
    make_linker,
)

READS = {"get", "list", "describe", "get_credential", "list_credentials", "list_for_principal"}
READS |= {"namespace_exists", "list_objects", "list_namespaces", "list_uses"}
PORTS = {"identities", "roles", "resources", "clusters", "linkers", "prover"}


@pytest.fixture
def theirs(app: LocalApp) -> TheirLinker:
    return make_linker(app)


def adopt_body(linker_id: str = LINKER) -> dict[str, Any]:
    return {"action": "adopt", "linkerId": linker_id}


async def adopted(app: LocalApp, key: str = "adopt") -> Any:
    record = await app.send(adopt_body(), message_id=key)
    await app.settle()
    return record


def writes(app: LocalApp) -> list[str]:
    """Calls to Azure or a cluster that are not known to be reads."""
    split = [name.partition(".") for name in app.journal.names()]
    return [f"{port}.{verb}" for port, _, verb in split if port in PORTS and verb not in READS]


async def test_all_that_the_linker_holds_is_recorded_as_adopted(app: LocalApp, theirs: TheirLinker):
    record = await app.send({**adopt_body(), "requestId": "r-1"})
    await app.settle()
    assert (record.outcome, record.action, record.connection_id) == ("opened", "adopt", THEIRS)
    assert [one.request_id for one in await app.operations(THEIRS)] == ["r-1"]
    stored = await app.services.state.connection(THEIRS)
    assert stored is not None
    found = stored.value
    assert (found.state, found.linker_id, found.generation) == ("adopted", LINKER, 1)
    assert (found.spec.name, found.spec.namespace, found.spec.identity_id) == ("their_blob", "shop", IDENTITY)
    assert (found.spec.target_type, found.spec.cluster_id) == ("storage-blob", CLUSTER)
    intents = await app.services.state.intents(THEIRS)
    assert {str(one.planned["provenance"]) for one in intents.values()} == {"adopted"}
    issuer = app.world.clusters[naming.fold_id(CLUSTER)].described.issuer
    assert intents["preflight"].outputs["issuer"] == issuer
    assert intents["preflight"].outputs["facts"]["endpoint"] == "https://orders.blob.core.windows.net/"
    assert intents["managed_identity"].outputs == {
        "resourceId": IDENTITY,
        "clientId": theirs.identity.client_id,
        "principalId": theirs.identity.principal_id,
    }
    credential = intents["federated_credential"].planned
    subject = naming.subject("shop", theirs.account)
    assert [credential[part] for part in ("name", "issuer", "subject")] == [CREDENTIAL, issuer, subject]
    [role] = intents["role_assignments"].outputs["assignments"]
    assert (role["name"], role["scope"], role["provenance"]) == (ASSIGNMENT, STORAGE, "adopted")
    objects = app.world.clusters[naming.fold_id(CLUSTER)].objects
    uids = {key[0]: one.uid for key, one in objects.items()}
    assert intents["settings"].outputs["uid"] == uids["Secret"]
    assert intents["service_account"].outputs["uid"] == uids["ServiceAccount"]
    listed = [row.columns["name"] for row in app.store.rows("linkers") if "name" in row.columns]
    assert listed == ["their_blob"]


async def test_not_one_write_goes_to_azure_or_a_cluster(app: LocalApp, theirs: TheirLinker):
    before = app.leftovers()["assignments"], app.leftovers()["objects"], dict(app.world.credentials)
    record = await adopted(app)
    again = await app.send(adopt_body(), message_id="again")
    assert (record.outcome, again.outcome) == ("opened", "unchanged")
    assert len(app.journal.names()) > 20
    assert writes(app) == []
    after = app.leftovers()["assignments"], app.leftovers()["objects"], dict(app.world.credentials)
    assert after == before


async def test_the_operation_of_an_adoption_is_a_look_that_finds_all_well(app: LocalApp, theirs: TheirLinker):
    record = await adopted(app)
    snapshot = await app.services.state.load(record.operation_id)
    assert snapshot is not None
    assert (snapshot.operation.value.kind, snapshot.operation.value.state) == (Kind.VALIDATE, "succeeded")
    found = [one for step in snapshot.steps.values() for one in step.value.outputs["findings"]]
    assert {one["name"] for one in found if one["result"] != "ok"} == {"access-proved"}
    assert {"linker-alive", "target-exists", "credential-issuer", "role-assigned", "settings-keys"} <= {
        one["name"] for one in found
    }


async def test_no_value_of_a_setting_is_stored(app: LocalApp, theirs: TheirLinker):
    objects = app.world.clusters[naming.fold_id(CLUSTER)].objects
    objects["Secret", "shop", SECRET].data["MORE"] = "a-value-that-must-not-be-stored"
    await adopted(app)
    rows = [row.columns for table in ("connections", "requests", "linkers") for row in app.store.rows(table)]
    assert "must-not-be-stored" not in json.dumps(rows)
    keys = (await app.services.state.intents(THEIRS))["settings"].outputs["keys"]
    assert keys == ["AZURE_STORAGEBLOB_CLIENTID", "AZURE_STORAGEBLOB_RESOURCEENDPOINT", "MORE"]


@pytest.mark.parametrize("auth", ["secret", "servicePrincipalSecret", "systemAssignedIdentity", ""])
async def test_a_linker_with_another_authentication_is_adopted_for_pruning_only(
    app: LocalApp, theirs: TheirLinker, auth: str
):
    theirs.change(auth_type=auth, client_id="")
    record = await adopted(app)
    assert record.outcome == "opened"
    assert "for pruning only" in record.detail
    intents = await app.services.state.intents(THEIRS)
    assert set(intents) == {"preflight", "settings"}
    assert intents["settings"].outputs["keys"] == []
    reads = [call for call in app.journal.calls if call.name == "clusters.get"]
    assert reads
    assert not any(call.options.get("values") for call in reads), "its settings are credentials"
    assert not any(name.startswith(("identities.", "roles.")) for name in app.journal.names())
    snapshot = await app.services.state.load(record.operation_id)
    assert snapshot is not None
    found = {one["name"]: one for step in snapshot.steps.values() for one in step.value.outputs["findings"]}
    assert set(found) == {
        "linker-alive",
        "adopted-as-a-whole",
        "target-exists",
        "cluster-exists",
        "namespace-exists",
        "settings-exist",
        "settings-unchanged",
        "settings-keys",
    }
    assert {one["result"] for one in found.values()} == {"ok", "warning", "unknown"}


async def test_an_observed_connection_becomes_adopted_in_the_same_life(app: LocalApp, theirs: TheirLinker):
    assert await receive(app, written_event(LINKER)) == ["observed"]
    observed = await app.services.state.connection(THEIRS)
    assert observed is not None
    await adopted(app)
    found = await app.services.state.connection(THEIRS)
    assert found is not None
    assert (found.value.state, found.value.generation) == ("adopted", observed.value.generation)
    assert found.value.created_at == observed.value.created_at
    assert (await app.services.state.intents(THEIRS))["settings"].previous == ()


async def test_a_linker_that_is_written_again_stays_adopted_with_its_newest_uids(
    app: LocalApp, theirs: TheirLinker
):
    await adopted(app)
    objects = app.world.clusters[naming.fold_id(CLUSTER)].objects
    objects["Secret", "shop", SECRET].uid = "the-newest"
    assert await receive(app, written_event(LINKER)) == ["observed"]
    found = await app.services.state.connection(THEIRS)
    assert found is not None
    assert (found.value.state, found.value.spec.identity_id) == ("adopted", IDENTITY)
    intents = await app.services.state.intents(THEIRS)
    assert intents["settings"].outputs["uid"] == "the-newest"
    assert intents["settings"].outputs["keys"]
    assert intents["settings"].planned["provenance"] == "adopted"
    assert intents["service_account"].outputs["clientId"] == theirs.identity.client_id
    assert "role_assignments" in intents


@pytest.mark.parametrize("what", ["target", "identity"])
async def test_a_linker_that_was_given_another_target_or_identity_must_be_adopted_anew(
    app: LocalApp, theirs: TheirLinker, what: str
):
    """The policy was asked about the old one."""
    await adopted(app)
    if what == "target":
        theirs.change(target_id=STORAGE)
    else:
        client_id = app.world.guid()
        app.clusters.put_object(CLUSTER, "ServiceAccount", "shop", f"sc-account-{client_id}")
        theirs.change(client_id=client_id)
    assert await receive(app, written_event(LINKER)) == ["observed"]
    found = await app.services.state.connection(THEIRS)
    assert found is not None
    assert (found.value.state, found.value.adopted_at) == (ConnectionState.OBSERVED, None)
    users = [str(row.columns["body"]) for row in app.store.rows("users")]
    assert [one for one in users if "role|" in one or "credential|" in one] == [], "nobody waits for it"
    assert len(app.world.assignments) == 1
    assert app.world.credentials[naming.fold_id(IDENTITY)].keys() == {CREDENTIAL}


async def test_an_adoption_that_finds_more_than_is_on_record_records_it_and_looks_again(
    app: LocalApp, theirs: TheirLinker
):
    await adopted(app)
    theirs.grant(STORAGE, "66666666-6666-4666-8666-666666666666")
    record = await adopted(app, "later")
    assert record.outcome == "opened"
    intents = await app.services.state.intents(THEIRS)
    assert len(intents["role_assignments"].outputs["assignments"]) == 2
    assert len(intents["role_assignments"].previous) == 1
    assert intents["preflight"].previous == (), "the same cluster, asked for by another request"


async def test_what_events_have_added_to_the_record_is_no_reason_to_adopt_again(
    app: LocalApp, theirs: TheirLinker
):
    await adopted(app)
    stored = await app.services.state.connection(THEIRS)
    assert stored is not None
    known = (await app.services.state.intents(THEIRS))["preflight"]
    richer = known.model_copy(update={"outputs": {**known.outputs, "more": "1"}})
    await app.services.state.observe(stored.value, [richer], etag=stored.etag)
    assert (await adopted(app, "later")).outcome == "unchanged"


async def test_only_roles_on_the_target_are_taken_over(app: LocalApp, theirs: TheirLinker):
    theirs.grant(STORAGE.rpartition("/providers/")[0], "77777777-7777-4777-8777-777777777777")
    theirs.grant(f"{STORAGE}/blobServices/default", "88888888-8888-4888-8888-888888888888")
    await adopted(app)
    found = (await app.services.state.intents(THEIRS))["role_assignments"].outputs["assignments"]
    assert {one["name"][:8] for one in found} == {"55555555", "88888888"}


async def test_an_identity_bindings_credential_is_nobodys_to_take_over(app: LocalApp, theirs: TheirLinker):
    credentials = app.world.credentials[naming.fold_id(IDENTITY)]
    [mine] = credentials.values()
    credentials.clear()
    object.__setattr__(mine, "name", "AKS-Identity-Binding")
    credentials[mine.name] = mine
    await adopted(app)
    assert "federated_credential" not in await app.services.state.intents(THEIRS)


async def test_http_adopts_by_linker_and_by_connection(app: LocalApp, theirs: TheirLinker):
    http = HttpApp(app)
    status, body, headers = await http.call("adopt_linker", body={"linkerId": LINKER, "requestId": "a-1"})
    assert (status, body["outcome"], body["connectionId"]) == (202, "opened", THEIRS)
    assert headers["Location"].endswith(body["operationId"])
    assert "detail" not in body
    status, body, _ = await http.call("adopt_connection", connectionId=THEIRS)
    assert (status, body["outcome"]) == (200, "unchanged")
    status, body, _ = await http.call("get_connection", connectionId=THEIRS)
    assert (body["state"], body["adoptedAt"] is not None, body["linkerId"]) == ("adopted", True, LINKER)
    assert body["identity"]["provenance"] == "adopted"


async def test_http_says_when_a_linker_is_adopted_for_pruning_only(app: LocalApp, theirs: TheirLinker):
    theirs.change(auth_type="secret", client_id="")
    _, body, _ = await HttpApp(app).call("adopt_linker", body={"linkerId": LINKER})
    assert body["detail"] == "for pruning only: its authentication is secret"


async def test_http_has_nothing_to_adopt_of_ours_or_of_nobody(app: LocalApp):
    http = HttpApp(app)
    status, body, _ = await http.call("adopt_connection", connectionId="0" * 24)
    assert (status, body["code"]) == (404, "not-found")
    record = await app.send(create_body(), message_id="ours")
    await app.settle()
    status, body, _ = await http.call("adopt_connection", connectionId=record.connection_id)
    assert (status, body["code"]) == (409, "nothing-to-adopt")


async def test_an_adoption_leaves_on_record_that_something_was_put_back(app: LocalApp, theirs: TheirLinker):
    await adopted(app)
    stored = await app.services.state.connection(THEIRS)
    assert stored is not None
    restored = stored.value.model_copy(update={"state": ConnectionState.RESTORED, "restored": True})
    await app.services.state.observe(restored, [], etag=stored.etag)
    await adopted(app, "again")
    stored = await app.services.state.connection(THEIRS)
    assert stored is not None
    assert (stored.value.state, stored.value.restored) == ("adopted", True)
