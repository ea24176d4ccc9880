"""What is put aside of events that are not believed, and what is said of their times."""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime

import pytest

from shared import event_time, events
from shared.catalogue import catalogue
from shared.parking import COPIES
from tests.fakes.local_app import CLUSTER, STORAGE, LocalApp, create_body, deletion_event

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "warning"),
    [
        ("2026-11-22T12:00:00Z", ""),
        ("2026-11-22T12:00:00.1234567Z", ""),
        ("2026-11-22T12:00:00.123456789+00:00", ""),
        ("2026-11-22T05:00:00-07:00", ""),
        ("2026-11-22T12:00:00", ""),
        ("2026-11-15T12:00:00Z", ""),
        ("2026-11-22T12:05:00Z", ""),
        ("2026-11-15T11:59:59Z", "event-old"),
        ("0001-01-01T00:00:00Z", "event-old"),
        ("0001-01-01T00:00:00+14:00", "event-old"),
        ("2026-11-22T12:05:01Z", "event-from-the-future"),
        ("9999-12-31T23:59:59-12:00", "event-from-the-future"),
        ("", "event-time-unreadable"),
        ("yesterday", "event-time-unreadable"),
    ],
)
def test_an_odd_time_is_worth_a_warning_of_its_kind(text: str, warning: str):
    assert event_time.warning(text, NOW) == warning


async def test_a_mismatch_is_parked_with_a_warning_and_without_anything_private(
    app: LocalApp, caplog: pytest.LogCaptureFixture
):
    forged = json.loads(deletion_event(STORAGE))
    forged["data"] |= {"resourceUri": CLUSTER, "claims": {"upn": "someone@example.org"}}
    forged["eventTime"] = "2999-01-01T00:00:00Z"
    with caplog.at_level(logging.WARNING):
        assert await app.services.events.receive(json.dumps(forged)) == ["rejected"]
    [text] = app.queue.take("rejected")
    assert json.loads(text) == {
        "kind": "event-rejected",
        "decision": "rejected",
        "reason": "subject-mismatch",
        "id": "",
        "eventId": "e-1",
        "eventType": "Microsoft.Resources.ResourceDeleteSuccess",
        "eventTime": "2999-01-01T00:00:00Z",
        "subject": STORAGE,
        "source": forged["topic"],
    }
    [record] = caplog.records
    assert record.levelname == "WARNING"
    assert "reason=subject-mismatch" in record.message
    assert "warning=event-from-the-future" in record.message
    assert "someone" not in record.message


async def test_an_old_event_is_taken_like_any_other_with_a_warning(
    app: LocalApp, caplog: pytest.LogCaptureFixture
):
    await app.send(create_body())
    await app.settle()
    old = json.loads(deletion_event(STORAGE)) | {"eventTime": "2017-08-16T03:54:38Z"}
    with caplog.at_level(logging.INFO):
        assert await app.services.events.receive(json.dumps(old)) == ["prunes:1"]
    [record] = [one for one in caplog.records if one.message.startswith("event-taken")]
    assert (record.levelname, "warning=event-old" in record.message) == ("WARNING", True)


async def test_a_parked_copy_is_bounded_whatever_was_sent(app: LocalApp):
    forged = json.loads(deletion_event(STORAGE))
    forged |= dict.fromkeys(("id", "eventTime", "subject", "topic"), "\u202e" + "x" * 100000)
    await app.services.events.receive(json.dumps(forged))
    [text] = app.queue.take("rejected")
    assert len(text) < 1500
    assert text.isascii()


async def test_a_flood_of_bad_events_in_one_body_is_counted_and_not_copied(
    app: LocalApp, caplog: pytest.LogCaptureFixture
):
    with caplog.at_level(logging.WARNING):
        results = await app.services.events.receive(json.dumps([7] * 500))
    assert results == ["rejected"] * 500
    assert len(app.queue.take("rejected")) == COPIES
    assert len(caplog.records) == COPIES + 1
    assert f"events-rejected count={500 - COPIES}" in caplog.records[-1].message


def test_everything_that_service_connector_connects_to_is_watched_with_what_holds_it():
    watched = catalogue().watched_types()
    for resource_type in (
        "microsoft.sql/servers",
        "microsoft.sql/servers/databases",
        "microsoft.documentdb/databaseaccounts/gremlindatabases",
        "microsoft.cache/redis",
        "microsoft.storage/storageaccounts/blobservices",
        "microsoft.app/containerapps",
    ):
        assert resource_type in watched
    assert all(one == one.lower() and one.count("/") for one in watched)


@pytest.mark.parametrize(
    "below",
    ["Microsoft.Storage/storageAccounts/a/blobServices/default/inventoryPolicies/p",
     "Microsoft.KeyVault/vaults/v/secrets/s",
     "Microsoft.Sql/servers/s/firewallRules/f",
     "Microsoft.EventHub/namespaces/n/eventhubs/e/authorizationRules/r",
     "Microsoft.CognitiveServices/accounts/a/deployments/d",
     "Microsoft.ManagedIdentity/identities/default"],
)  # fmt: skip
def test_what_lies_below_a_target_and_is_none_itself_is_ignored(below: str):
    subject = f"{STORAGE.partition('/providers')[0]}/providers/{below}"
    watched = catalogue().watched_types()
    [decision] = events.parse(deletion_event(subject), subscriptions=None, watched=watched)
    assert (decision.decision, decision.reason) == ("ignored", "resource-type")


def test_an_extension_that_has_the_type_of_a_target_is_none():
    subject = f"{CLUSTER}/providers/Microsoft.KeyVault/vaults/v"
    watched = catalogue().watched_types()
    [decision] = events.parse(deletion_event(subject), subscriptions=None, watched=watched)
    assert (decision.decision, decision.reason) == ("ignored", "resource-type")
