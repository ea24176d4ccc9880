"""The triggers and the HTTP surface, called as the Functions worker calls them."""

import json
import logging
import subprocess
import sys
from pathlib import Path
from typing import Any

import azure.functions as func
import pytest

from handlers import timers
from handlers.http_answers import guarded
from shared import naming, wiring
from shared.errors import PermanentError, TransientError
from shared.models import StepMessage
from shared.settings import Settings
from tests.fakes.http_app import HttpApp, handlers_of
from tests.fakes.journal import Call
from tests.fakes.local_app import CLUSTER, STORAGE, LocalApp, create_body, deletion_event
from tests.fakes.scripted_step import script

ROOT = Path(__file__).parent.parent.parent
ID = naming.connection_id(CLUSTER, "shop", "orders-blob")
EMPTY = {"identities": [], "assignments": [], "objects": [], "users": []}


@pytest.fixture
def http(app: LocalApp) -> HttpApp:
    return HttpApp(app)


async def created(app: LocalApp, name: str = "orders-blob", **changes: Any) -> str:
    record = await app.send(create_body(name, **changes), message_id=name)
    await app.settle()
    return str(record.connection_id)


# --- the function app ----------------------------------------------------------------------------

FUNCTIONS = {
    "connection_requests": ("queueTrigger", "connection-requests"),
    "connection_requests_poison": ("queueTrigger", "connection-requests-poison"),
    "connection_steps": ("queueTrigger", "connection-steps"),
    "connection_steps_poison": ("queueTrigger", "connection-steps-poison"),
    "resource_events": ("queueTrigger", "resource-events"),
    "resource_events_poison": ("queueTrigger", "resource-events-poison"),
    "resource_events_webhook": ("eventGridTrigger", ""),
    "sweep": ("timerTrigger", "0 7 * * * *"),
    "sweep_slices": ("queueTrigger", "sweep-slices"),
    "sweep_slices_poison": ("queueTrigger", "sweep-slices-poison"),
    "post_sweep": ("httpTrigger", "POST sweeps"),
    "list_sweeps": ("httpTrigger", "GET sweeps"),
    "get_sweep": ("httpTrigger", "GET sweeps/{sweepId}"),
    "list_remains": ("httpTrigger", "GET remains"),
    "post_recovery": ("httpTrigger", "POST recoveries"),
    "get_recovery": ("httpTrigger", "GET recoveries/{recoveryId}"),
    "tend": ("timerTrigger", "0 * * * * *"),
    "post_connection": ("httpTrigger", "POST connections"),
    "list_connections": ("httpTrigger", "GET connections"),
    "get_connection": ("httpTrigger", "GET connections/{connectionId}"),
    "delete_connection": ("httpTrigger", "DELETE connections/{connectionId}"),
    "update_connection": ("httpTrigger", "PATCH connections/{connectionId}"),
    "validate_connection": ("httpTrigger", "POST connections/{connectionId}/validate"),
    "repair_connection": ("httpTrigger", "POST connections/{connectionId}/repair"),
    "adopt_linker": ("httpTrigger", "POST connections/adopt"),
    "adopt_connection": ("httpTrigger", "POST connections/{connectionId}/adopt"),
    "get_manifest": ("httpTrigger", "GET connections/{connectionId}/manifest"),
    "list_targets": ("httpTrigger", "GET targets"),
    "get_configuration": ("httpTrigger", "GET connections/{connectionId}/configuration"),
    "plan_connection": ("httpTrigger", "POST connections/plan"),
    "replay_dead_letters": ("httpTrigger", "POST dead-letters/replay"),
    "get_operation": ("httpTrigger", "GET operations/{operationId}"),
    "find_operations": ("httpTrigger", "GET operations"),
    "list_prunes": ("httpTrigger", "GET prunes"),
    "get_prune": ("httpTrigger", "GET prunes/{pruneId}"),
    "release_prunes": ("httpTrigger", "POST prunes/release"),
    "restore_prune": ("httpTrigger", "POST prunes/{pruneId}/restore"),
    "list_orphans": ("httpTrigger", "GET orphans"),
    "get_orphan": ("httpTrigger", "GET orphans/{orphanId}"),
    "prune_orphan": ("httpTrigger", "POST orphans/{orphanId}/prune"),
}


