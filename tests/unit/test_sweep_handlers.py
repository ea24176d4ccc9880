"""Sweeps by HTTP, queue and timer."""

import json
from datetime import timedelta

import pytest

from handlers.sweeps import slices_poison
from shared.sweeping.slices import DIED
from shared.sweeping.sweeps import SliceMessage, Sweeps, message_of
from tests.fakes.http_app import HttpApp
from tests.fakes.local_app import LocalApp
from tests.fakes.sweeps import begun, connected, pumped, result, slice_of, slices, swept


class Crash(BaseException):
    """The host dies."""


def _message(text: str) -> SliceMessage:
    return SliceMessage.model_validate_json(text)


async def test_the_queue_its_poison_and_the_timers_lead_to_the_same(app: LocalApp):
    import azure.functions as func

    http = HttpApp(app)
    await http.handlers["sweep"](None)
    current = await app.services.sweeping.sweeps.current()
    assert current is not None
    assert current.value.asked_by == "timer"
    first, *rest = app.queue.take("sweep-slices")
    for text in rest:
        await http.handlers["sweep_slices"](func.QueueMessage(id="1", body=text.encode()))
    await http.handlers["sweep_slices_poison"](first)
    found = await result(app, current.value.sweep_id)
    assert (found["state"], found["details"]) == ("done", {DIED: 1})
    await http.handlers["sweep_slices_poison"](first)
    await http.handlers["tend"](None)


async def test_a_poisoned_message_that_is_no_slice_is_refused_on_record(app: LocalApp):
    await slices_poison(app.services, "{}")
    [text] = app.queue.take("rejected")
    assert json.loads(text)["code"] == "not-a-slice"


async def test_a_poisoned_message_of_a_slice_that_somebody_works_on_changes_nothing(app: LocalApp):
    sweep_id = await begun(app)
    message = _message(message_of(await slice_of(app, sweep_id, "cluster")))
    app.journal.before = lambda call: Crash() if call.name == "clusters.describe" else None
    with pytest.raises(Crash):
        await app.services.sweeping.slices.run_one(message)
    app.journal.before = None
    assert await app.services.sweeping.slices.poisoned(message) == "stale"


async def test_http_begins_lists_and_shows_sweeps(app: LocalApp):
    http = HttpApp(app)
    await connected(app)
    status, body, headers = await http.call("post_sweep", body=b"{}")
    assert (status, body["outcome"]) == (202, "opened")
    assert headers["Location"].endswith(f"/api/sweeps/{body['sweepId']}")
    status, again, _ = await http.call("post_sweep", body=b"{}")
    assert (status, again) == (202, {"outcome": "attached", "sweepId": body["sweepId"]})
    status, shown, headers = await http.call("get_sweep", sweepId=body["sweepId"])
    assert (status, shown["state"], shown["open"]) == (200, "running", 3)
    assert headers["Retry-After"] == "2"
    await pumped(app)
    status, shown, headers = await http.call("get_sweep", sweepId=body["sweepId"])
    assert (shown["state"], shown["open"]) == ("done", 0)
    assert "Retry-After" not in headers
    assert shown["totals"]["connections"] == 1
    status, listed, _ = await http.call("list_sweeps")
    assert [one["id"] for one in listed["sweeps"]] == [body["sweepId"]]
    assert listed["truncated"] is False
    for unknown in ("20260101t000000-00000000", "x/y"):
        status, problem, _ = await http.call("get_sweep", sweepId=unknown)
        assert (status, problem["code"]) == (404, "not-found")


async def test_the_newest_sweeps_come_first_and_old_ones_can_be_forgotten(app: LocalApp):
    ids = []
    for _ in range(3):
        ids.append((await swept(app))["id"])
        app.clock.advance(3600)
    sweeps = Sweeps(app.store)
    since = app.clock.now() - timedelta(days=1)
    assert [one.sweep_id for one in await sweeps.newest(since=since, limit=2)] == [ids[2], ids[1]]
    assert await sweeps.forget_before(app.clock.now() - timedelta(seconds=3601), limit=1) == 4
    assert [one.sweep_id for one in await sweeps.newest(since=since, limit=9)] == [ids[2], ids[1]]
    assert await slices(app, ids[0]) == []
