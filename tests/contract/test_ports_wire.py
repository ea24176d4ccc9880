"""What the adapters put on the wire to services that the sandbox has no emulator for, or that never sulk."""

from __future__ import annotations

import ssl
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from sandbox.certificates import make_certificates
from sandbox.processes import free_ports
from shared.clients.http_pool import HttpPool
from shared.clients.outcome_topic import EventGridOutcomeTopic
from shared.clients.state_table import StateTable
from shared.clients.step_queue import StorageStepQueue
from shared.errors import TransientError
from shared.ports import OutcomeTopic
from tests.contract.ports_azurite import StorageToken
from tests.fakes.outcome_topic import InMemoryOutcomeTopic

EVENT: dict[str, Any] = {
    "event_type": "mooring.operation.ended",
    "subject": "connections/c",
    "data": {"state": "succeeded"},
    "event_id": "c-o",
}


class Service:
    """A TLS server that notes requests and answers as it is told."""

    def __init__(self) -> None:
        self.url = ""
        self.ca_file = ""
        self.status = 200
        self.headers: dict[str, str] = {}
        self.requests: list[tuple[str, dict[str, str], Any]] = []

    async def answer(self, request: web.Request) -> web.Response:
        body = await request.json() if request.can_read_body and "json" in request.content_type else None
        headers = {name.lower(): value for name, value in request.headers.items()}
        self.requests.append((request.path, headers, body))
        return web.Response(status=self.status, headers=self.headers)


@pytest.fixture
async def service(tmp_path: Path) -> AsyncIterator[Service]:
    running = Service()
    running.ca_file, cert_file, key_file = make_certificates(tmp_path)
    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", running.answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    [port] = free_ports(1)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(cert_file, key_file)
    await web.TCPSite(runner, "127.0.0.1", port, ssl_context=tls).start()
    running.url = f"https://127.0.0.1:{port}"
    yield running
    await runner.cleanup()


@pytest.fixture
async def pool(service: Service) -> AsyncIterator[HttpPool]:
    opened = HttpPool(ca_file=service.ca_file)
    yield opened
    await opened.aclose()


async def test_an_ended_operation_is_one_cloud_event(service: Service, pool: HttpPool):
    topic = EventGridOutcomeTopic(pool, StorageToken("t"), endpoint=f"{service.url}/api/events")
    await topic.publish(**EVENT)
    await topic.aclose()
    [(path, headers, body)] = service.requests
    [event] = body
    assert path == "/api/events"
    assert headers["content-type"].startswith("application/cloudevents-batch+json")
    assert headers["authorization"].startswith("Bearer ")
    assert (event["specversion"], event["type"], event["subject"], event["id"], event["source"]) == (
        "1.0",
        "mooring.operation.ended",
        "connections/c",
        "c-o",
        "/mooring",
    )
    assert event["data"] == {"state": "succeeded"}


async def test_without_an_endpoint_nobody_is_told(service: Service, pool: HttpPool):
    topic = EventGridOutcomeTopic(pool, StorageToken("t"))
    await topic.publish(**EVENT)
    await topic.aclose()
    assert service.requests == []


async def test_the_fake_topic_remembers_what_it_was_told():
    fake = InMemoryOutcomeTopic()
    topic: OutcomeTopic = fake
    await topic.publish(**EVENT)
    assert fake.events == [
        {
            "type": "mooring.operation.ended",
            "subject": "connections/c",
            "data": {"state": "succeeded"},
            "id": "c-o",
        },
    ]


@pytest.mark.parametrize("port", ["table", "queue", "topic"])
async def test_a_service_that_asks_for_patience_is_not_waited_for(
    service: Service, pool: HttpPool, port: str
):
    service.status, service.headers = 503, {"Retry-After": "30"}
    token = StorageToken("t")
    adapter: Any = {
        "table": lambda: StateTable(pool, token, endpoint=service.url),
        "queue": lambda: StorageStepQueue(pool, token, endpoint=service.url),
        "topic": lambda: EventGridOutcomeTopic(pool, token, endpoint=service.url),
    }[port]()
    call = {
        "table": lambda: adapter.get("connections", "p", "k"),
        "queue": lambda: adapter.depth("connection-steps"),
        "topic": lambda: adapter.publish(**EVENT),
    }[port]
    started = time.monotonic()
    with pytest.raises(TransientError) as caught:
        await call()
    assert time.monotonic() - started < 2
    assert caught.value.retry_after_seconds == 30
    assert len(service.requests) == 1
    await adapter.aclose()


@pytest.mark.parametrize("port", ["table", "queue"])
async def test_a_storage_that_stays_broken_is_given_up_within_ten_seconds(
    service: Service, pool: HttpPool, port: str
):
    service.status = 500
    token = StorageToken("t")
    adapter: Any = (
        StateTable(pool, token, endpoint=service.url)
        if port == "table"
        else StorageStepQueue(pool, token, endpoint=service.url)
    )
    started = time.monotonic()
    with pytest.raises(TransientError):
        await (adapter.get("connections", "p", "k") if port == "table" else adapter.depth("rejected"))
    assert time.monotonic() - started < 10
    assert len(service.requests) == 3
    await adapter.aclose()


async def test_connections_are_reused_across_requests_and_clients(service: Service, pool: HttpPool):
    transport = pool.transport()
    assert transport.session is pool.transport().session
    first = EventGridOutcomeTopic(pool, StorageToken("t"), endpoint=service.url)
    await first.publish(**EVENT)
    await first.aclose()
    second = EventGridOutcomeTopic(pool, StorageToken("t"), endpoint=service.url)
    await second.publish(**EVENT)
    await second.aclose()
    assert len(service.requests) == 2
