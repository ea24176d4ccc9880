"""What no service says never passes for an answer: a page without a list is not an empty list."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from azure.core.exceptions import HttpResponseError
from azure.mgmt.containerservice.models import ManagedCluster

from shared import cluster_commands
from shared.clients import arm_connection, kube_pages, prover
from shared.clients.arm_connection import items_of
from shared.clients.cluster_reach import ClusterReach
from shared.clients.error_rules import Intent
from shared.clients.kube_connection import KubeConnection, UnreachableError, failure_of
from shared.errors import PermanentError, TransientError
from shared.ports import SILENCE
from tests.fakes.local_app import CLUSTER


def answer(status: int, text: str, **headers: str) -> Any:
    return SimpleNamespace(status_code=status, reason="", text=lambda: text, headers=headers)


@pytest.mark.parametrize("page", [{}, {"value": None}, {"value": {}}, {"error": {"code": "x"}}])
def test_a_page_of_azure_without_a_list_is_no_empty_list(page: dict[str, Any]):
    with pytest.raises(TransientError, match="list-broken"):
        items_of(page)


def test_an_empty_list_of_azure_is_empty():
    assert items_of({"value": []}) == []


@pytest.mark.parametrize("page", [None, {}, {"kind": "Status"}])
async def test_a_page_of_a_cluster_without_items_is_no_empty_list(page: dict[str, Any] | None):
    class Reach:
        async def call(self, *_: object) -> dict[str, Any] | None:
            return page

    with pytest.raises(TransientError, match="list-broken"):
        await kube_pages.pages(Reach(), "aks1", "/api/v1/pods")  # type: ignore[arg-type]


@pytest.mark.parametrize("items", [[], None])
async def test_a_list_of_a_cluster_may_be_empty(items: list[Any] | None):
    class Reach:
        async def call(self, *_: object) -> dict[str, Any]:
            return {"items": items, "metadata": {}}

    assert await kube_pages.pages(Reach(), "aks1", "/api/v1/pods") == []  # type: ignore[arg-type]


def test_a_page_of_a_proxy_is_an_error_like_any_other():
    def broken() -> None:
        raise ValueError("no JSON")

    with pytest.raises(HttpResponseError):
        arm_connection._json(SimpleNamespace(json=broken, status_code=200, headers={}, reason="OK"))


@pytest.mark.parametrize(
    ("response", "codes"),
    [
        (answer(403, "<xml/>", **{"x-ms-error-code": "AuthorizationFailure"}), {"AuthorizationFailure"}),
        (
            answer(403, '{"error": {"code": "Forbidden", "innererror": {"code": "ForbiddenByFirewall"}}}'),
            {"Forbidden", "ForbiddenByFirewall"},
        ),
        (answer(403, '{"error": "odd"}'), set()),
        (answer(403, "[]"), set()),
        (answer(200, '{"error": {"code": "AuthorizationFailure"}}'), set()),
    ],
)
def test_codes_of_a_refusal_are_read_from_header_and_body(response: Any, codes: set[str]):
    assert prover._codes(response) == codes


@pytest.mark.parametrize(
    ("code", "status"), [("AuthorizationFailure", None), ("AuthorizationPermissionMismatch", 403)]
)
async def test_a_target_that_keeps_the_app_out_says_nothing_of_the_workloads_rights(
    code: str, status: int | None
):
    class Pipeline:
        async def send_request(self, _: object) -> Any:
            return answer(403, "", **{"x-ms-error-code": code})

    made = prover.EntraProver(SimpleNamespace(telemetry=SILENCE), authority_host="https://e", tenant_id="t")  # type: ignore[arg-type]
    made._client = Pipeline()
    assert await made.read("https://orders.blob.core.windows.net/", token="t") == status


class Api:
    """An API client of the SDK that answers what it is told to."""

    def __init__(self, status: int, raw: bytes) -> None:
        self.status, self.raw, self.headers = status, raw, dict[str, str]()
        self.closed = 0
        self.while_asked: Any = None

    async def call_api(self, *_: object, **__: object) -> Any:
        if self.while_asked is not None:
            await self.while_asked()
        assert not self.closed
        return self

    async def read(self) -> bytes:
        return self.raw

    async def close(self) -> None:
        self.closed += 1


def connection(api: Api) -> KubeConnection:
    class Credential:
        async def token(self, _: str) -> str:
            return "t"

    made = KubeConnection(Credential(), server="https://aks1.example")  # type: ignore[arg-type]
    made._api = api
    return made


@pytest.mark.parametrize("raw", [b"", b"<html>a proxy</html>", b"[]"])
async def test_success_without_json_is_no_answer_of_an_api_server(raw: bytes):
    with pytest.raises(UnreachableError):
        await connection(Api(200, raw)).send("GET", "/api/v1/pods", intent=Intent.READ)


async def test_a_connection_that_is_given_up_is_closed_after_its_last_request():
    api = Api(200, b'{"kind": "PodList"}')
    made = connection(api)
    api.while_asked = made.retire
    assert await made.send("GET", "/api/v1/pods", intent=Intent.READ) == {"kind": "PodList"}
    assert api.closed == 1
    idle = connection(other := Api(200, b"{}"))
    await idle.retire()
    assert other.closed == 1


async def test_a_cluster_that_azure_is_slow_to_tell_of_keeps_nobody_from_another(
    monkeypatch: pytest.MonkeyPatch,
):
    known = asyncio.Event()

    async def address(_: ClusterReach, cluster_id: str) -> tuple[str, str]:
        if cluster_id == "slow":
            await known.wait()
        return f"https://{cluster_id}.example", ""

    monkeypatch.setattr(ClusterReach, "_address", address)
    reach = ClusterReach(SimpleNamespace(telemetry=SILENCE), None)  # type: ignore[arg-type]
    waiting = asyncio.create_task(reach._connect("slow"))
    await asyncio.sleep(0)
    async with asyncio.timeout(1):
        await reach._connect("quick")
    known.set()
    await waiting
    await reach.aclose()


async def test_entras_patience_is_not_taken_for_azures():
    class Pipeline:
        async def send_request(self, _: object) -> Any:
            return answer(429, "", **{"Retry-After": "7"})

    made = prover.EntraProver(SimpleNamespace(telemetry=SILENCE), authority_host="https://e", tenant_id="t")  # type: ignore[arg-type]
    made._client = Pipeline()
    with pytest.raises(TransientError) as caught:
        await made.exchange(client_id="c", assertion="a", scope="s")
    assert (caught.value.code, caught.value.retry_after_seconds) == ("token-unavailable", 7)


def test_an_api_server_that_is_busy_is_not_taken_for_azures_patience():
    assert failure_of(429, {}, {}).code == "TooManyRequests"
    assert failure_of(503, {}, {}).code == ""


class Described:
    """What the SDK answers for one cluster, and what it was asked for."""

    def __init__(self, properties: dict[str, object]) -> None:
        self.asked: list[str] = []
        self._properties = properties

    async def get(self, _group: str, _name: str) -> ManagedCluster:
        self.asked.append("get")
        return ManagedCluster({"location": "westeurope", "properties": self._properties})

    async def list_cluster_user_credentials(self, *_: str, **__: str) -> SimpleNamespace:
        self.asked.append("credentials")
        config = b'{"clusters": [{"cluster": {"server": "https://aks1.example"}}]}'
        return SimpleNamespace(kubeconfigs=[SimpleNamespace(value=config)])


@pytest.mark.parametrize("entra", [True, False])
async def test_the_credential_of_a_cluster_without_entra_is_never_fetched(
    monkeypatch: pytest.MonkeyPatch, *, entra: bool
):
    azure = Described({"aadProfile": {"managed": True}} if entra else {})
    monkeypatch.setattr(ClusterReach, "_locate", lambda *_: (azure, "rg", "aks1"))
    reach = ClusterReach(SimpleNamespace(telemetry=SILENCE), None)  # type: ignore[arg-type]
    if entra:
        assert await reach._address(CLUSTER) == ("https://aks1.example", "")
        assert azure.asked == ["get", "credentials"]
        return
    with pytest.raises(PermanentError, match="cluster-without-entra") as refused:
        await reach.call(CLUSTER, lambda kube: kube.send("GET", "/api", intent=Intent.READ))
    assert refused.value.remedy == cluster_commands.enable_entra(CLUSTER)
    assert azure.asked == ["get"]
