"""What becomes of events that come again, in bulk, in any order, or twice at once.

==  ===============================  ==  ===============================  ==  ==========================
 1  one event five times             10  a group's own and its children   11  a group that went half-way
19  events of years ago              23  a flood of unknown ids           --  two workers, a crash, poison
==  ===============================  ==  ===============================  ==  ==========================
"""

from __future__ import annotations

import json
import logging
import random
from pathlib import Path
from typing import Any

import pytest

from handlers import poison
from tests.fakes.aftermath import (
    NOTHING,
    identity_of,
    made,
    mark,
    outside_calls,
    prunes,
    tell,
    writes,
)
from tests.fakes.azure_events import dead_letter, event, notification
from tests.fakes.journal import Call
from tests.fakes.local_app import GROUP, STORAGE, SUBSCRIPTION, LocalApp, make_app

DATA = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/rg-data"
ACCOUNTS = f"{DATA}/providers/Microsoft.Storage/storageAccounts"
BLOB = {"properties": {"primaryEndpoints": {"blob": "https://x.blob.core.windows.net/"}}}


@pytest.fixture
def hasty(tmp_path: Path) -> LocalApp:
    """An app without a grace period."""
    return make_app(tmp_path, MOORING_PRUNE_GRACE_SECONDS="0")


async def connected_to(app: LocalApp, name: str, account_id: str) -> str:
    app.world.add_resource(account_id, BLOB)
    target = {"type": "storage-blob", "id": account_id}
    return await made(app, name, target=target, workload=name)


# 1
async def test_one_event_five_times_over_two_hours_is_one_prune_and_four_times_nothing(app: LocalApp):
    connection_id = await made(app)
    identity_id = await identity_of(app, connection_id)
    app.world.remove(identity_id)
    await tell(app, event(identity_id))
    await app.settle(seconds=1800)
    assert await app.state(connection_id) == "pruned"
    assert app.leftovers() == NOTHING
    for _ in range(4):
        since = mark(app)
        await tell(app, event(identity_id))
        await app.settle(seconds=1800)
        assert outside_calls(app, since) == {}
    assert len(await prunes(app, connection_id)) == 1


# 10
def _orders() -> dict[str, list[dict[str, Any]]]:
    own = [event(DATA, event_id="group")]
    ids = [f"{DATA}/providers/Microsoft.Network/virtualNetworks/v{number}" for number in range(299)]
    children = [event(one, event_id=f"c{number}") for number, one in enumerate([*ids, f"{ACCOUNTS}/one"])]
    mixed = [*own, *children, *own]
    random.Random(7).shuffle(mixed)  # noqa: S311 - an order, no secret
    return {
        "own last": children + own,
        "own first": own + children,
        "without its own": children,
        "without children": own,
        "mixed": mixed,
        "one batch": [children + own],  # type: ignore[list-item]
    }


@pytest.mark.parametrize("order", _orders())
async def test_a_group_with_three_hundred_children_is_one_prune_in_whatever_order_it_is_told(
    hasty: LocalApp, order: str
):
    connection_id = await connected_to(hasty, "one", f"{ACCOUNTS}/one")
    other = await made(hasty)
    hasty.world.remove(DATA)
    since = mark(hasty)
    await tell(hasty, *_orders()[order])
    await hasty.settle(seconds=3600)
    assert (await hasty.state(connection_id), await hasty.state(other)) == ("pruned", "configured")
    assert len(await prunes(hasty, connection_id)) == 1
    assert await prunes(hasty, other) == []
    counts = writes(hasty, since)
    assert counts == {
        "roles.delete": 1,
        "identities.delete_credential": 1,
        "clusters.delete": 2,
        "identities.delete": 1,
    }


# 11
async def test_of_a_group_that_went_half_way_only_what_is_proven_gone_is_pruned(hasty: LocalApp):
    gone = await connected_to(hasty, "one", f"{ACCOUNTS}/one")
    remade = await connected_to(hasty, "two", f"{ACCOUNTS}/two")
    hasty.world.remove(f"{ACCOUNTS}/one")
    failed = event(DATA, "Microsoft.Resources.ResourceDeleteFailure")
    children = [event(f"{ACCOUNTS}/{name}", event_id=name) for name in ("one", "two")]
    await tell(hasty, failed, *children)
    await hasty.settle(seconds=3600)
    assert (await hasty.state(gone), await hasty.state(remade)) == ("pruned", "configured")
    [ended] = await prunes(hasty, remade)
    assert (ended.state, ended.code) == ("succeeded", "resource-alive")


