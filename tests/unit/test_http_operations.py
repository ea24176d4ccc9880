"""Operations and refusals over HTTP."""

from pathlib import Path

import pytest

from handlers import http_operations
from shared.errors import TransientError
from tests.fakes.held_prunes import held_by_cap
from tests.fakes.http_app import HttpApp
from tests.fakes.local_app import LocalApp, create_body
from tests.unit.test_handlers import created


@pytest.fixture
def http(app: LocalApp) -> HttpApp:
    return HttpApp(app)


# --- operations ----------------------------------------------------------------------------------


async def test_open_operations_are_listed_until_they_end(app: LocalApp, http: HttpApp):
    await app.send({**create_body(), "requestId": "r-1"})
    [shown] = await http.operations()
    assert (shown["requestId"], shown["kind"], shown["state"]) == ("r-1", "create", "running")
    await app.settle()
    assert await http.operations() == []
    [found] = await http.operations(requestId="r-1")
    assert (found["id"], found["outcome"], found["state"]) == (shown["id"], "opened", "succeeded")


async def test_an_operation_that_was_noted_and_never_opened_is_not_listed(app: LocalApp, http: HttpApp):
    app.journal.after = lambda call: (
        TransientError("x") if call.arguments[:1] == ("openoperations",) else None
    )
    with pytest.raises(TransientError):
        await app.send(create_body())
    app.journal.after = None
    assert len(app.store.rows("openoperations")) == 1
    assert await http.operations() == []


async def test_the_open_operations_are_listed_up_to_a_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    app, held = await held_by_cap(tmp_path)
    _, body, _ = await HttpApp(app).call("find_operations")
    assert ([one["id"] for one in body["operations"]], body["truncated"]) == ([held[0].operation_id], False)
    monkeypatch.setattr(http_operations, "LIST_LIMIT", 0)
    _, body, _ = await HttpApp(app).call("find_operations")
    assert (body["operations"], body["truncated"]) == ([], True)


async def test_an_unknown_request_is_not_found(http: HttpApp):
    status, problem, _ = await http.call("find_operations", params={"requestId": "x" * 500})
    assert (status, problem["code"]) == (404, "not-found")
    assert len(problem["detail"]) < 128


async def test_refusals_are_listed_by_day_and_a_day_is_a_date(app: LocalApp, http: HttpApp):
    await app.send("nonsense")
    today = f"{app.clock.now():%Y-%m-%d}"
    assert len(await http.operations(state="rejected", day=today)) == 1
    assert await http.operations(state="rejected", day="2020-01-01") == []
    status, problem, _ = await http.call("find_operations", params={"state": "rejected", "day": "today"})
    assert (status, problem["code"], problem["field"]) == (400, "invalid-day", "day")


async def test_a_request_that_needed_nothing_points_to_the_operation_that_did_it(
    app: LocalApp, http: HttpApp
):
    await created(app)
    await app.send({**create_body(), "requestId": "again"}, message_id="m-2")
    [found] = await http.operations(requestId="again")
    assert (found["outcome"], found["state"], found["kind"]) == ("unchanged", "succeeded", "create")
