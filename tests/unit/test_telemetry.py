"""What is told of requests, operations, steps and sweeps: one trace each, and metrics with few attributes."""

import re
from datetime import timedelta
from pathlib import Path

import pytest

from shared import naming
from shared.errors import MooringError, NotYetError, PermanentError, TransientError
from shared.metrics import METRICS, bucket_of
from shared.models import Done, Operation, OperationId, StepMessage
from tests.fakes.local_app import (
    CLUSTER,
    STORAGE,
    SUBSCRIPTION,
    LocalApp,
    create_body,
    delete_body,
    deletion_event,
    make_app,
)
from tests.fakes.scripted_step import script
from tests.fakes.telemetry import Listener, Told

CALLER = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.fixture
def listener() -> Listener:
    return Listener()


@pytest.fixture
def app(tmp_path: Path, listener: Listener) -> LocalApp:
    return make_app(tmp_path, telemetry=listener)


async def created(app: LocalApp) -> str:
    record = await app.send(create_body())
    await app.settle()
    return record.operation_id


async def operation_of(app: LocalApp, operation_id: str) -> Operation:
    stored = await app.services.state.operation(OperationId(operation_id))
    assert stored is not None
    return stored.value


def one(spans: list[Told], name: str) -> Told:
    (found,) = [span for span in spans if span.name == name]
    return found


async def test_an_operation_is_one_trace_with_its_opening_and_every_step_below_its_first_span(
    app: LocalApp, listener: Listener
):
    operation_id = await created(app)
    spans = listener.spans(operation_id)
    operation = await operation_of(app, operation_id)
    first = one(spans, "create")
    assert (first.trace, first.span) == naming.trace_of(operation_id)
    assert first.parent == ""
    others = [span for span in spans if span is not first]
    assert {span.parent for span in others} == {first.span}
    assert {span.name for span in others} == {
        "open create",
        *(f"step {planned.name}" for planned in operation.plan),
    }
    assert first.fields["state"] == "succeeded"
    assert first.error == ""


async def test_a_step_names_its_connection_cluster_namespace_target_and_attempt(
    app: LocalApp, listener: Listener
):
    operation_id = await created(app)
    fields = one(listener.spans(operation_id), "step managed_identity").fields
    assert fields == {
        "connection_id": naming.connection_of(operation_id),
        "operation_id": operation_id,
        "step": "managed_identity",
        "direction": "apply",
        "attempt": 1,
        "turn": 1,
        "cluster": "aks1",
        "namespace": "shop",
        "target_type": "storage-blob",
        "outcome": "done",
    }


@pytest.mark.parametrize(
    ("error", "outcome", "failed"),
    [
        (NotYetError("propagation", "secret words"), "wait", ""),
        (TransientError("service-error", "secret words"), "transient", "service-error"),
        (PermanentError("access-denied", "secret words"), "permanent", "access-denied"),
    ],
)
async def test_a_run_that_does_not_succeed_says_its_code_and_never_the_services_words(
    app: LocalApp, listener: Listener, error: MooringError, outcome: str, failed: str
):
    script(app, "managed_identity", error, Done())
    operation_id = await created(app)
    run = next(span for span in listener.spans(operation_id) if span.name == "step managed_identity")
    assert (run.fields["outcome"], run.fields["code"], run.error) == (outcome, error.code, failed)
    assert "secret words" not in repr(listener.spans())


async def test_a_failed_operation_fails_its_first_span_with_its_code(app: LocalApp, listener: Listener):
    script(app, "managed_identity", PermanentError("access-denied", "no"))
    first = one(listener.spans(await created(app)), "create")
    assert (first.error, first.fields["state"], first.fields["code"]) == (
        "access-denied",
        "failed",
        "access-denied",
    )


async def test_an_exception_of_no_kind_of_ours_is_told_by_its_class_alone(app: LocalApp, listener: Listener):
    script(app, "managed_identity", RuntimeError("secret words"), Done())
    spans = listener.spans(await created(app))
    assert next(span for span in spans if span.name == "step managed_identity").error == "RuntimeError"
    assert "secret words" not in repr(spans)


async def test_a_wait_is_measured_once_it_is_over(app: LocalApp, listener: Listener):
    script(app, "managed_identity", NotYetError("propagation"), NotYetError("propagation"), Done())
    await created(app)
    waited = {key: value for key, value in listener.values().items() if key[0] == "propagation_wait_seconds"}
    assert waited == {("propagation_wait_seconds", (("kind", "propagation"),)): pytest.approx(20, abs=1)}


async def test_a_refused_request_is_counted_and_has_no_trace_of_steps(app: LocalApp, listener: Listener):
    await app.send(create_body(target={"type": "storage-blob", "id": STORAGE}, namespace="kube-system"))
    values = listener.values()
    assert values[("requests_total", (("kind", "create"), ("result", "rejected")))] == 1
    assert values[("policy_denied_total", ())] == 1
    assert listener.spans() == []
    app.policy_file.write_text("version = 1\n")
    assert (await app.send(create_body(), message_id="other")).code == "policy-denied"
    assert listener.values()[("policy_denied_total", ())] == 1
    await app.send("nonsense", message_id="third")
    values = listener.values()
    assert values[("requests_total", (("kind", "unknown"), ("result", "rejected")))] == 1
    assert ("policy_denied_total", ()) not in values


