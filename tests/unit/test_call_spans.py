"""What is told of calls: one span a request, named by method and type, without queries, headers or bodies."""

import asyncio
import json
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import pytest

from shared.clients import kube_connection
from shared.clients.arm_connection import ArmConnection
from shared.clients.call_spans import kubernetes_kind
from shared.clients.credentials import AppCredential
from shared.clients.error_rules import Intent
from shared.clients.http_pool import HttpPool
from shared.clients.identities import AzureIdentities
from shared.clients.kube_connection import KubeConnection
from shared.clients.prover import EntraProver
from shared.clients.roles import AzureRoles
from shared.errors import MooringError
from tests.fakes.telemetry import Listener

SUBSCRIPTION = "11111111-1111-4111-8111-111111111111"
GROUP = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/g"
IDENTITY = f"{GROUP}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/i"
SECRET = "do-not-tell"


class Answers:
    """A transport of azure-core that answers from a list, and is asked as often as there are answers."""

    def __init__(self, *answers: tuple[int, Any, Mapping[str, str]]) -> None:
        self._answers = list(answers)

    def transport(self) -> Any:
        from azure.core.pipeline.transport import AsyncHttpTransport

        answers = self._answers

        class Transport(AsyncHttpTransport[Any, Any]):
            async def send(self, request: Any, **_options: Any) -> Any:
                status, body, headers = answers.pop(0)
                return _response(request, status, body, headers)

            async def open(self) -> None: ...
            async def close(self) -> None: ...
            async def __aexit__(self, *_error: object) -> None: ...
            async def sleep(self, duration: float) -> None: ...

        return Transport()


def _response(request: Any, status: int, body: Any, headers: Mapping[str, str]) -> Any:
    from azure.core.rest._http_response_impl_async import AsyncHttpResponseImpl

    response = AsyncHttpResponseImpl(
        request=request,
        internal_response=None,
        status_code=status,
        headers={"Content-Type": "application/json", **headers},
        reason="",
        content_type="application/json",
        stream_download_generator=None,
    )
    response._content = json.dumps(body).encode()
    return response


class Token(AppCredential):
    """Hands out one token."""

    async def get_token(self, *_scopes: str, claims: str | None = None, **_options: Any) -> Any:
        return SimpleNamespace(token=SECRET, expires_on=4_000_000_000)


def connected(listener: Listener, *answers: tuple[int, Any, Mapping[str, str]]) -> ArmConnection:
    pool = HttpPool(telemetry=listener)
    pool.transport = Answers(*answers).transport  # type: ignore[method-assign]
    return ArmConnection(pool, Token(pool))


async def test_a_call_to_resource_manager_has_its_type_path_status_and_request_id():
    listener = Listener()
    headers = {"x-ms-request-id": "req-1"}
    arm = connected(listener, (200, {"value": SECRET}, headers))
    await arm.get_json(IDENTITY, api_version="2024-11-30", query={"$skiptoken": SECRET})
    [span] = listener.spans()
    assert (span.name, span.kind, span.error) == (
        "ARM GET microsoft.managedidentity/userassignedidentities",
        "CLIENT",
        "",
    )
    assert span.fields == {
        "peer.service": "ARM",
        "method": "GET",
        "path": IDENTITY,
        "status": 200,
        "service_request_id": "req-1",
    }
    assert SECRET not in repr(listener.spans())


async def test_a_retry_is_a_call_of_its_own_and_a_throttled_one_is_counted():
    listener = Listener()
    arm = connected(listener, (429, {}, {"Retry-After": "0"}), (200, {}, {}))
    await arm.get_json(IDENTITY, api_version="1")
    assert [(span.error, span.fields["status"]) for span in listener.spans()] == [
        ("429", 429),
        ("", 200),
    ]
    assert listener.values() == {("arm_throttled_total", ()): 1}


async def test_looking_for_what_is_not_there_is_no_failure():
    listener = Listener()
    assert (
        await AzureIdentities(connected(listener, (404, {"error": {"code": "ResourceNotFound"}}, {}))).get(
            IDENTITY
        )
        is None
    )
    [span] = listener.spans()
    assert (span.error, span.fields["status"]) == ("", 404)


