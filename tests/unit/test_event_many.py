"""A deletion that concerns hundreds of connections: so many a message, and all of them in the end."""

from __future__ import annotations

import json
from collections import Counter

import pytest

from shared import naming
from shared.errors import PermanentError
from shared.event_intake import PRUNES_PER_MESSAGE
from shared.models import Connection, ConnectionId, ConnectionSpec, ConnectionState
from shared.records import Dependent
from tests.fakes.journal import Call
from tests.fakes.local_app import CLUSTER, GROUP, STORAGE, VAULT, LocalApp, deletion_event

MANY = 2 * PRUNES_PER_MESSAGE + 50


async def known(app: LocalApp, number: int, *, target_id: str = STORAGE, prefix: str = "c") -> set[str]:
    """Connections on record that rely on a target; returns their ids."""
    ids: set[str] = set()
    for index in range(number):
        name = f"{prefix}{index}"
        spec = ConnectionSpec(
            name=name,
            cluster_id=CLUSTER,
            namespace="shop",
            workload=name,
            target_type="storage-blob",
            target_id=target_id,
        )
        connection = Connection(
            connection_id=naming.connection_id(CLUSTER, "shop", name),
            spec=spec,
            body_hash=naming.spec_hash(spec),
            state=ConnectionState.CONFIGURED,
            created_at=app.clock.now(),
        )
        await app.services.state.observe(connection, [], etag="")
        await app.services.events.dependents.add(
            Dependent(
                resource_id=target_id, kind="target", connection_id=connection.connection_id, generation=1
            )
        )
        ids.add(connection.connection_id)
    return ids


async def opened(app: LocalApp) -> Counter[str]:
    """How many prunes each connection has that has any."""
    found = [row.partition for row in app.store.rows("connections") if row.columns.get("kind") == "prune"]
    return Counter(found)


async def pumped(app: LocalApp) -> list[str]:
    """Take in what is on the queue until nothing is; a word for each message."""
    words: list[str] = []
    while texts := app.queue.take("resource-events"):
        for text in texts:
            words += await app.services.events.receive(text)
    return words


async def test_one_message_opens_so_many_prunes_and_the_rest_goes_on_in_others(app: LocalApp):
    ids = await known(app, MANY)
    app.queue.put("resource-events", deletion_event(GROUP))
    per = PRUNES_PER_MESSAGE
    assert await pumped(app) == [f"prunes:{per}+{per + 50}", f"prunes:{per}+50", "prunes:50"]
    assert await opened(app) == Counter(ids)
    [first, last] = [(await app.operations(one))[-1].cause for one in (min(ids), max(ids))]
    assert first is not None
    assert first == last, "the same event, whichever message"
    assert (first.event_id, first.event_time) == ("e-1", "2026-11-22T10:00:00.0000000Z")


async def test_as_many_as_one_message_takes_need_no_other(app: LocalApp):
    await known(app, PRUNES_PER_MESSAGE)
    assert await app.services.events.receive(deletion_event(STORAGE)) == [f"prunes:{PRUNES_PER_MESSAGE}"]
    assert app.queue.take("resource-events") == []


@pytest.mark.parametrize(
    ("name", "number"), [("state.transact", 300), ("queue.forward_event", 1), ("state.transact", 1500)]
)
async def test_a_crash_in_between_loses_none_and_opens_none_twice(app: LocalApp, name: str, number: int):
    ids = await known(app, MANY)
    seen = [0]

    def crash(call: Call) -> BaseException | None:
        seen[0] += call.name == name
        return RuntimeError("crash") if call.name == name and seen[0] == number else None

    app.journal.after = crash
    messages, crashes = [deletion_event(STORAGE)], 0
    while messages:
        try:
            await app.services.events.receive(messages[0])
        except RuntimeError:
            crashes += 1
            continue  # not acknowledged: it is delivered again
        messages = [*messages[1:], *app.queue.take("resource-events")]
    assert crashes == 1
    assert await opened(app) == Counter(ids)


async def test_an_event_told_again_while_it_goes_on_opens_nothing_twice(app: LocalApp):
    ids = await known(app, PRUNES_PER_MESSAGE + 10)
    for _ in range(2):
        await app.services.events.receive(deletion_event(STORAGE))
    assert await pumped(app) == ["prunes:10", "prunes:10"]
    assert await opened(app) == Counter(ids)


async def test_the_events_of_one_body_share_its_room(app: LocalApp):
    ids = await known(app, 150) | await known(app, 150, target_id=VAULT, prefix="v")
    ids |= await known(app, 3, target_id=f"{STORAGE}2", prefix="w")
    body = [json.loads(deletion_event(one, one[-5:])) for one in (STORAGE, VAULT, f"{STORAGE}2", GROUP + "9")]
    app.queue.put("resource-events", json.dumps(body))
    words = await pumped(app)
    assert words == ["prunes:150", "prunes:50+100", "prunes:0+3", "prunes:0", "prunes:100", "prunes:3"]
    assert await opened(app) == Counter(ids)


async def test_one_that_cannot_be_opened_keeps_none_behind_it_from_being(app: LocalApp):
    ids = await known(app, PRUNES_PER_MESSAGE + 10)
    bad = ConnectionId(sorted(ids)[7])

    def refused(call: Call) -> BaseException | None:
        wanted = call.name == "state.get" and call.arguments[1:] == (bad, "a|connection")
        return PermanentError("table-missing") if wanted else None

    app.journal.before = refused
    app.queue.put("resource-events", deletion_event(STORAGE))
    assert await pumped(app) == ["rejected", "prunes:10"]
    assert await opened(app) == Counter(ids - {bad})
    [envelope] = app.queue.take("rejected")
    assert json.loads(envelope)["reason"] == "table-missing"


async def test_a_note_about_a_subscription_that_is_not_ours_asks_nothing(app: LocalApp):
    foreign = "/subscriptions/99999999-1111-4111-8111-111111111111/resourceGroups/rg"
    note = {"goOn": {"resourceId": foreign, "eventId": "e", "eventTime": "", "after": ""}}
    assert await app.services.events.receive(json.dumps(note)) == ["go-on:refused"]
    assert app.journal.names() == []


@pytest.mark.parametrize(
    "change",
    [{"after": "../x"}, {"after": 7}, {"eventId": None}, {"resourceId": "/x" * 1025}, {"eventTime": []}],
)
async def test_a_note_that_is_not_sound_is_no_note(app: LocalApp, change: dict[str, object]):
    note = {"resourceId": STORAGE, "eventId": "e", "eventTime": "", "after": "", **change}
    assert await app.services.events.receive(json.dumps({"goOn": note})) == ["rejected"]
    assert await app.services.events.receive(json.dumps({"goOff": note})) == ["rejected"]
    assert "state.query" not in app.journal.names()