async def test_a_request_points_to_the_span_of_its_caller(app: LocalApp, listener: Listener):
    body = str(create_body()).replace("'", '"')
    record = await app.services.intake.receive(body, message_id="m", source="http", caller=CALLER)
    opened = one(listener.spans(record.operation_id), "open create")
    assert opened.links == ("0af7651916cd43dd8448eb211c80319c",)
    assert (opened.fields["outcome"], opened.fields["source"]) == ("opened", "request")


@pytest.mark.parametrize(
    "caller", ["", "00-1", f"00-{'0' * 32}-b7ad6b7169203331-01", CALLER.upper(), CALLER + "-x"]
)
async def test_what_is_no_trace_context_is_pointed_to_by_nobody(
    app: LocalApp, listener: Listener, caller: str
):
    body = str(create_body()).replace("'", '"')
    record = await app.services.intake.receive(body, message_id="m", source="http", caller=caller)
    assert one(listener.spans(record.operation_id), "open create").links == ()


async def test_a_repeated_message_is_the_same_trace(app: LocalApp, listener: Listener):
    operation_id = await created(app)
    again = await app.send(create_body())
    assert again.operation_id == operation_id
    assert {span.trace for span in listener.spans() if "operation_id" in span.fields} == {
        naming.trace_of(operation_id)[0]
    }


async def test_messages_and_rows_carry_nothing_for_it(app: LocalApp):
    record = await app.send(create_body())
    [text] = app.queue.take("connection-steps")
    assert set(StepMessage.model_validate_json(text).model_dump()) == {
        "schema_version",
        "connection",
        "operation",
        "step",
        "turn",
    }
    trace_id, span_id = naming.trace_of(record.operation_id)
    rows = repr(
        [row for name in ("connections", "requests", "openoperations") for row in app.store.rows(name)]
    )
    assert trace_id not in rows
    assert span_id not in rows


async def test_a_prune_is_told_with_its_cause_its_delay_and_its_end(tmp_path: Path, listener: Listener):
    app = make_app(tmp_path, telemetry=listener, MOORING_PRUNE_GRACE_SECONDS="300")
    await created(app)
    listener.values()
    app.world.remove(STORAGE)
    happened_at = app.clock.now() - timedelta(seconds=90)
    event = deletion_event(STORAGE).replace("2026-11-22T10:00:00.0000000Z", happened_at.isoformat())
    await app.services.events.receive(event)
    await app.settle(seconds=900)
    [*_, prune] = await app.operations(naming.connection_id(CLUSTER, "shop", "orders-blob"))
    spans = listener.spans(prune.operation_id)
    assert one(spans, "open prune").fields["source"] == "event"
    assert one(spans, "prune").fields["state"] == "succeeded"
    assert prune.ended_at is not None
    values = listener.values()
    assert values[("prune_total", (("result", "pruned"),))] == 1
    assert values[("time_to_pruned_seconds", ())] == (prune.ended_at - happened_at).total_seconds() > 390
    assert values[("event_lag_seconds", ())] == 90


async def test_a_sweep_is_one_trace(app: LocalApp, listener: Listener):
    sweep, _ = await app.services.sweeping.sweeper.start(asked_by="request")
    await app.settle()
    spans = listener.spans(sweep.sweep_id)
    first = one(spans, "sweep")
    assert (first.trace, first.span) == naming.trace_of(sweep.sweep_id)
    assert sorted((span.name, span.parent == first.span) for span in spans if span is not first) == [
        ("sweep cluster", True),
        ("sweep housekeeping", True),
        ("sweep subscription", True),
    ]


async def test_a_part_of_the_traces_is_told_whole_or_not_at_all(tmp_path: Path):
    listener = Listener(ratio=0.5)
    app = make_app(tmp_path, telemetry=listener)
    for index in range(12):
        await app.send(create_body(f"orders-{index}"), message_id=f"m{index}")
    await app.settle()
    told = {span.trace for span in listener.spans()}
    assert 0 < len(told) < 12
    for trace in told:
        assert {"open create", "create"} <= {span.name for span in listener.spans() if span.trace == trace}


async def test_no_field_holds_a_body_a_token_or_a_query(app: LocalApp, listener: Listener):
    await created(app)
    await app.send(delete_body(), message_id="gone")
    await app.settle()
    text = repr([span.fields for span in listener.spans()])
    assert not re.search(r"[?&]|Bearer|eyJ|password|AccountKey|https?://", text)
    assert SUBSCRIPTION not in text


async def test_every_metric_of_a_create_has_its_unit_and_its_attributes(app: LocalApp, listener: Listener):
    operation_id = await created(app)
    values = listener.values()
    assert values[("requests_total", (("kind", "create"), ("result", "opened")))] == 1
    operation = await operation_of(app, operation_id)
    assert operation.ended_at is not None
    took = (operation.ended_at - operation.opened_at).total_seconds()
    assert values[("time_to_usable_seconds", ())] == pytest.approx(took)
    steps = {attributes for name, attributes in values if name == "step_seconds"}
    assert steps == {(("step", planned.name),) for planned in operation.plan}
    assert all(metric.unit in {"s", "1"} for metric in METRICS.values())


@pytest.mark.parametrize(
    ("ratio", "bucket"), [(0.0, "to-50"), (0.5, "to-75"), (0.85, "to-90"), (0.95, "to-100"), (1.0, "full")]
)
def test_shares_fall_into_few_buckets(ratio: float, bucket: str):
    assert bucket_of(ratio) == bucket
