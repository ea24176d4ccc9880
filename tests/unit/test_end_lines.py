"""One line says how an operation has ended, whatever decided it, and an alert reads that line."""

import dataclasses
import logging

import pytest

from handlers import timers
from shared import retry, traces
from shared.errors import NotYetError, PermanentError, TransientError
from shared.models import Kind, OperationState, StepState
from tests.fakes.local_app import LocalApp, create_body, delete_body
from tests.fakes.scripted_step import script
from tests.fakes.snapshots import OPERATION, snapshot
from tests.unit.queries import kept
from tests.unit.test_engine import ID, Crash, first_message
from tests.unit.test_opening import SPEC, Asked, asked, created, opened

WAITS = {reason: rule for reason, rule in retry.WAITS.items() if (rule.deadline_seconds or 1e9) <= 7200}


@pytest.fixture(autouse=True)
def _every_line(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "mooring")


def ends(caplog: pytest.LogCaptureFixture) -> list[str]:
    said = [f"{one.levelname} {one.getMessage()}" for one in caplog.records]
    return [line for line in said if line.split()[1] == "operation-ended"]


def failures(caplog: pytest.LogCaptureFixture) -> list[tuple[str, str, str]]:
    """What the alert shows, whatever else was written."""
    rows = kept("step-failed", [one.getMessage() for one in caplog.records])
    return [(row["kind"], row["step"], row["code"]) for row in rows]


# --- what fails is told --------------------------------------------------------------------------


async def test_a_step_that_fails_for_good_is_told_once(app: LocalApp, caplog: pytest.LogCaptureFixture):
    script(app, "managed_identity", PermanentError("broken", "why", remedy="mend it"))
    record = await app.send(create_body())
    await app.settle()
    assert failures(caplog) == [("create", "managed_identity", "broken")]
    [line] = ends(caplog)
    assert line == (
        f"ERROR operation-ended connection_id={ID} operation_id={record.operation_id} step=managed_identity"
        " kind=create state=failed needs_person=True code=broken detail=managed_identity: why remedy=mend it"
    )


async def test_errors_that_never_end_are_told_as_a_failure(app: LocalApp, caplog: pytest.LogCaptureFixture):
    script(app, "preflight", *[TransientError("busy")] * 40)
    await app.send(create_body())
    await app.settle(seconds=7200)
    assert failures(caplog) == [("create", "preflight", "attempts-exhausted")]


async def test_errors_that_last_too_long_are_told_as_a_failure(
    app: LocalApp, caplog: pytest.LogCaptureFixture
):
    script(app, "preflight", *[TransientError("busy", retry_after_seconds=1000)] * 40)
    await app.send(create_body())
    await app.settle(seconds=7200)
    assert failures(caplog) == [("create", "preflight", "time-exhausted")]


@pytest.mark.parametrize("reason", WAITS)
async def test_a_wait_that_never_ends_is_told_as_a_failure(
    app: LocalApp, caplog: pytest.LogCaptureFixture, reason: str
):
    seconds = WAITS[reason].deadline_seconds or 0.0
    script(app, "preflight", *[NotYetError(reason, seconds=seconds)] * 3)
    await app.send(create_body())
    await app.settle(seconds=seconds + 100, timer=seconds > retry.QUEUE_DELAY_LIMIT_SECONDS)
    assert failures(caplog) == [("create", "preflight", WAITS[reason].code)]


async def test_what_no_longer_fits_when_it_begins_is_told_as_a_failure(
    app: LocalApp, caplog: pytest.LogCaptureFixture
):
    await created(app)
    await opened(app, asked(Kind.DELETE, "d"))
    other = SPEC.model_copy(update={"client_type": "java"})
    await opened(app, Asked(kind=Kind.CREATE, connection_id=ID, key="c", spec=other))
    app.journal.before = lambda call: PermanentError("locked") if call.name == "roles.delete" else None
    await app.settle()
    assert failures(caplog) == [
        ("delete", "role_assignments", "locked"),
        ("create", "preflight", "body-differs"),
    ]


async def test_a_step_that_kills_its_host_is_told_as_a_failure(
    app: LocalApp, caplog: pytest.LogCaptureFixture
):
    step = script(app, "preflight", *(Crash() for _ in range(50)))
    message = await first_message(app)
    while step.runs < retry.MAX_ATTEMPTS:
        with pytest.raises(Crash):
            await app.services.engine.run_one(message)
        app.clock.advance(151)
    assert failures(caplog) == []
    await app.services.engine.run_one(message)
    assert failures(caplog) == [("create", "preflight", "host-crash")]


