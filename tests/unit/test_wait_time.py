"""Waiting uses up no attempt, and none of the time that errors may last either."""

from __future__ import annotations

from datetime import timedelta

import pytest

from shared import outcomes
from shared.errors import NotYetError, TransientError
from shared.models import Operation, StepState
from shared.retry import MAX_TOTAL_SECONDS, WAITS
from tests.fakes.clock import START
from tests.fakes.local_app import LocalApp, create_body
from tests.fakes.scripted_step import Act, script
from tests.fakes.snapshots import running, snapshot
from tests.unit.test_engine import ID

BUSY = TransientError("busy", retry_after_seconds=300)
SHORT = sorted(name for name, rule in WAITS.items() if not rule.fresh_start)


async def ended(app: LocalApp, *acts: Act) -> Operation:
    script(app, "preflight", *acts, app.services.engine.steps["preflight"].apply)
    await app.send(create_body())
    await app.settle(seconds=4 * MAX_TOTAL_SECONDS)
    [operation] = await app.operations(ID)
    return operation


async def test_an_error_after_waits_of_more_than_an_hour_is_the_first_and_is_tried_again(app: LocalApp):
    waits = [
        NotYetError(reason, seconds=840) for reason in ("closing", "settle", "closing") for _ in range(2)
    ]
    operation = await ended(app, *waits, BUSY)
    assert (operation.code, operation.state) == ("", "succeeded")


async def test_errors_between_waits_add_up_to_the_same_hour(app: LocalApp):
    acts: list[Act] = []
    for reason in ("closing", "lease-busy") * 4:
        acts += [NotYetError(reason, seconds=500), TransientError("busy", retry_after_seconds=500)]
    operation = await ended(app, *acts)
    assert (operation.state, operation.code) == ("failed", "time-exhausted")
    # Seven errors of 500 s each fit into the hour, and as many waits beside them.
    waited = 8 * 500
    lasted = (operation.ended_at or START) - operation.opened_at
    assert timedelta(seconds=waited + 7 * 500) <= lasted < timedelta(seconds=waited + MAX_TOTAL_SECONDS)


async def test_an_error_that_interrupts_a_wait_is_no_wait(app: LocalApp):
    busy = TransientError("busy", retry_after_seconds=900)
    operation = await ended(app, NotYetError("settle", seconds=60), *(busy for _ in range(6)))
    assert (operation.state, operation.code) == ("failed", "time-exhausted")


@pytest.mark.parametrize("reason", SHORT)
def test_a_run_that_ends_a_wait_counts_from_as_much_later_as_was_waited(reason: str):
    shot = snapshot()
    asked = START + timedelta(seconds=10)
    looked = running(shot, "preflight", started_at=asked, attempts=3)
    [waits] = outcomes.wait(
        shot, looked, NotYetError(reason), now=asked + timedelta(seconds=5), scale=1
    ).steps
    again_at = asked + timedelta(seconds=700)
    [taken] = outcomes.claim(shot, waits, holder="h", lease_seconds=150, now=again_at).steps
    assert (taken.attempts, taken.first_run_at) == (3, START + timedelta(seconds=700))


@pytest.mark.parametrize(
    "changes",
    [{"state": StepState.RUNNING}, {"code": "busy"}, {"started_at": None}, {"waiting": ""}],
    ids=["a run that died", "an error", "a row without its start", "no wait"],
)
def test_what_was_no_wait_is_timed_from_the_first_run(changes: dict[str, object]):
    shot = snapshot()
    waiting = {"state": StepState.READY, "waiting": "closing", "started_at": START}
    step = running(shot, "preflight").model_copy(update={**waiting, **changes})
    now = START + timedelta(seconds=700)
    [taken] = outcomes.claim(shot, step, holder="h", lease_seconds=150, now=now).steps
    assert taken.first_run_at == START


def test_a_step_that_has_only_waited_counts_from_the_run_that_begins_now():
    shot = snapshot()
    waiting = {"state": StepState.READY, "waiting": "closing", "started_at": START, "first_run_at": None}
    step = running(shot, "preflight").model_copy(update=waiting)
    now = START + timedelta(seconds=700)
    [taken] = outcomes.claim(shot, step, holder="h", lease_seconds=150, now=now).steps
    assert taken.first_run_at == now
