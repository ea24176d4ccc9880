"""Connections over HTTP: create, read, delete, validate, and the answers' statuses."""

from typing import Any
from urllib.parse import parse_qsl, urlsplit

import azure.functions as func
import pytest

from handlers import http_api
from shared.errors import MooringError, PermanentError, TransientError
from tests.fakes.http_app import SITE, HttpApp
from tests.fakes.local_app import CLUSTER, STORAGE, VAULT, LocalApp, create_body, delete_body, deletion_event
from tests.unit.test_handlers import EMPTY, ID, created


@pytest.fixture
def http(app: LocalApp) -> HttpApp:
    return HttpApp(app)


# --- create --------------------------------------------------------------------------------------


async def test_a_create_is_accepted_with_the_place_to_look_at_and_when(app: LocalApp, http: HttpApp):
    body = create_body()
    del body["action"]
    status, answer, headers = await http.call("post_connection", body=body)
    assert (status, answer["outcome"], answer["connectionId"]) == (202, "opened", ID)
    assert headers["Location"] == f"{SITE}/api/operations/{answer['operationId']}"
    assert headers["Retry-After"] == "2"
    status, operation, headers = await http.call("get_operation", operationId=answer["operationId"])
    assert (status, operation["state"], headers["Retry-After"]) == (200, "running", "2")
    await app.settle()
    status, operation, headers = await http.call("get_operation", operationId=answer["operationId"].upper())
    assert (status, operation["state"]) == (200, "succeeded")
    assert "Retry-After" not in headers
    assert [step["state"] for step in operation["steps"]] == ["done"] * 7
    assert operation["findings"] == []


async def test_a_create_of_what_is_there_is_answered_at_once(app: LocalApp, http: HttpApp):
    await created(app)
    status, answer, headers = await http.call("post_connection", body=create_body())
    assert (status, answer["outcome"]) == (200, "unchanged")
    assert headers["Location"].endswith(answer["operationId"])
    assert "Retry-After" not in headers


@pytest.mark.parametrize("header", ["Idempotency-Key", "x-ms-client-request-id"])
async def test_a_repeat_with_the_callers_key_is_the_same_request(http: HttpApp, header: str):
    first = await http.call("post_connection", body=create_body(), headers={header: "k"})
    again = await http.call("post_connection", body=create_body(), headers={header: "k"})
    assert again == first
    assert (await http.call("post_connection", body=create_body()))[1]["outcome"] == "attached"


async def test_a_key_that_is_used_for_another_request_is_a_conflict(http: HttpApp):
    await http.call("post_connection", body=create_body(), headers={"Idempotency-Key": "k"})
    status, problem, _ = await http.call(
        "post_connection", body=create_body("other"), headers={"Idempotency-Key": "k"}
    )
    assert (status, problem["code"]) == (409, "request-id-reused")


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (create_body("Orders.Blob"), 409, "name-collision"),
        (create_body(clientType="java"), 409, "body-differs"),
    ],
)
async def test_another_connection_of_the_same_id_is_a_conflict(
    app: LocalApp, http: HttpApp, body: dict[str, Any], status: int, code: str
):
    await created(app)
    answered, problem, headers = await http.call("post_connection", body=body)
    assert (answered, problem["code"], problem["status"]) == (status, code, status)
    assert headers["Cache-Control"] == "no-store"


async def test_answers_are_json_and_problems_are_problem_json(http: HttpApp):
    request = func.HttpRequest(method="GET", url=f"{SITE}/api/x", route_params={"connectionId": ID}, body=b"")
    response = await http.handlers["get_connection"](request)
    assert (response.status_code, response.mimetype) == (404, "application/problem+json")
    response = await http.handlers["list_connections"](request)
    assert (response.status_code, response.mimetype) == (200, "application/json")


@pytest.mark.parametrize(
    ("error", "status", "retry"),
    [
        (TransientError("table-busy", "secret details"), 503, "2"),
        (PermanentError("settings-invalid", "x", remedy="mend it"), 500, None),
        (MooringError("strange"), 503, "2"),
    ],
)
async def test_faults_behind_the_surface_say_whether_to_come_again(
    app: LocalApp, http: HttpApp, error: MooringError, status: int, retry: str | None
):
    app.journal.before = lambda call: error
    for function in ("list_connections", "find_operations"):
        answered, problem, headers = await http.call(function)
        assert (answered, problem["code"]) == (status, error.code)
        assert headers.get("Retry-After") == retry
        assert "secret details" not in str(problem)
        assert problem.get("remedy", "") == getattr(error, "remedy", "")


# --- read, delete, validate ----------------------------------------------------------------------


async def test_a_connection_shows_what_a_manifest_needs_and_no_credential(app: LocalApp, http: HttpApp):
    await created(app)
    status, shown, _ = await http.call("get_connection", connectionId=ID.upper())
    assert (status, shown["state"], shown["name"], shown["generation"]) == (
        200,
        "configured",
        "orders-blob",
        1,
    )
    assert shown["identity"]["provenance"] == "created"
    assert shown["kubernetes"]["secret"] == "sc-ordersblob-secret"
    assert shown["kubernetes"]["serviceAccount"] == f"sc-account-{shown['identity']['clientId']}"
    assert [one["provenance"] for one in shown["roleAssignments"]] == ["created"]
    assert shown["federatedCredential"].startswith("mooring-")
    assert shown["operations"] == []
    assert shown["lastOperation"].startswith(f"{SITE}/api/operations/{ID}-")
    assert shown["configuredAt"]
    assert (shown["usableAt"], shown["endedAt"], shown["linkerId"]) == (None, None, None)