async def test_a_poisoned_step_is_told_as_a_failure(app: LocalApp, caplog: pytest.LogCaptureFixture):
    message = await first_message(app)
    assert await app.services.engine.poisoned(message) == "again"
    assert failures(caplog) == []
    again = message.model_copy(update={"turn": message.turn + 1})
    assert await app.services.engine.poisoned(again) == "failed"
    assert failures(caplog) == [("create", "preflight", "host-crash")]


# --- it is not lost ------------------------------------------------------------------------------


async def test_a_failure_is_told_at_once_though_the_topic_takes_nothing(
    app: LocalApp, caplog: pytest.LogCaptureFixture
):
    script(app, "preflight", PermanentError("broken"))
    message = await first_message(app)
    app.journal.before = lambda call: TransientError("away") if call.name == "topic.publish" else None
    await app.services.engine.run_one(message)
    assert failures(caplog) == [("create", "preflight", "broken")]


async def test_a_host_that_dies_right_after_the_end_leaves_the_line_to_the_timer(
    app: LocalApp, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
):
    script(app, "preflight", PermanentError("broken"))
    message = await first_message(app)
    with monkeypatch.context() as dying:
        dying.setattr("shared.traces.write_end", lambda _snapshot: _die())
        with pytest.raises(Crash):
            await app.services.engine.run_one(message)
    assert failures(caplog) == []
    await timers.announce_again(app.services)
    assert failures(caplog) == [("create", "preflight", "broken")]
    await timers.announce_again(app.services)
    assert len(ends(caplog)) == 1, "what was told is not told again"


def _die() -> None:
    raise Crash


# --- what has not failed is not told as a failure --------------------------------------------------


async def test_what_is_overtaken_is_no_failure_even_if_a_step_of_it_had_failed(
    app: LocalApp, caplog: pytest.LogCaptureFixture
):
    await app.send(create_body())
    await app.send(delete_body(), message_id="d")
    await app.settle(seconds=4000)
    states = {one.state for one in await app.operations(ID)}
    assert states == {OperationState.SUPERSEDED, OperationState.SUCCEEDED}
    assert len(ends(caplog)) == 2
    assert all(line.startswith("INFO ") and "needs_person=False" in line for line in ends(caplog))
    failing = {"failing": True, "remedy": "mend it", "detail": "prove: no"}
    traces.write_end(
        snapshot(state=OperationState.SUPERSEDED, code="superseded-by-delete", **failing)  # type: ignore[arg-type]
    )
    assert ends(caplog)[-1] == (
        f"INFO operation-ended connection_id={ID} operation_id={OPERATION} kind=create state=superseded"
        " needs_person=False code=superseded-by-delete detail=prove: no remedy=mend it"
    )
    assert failures(caplog) == []


async def test_a_run_that_fails_after_its_operation_was_overtaken_is_no_failure(
    app: LocalApp, caplog: pytest.LogCaptureFixture
):
    async def overtaken(_ctx: object) -> None:
        await app.send(delete_body(), message_id="d")
        raise PermanentError("broken")

    script(app, "preflight", overtaken)  # type: ignore[arg-type]
    await app.services.engine.run_one(await first_message(app))
    assert "outcome=permanent" in caplog.text
    await app.settle(seconds=4000)
    assert failures(caplog) == []


async def test_what_ends_well_and_what_words_say_of_failures_is_none(
    app: LocalApp, caplog: pytest.LogCaptureFixture
):
    await created(app)
    assert ends(caplog)[0].endswith(" kind=create state=succeeded needs_person=False")
    traces.write_end(
        snapshot(state=OperationState.SUCCEEDED, code="resource-alive", detail="was state=failed code=x")
    )
    assert len(ends(caplog)) == 2
    assert failures(caplog) == []


def test_the_step_whose_code_it_is_is_named_among_several_that_failed(caplog: pytest.LogCaptureFixture):
    whole = snapshot(state=OperationState.FAILED, code="second")
    for name, code in {"managed_identity": "first", "settings": "second", "prove": "third"}.items():
        failed = whole.steps[name].value.model_copy(update={"state": StepState.FAILED, "code": code})
        whole = dataclasses.replace(
            whole, steps={**whole.steps, name: dataclasses.replace(whole.steps[name], value=failed)}
        )
    traces.write_end(whole)
    assert failures(caplog) == [("create", "settings", "second")]
