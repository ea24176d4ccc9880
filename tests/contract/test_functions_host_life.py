"""Life and death of hosts and workers: restarts, leases, shutdown, timers, identity."""

from __future__ import annotations

import contextlib
import json
import signal
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from tests.contract.functions_host_sandbox import (
    Host,
    Sandbox,
    identity_endpoint,
    running_sandbox,
    wait_for,
)


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    with running_sandbox(tmp_path_factory) as running:
        yield running


@pytest.fixture(scope="module")
def host(sandbox: Sandbox) -> Iterator[Host]:
    with sandbox.host("host1") as running:
        yield running


# Worker


def test_a_worker_that_dies_is_started_again_and_the_host_stays(host: Host) -> None:
    restarts = host.json("/admin/host/status", "master-key")["workerRestarts"]
    assert host.request("GET", "/api/dies")[0] == 500
    assert host.request("GET", "/api/path")[0] == 200
    assert host.json("/admin/host/status", "master-key")["workerRestarts"] == restarts + 1


def test_a_hanging_function_takes_its_neighbours_down_and_every_message_runs_again(
    sandbox: Sandbox, host: Host
) -> None:
    neighbours = len(host.invocations("slow"))
    sandbox.queue("hanging").send_message("hang")
    wait_for(lambda: not sandbox.content("hanging"), what="the hanging message to be taken")
    threading.Event().wait(1.5)
    sandbox.queue("slow").send_message("2.5")
    assert sandbox.take("seen", 2, seconds=20) == ["run 2", "slept"]
    assert [entry["outcome"] for entry in host.invocations("hanging")] == ["Failed", "Succeeded"]
    runs = host.invocations("slow")[neighbours:]
    assert [entry["outcome"] for entry in runs] == ["Failed", "Succeeded"]


# Hosts of their own


def test_an_app_that_does_not_load_is_reported_and_the_host_answers_503(sandbox: Sandbox) -> None:
    with sandbox.host("broken", app="broken", ready=False, state="broken") as host:

        def answer() -> Any:
            with contextlib.suppress(ConnectionError):
                status, _, body = host.request("GET", "/sandbox/ready")
                return json.loads(body) if status == 503 and b"Error" in body else None
            return None

        ready = wait_for(answer, what="the error")
        assert "a_module_that_is_not_there" in ready["error"]
        assert host.request("GET", "/api/anything")[::2] == (503, b"Function host is not running.")
        assert host.json("/admin/host/status", "master-key")["state"] == "Error"


def test_leases_are_renewed_so_that_a_long_run_is_not_taken_by_a_second_host(
    sandbox: Sandbox, host: Host
) -> None:
    host.process.send_signal(signal.SIGSTOP)
    try:
        with (
            sandbox.host("lease1", "--lease-seconds", "2", state="lease") as first,
            sandbox.host("lease2", "--lease-seconds", "2", state="lease") as second,
        ):
            sandbox.queue("slow").send_message("2.6")
            assert sandbox.take("seen") == ["slept"]
            wait_for(lambda: first.invocations("slow") + second.invocations("slow"), what="the run")
            runs = first.invocations("slow") + second.invocations("slow")
            assert [entry["outcome"] for entry in runs] == ["Succeeded"]
            ticks = first.invocations("tick") + second.invocations("tick")
            assert len(ticks) == 1
    finally:
        host.process.send_signal(signal.SIGCONT)
        sandbox.queue("ticks").clear_messages()


def test_a_stopping_host_finishes_its_running_message_and_deletes_it(sandbox: Sandbox, host: Host) -> None:
    host.process.send_signal(signal.SIGSTOP)
    try:
        with sandbox.host("stopping", state="stopping") as stopping:
            sandbox.queue("seen").clear_messages()
            sandbox.queue("slow").send_message("2")
            wait_for(lambda: not sandbox.content("slow"), what="the message to be taken")
            stopping.process.terminate()
            assert stopping.process.wait(timeout=15) == 0
            assert "Executed 'Functions.slow' (Succeeded" in stopping.log.read_text()
            assert sandbox.take("seen") == ["slept"]
            assert sandbox.queue("slow").get_queue_properties().approximate_message_count == 0
    finally:
        host.process.send_signal(signal.SIGCONT)


def test_an_occurrence_that_passed_while_no_host_ran_is_past_due_once(sandbox: Sandbox) -> None:
    sandbox.queue("ticks").clear_messages()
    folder = sandbox.folder / "past" / "functions" / "app"
    folder.mkdir(parents=True)
    record = {"Last": "2026-01-01T00:00:00+00:00", "Next": "2026-02-01T00:00:00+00:00"}
    (folder / "tick.status.json").write_text(json.dumps({**record, "LastUpdated": record["Last"]}))
    with sandbox.host("past", schedule="0 0 0 1 * *", state="past"):
        assert sandbox.take("ticks") == ["past due"]
    with sandbox.host("past", schedule="0 0 0 1 * *", state="past"):
        assert sandbox.take("ticks") == ["tick"]


def test_a_timer_runs_on_its_schedule(sandbox: Sandbox) -> None:
    sandbox.queue("ticks").clear_messages()
    with sandbox.host("ticking", schedule="* * * * * *", state="ticking") as ticking:
        wait_for(lambda: len(ticking.invocations("tick")) >= 3, seconds=6, what="three ticks")
    assert sandbox.take("ticks", 3)[0] == "tick"


def test_a_disabled_function_neither_listens_nor_answers(sandbox: Sandbox) -> None:
    disabled = {"AzureWebJobs.described.Disabled": "true", "AzureWebJobs.tick.Disabled": "1"}
    with sandbox.host("disabled", state="disabled", settings=disabled) as host:
        assert host.request("GET", "/api/described")[0] == 404
        assert host.request("GET", "/api/path")[0] == 200
        assert host.invocations("tick") == []


# Identity


def test_a_host_reaches_its_queues_with_a_managed_identity_and_no_key(sandbox: Sandbox, host: Host) -> None:
    host.process.send_signal(signal.SIGSTOP)
    try:
        with identity_endpoint() as (endpoint, asked):
            settings = {
                "Storage__queueServiceUri": sandbox.service.url.rstrip("/"),
                "Storage__credential": "managedidentity",
                "Storage__clientId": "client-1",
                "IDENTITY_ENDPOINT": endpoint,
                "IDENTITY_HEADER": "header-1",
            }
            with sandbox.host("identity", state="identity", settings=settings, identity=True):
                sandbox.queue("plain").send_message("keyless")
                assert sandbox.take("seen") == ["str:keyless"]
        assert asked
        assert {item["client_id"][0] for item in asked} == {"client-1"}
        assert asked[0]["resource"][0].startswith("https://storage.azure.com")
    finally:
        host.process.send_signal(signal.SIGCONT)
        sandbox.queue("ticks").clear_messages()
