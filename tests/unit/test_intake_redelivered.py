"""A request that is delivered again, or twice at once, while the policy changes: one true record."""

from __future__ import annotations

from typing import Any

import pytest

from shared import naming
from shared.errors import RefusedError
from shared.records import RequestRecord
from tests.fakes.journal import Call
from tests.fakes.local_app import CLUSTER, POLICY, LocalApp, create_body

ID = naming.connection_id(CLUSTER, "shop", "orders-blob")
DENIES_ALL = "version = 1\n"
KEY = "id:r-1"


class Crash(BaseException):
    """The host dies."""


def request(**changes: Any) -> dict[str, Any]:
    return {**create_body(**changes), "requestId": "r-1"}


async def cut_off_before_its_record(app: LocalApp) -> None:
    def dies(call: Call) -> BaseException | None:
        return Crash() if call.name == "state.transact" and call.arguments[0] == "requests" else None

    app.journal.before = dies
    with pytest.raises(Crash):
        await app.send(request())
    app.journal.before = None


async def record(app: LocalApp) -> RequestRecord:
    found = await app.services.requests.find(KEY)
    assert found is not None
    return found


async def refusals(app: LocalApp) -> list[RequestRecord]:
    return list(await app.services.requests.rejected(f"{app.clock.now():%Y-%m-%d}"))


async def test_a_request_whose_operation_is_under_way_is_not_refused_by_a_policy_that_came_later(
    app: LocalApp,
):
    await cut_off_before_its_record(app)
    app.policy_file.write_text(DENIES_ALL)
    again = await app.send(request())
    [operation] = await app.operations(ID)
    assert (again.outcome, again.operation_id) == ("opened", operation.operation_id)
    assert (await record(app), await refusals(app)) == (again, [])
    assert app.queue.take("rejected") == []
    await app.settle()
    # It was not begun, so it makes nothing; its end is its operation's own, under the id that was told.
    [operation] = await app.operations(ID)
    assert (operation.state, operation.code) == ("failed", "policy-denied")


async def test_a_refusal_that_was_recorded_of_an_operation_under_way_is_set_right_by_a_repeat(app: LocalApp):
    await cut_off_before_its_record(app)
    app.policy_file.write_text(DENIES_ALL)
    denied = RefusedError("policy-denied")
    await app.services.intake.refuse(denied, key=KEY, source="queue", request_id="r-1")
    again = await app.send(request())
    assert (again.outcome, (await record(app)).outcome) == ("opened", "opened")


async def test_another_wish_under_the_same_key_is_still_judged(app: LocalApp):
    await cut_off_before_its_record(app)
    app.policy_file.write_text(DENIES_ALL)
    other = await app.send(request(workload="other"))
    assert (other.outcome, other.code) == ("rejected", "policy-denied")


async def test_a_refusal_never_takes_the_place_of_what_another_delivery_has_decided(app: LocalApp):
    app.policy_file.write_text(DENIES_ALL)
    earlier = await app.send(request())
    app.policy_file.write_text(POLICY)
    opened = await app.send(request())
    assert (earlier.outcome, opened.outcome) == ("rejected", "opened")
    app.queue.take("rejected")
    before = await refusals(app)
    app.clock.advance(60)
    for instead_of in (earlier, None):
        # A delivery that began before the decision, and judged by what the policy was then.
        late = await app.services.intake.refuse(
            RefusedError("policy-denied"), key=KEY, source="queue", instead_of=instead_of
        )
        assert late == opened
    assert (await record(app), await refusals(app)) == (opened, before)
    assert app.queue.take("rejected") == [], "nothing is told as refused that goes on"


async def test_a_decision_takes_the_place_of_a_refusal_that_came_first(app: LocalApp):
    stale = RequestRecord(key=KEY, outcome="rejected", code="policy-denied", received_at=app.clock.now())
    await app.services.requests.remember(stale)
    opened = RequestRecord(key=KEY, outcome="opened", operation_id="o", received_at=app.clock.now())
    assert await app.services.requests.remember(opened) == opened
    assert await record(app) == opened


async def test_of_two_first_refusals_the_first_stays_and_of_a_repeat_the_later_one(app: LocalApp):
    first, second = (
        RequestRecord(key=KEY, outcome="rejected", code=code, received_at=app.clock.now())
        for code in ("policy-denied", "policy-unreadable")
    )
    log = app.services.requests
    assert await log.remember(first) == first
    assert await log.remember(second) == first
    assert await log.remember(second, instead_of=first) == second
    assert await record(app) == second


async def test_a_row_that_moves_between_look_and_write_is_looked_at_again(app: LocalApp):
    log, now = app.services.requests, app.clock.now()
    first = await log.remember(RequestRecord(key=KEY, outcome="rejected", code="a", received_at=now))
    opened = RequestRecord(key=KEY, outcome="opened", operation_id="o", received_at=now)
    inner, left = app.store.get, [True]

    async def moved(table: str, partition: str, key: str) -> Any:
        row = await inner(table, partition, key)
        if left[0]:
            left[0] = False
            await log.remember(opened, instead_of=first)
        return row

    app.store.get = moved  # type: ignore[method-assign]
    late = RequestRecord(key=KEY, outcome="rejected", code="b", received_at=now)
    assert await log.remember(late, instead_of=first) == opened
    assert await record(app) == opened