def test_the_function_app_registers_every_function_with_its_trigger_and_asks_for_a_key():
    import function_app

    found = {}
    for one in function_app.app.get_functions():
        trigger = one.get_trigger().get_dict_repr()
        place = trigger.get("queueName") or trigger.get("schedule") or ""
        if trigger["type"] == "httpTrigger":
            assert str(trigger["authLevel"]).endswith("FUNCTION")
            [method] = [getattr(verb, "value", verb) for verb in trigger["methods"]]
            place = f"{method} {trigger['route']}"
        if trigger["type"] == "queueTrigger":
            assert trigger["connection"] == "AzureWebJobsStorage"
        found[one.get_function_name()] = (trigger["type"], place)
    assert found == FUNCTIONS


def test_importing_the_function_app_needs_no_settings_and_opens_nothing():
    code = (
        "import socket, sys\n"
        "def refuse(*_args, **_options): raise AssertionError('opened a socket')\n"
        "socket.socket.connect = refuse\n"
        "import function_app\n"
        "heavy = {'kubernetes', 'azure.mgmt', 'azure.storage', 'azure.data'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
        f"assert len(function_app.app.get_functions()) == {len(FUNCTIONS)}\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={"PATH": "/usr/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


async def test_services_are_made_once_and_a_wrong_setting_is_said(monkeypatch: pytest.MonkeyPatch):
    calls = []
    settings = Settings.from_environment(
        {
            "AzureWebJobsStorage__queueServiceUri": "https://q.example",
            "AzureWebJobsStorage__tableServiceUri": "https://t.example",
            "AZURE_CLIENT_ID": "22222222-2222-4222-8222-222222222222",
            "AZURE_TENANT_ID": "33333333-3333-4333-8333-333333333333",
            "MOORING_SUBSCRIPTION_IDS": "11111111-1111-4111-8111-111111111111",
            "MOORING_IDENTITY_RESOURCE_GROUP_ID": "/subscriptions/x/resourceGroups/y",
        }
    )

    def load() -> Settings:
        calls.append(1)
        return settings

    made = wiring.Wiring(load)
    assert await made.services() is await made.services()
    assert len(calls) == 1

    def fail() -> Settings:
        raise PermanentError("settings-invalid")

    with pytest.raises(PermanentError, match="settings-invalid"):
        await wiring.Wiring(fail).services()


async def test_an_app_with_bad_settings_names_them_over_http():
    async def never(_services: object) -> func.HttpResponse:
        raise AssertionError("there are no services")

    answer = await guarded(wiring.Wiring(lambda: Settings.from_environment({})), never)
    problem = json.loads(answer.get_body())
    assert (answer.status_code, problem["code"]) == (500, "settings-invalid")
    assert "AZURE_TENANT_ID" in problem["detail"]


@pytest.mark.parametrize("scale", ["x", "nan", "0", "1001"])
async def test_a_scale_that_is_no_number_in_its_bounds_is_refused(app: LocalApp, scale: str):
    with pytest.raises(PermanentError, match="MOORING_RETRY_SCALE"):
        Settings.from_environment({"MOORING_RETRY_SCALE": scale})


# --- queues, events, timer -----------------------------------------------------------------------


async def test_every_queue_function_does_its_part_of_a_connection(app: LocalApp):
    handlers = handlers_of(app)
    body = json.dumps(create_body()).encode()
    await handlers["connection_requests"](func.QueueMessage(id="m-1", body=body))
    for _ in range(20):
        for text in app.queue.take("connection-steps"):
            await handlers["connection_steps"](func.QueueMessage(id="s", body=text.encode()))
        app.clock.advance(5)
    assert await app.state(ID) == "configured"
    await handlers["resource_events_webhook"](deletion_event(STORAGE))
    [event] = app.queue.take("resource-events")
    assert json.loads(event) == json.loads(deletion_event(STORAGE))
    await handlers["resource_events"](func.QueueMessage(id="e", body=event.encode()))
    assert (await app.operations(ID))[-1].kind == "prune"


async def test_a_message_without_an_id_is_still_a_request(app: LocalApp):
    await handlers_of(app)["connection_requests"](func.QueueMessage(body=json.dumps(create_body()).encode()))
    assert len(await app.operations(ID)) == 1


async def test_the_timer_announces_what_stands_still_and_logs_what_queues_hold(
    app: LocalApp, caplog: pytest.LogCaptureFixture
):
    await app.send(create_body())
    lost = app.queue.take("connection-steps")
    await app.send("nonsense", message_id="m-2")
    app.queue.put("resource-events-poison", "x")
    app.clock.advance(121)
    with caplog.at_level(logging.INFO, "mooring"):
        await handlers_of(app)["tend"](None)
    assert app.queue.take("connection-steps") == lost
    lines = " ".join(record.getMessage() for record in caplog.records)
    for queue in ("connection-steps", "rejected", "resource-events-poison"):
        assert f"queue={queue} depth=1" in lines
    assert "queue=connection-requests " not in lines
    assert "tended open=1" in lines
    assert lines.endswith(" rejected=1")


async def test_the_timer_leaves_a_sign_of_life_when_there_is_nothing_to_do(
    app: LocalApp, caplog: pytest.LogCaptureFixture
):
    with caplog.at_level(logging.INFO, "mooring"):
        await handlers_of(app)["tend"](None)
    assert [record.getMessage() for record in caplog.records] == [
        "tended open=0 step_late_seconds=0 message_late_seconds=0 throttled_seconds=0 rejected=0"
    ]


async def test_the_timer_counts_open_operations(app: LocalApp):
    assert (await timers.announce_again(app.services)).open == 0
    await app.send(create_body())
    assert (await timers.announce_again(app.services)).open == 1


# --- poison --------------------------------------------------------------------------------------


async def test_a_poisoned_request_that_is_sound_is_carried_out_once(app: LocalApp, http: HttpApp):
    poison = http.handlers["connection_requests_poison"]
    body = json.dumps(create_body())
    await poison(body)
    await poison(body)
    assert len(await app.operations(ID)) == 1
    await app.settle()
    assert await app.state(ID) == "configured"


async def test_a_poisoned_request_that_had_been_opened_before_it_crashed_attaches_to_it(
    app: LocalApp, http: HttpApp
):
    await app.send(create_body())
    await http.handlers["connection_requests_poison"](json.dumps(create_body()))
    assert len(await app.operations(ID)) == 1


async def test_a_poisoned_request_that_means_nothing_is_refused_on_the_record(app: LocalApp, http: HttpApp):
    await http.handlers["connection_requests_poison"]('{"dequeueCount": "many"}')
    [refusal] = await http.operations(state="rejected")
    assert (refusal["code"], refusal["source"]) == ("reserved-property", "poison")
    assert len(app.queue.take("rejected")) == 1


async def test_a_poisoned_step_goes_once_more_and_then_its_operation_fails(app: LocalApp, http: HttpApp):
    script(app, "preflight")
    await app.send(create_body())
    poison = http.handlers["connection_steps_poison"]
    for _ in range(2):
        [text] = app.queue.take("connection-steps")
        assert StepMessage.model_validate_json(text).step == "preflight"
        await poison(text)
    [operation] = await app.operations(ID)
    assert (operation.state, operation.code) == ("failed", "host-crash")
    assert app.queue.next_due() is None


async def test_a_poisoned_step_that_is_none_is_refused_on_the_record(app: LocalApp, http: HttpApp):
    await http.handlers["connection_steps_poison"]("nonsense")
    [refusal] = await http.operations(state="rejected")
    assert (refusal["code"], refusal["source"]) == ("not-a-step", "poison")


async def test_a_poisoned_event_is_put_aside(app: LocalApp, http: HttpApp):
    event = deletion_event(STORAGE)
    await http.handlers["resource_events_poison"](event)
    await http.handlers["resource_events_poison"](event)
    [refusal] = await http.operations(state="rejected")
    assert (refusal["code"], "resource-events" in refusal["detail"]) == ("event-crashed", True)
    assert len(app.dead_letters.blobs) == 1, "the same message is kept once"
    assert STORAGE not in str(app.queue.take("rejected")), "bodies are not repeated"


async def test_a_fault_in_a_queue_function_reaches_the_host_so_that_it_delivers_again(app: LocalApp):
    def rule(call: Call) -> BaseException | None:
        return TransientError("table-busy") if call.name.startswith("state.") else None

    app.journal.before = rule
    handlers = handlers_of(app)
    with pytest.raises(TransientError):
        await handlers["connection_requests"](
            func.QueueMessage(id="m-1", body=json.dumps(create_body()).encode())
        )
    app.journal.before = None
    await handlers["connection_requests"](
        func.QueueMessage(id="m-1", body=json.dumps(create_body()).encode())
    )
    assert len(await app.operations(ID)) == 1