async def test_a_connection_that_was_never_begun_shows_nothing_made(app: LocalApp, http: HttpApp):
    await app.send(create_body())
    status, shown, _ = await http.call("get_connection", connectionId=ID)
    assert status == 200
    assert (shown["identity"], shown["roleAssignments"], shown["federatedCredential"]) == (None, [], None)
    assert shown["kubernetes"]["serviceAccount"] is None
    assert len(shown["operations"]) == 1
    assert shown["lastOperation"] is None


STRANGE = ["x", "zz/..", "a#b", "?", "'", "0" * 23, "\x07"]


@pytest.mark.parametrize(
    "function", ["get_connection", "delete_connection", "validate_connection", "get_manifest"]
)
@pytest.mark.parametrize("text", ["0" * 24, *STRANGE])
async def test_an_unknown_connection_is_not_found_whatever_its_id(http: HttpApp, function: str, text: str):
    status, problem, _ = await http.call(function, connectionId=text)
    assert (status, problem["code"]) == (404, "not-found")


@pytest.mark.parametrize("text", [*STRANGE, f"{ID}-000000000000", "rejected-20260105-abc", "rejected-?"])
async def test_an_unknown_operation_is_not_found_whatever_its_id(app: LocalApp, http: HttpApp, text: str):
    await app.send("nonsense")
    status, problem, _ = await http.call("get_operation", operationId=text)
    assert (status, problem["code"]) == (404, "not-found")


async def test_a_delete_is_accepted_and_then_the_connection_is_gone(app: LocalApp, http: HttpApp):
    await created(app)
    status, answer, headers = await http.call("delete_connection", connectionId=ID)
    assert (status, answer["outcome"]) == (202, "opened")
    assert headers["Location"].endswith(answer["operationId"])
    again, attached, _ = await http.call("delete_connection", connectionId=ID)
    assert (again, attached["outcome"], attached["operationId"]) == (202, "attached", answer["operationId"])
    await app.settle()
    assert app.leftovers() == EMPTY
    assert (await http.call("delete_connection", connectionId=ID))[0] == 404
    status, shown, _ = await http.call("get_connection", connectionId=ID)
    assert (status, shown["state"]) == (200, "deleted")
    assert shown["endedAt"]


async def test_a_delete_that_is_not_needed_any_more_is_answered_at_once(app: LocalApp, http: HttpApp):
    await created(app)
    app.queue.put("resource-events", deletion_event(STORAGE))
    status, answer, _ = await http.call("validate_connection", connectionId=ID)
    assert (status, answer["outcome"]) == (202, "opened")
    await app.settle()
    _, operation, _ = await http.call("get_operation", operationId=answer["operationId"])
    assert {one["result"] for one in operation["findings"]} == {"ok", "unknown"}
    assert all("findings" not in step["outputs"] for step in operation["steps"])


async def test_a_manifest_names_secret_and_account_and_is_there_only_with_the_account(
    app: LocalApp, http: HttpApp
):
    await app.send(create_body())
    assert (await http.call("get_manifest", connectionId=ID))[0] == 404
    await app.settle()
    status, text, _ = await http.call("get_manifest", connectionId=ID)
    assert status == 200
    assert '"sc-ordersblob-secret"' in text
    assert '"sc-account-' in text
    assert 'namespace: "shop"' in text


async def test_lists_are_filtered_by_state_namespace_and_cluster(app: LocalApp, http: HttpApp):
    await created(app)
    app.clock.advance(1)
    await created(app, "orders-vault", target={"type": "keyvault", "id": VAULT})
    await app.send(delete_body("orders-vault"), message_id="d")
    await app.settle()

    async def names(**params: str) -> list[str]:
        status, found, _ = await http.call("list_connections", params=params)
        assert (status, found["truncated"]) == (200, False)
        return [one["name"] for one in found["connections"]]

    assert await names() == ["orders-blob", "orders-vault"]
    assert await names(state="configured") == ["orders-blob"]
    assert await names(state="nonsense") == []
    assert await names(namespace="shop", state="deleted") == ["orders-vault"]
    assert await names(namespace="other") == []
    assert len(await names(clusterId=CLUSTER.upper())) == 2
    assert await names(clusterId=f"{CLUSTER}2") == []


async def test_a_filtered_list_goes_on_behind_its_first_page(
    app: LocalApp, http: HttpApp, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(http_api, "LIST_LIMIT", 2)
    names = {"orders-blob", "orders-one", "orders-two", "orders-three", "orders-four"}
    for name in sorted(names):
        await created(app, name, namespace="other" if name == "orders-one" else "shop")
    url: str | None = f"{SITE}/api/connections?namespace=shop&clusterId={CLUSTER}"
    found: list[str] = []
    pages = 0
    while url:
        params = dict(parse_qsl(urlsplit(url).query))
        status, page, _ = await http.call("list_connections", params=params)
        assert (status, page["truncated"]) == (200, page["next"] is not None)
        found += [one["name"] for one in page["connections"]]
        url, pages = page["next"], pages + 1
    assert sorted(found) == sorted(names - {"orders-one"})
    assert pages == 3
    status, problem, _ = await http.call("list_connections", params={"after": "x"})
    assert (status, problem["code"], problem["field"]) == (400, "invalid-id", "after")