# 19
async def test_events_of_years_ago_are_asked_about_like_any_other_and_harm_nothing(app: LocalApp):
    connection_id = await made(app)
    before, since = app.leftovers(), mark(app)
    identity_id = await identity_of(app, connection_id)
    old = [event(one, event_id=one) | {"eventTime": "2019-03-01T00:00:00Z"} for one in (STORAGE, identity_id)]
    await tell(app, *old, dead_letter(event(STORAGE)))
    await app.settle()
    assert [one.code for one in await prunes(app, connection_id)] == ["resource-alive"] * 2
    assert (app.leftovers(), writes(app, since)) == (before, {})


# 23
async def test_a_flood_of_deletions_of_unknown_ids_costs_a_table_read_each_and_no_line_of_the_log(
    app: LocalApp, caplog: pytest.LogCaptureFixture
):
    await made(app)
    since = mark(app)
    ids = [f"{ACCOUNTS}/unknown{number}" for number in range(2000)]
    with caplog.at_level(logging.INFO):
        for one in ids[:1000]:
            assert await app.services.events.receive(json.dumps(event(one))) == ["prunes:0"]
        batch = [notification(one) for one in ids[1000:]]
        assert await app.services.events.receive(json.dumps(batch)) == ["prunes:0"] * 1000
    assert [call.name for call in app.journal.calls[since:]] == ["state.query"] * 2000
    assert caplog.records == []


# also worth a test
async def test_two_workers_on_one_event_and_on_each_of_its_steps_make_one_prune(hasty: LocalApp):
    connection_id = await made(hasty)
    hasty.world.remove(STORAGE)
    since = mark(hasty)
    announce = hasty.queue.announce

    async def twice(message: Any, *, delay_seconds: float = 0) -> None:
        await announce(message, delay_seconds=delay_seconds)
        await announce(message, delay_seconds=delay_seconds)

    hasty.queue.announce = twice  # type: ignore[method-assign]
    await tell(hasty, event(STORAGE), event(STORAGE))
    await hasty.settle(seconds=3600)
    assert await hasty.state(connection_id) == "pruned"
    assert len(await prunes(hasty, connection_id)) == 1
    assert writes(hasty, since)["clusters.delete"] == 2
    assert hasty.leftovers() == NOTHING


class Crash(BaseException):
    """The host dies."""


async def test_a_crash_after_the_delete_in_the_cluster_and_before_the_acknowledgement_loses_nothing(
    hasty: LocalApp,
):
    connection_id = await made(hasty)
    hasty.world.remove(STORAGE)
    left = [True]

    def dies(call: Call) -> BaseException | None:
        if call.name != "clusters.delete" or not left[0]:
            return None
        left[0] = False
        return Crash()

    hasty.journal.after = dies
    await tell(hasty, event(STORAGE))
    with pytest.raises(Crash):
        await hasty.settle(seconds=3600)
    hasty.journal.after = None
    hasty.clock.advance(200)  # the lease of the dead run
    await hasty.settle(seconds=3600)
    assert await hasty.state(connection_id) == "pruned"
    assert len(await prunes(hasty, connection_id)) == 1
    assert hasty.leftovers() == NOTHING


async def test_a_poison_queue_that_overflows_is_put_on_record_and_asks_azure_nothing(app: LocalApp):
    await made(app)
    since = mark(app)
    messages = [json.dumps(event(STORAGE, event_id=str(number % 100))) for number in range(300)]
    for message in messages:
        await poison.events_poison(app.services, message)
    day = f"{app.clock.now():%Y-%m-%d}"
    records = await app.services.requests.rejected(day)
    assert len(records) == 100, "the same message is the same record"
    assert {one.code for one in records} == {"event-crashed"}
    assert STORAGE not in str([one.detail for one in records])
    assert outside_calls(app, since) == {}


async def test_the_deletion_of_the_apps_own_queue_group_or_identity_prunes_nothing_that_lives(
    app: LocalApp, caplog: pytest.LogCaptureFixture
):
    connection_id = await made(app)
    before, since = app.leftovers(), mark(app)
    own = [
        f"{GROUP}/providers/Microsoft.Storage/storageAccounts/mooringstate",
        f"{GROUP}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/mooring",
        f"{GROUP}/providers/Microsoft.EventGrid/systemTopics/mooring",
    ]
    with caplog.at_level(logging.WARNING):
        await tell(app, *(event(one, event_id=one) for one in own))
        await tell(app, event(own[2], "Microsoft.EventGrid.SubscriptionDeletedEvent"))
        await app.settle()
    assert (await prunes(app, connection_id), app.leftovers()) == ([], before)
    assert outside_calls(app, since) == {}
    assert [one.message.split()[0] for one in caplog.records] == ["event-ignored"]
