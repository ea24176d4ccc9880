"""Queue triggers and queue outputs of the local Functions host, on a real Azurite."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.contract.functions_host_sandbox import (
    Host,
    Sandbox,
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


# Queues


def test_a_queue_message_runs_its_function_and_the_output_arrives(sandbox: Sandbox, host: Host) -> None:
    sandbox.queue("incoming").send_message("hello")
    (seen,) = [json.loads(text) for text in sandbox.take("seen")]
    assert (seen["body"], seen["count"]) == ("hello", 1)
    wait_for(lambda: not sandbox.content("incoming"), what="the message to be deleted")
    entry = host.invocations("copy")[-1]
    assert (entry["trigger"], entry["outcome"], entry["host"]) == ("queuetrigger", "Succeeded", "host1")


def test_a_body_with_an_id_overwrites_the_messages_id(sandbox: Sandbox, host: Host) -> None:
    sandbox.queue("incoming").send_message('{"ID": "mine", "dequeueCount": 7}')
    (seen,) = [json.loads(text) for text in sandbox.take("seen")]
    assert (seen["id"], seen["count"]) == ("mine", 7)


def test_a_body_whose_dequeue_count_is_no_number_is_poisoned_without_a_run_of_the_code(
    sandbox: Sandbox, host: Host
) -> None:
    before = len(host.invocations("copy"))
    sandbox.queue("incoming").send_message('{"dequeueCount": "many"}')
    wait_for(lambda: len(host.invocations("copy")) >= before + 3, what="three runs")
    assert {entry["outcome"] for entry in host.invocations("copy")[before:]} == {"Failed"}
    assert sandbox.take("incoming-poison") == ['{"dequeueCount": "many"}']
    assert sandbox.content("seen") == []


def test_a_parameter_that_is_text_takes_any_body(sandbox: Sandbox, host: Host) -> None:
    body = '{"dequeueCount": "many", "id": "mine", "insertionTime": "never"}'
    sandbox.queue("plain").send_message(body)
    assert sandbox.take("seen") == [f"str:{body}"]


def test_a_json_array_from_a_function_becomes_messages_and_an_object_is_indented(
    sandbox: Sandbox, host: Host
) -> None:
    sandbox.queue("split").send_message('["a", {"b":1}]')
    assert sandbox.take("seen", 2) == ["a", '{\n  "b": 1\n}']
    sandbox.queue("many").send_message("go")
    assert sandbox.take("seen", 2) == ["one", "two"]


def test_a_failing_message_runs_three_times_and_its_body_alone_reaches_the_poison_function(
    sandbox: Sandbox,
    host: Host,
) -> None:
    before = len(host.invocations("failing"))
    sandbox.queue("failing").send_message("bad day")
    assert sandbox.take("seen") == ["poison:bad day"]
    assert len(host.invocations("failing")) == before + 3
    log = host.log.read_text()
    assert "RuntimeError: run 1" in log
    assert "RuntimeError: run 3" in log
    assert "RuntimeError: run 4" not in log


def test_more_messages_than_a_batch_all_run(sandbox: Sandbox, host: Host) -> None:
    for number in range(15):
        sandbox.queue("plain").send_message(str(number))
    assert sandbox.take("seen", 15) == sorted(f"str:{number}" for number in range(15))
