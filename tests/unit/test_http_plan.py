"""``POST /api/connections/plan``: what a create would make is told, and nothing is written."""

from __future__ import annotations

import json
from typing import Any

import pytest

from shared import naming
from shared.ports import Credential
from tests.fakes.http_app import HttpApp
from tests.fakes.local_app import (
    CLUSTER,
    GROUP,
    IDENTITY_GROUP,
    STORAGE,
    SUBSCRIPTION,
    VAULT,
    LocalApp,
    create_body,
)
from tests.fakes.their_linker import IDENTITY, POLICY, make_linker

READS = {
    "clusters": {"describe", "namespace_exists", "get"},
    "resources": {"get"},
    "identities": {"get", "list_credentials"},
    "linkers": {"list"},
    "state": {"get", "query"},
}
ID = naming.connection_id(CLUSTER, "shop", "orders-blob")
OWN = naming.identity_name(CLUSTER, "shop", "orders")


def everything(app: LocalApp) -> str:
    """Azure, the clusters, and every row of ours."""
    tables = ("connections", "users", "subscriptions", "dependents", "requests")
    return repr((vars(app.world), [list(app.store.rows(table)) for table in tables]))


async def planned(app: LocalApp, **changes: Any) -> Any:
    """The answer, once it is sure that nothing but reads was sent and nothing changed."""
    calls, before = len(app.journal.calls), everything(app)
    status, found, _ = await HttpApp(app).call("plan_connection", body=create_body(**changes))
    assert status == 200, found
    sent = [call.name.partition(".") for call in app.journal.calls[calls:]]
    assert [(port, verb) for port, _, verb in sent if verb not in READS.get(port, set())] == []
    assert everything(app) == before
    return found


def results(found: Any) -> dict[str, str]:
    return {one["name"]: one["result"] for one in found["findings"]}


async def test_a_plan_names_everything_that_the_create_then_makes(app: LocalApp):
    found = await planned(app)
    assert (found["connectionId"], found["result"], found["unchanged"]) == (ID, "ok", False)
    assert set(results(found).values()) == {"ok"}
    await app.send(create_body())
    await app.settle()
    _, made, _ = await HttpApp(app).call("get_connection", connectionId=ID)
    client_id = made["identity"]["clientId"]
    assert found["identity"]["resourceId"] == made["identity"]["resourceId"]
    assert found["identity"]["provenance"] == made["identity"]["provenance"]
    assert found["secret"]["name"] == made["kubernetes"]["secret"]
    account = found["serviceAccount"]["name"].replace("{clientId}", client_id)
    assert account == made["kubernetes"]["serviceAccount"]
    [role] = made["roleAssignments"]
    assert [one["name"] for one in found["roleAssignments"]["assigned"]] == [role["role"]]
    assert found["roleAssignments"]["scope"] == role["scope"]
    secret = await app.clusters.get(CLUSTER, "Secret", "shop", found["secret"]["name"], values=True)
    assert secret is not None
    assert sorted(secret.data) == found["secret"]["keys"]
    [credential] = app.world.credentials[naming.fold_id(made["identity"]["resourceId"])].values()
    shown = found["federatedCredential"]
    assert shown["subject"].replace("{clientId}", client_id) == credential.subject
    assert (shown["issuer"], (shown["audience"],)) == (credential.issuer, credential.audiences)
    # Once it is made, all names are known, and a plan says so.
    again = await planned(app)
    assert (again["unchanged"], again["result"]) == (True, "ok")
    assert again["federatedCredential"]["name"] == credential.name == made["federatedCredential"]
    assert again["identity"] == {**found["identity"], "exists": True, "clientId": client_id}
    assert (found["identity"]["exists"], found["identity"]["name"]) == (False, OWN)


async def test_a_new_identity_has_used_none_of_its_credentials(app: LocalApp):
    shown = (await planned(app))["federatedCredential"]
    assert (shown["name"], shown["used"], shown["limit"]) == (None, 0, 20)


async def test_the_roles_of_service_connector_stand_beside_the_narrowest(app: LocalApp):
    container = f"{STORAGE}/blobServices/default/containers/in"
    target = {"type": "storage-blob", "id": container}
    roles = (await planned(app, target=target, intent="read"))["roleAssignments"]
    assert roles["scope"] == container
    assert [one["name"] for one in roles["assigned"]] == ["Storage Blob Data Reader"]
    assert [one["name"] for one in roles["serviceConnector"]] == ["Storage Blob Data Contributor"]
    assert roles["narrowest"] == {"read": roles["assigned"]}
    without = (await planned(app))["roleAssignments"]
    assert without["assigned"] == without["serviceConnector"]
    assert {"read", "write"} <= without["narrowest"].keys()


