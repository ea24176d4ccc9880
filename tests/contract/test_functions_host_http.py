"""HTTP, Event Grid and admin endpoints of the local Functions host."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.contract.functions_host_sandbox import (
    APPS,
    Host,
    Sandbox,
    running_sandbox,
)


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    with running_sandbox(tmp_path_factory) as running:
        yield running


@pytest.fixture(scope="module")
def host(sandbox: Sandbox) -> Iterator[Host]:
    with sandbox.host("host1") as running:
        yield running


# HTTP


def test_an_http_function_sees_its_request_and_its_answer_arrives_whole(host: Host) -> None:
    status, headers, body = host.request(
        "POST",
        "/API/items/7?q=1&q=2&empty=&code=host-key",
        b"\x00\xff",
        {"X-Thing": "thing"},
    )
    assert status == 201
    assert json.loads(body) == {
        "method": "POST",
        "params": {"q": "1,2", "code": "host-key"},
        "route": {"item": "7"},
        "header": "thing",
        "body": "\x00\xff",
    }
    assert headers["X-Answer"] == "yes"
    assert headers["Content-Type"] == "application/json"
    assert headers["Set-Cookie"] == "a=b; max-age=5; path=/; samesite=Lax; httponly"


@pytest.mark.parametrize(
    ("method", "path", "key", "status"),
    [
        ("GET", "/api/items/7", "", 401),
        ("GET", "/api/items/7", "wrong", 401),
        ("GET", "/api/items/7", "grid-key", 401),
        ("GET", "/api/items/7", "master-key", 201),
        ("GET", "/api/items/seven", "host-key", 404),
        ("DELETE", "/api/items/7", "host-key", 404),
        ("GET", "/items/7", "host-key", 404),
        ("GET", "/api/administrators", "host-key", 401),
        ("GET", "/api/administrators", "master-key", 200),
        ("GET", "/api/raises", "", 500),
    ],
)
def test_refusals_have_the_platforms_status_and_no_body(
    host: Host, method: str, path: str, key: str, status: int
) -> None:
    answer, _, body = host.request(method, path, headers={"x-functions-key": key} if key else {})
    assert answer == status
    assert body == b"" or status < 400


def test_a_returned_json_text_with_a_body_describes_the_response(host: Host) -> None:
    status, headers, body = host.request("GET", "/api/described")
    assert (status, headers["x-pot"], body) == (418, "short", b'{"tea":true}')


def test_the_apps_folder_is_last_on_the_path_and_the_working_folder(host: Host) -> None:
    facts = json.loads(host.request("GET", "/api/path")[2])
    assert facts["last"] == facts["cwd"] == str(APPS / "app")
    assert facts["first"] != str(APPS / "app")
    assert facts["setting"] == "incoming"


# Event Grid

GRID = "/runtime/webhooks/EventGrid?functionName=resource_event"


def events(*subjects: str) -> bytes:
    return json.dumps(
        [{"id": f"id-{subject}", "subject": subject, "data": {}} for subject in subjects]
    ).encode()


def notify(
    host: Host, path: str, body: bytes, kind: str = "Notification", key: str = "grid-key"
) -> tuple[int, str]:
    status, _, answer = host.request("POST", path, body, {"aeg-event-type": kind, "x-functions-key": key})
    return status, answer.decode()


def test_each_event_of_a_delivery_is_one_invocation(sandbox: Sandbox, host: Host) -> None:
    before = len(host.invocations("resource_event"))
    assert notify(host, GRID, events("a", "b"))[0] == 202
    assert sandbox.take("seen", 2) == ["event:id-a", "event:id-b"]
    assert len(host.invocations("resource_event")) == before + 2


def test_one_failing_event_fails_the_whole_delivery(sandbox: Sandbox, host: Host) -> None:
    status, answer = notify(host, GRID, events("bad", "good"))
    assert (status, answer) == (500, "RuntimeError: bad subject")
    assert sandbox.take("seen") == ["event:id-good"]


def test_the_webhook_answers_handshakes_and_refuses_the_rest(host: Host) -> None:
    code = b'[{"data": {"validationCode": "code-1"}}]'
    assert notify(host, GRID, code, "SubscriptionValidation") == (200, '{"validationResponse": "code-1"}')
    assert notify(host, GRID, b"{}", "Unsubscribe")[0] == 202
    assert notify(host, GRID, b"{}", "Other")[0] == 400
    assert notify(host, GRID, events("a"), key="")[0] == 401
    assert notify(host, GRID, events("a"), key="host-key")[0] == 403
    wrong_case = "/runtime/webhooks/eventgrid?functionName=Resource_Event"
    assert notify(host, wrong_case, events("a")) == (404, "cannot find function: 'Resource_Event'")
    asked = {"WebHook-Request-Origin": "eventgrid.azure.us", "x-functions-key": "grid-key"}
    status, headers, _ = host.request("OPTIONS", GRID, headers=asked)
    assert (status, headers["Webhook-Allowed-Origin"]) == (200, "eventgrid.azure.us")


# Admin


def test_the_admin_endpoints_need_the_master_key(host: Host) -> None:
    assert host.request("GET", "/admin/functions")[0] == 401
    assert host.request("GET", "/admin/host/status", headers={"x-functions-key": "host-key"})[0] == 401
    assert host.json("/admin/host/status", "master-key")["state"] == "Running"
    names = {function["name"] for function in host.json("/admin/functions", "master-key")}
    assert {"copy", "items", "resource_event", "tick"} <= names


def test_functions_are_run_by_hand(sandbox: Sandbox, host: Host) -> None:
    def run(name: str, given: str = "") -> int:
        body = json.dumps({"input": given}).encode()
        return host.request("POST", f"/admin/functions/{name}", body, {"x-functions-key": "master-key"})[0]

    sandbox.queue("ticks").clear_messages()
    assert run("tick") == 202
    assert sandbox.take("ticks") == ["tick"]
    assert run("copy", "by hand") == 202
    assert json.loads(sandbox.take("seen")[0]) == {"body": "by hand", "id": None, "count": 0}
    assert run("nobody") == 404
    assert run("items") == 400
