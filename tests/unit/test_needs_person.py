"""What waits for a person, or has left something to one, is told by an alert; what time frees is not."""

import logging

import pytest

from shared import retry, traces
from shared.errors import NotYetError
from shared.models import OperationState
from shared.steps.orphan_claims import LINKED
from tests.fakes.local_app import GROUP, STORAGE, SUBSCRIPTION, LocalApp, create_body, deletion_event
from tests.fakes.scripted_step import script
from tests.fakes.snapshots import snapshot
from tests.fakes.their_linker import make_linker
from tests.unit.queries import kept
from tests.unit.test_adopt_records import adopted
from tests.unit.test_opening import created

FREED_WITHOUT_ONE = {"grace", "in-use"}
"""By time, and by the end of the pods."""


@pytest.fixture(autouse=True)
def _every_line(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "mooring")


def told(caplog: pytest.LogCaptureFixture, query: str = "prune-held") -> set[str]:
    return {row["code"] for row in kept(query, [one.getMessage() for one in caplog.records])}


@pytest.mark.parametrize("reason", retry.WAITS)
async def test_a_held_wait_is_told_unless_it_is_freed_without_a_person(
    app: LocalApp, caplog: pytest.LogCaptureFixture, reason: str
):
    script(app, "preflight", NotYetError(reason, "why code=cap state=succeeded"))
    await app.send(create_body())
    await app.pump()
    expected = {reason} if retry.WAITS[reason].held else set()
    assert told(caplog) == expected - FREED_WITHOUT_ONE


async def test_a_prune_that_found_its_target_elsewhere_tells_a_person(
    app: LocalApp, caplog: pytest.LogCaptureFixture
):
    await created(app)
    elsewhere = STORAGE.replace(GROUP, f"/subscriptions/{SUBSCRIPTION}/resourceGroups/other")
    endpoint = {"primaryEndpoints": {"blob": "https://orders.blob.core.windows.net/"}}
    app.world.remove(STORAGE)
    app.world.add_resource(elsewhere, {"properties": endpoint})
    await app.services.events.receive(deletion_event(STORAGE))
    await app.settle()
    assert told(caplog) == {"resource-moved"}
    [line] = [one for one in caplog.records if "code=resource-moved" in one.getMessage()]
    assert line.levelno == logging.WARNING
    assert "kind=prune state=succeeded needs_person=True" in line.getMessage()
    assert told(caplog, "step-failed") == set()


async def test_a_prune_that_found_a_living_linker_tells_a_person(
    app: LocalApp, caplog: pytest.LogCaptureFixture
):
    make_linker(app)
    await adopted(app)
    app.world.remove(STORAGE)
    await app.services.events.receive(deletion_event(STORAGE))
    await app.settle(seconds=4000)
    assert told(caplog) == {"linker-alive"}


async def test_a_prune_that_found_its_cause_alive_tells_nobody(
    app: LocalApp, caplog: pytest.LogCaptureFixture
):
    await created(app)
    await app.services.events.receive(deletion_event(STORAGE))
    await app.settle()
    assert "code=resource-alive" in caplog.text
    assert told(caplog) == set()
    ends = [one for one in caplog.records if one.getMessage().startswith("operation-ended")]
    assert [one.levelno for one in ends] == [logging.INFO, logging.INFO]


@pytest.mark.parametrize("code", ["stale-cause", "nothing-to-do", LINKED])
def test_what_leaves_nothing_to_do_tells_nobody(caplog: pytest.LogCaptureFixture, code: str):
    detail = "needs_person=True"
    traces.write_end(snapshot(state=OperationState.SUCCEEDED, code=code, detail=detail))
    assert caplog.records[0].levelno == logging.INFO
    assert told(caplog) == set()


def test_a_failure_is_told_by_the_other_alert_alone(caplog: pytest.LogCaptureFixture):
    traces.write_end(snapshot(state=OperationState.FAILED, code="cap", remedy="mend it"))
    assert (told(caplog), told(caplog, "step-failed")) == (set(), {"cap"})