async def test_a_policy_that_refuses_is_a_verdict_and_nothing_is_looked_at(app: LocalApp):
    app.policy_file.write_text("version = 1\n")
    before = len(app.journal.calls)
    found = await planned(app)
    assert app.journal.calls[before:] == []
    assert (found["result"], found["policy"]["verdict"]) == ("failed", "refused")
    assert (found["policy"]["code"], found["policy"]["field"]) == ("policy-denied", "connection.clusterId")
    assert found["policy"]["remedy"].startswith("to allow it, add to the policy:\n[[allow]]")
    assert set(results(found).values()) == {"unknown"}
    assert found["findings"][0]["detail"] == "not looked at: the policy refuses the connection"
    assert (found["identity"]["exists"], found["identity"]["name"]) == (None, OWN)
    assert found["secret"]["keys"] == [
        "AZURE_STORAGEBLOB_CLIENTID",
        "AZURE_STORAGEBLOB_RESOURCEENDPOINT",
    ]


async def test_a_protected_namespace_is_a_verdict_too(app: LocalApp):
    found = await planned(app, namespace="kube-system")
    assert found["policy"]["code"] == "namespace-protected"


async def test_an_allowed_plan_says_so(app: LocalApp):
    assert (await planned(app))["policy"] == {
        "verdict": "allowed",
        "code": None,
        "detail": None,
        "field": None,
        "remedy": None,
    }


OTHER = SUBSCRIPTION.replace("1", "9")


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"x", 400, "not-json"),
        ({"action": "delete", "connectionId": ID}, 400, "unknown-action"),
        (create_body(clientType="cobol"), 400, "unknown-client-type"),
        (create_body(intent="send"), 400, "unknown-intent"),
        (create_body(target={"type": "keyvault", "id": STORAGE}), 400, "target-type-mismatch"),
        (create_body(clusterId=CLUSTER.replace(SUBSCRIPTION, OTHER)), 403, "subscription-not-listed"),
    ],
)
async def test_what_is_no_request_to_plan_is_refused_as_a_create_is(
    app: LocalApp, body: Any, status: int, code: str
):
    answered, problem, _ = await HttpApp(app).call("plan_connection", body=body)
    assert (answered, problem["code"]) == (status, code)
    assert app.journal.calls == []


async def test_an_unreadable_policy_is_not_taken_for_a_verdict(app: LocalApp):
    app.policy_file.unlink()
    status, problem, _ = await HttpApp(app).call("plan_connection", body=create_body())
    assert (status, problem["code"]) == (503, "policy-unreadable")


async def test_the_action_may_be_left_out(app: LocalApp):
    body = create_body()
    del body["action"]
    assert (await HttpApp(app).call("plan_connection", body=body))[0] == 200


async def test_a_plan_is_not_remembered_as_a_request(app: LocalApp):
    body = {**create_body(), "requestId": "r-1"}
    await HttpApp(app).call("plan_connection", body=body)
    assert (await HttpApp(app).call("find_operations", params={"requestId": "r-1"}))[0] == 404
    assert (await app.send(body)).outcome == "opened"


async def test_a_provided_identity_shows_how_full_it_is(app: LocalApp):
    theirs = make_linker(app)
    app.policy_file.write_text(POLICY)
    found = await planned(app, identityId=IDENTITY)
    assert found["identity"]["provenance"] == "provided"
    assert (found["identity"]["exists"], found["identity"]["clientId"]) == (True, theirs.identity.client_id)
    assert found["serviceAccount"]["name"] == theirs.account
    # Service Connector's credential trusts the same tokens, so it is used and no other is made.
    assert (found["federatedCredential"]["used"], results(found)["credential-budget"]) == (1, "ok")
    assert results(found)["service-account-free"] == "failed"


async def test_a_full_identity_has_no_room_and_the_plan_says_what_to_do(app: LocalApp):
    make_linker(app)
    credentials = {
        f"c{number}": Credential(
            name=f"c{number}", issuer="https://i", subject=f"s{number}", audiences=("a",)
        )
        for number in range(20)
    }
    app.world.credentials[naming.fold_id(IDENTITY)] = credentials
    found = await planned(app, identityId=IDENTITY)
    assert found["federatedCredential"]["used"] == 20
    budget = next(one for one in found["findings"] if one["name"] == "credential-budget")
    assert (budget["result"], found["result"]) == ("failed", "failed")
    assert budget["remedy"].startswith("leave identityId out, name another identity, or remove a credential")
    assert budget["remedy"].endswith("--identity-name id-theirs --resource-group rg")


async def test_an_answer_holds_no_credential_and_no_nonce(app: LocalApp):
    await app.send(create_body())
    await app.settle()
    text = json.dumps(await planned(app, target={"type": "keyvault", "id": VAULT}, name="vault"))
    assert "nonce" not in text
    assert GROUP in text
    assert IDENTITY_GROUP in text
