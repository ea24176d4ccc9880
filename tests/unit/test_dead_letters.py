"""Replaying what Event Grid could not deliver: bounded, crash-safe, and nothing is thrown away."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from shared.dead_letters import BLOB_BYTES, BLOBS_PER_CALL, EVENTS_PER_CALL, unwrapped
from shared.errors import PermanentError, TransientError
from shared.event_copies import MESSAGE_BYTES
from shared.settings import Settings
from tests.fakes.aftermath import NOTHING, made, prunes
from tests.fakes.azure_events import PRIVATE, cloud, dead_letter, event, notification
from tests.fakes.http_app import HttpApp
from tests.fakes.journal import Call
from tests.fakes.local_app import STORAGE, LocalApp, make_app


def put(app: LocalApp, name: str, *wrapped: Any) -> None:
    app.dead_letters.blobs[name] = json.dumps(list(wrapped)).encode()


async def replay(app: LocalApp) -> dict[str, int]:
    status, body, _ = await HttpApp(app).call("replay_dead_letters")
    assert status == 200, body
    return dict(body)


async def test_undelivered_events_are_replayed_and_lead_to_the_prune_they_would_have_led_to(tmp_path: Path):
    app = make_app(tmp_path, MOORING_PRUNE_GRACE_SECONDS="0")
    connection_id = await made(app)
    app.world.remove(STORAGE)
    put(app, "a.json", dead_letter(event(STORAGE)), dead_letter(cloud(STORAGE), lower=True))
    assert await replay(app) == {"read": 1, "replayed": 2, "rejected": 0, "left": 0}
    assert app.dead_letters.blobs == {}
    await app.settle(seconds=3600)
    assert (await app.state(connection_id), app.leftovers()) == ("pruned", NOTHING)
    assert len(await prunes(app, connection_id)) == 1


@pytest.mark.parametrize("make", [event, cloud, notification])
def test_the_wrapper_is_taken_off_and_what_is_private_stays_behind(make: Any):
    plain = make(STORAGE)
    found = json.loads(unwrapped(dead_letter(plain, lower=make is cloud)))
    assert {name: part for name, part in found.items() if name != "data"} == {
        name: part for name, part in plain.items() if name != "data"
    }
    private = {"authorization", "claims", "httpRequest"}
    assert found["data"] == {name: part for name, part in plain["data"].items() if name not in private}
    assert PRIVATE not in json.dumps(found)


def test_an_event_without_data_and_one_that_was_never_wrapped_are_taken_as_they_are():
    bare = {name: part for name, part in event(STORAGE).items() if name != "data"}
    assert json.loads(unwrapped(dead_letter(bare))) == bare
    assert json.loads(unwrapped(bare)) == bare


def test_an_event_that_was_too_large_for_the_queue_is_cut_down_to_what_is_read_of_it():
    large = notification(STORAGE, properties={"x": "y" * MESSAGE_BYTES})
    assert json.loads(unwrapped(large))["data"] == {
        "resourceInfo": {"id": STORAGE, "type": "microsoft.storage/storageaccounts"}
    }
    other = event(STORAGE, extra="y" * MESSAGE_BYTES, tenantId="t")
    assert set(json.loads(unwrapped(other))["data"]) == {"resourceUri", "subscriptionId", "tenantId"}
    assert unwrapped({**event(STORAGE), "extra": "y" * MESSAGE_BYTES}) == ""


async def test_what_cannot_be_read_is_set_aside_whole_after_the_good_ones_were_queued(app: LocalApp):
    twice = json.dumps(dead_letter(event(STORAGE))).replace(
        '"resourceUri"', '"resourceUri": "x", "resourceUri"'
    )
    app.dead_letters.blobs["bad.json"] = b"nonsense"
    app.dead_letters.blobs["mixed.json"] = f"[{json.dumps(event(STORAGE))}, 7, {twice}]".encode()
    put(app, "single.json", dead_letter(event(STORAGE)))
    mixed = app.dead_letters.blobs["mixed.json"]
    assert await replay(app) == {"read": 3, "replayed": 2, "rejected": 3, "left": 0}
    assert app.dead_letters.blobs == {"set-aside/bad.json": b"nonsense", "set-aside/mixed.json": mixed}
    assert len(app.queue.take("resource-events")) == 2
    assert await replay(app) == {"read": 0, "replayed": 0, "rejected": 0, "left": 0}


async def test_a_single_event_that_is_no_array_is_replayed_too(app: LocalApp):
    app.dead_letters.blobs["one.json"] = json.dumps(dead_letter(event(STORAGE))).encode()
    assert (await replay(app))["replayed"] == 1


async def test_a_blob_beyond_the_limit_is_set_aside_unread_and_told_once(
    app: LocalApp, caplog: pytest.LogCaptureFixture
):
    app.dead_letters.blobs["huge.json"] = b" " * (BLOB_BYTES + 1)
    put(app, "later.json", dead_letter(event(STORAGE)))
    assert await replay(app) == {"read": 1, "replayed": 1, "rejected": 1, "left": 0}
    assert list(app.dead_letters.blobs) == ["set-aside/huge.json"]
    assert app.journal.names().count("dead_letters.read") == 1
    assert await replay(app) == {"read": 0, "replayed": 0, "rejected": 0, "left": 0}
    told = [one for one in caplog.records if one.message.startswith("dead-letter-rejected")]
    assert [(one.blob, one.reason) for one in told] == [("huge.json", "message-too-large")]  # type: ignore[attr-defined]


async def test_a_call_is_bounded_and_says_what_is_left_for_the_next(app: LocalApp):
    full = [dead_letter(event(STORAGE, event_id=str(number))) for number in range(EVENTS_PER_CALL)]
    put(app, "a.json", *full)
    put(app, "b.json", full[0])
    assert await replay(app) == {"read": 1, "replayed": EVENTS_PER_CALL, "rejected": 0, "left": 1}
    assert await replay(app) == {"read": 1, "replayed": 1, "rejected": 0, "left": 0}
    for number in range(BLOBS_PER_CALL + 3):
        put(app, f"{number}.json")
    assert await replay(app) == {"read": BLOBS_PER_CALL, "replayed": 0, "rejected": 0, "left": 3}


async def test_a_blob_that_another_call_took_meanwhile_is_passed_over(app: LocalApp):
    put(app, "a.json", dead_letter(event(STORAGE)))

    def takes(call: Call) -> None:
        if call.name == "dead_letters.read":
            app.dead_letters.blobs.clear()

    app.journal.before = takes
    assert await replay(app) == {"read": 0, "replayed": 0, "rejected": 0, "left": 0}


async def test_a_fault_before_all_are_queued_leaves_the_blob_for_the_next_call(app: LocalApp):
    put(app, "a.json", *(dead_letter(event(STORAGE, event_id=str(number))) for number in range(3)))
    left = [2]

    def busy(call: Call) -> TransientError | None:
        left[0] -= call.name == "queue.forward_event"
        return TransientError("storage-busy") if left[0] < 0 else None

    app.journal.before = busy
    status, body, headers = await HttpApp(app).call("replay_dead_letters")
    assert (status, body["code"], headers["Retry-After"]) == (503, "storage-busy", "2")
    assert list(app.dead_letters.blobs) == ["a.json"]
    app.journal.before = None
    assert (await replay(app))["replayed"] == 3
    assert len(app.queue.take("resource-events")) == 5, "two of them twice, which is harmless"


async def test_without_a_container_the_route_says_how_to_turn_it_on(tmp_path: Path):
    app = make_app(tmp_path, MOORING_DEAD_LETTER_CONTAINER="")
    status, body, _ = await HttpApp(app).call("replay_dead_letters")
    assert (status, body["code"]) == (409, "dead-letters-off")
    assert "MOORING_DEAD_LETTER_CONTAINER" in body["remedy"]
    assert "AzureWebJobsStorage__blobServiceUri" in body["remedy"]


BASE = {
    "AzureWebJobsStorage__queueServiceUri": "https://q.example",
    "AzureWebJobsStorage__tableServiceUri": "https://t.example",
    "AZURE_TENANT_ID": "33333333-3333-4333-8333-333333333333",
    "MOORING_SUBSCRIPTION_IDS": "11111111-1111-4111-8111-111111111111",
    "MOORING_IDENTITY_RESOURCE_GROUP_ID": "/subscriptions/s/resourceGroups/g",
}


@pytest.mark.parametrize("name", ["Dead-Letters", "a", "a--b", "-a-", "a/b", "x" * 64])
def test_a_name_that_no_container_can_have_is_a_bad_setting(name: str):
    with pytest.raises(PermanentError, match="MOORING_DEAD_LETTER_CONTAINER: must be"):
        Settings.from_environment({**BASE, "MOORING_DEAD_LETTER_CONTAINER": name})


def test_a_container_needs_the_blob_endpoint_of_its_account():
    with pytest.raises(PermanentError, match="blobServiceUri: is needed"):
        Settings.from_environment({**BASE, "MOORING_DEAD_LETTER_CONTAINER": "dead-letters"})
    found = Settings.from_environment(
        {
            **BASE,
            "MOORING_DEAD_LETTER_CONTAINER": "dead-letters",
            "AzureWebJobsStorage__blobServiceUri": "https://b.example/",
        }
    )
    assert (found.blob_endpoint, found.dead_letter_container) == ("https://b.example", "dead-letters")