async def test_a_call_that_gets_no_answer_says_which_error_and_not_its_words():
    from azure.core.exceptions import ServiceRequestError

    listener = Listener()
    arm = connected(listener)
    pool: Any = arm._pool
    transport = pool.transport()

    async def send(*_request: Any, **_options: Any) -> Any:
        raise ServiceRequestError(SECRET)

    transport.send = send
    pool.transport = lambda: transport
    with pytest.raises(ServiceRequestError):
        await arm.get_json(IDENTITY, api_version="1")
    assert {span.error for span in listener.spans()} == {"ServiceRequestError"}
    assert SECRET not in repr(listener.spans())


async def test_a_list_of_credentials_and_of_role_assignments_tells_how_full_it_is():
    listener = Listener()
    credentials = [{"name": f"c{n}", "properties": {}} for n in range(18)]
    arm = connected(listener, (200, {"value": credentials}, {}))
    await AzureIdentities(arm).list_credentials(IDENTITY)
    assert listener.values() == {("fic_used_ratio", (("bucket", "to-100"),)): 0.9}
    scope = f"/subscriptions/{SUBSCRIPTION}"
    listed = [{"name": f"r{n}", "properties": {"scope": scope}} for n in range(40)]
    await AzureRoles(connected(listener, (200, {"value": listed}, {}))).list(scope)
    await AzureRoles(connected(listener, (200, {"value": listed}, {}))).list(GROUP)
    assert listener.values() == {("role_assignments_used_ratio", ()): 0.01}


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/api/v1/namespaces/shop", "namespaces"),
        ("/api/v1/namespaces/shop/secrets/sc-x-secret", "secrets"),
        ("/api/v1/namespaces/shop/serviceaccounts/a/token", "serviceaccounts/token"),
        ("/api/v1/secrets", "secrets"),
        ("/apis/apps/v1/namespaces/shop/deployments", "deployments"),
        ("/apis/batch/v1/cronjobs", "cronjobs"),
        ("/version", ""),
    ],
)
def test_a_path_of_kubernetes_is_told_as_its_kind(path: str, kind: str):
    assert kubernetes_kind(path) == kind


class Server:
    """Stands in for the generated client: an answer, or no answer."""

    def __init__(self, status: int | OSError) -> None:
        self._status = status

    async def call_api(self, *_request: Any, **_options: Any) -> Any:
        if isinstance(self._status, OSError):
            raise self._status

        async def read() -> bytes:
            await asyncio.sleep(0)
            return json.dumps({"kind": "Status", "reason": "Forbidden", "message": SECRET}).encode()

        return SimpleNamespace(status=self._status, headers={}, read=read)


@pytest.mark.parametrize(
    ("status", "error"), [(200, ""), (403, "403"), (OSError(SECRET), "cluster-unreachable")]
)
async def test_a_call_to_an_api_server_is_told_without_query_and_body(status: int | OSError, error: str):
    listener = Listener()
    kube = KubeConnection(Token(HttpPool()), server="https://127.0.0.1:1", telemetry=listener)
    await kube.aclose()
    kube._api = Server(status)
    path = "/api/v1/namespaces/shop/secrets/sc-x-secret"
    try:
        await kube.send("PATCH", path, intent=Intent.ENSURE, query={"q": SECRET}, body={"data": SECRET})
    except MooringError:
        assert error
    [span] = listener.spans()
    assert (span.name, span.error) == ("Kubernetes PATCH secrets", error)
    assert span.fields["path"] == path
    assert SECRET not in repr(listener.spans())


async def test_a_tokens_exchange_and_a_proofs_read_are_told_without_address_and_token():
    listener = Listener()
    pool = HttpPool(telemetry=listener)
    pool.transport = Answers((200, {"access_token": SECRET}, {}), (403, {}, {})).transport  # type: ignore[method-assign]
    prover = EntraProver(pool, authority_host="https://login.example", tenant_id="t")
    token = await prover.exchange(client_id="c", assertion=SECRET, scope="s")
    assert await prover.read(f"https://a.example/{SECRET}", token=token) == 403
    assert [(span.name, span.error) for span in listener.spans()] == [
        ("Entra token exchange", ""),
        ("target GET", "403"),
    ]
    assert SECRET not in repr(listener.spans())


async def test_the_apps_own_token_is_a_call_when_it_is_fetched_and_none_when_it_is_kept():
    listener = Listener()
    credential = AppCredential(HttpPool(telemetry=listener))
    credential._inner = Token(HttpPool())
    await credential.token("scope")
    await credential.token("scope")
    assert listener.names() == ["Entra token own"]
    assert kube_connection.SERVER_APPLICATION_SCOPE not in repr(listener.spans())
