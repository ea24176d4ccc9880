"""What of an event is handed on or kept: never who asked for the deletion, and never more than fits."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from handlers import poison
from shared import event_notes, events
from shared.errors import PermanentError, StateConflictError, TransientError
from shared.event_copies import MESSAGE_BYTES, trimmed
from shared.event_notes import GoOn, LookAgain
from shared.parking import COPIES, essence
from tests.fakes.aftermath import NOTHING, made, prunes
from tests.fakes.azure_events import PRIVATE, WRITTEN, cloud, dead_letter, event, notification
from tests.fakes.http_app import HttpApp
from tests.fakes.journal import Call
from tests.fakes.linker_events import LINKER
from tests.fakes.local_app import STORAGE, SUBSCRIPTION, LocalApp, make_app

QUEUE_BYTES = 64 * 1024
LARGE = {"claims": {"groups": "g" * QUEUE_BYTES, "upn": PRIVATE}}


async def webhook(app: LocalApp, body: Any) -> list[str]:
    """What a webhook's event becomes on the queue."""
    text = body if isinstance(body, str) else json.dumps(body)
    await HttpApp(app).handlers["resource_events_webhook"](text)
    return app.queue.take("resource-events")


def parked(app: LocalApp) -> list[tuple[str, str]]:
    found = [json.loads(text) for text in app.queue.take("rejected")]
    return [(one["kind"], one.get("reason") or one["code"]) for one in found]


# --- the webhook ---------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [event, cloud, notification])
async def test_a_webhooks_event_comes_in_without_who_asked_for_the_deletion(app: LocalApp, make: Any):
    [text] = await webhook(app, make(STORAGE))
    assert PRIVATE not in text
    assert "192.0.2.1" not in text
    found = json.loads(text)
    assert {name: part for name, part in found.items() if name != "data"} == {
        name: part for name, part in make(STORAGE).items() if name != "data"
    }
    assert await app.services.events.receive(text) == ["prunes:0"]


async def test_an_event_above_the_queues_limit_comes_in_and_leads_to_its_prune(tmp_path: Path):
    app = make_app(tmp_path, MOORING_PRUNE_GRACE_SECONDS="0")
    connection_id = await made(app)
    app.world.remove(STORAGE)
    large = event(STORAGE, **LARGE)
    assert len(json.dumps(large)) > QUEUE_BYTES
    [text] = await webhook(app, large)
    assert len(text) < 2000
    app.queue.put("resource-events", text)
    await app.settle(seconds=3600)
    assert (await app.state(connection_id), app.leftovers()) == ("pruned", NOTHING)


async def test_an_event_that_is_too_large_outside_of_its_data_comes_in_as_what_is_read_of_it(app: LocalApp):
    large = {**event(STORAGE), "more": "x" * QUEUE_BYTES}
    [text] = await webhook(app, large)
    assert set(json.loads(text)) == {"id", "eventType", "eventTime", "subject", "topic"}
    assert await app.services.events.receive(text) == ["prunes:0"]
    assert parked(app) == []


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ({**event("no id"), "more": "x" * QUEUE_BYTES}, "subject"),
        ("nonsense", "not-json"),
        ("7", "not-an-object"),
        ("[" * 100 + "]" * 100, "too-deep"),
        (json.dumps(event(STORAGE)).replace('"subject"', '"subject": "x", "subject"'), "duplicate-key"),
    ],
)
async def test_what_cannot_be_handed_on_and_is_not_believed_is_parked_and_not_delivered_for_ever(
    app: LocalApp, body: Any, reason: str
):
    assert await webhook(app, body) == []
    assert parked(app) == [("event-rejected", reason)]


async def test_what_cannot_be_handed_on_and_concerns_nobody_is_dropped(app: LocalApp):
    large = {**event(STORAGE, WRITTEN), "more": "x" * QUEUE_BYTES}
    assert await webhook(app, large) == []
    assert parked(app) == []


async def test_a_dead_letter_that_comes_by_the_webhook_is_still_one(app: LocalApp):
    [text] = await webhook(app, dead_letter(event(STORAGE)))
    assert await app.services.events.receive(text) == ["ignored"]


async def test_a_webhook_whose_queue_is_away_says_so_and_is_called_again(app: LocalApp):
    def away(call: Call) -> BaseException | None:
        return TransientError("storage-busy") if call.name == "queue.forward_event" else None

    app.journal.before = away
    with pytest.raises(TransientError):
        await webhook(app, event(STORAGE))


async def test_a_webhooks_event_with_binary_data_comes_in_without_them(app: LocalApp):
    data = {"resourceUri": STORAGE, "claims": {"upn": PRIVATE}}
    binary = base64.b64encode(json.dumps(data).encode()).decode()
    [text] = await webhook(app, {**cloud(STORAGE), "data": None, "data_base64": binary})
    assert binary not in text
    assert json.loads(text)["subject"] == STORAGE.lower()
    assert await app.services.events.receive(text) == ["prunes:0"]


@pytest.mark.parametrize("value", [None, [], "x", 7, {"data_base64": "e30="}])
def test_what_is_no_event_has_no_copy(value: Any):
    assert trimmed(value) == ""


def test_a_copy_fits_a_queue_message_to_the_byte():
    bare = {"id": ""}
    room = MESSAGE_BYTES - len(json.dumps(bare, separators=(",", ":")))
    assert len(trimmed({"id": "x" * room})) == MESSAGE_BYTES
    assert trimmed({"id": "x" * (room + 1)}) == ""


# --- what no run could take in -------------------------------------------------------------------


def read(text: str) -> events.EventDecision:
    [decision] = events.parse(
        text, subscriptions=None, watched=frozenset({"microsoft.storage/storageaccounts"})
    )
    return decision


@pytest.mark.parametrize("make", [event, cloud, notification])
def test_an_event_made_again_of_what_was_read_leads_to_the_same_decision(make: Any):
    first = read(json.dumps(make(STORAGE.upper().replace("/SUBSCRIPTIONS", "/subscriptions"))))
    again = read(essence(first))
    for field in ("decision", "reason", "resource_id", "resource_type", "event_id", "event_time"):
        assert getattr(again, field) == getattr(first, field)
    assert again.decision is events.Decision.CANDIDATE


def table_away(call: Call) -> BaseException | None:
    return TransientError("table-busy") if call.name.startswith("state.") else None


async def test_events_of_an_outage_are_kept_without_claims_and_replayed_after_it(tmp_path: Path):
    app = make_app(tmp_path, MOORING_PRUNE_GRACE_SECONDS="0")
    connection_id = await made(app)
    app.world.remove(STORAGE)
    message = json.dumps([event(STORAGE), event(STORAGE, WRITTEN, event_id="e-2")])
    app.journal.before = table_away
    with pytest.raises(TransientError):
        await app.services.events.receive(message)
    with pytest.raises(TransientError):
        await poison.events_poison(app.services, message)
    app.journal.before = None
    [(name, content)] = app.dead_letters.blobs.items()
    assert name.startswith("crashed/")
    assert PRIVATE.encode() not in content
    assert len(json.loads(content)) == 1, "what leads to nothing is not kept"
    status, done, _ = await HttpApp(app).call("replay_dead_letters")
    assert (status, done) == (200, {"read": 1, "replayed": 1, "rejected": 0, "left": 0})
    await app.settle(seconds=3600)
    assert (await app.state(connection_id), app.leftovers()) == ("pruned", NOTHING)
    assert len(await prunes(app, connection_id)) == 1


@pytest.mark.parametrize(
    "note", [LookAgain(LINKER, 7), GoOn(STORAGE, "e-1", "2026-01-05T08:00:00Z", after="a" * 24)]
)
async def test_a_note_of_ours_is_kept_and_replayed_as_it_was(app: LocalApp, note: LookAgain | GoOn):
    await poison.events_poison(app.services, note.text())
    await HttpApp(app).call("replay_dead_letters")
    [text] = app.queue.take("resource-events")
    assert event_notes.read(text) == note


@pytest.mark.parametrize(
    "body",
    [
        "nonsense",
        json.dumps({"password": PRIVATE}),
        json.dumps(event(f"/subscriptions/{SUBSCRIPTION[:-1]}9/resourceGroups/g")),
        json.dumps(event(STORAGE, WRITTEN)),
    ],
)
async def test_what_is_not_believed_or_leads_to_nothing_is_refused_on_record_and_not_kept(
    app: LocalApp, body: str
):
    await poison.events_poison(app.services, body)
    assert app.dead_letters.blobs == {}
    assert parked(app) == [("request-rejected", "event-crashed")]


@pytest.mark.parametrize("container", [True, False])
async def test_where_nothing_can_be_kept_a_person_is_told_what_was_deleted(
    tmp_path: Path, container: bool, caplog: pytest.LogCaptureFixture
):
    app = make_app(tmp_path, **({} if container else {"MOORING_DEAD_LETTER_CONTAINER": ""}))

    def missing(call: Call) -> BaseException | None:
        return PermanentError("container-missing") if call.name == "dead_letters.keep" else None

    app.journal.before = missing
    batch = [event(STORAGE, event_id=str(number)) for number in range(COPIES + 4)]
    await poison.events_poison(app.services, json.dumps(batch))
    texts = app.queue.take("rejected")
    assert len(texts) == COPIES + 1
    first = json.loads(texts[0])
    assert (first["reason"], first["subject"], first["eventId"]) == ("event-crashed", STORAGE, "0")
    assert json.loads(texts[-1])["code"] == "event-crashed"
    assert PRIVATE not in str(texts)
    assert ("event-not-kept" in caplog.text) is container


async def test_a_container_that_is_away_keeps_no_event_off_the_record(app: LocalApp):
    def away(call: Call) -> BaseException | None:
        return StateConflictError() if call.name == "dead_letters.keep" else None

    app.journal.before = away
    with pytest.raises(TransientError):
        await poison.events_poison(app.services, json.dumps(event(STORAGE)))
    assert parked(app) == [("request-rejected", "event-crashed")]
