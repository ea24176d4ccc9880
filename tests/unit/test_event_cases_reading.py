"""How the nasty events are read. The numbers are those of the list that the cases come from.

==  ==================================================================================================
 6  spellings of one id            12  failures that say Succeeded     13  misleading operation, scope
14  subject against data           15  unknown schemas                 19  events of years ago
20  strange times                  22  sources that contradict
==  ==================================================================================================

Cases 16-18 are about bodies: ``test_event_cases_bodies.py``.
Cases 1-5, 7-11, 21 and 23-30 are about what the product then does: ``test_event_cases_*.py``.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from shared.catalogue import catalogue
from shared.events import Decision, EventDecision, parse
from tests.fakes.azure_events import (
    DELETED,
    TOPIC,
    WRITTEN,
    cloud,
    dead_letter,
    event,
    notification,
)
from tests.fakes.local_app import CLUSTER, GROUP, STORAGE, SUBSCRIPTION

NOW = datetime(2026, 1, 5, 9, tzinfo=UTC)
TENANT = "33333333-3333-4333-8333-333333333333"
OTHER = "99999999-9999-4999-8999-999999999999"
LINKER = f"{CLUSTER}/providers/Microsoft.ServiceLinker/linkers/theirs"


TEXT = json.dumps(event(STORAGE))


def read(body: Any) -> list[EventDecision]:
    return parse(
        body if isinstance(body, bytes | str) else json.dumps(body),
        subscriptions=frozenset({SUBSCRIPTION}),
        watched=catalogue().watched_types(),
        tenant_id=TENANT,
        now=NOW,
    )


def outcome(body: Any) -> tuple[str, str]:
    [decision] = read(body)
    return decision.decision.value, decision.reason


CANDIDATE = ("candidate", "deleted")


# 6
@pytest.mark.parametrize("make", [event, cloud, notification])
@pytest.mark.parametrize(
    "spelling",
    [
        STORAGE.replace("resourceGroups", "resourcegroups"),
        STORAGE.replace("resourceGroups", "RESOURCEGROUPS"),
        STORAGE.replace("Microsoft.Storage/storageAccounts", "microsoft.STORAGE/STORAGEaccounts"),
        STORAGE.upper(),
        f"{STORAGE}/",
        STORAGE.replace("/rg/", "//rg//"),
    ],
)
def test_one_id_in_any_spelling_is_one_id(make: Any, spelling: str):
    assert [one.resource_id for one in read([make(spelling), make(STORAGE)])] == [STORAGE.lower()] * 2


# 12
@pytest.mark.parametrize("make", [event, cloud])
@pytest.mark.parametrize("end", ["Failure", "Cancel"])
def test_a_deletion_that_failed_or_was_cancelled_is_ignored_though_its_status_says_succeeded(
    make: Any, end: str
):
    assert outcome(make(STORAGE, f"Microsoft.Resources.ResourceDelete{end}")) == ("ignored", "event-type")


# 13
def test_a_deletion_is_one_whatever_its_operation_name_and_authorization_say():
    body = event(STORAGE, operationName="Microsoft.Storage/storageAccounts/write", status="Failed")
    body["data"]["authorization"] = {"scope": CLUSTER, "action": "Microsoft.X/y/write"}
    body["data"]["httpRequest"]["url"] = f"https://management.azure.com{CLUSTER}"
    [decision] = read(body)
    assert (decision.decision, decision.resource_id) == (Decision.CANDIDATE, STORAGE.lower())
    assert outcome(event(STORAGE, authorization="{opaque", claims="x", httpRequest="")) == CANDIDATE


# 14
@pytest.mark.parametrize("body", [event(STORAGE, resourceUri=CLUSTER), notification(STORAGE, id=CLUSTER),
                                  cloud(STORAGE, resourceUri=f"{STORAGE}2")])  # fmt: skip
def test_a_subject_that_the_data_contradict_is_rejected(body: Any):
    assert outcome(body) == ("rejected", "subject-mismatch")


# 15
@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({**cloud(STORAGE), "specversion": "0.1"}, ("rejected", "unknown-schema")),
        ({"cloudEventsVersion": "0.1", "eventID": "1", "source": TOPIC}, ("rejected", "unknown-schema")),
        ({"resource": STORAGE, "what": "deleted"}, ("rejected", "unknown-schema")),
        ({"category": "Administrative", "resourceId": STORAGE.upper()}, ("rejected", "unknown-schema")),
        (dead_letter(event(STORAGE)), ("ignored", "dead-letter")),
        (dead_letter(cloud(STORAGE), lower=True), ("ignored", "dead-letter")),
        ('"text"', ("rejected", "not-an-object")),
        ("7", ("rejected", "not-an-object")),
        ("null", ("rejected", "not-an-object")),
        ("[]", ("rejected", "empty-batch")),
        ([[event(STORAGE)]], ("rejected", "not-an-object")),
    ],
)
def test_what_is_of_another_schema_is_set_aside_and_never_raises(body: Any, expected: tuple[str, str]):
    assert outcome(body) == expected


def test_the_version_of_cloud_events_in_another_spelling_and_extra_fields_are_tolerated():
    body = {**cloud(STORAGE), "traceparent": "00-x", "Extension": 1}
    body["specVersion"] = body.pop("specversion")
    assert outcome(body) == CANDIDATE


# 19, 20
@pytest.mark.parametrize(
    ("stamp", "warning"),
    [
        ("2017-08-16T03:54:38.2696833Z", "event-old"),
        ("0001-01-01T00:00:00", "event-old"),
        ("2999-01-01T00:00:00Z", "event-from-the-future"),
        ("2026-01-05T01:59:00-07:00", ""),
        ("2026-01-05T08:00:00", ""),
        ("2026-01-05T08:00:00.123456789Z", ""),
        ("yesterday", "event-time-unreadable"),
        (None, "event-time-unreadable"),
        (5, "event-time-unreadable"),
    ],
)
def test_an_events_time_is_worth_a_warning_and_changes_nothing_else(stamp: Any, warning: str):
    for body in ({**event(STORAGE), "eventTime": stamp}, {**cloud(STORAGE), "time": stamp}):
        [decision] = read(body)
        assert (decision.decision, decision.time_warning) == (Decision.CANDIDATE, warning)


# 22
@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ({**event(STORAGE), "topic": f"/subscriptions/{OTHER}"}, "source-mismatch"),
        ({**cloud(STORAGE), "source": f"/subscriptions/{OTHER}"}, "source-mismatch"),
        ({**event(STORAGE), "topic": None}, "source-mismatch"),
        (event(STORAGE, subscriptionId=OTHER), "subscription-mismatch"),
        (event(STORAGE, subscriptionId=7), "subscription-mismatch"),
        (event(STORAGE, tenantId=OTHER), "tenant-mismatch"),
        (json.loads(TEXT.replace(SUBSCRIPTION, OTHER)), "subscription-not-listed"),
        (json.loads(TEXT.replace(SUBSCRIPTION, "production")), "subject"),
    ],
)
def test_a_source_that_contradicts_the_subject_or_is_not_ours_is_rejected(body: Any, reason: str):
    assert outcome(body) == ("rejected", reason)


def test_our_own_tenant_and_subscription_in_any_casing_contradict_nothing():
    assert outcome(event(STORAGE, tenantId=TENANT.upper(), subscriptionId=SUBSCRIPTION.upper())) == CANDIDATE
    assert outcome(event(STORAGE, tenantId="", subscriptionId=None)) == CANDIDATE
    assert outcome({**event(STORAGE), "topic": TOPIC.upper()}) == CANDIDATE


# also worth a test
def test_one_bad_element_among_good_ones_spoils_only_itself():
    decisions = read([event(STORAGE), None, event("/x"), cloud(LINKER), {}, event(STORAGE, WRITTEN)])
    assert [(one.index, one.decision.value) for one in decisions] == [
        (0, "candidate"),
        (1, "rejected"),
        (2, "rejected"),
        (3, "candidate"),
        (4, "rejected"),
        (5, "ignored"),
    ]


def test_one_id_on_different_events_of_a_batch_is_no_repeat():
    decisions = read([event(STORAGE, event_id="same"), event(CLUSTER, event_id="same")])
    assert [one.resource_id for one in decisions] == [STORAGE.lower(), CLUSTER.lower()]


@pytest.mark.parametrize(
    "subject",
    [
        STORAGE.replace(SUBSCRIPTION, "{subscription-id}"),
        STORAGE.replace("/rg/", "/{resource-group}/"),
        STORAGE.replace("/orders", "/<account>"),
        STORAGE.replace("/orders", "/%6frders"),
        f"{STORAGE}/../other",
        STORAGE.replace("orders", "\u043erders"),
        STORAGE.replace("storageAccounts", "storageAccount\u017f"),
        STORAGE.replace("/orders", "/orders\u200b"),
        STORAGE.replace("/orders", "/" + "o" * 2000),
    ],
)
def test_placeholders_encodings_dots_long_names_and_look_alikes_are_rejected(subject: str):
    [decision] = read(event(subject))
    assert decision.decision is Decision.REJECTED
    assert decision.reason in {"subject", "subject-characters"}


@pytest.mark.parametrize(
    ("event_type", "subject"),
    [
        ("Microsoft.Storage.BlobDeleted", "/blobServices/default/containers/c/blobs/b"),
        ("Microsoft.KeyVault.SecretNearExpiry", "a-secret"),
        ("Microsoft.KeyVault.SecretNewVersionCreated", STORAGE),
        ("Microsoft.ResourceNotifications.AKSResources.FleetGateDeleted", CLUSTER),
        ("Microsoft.EventGrid.SubscriptionValidationEvent", ""),
        ("Microsoft.Resources.ResourceActionSuccess", GROUP),
    ],
)
def test_well_formed_events_of_other_topics_are_ignored_whatever_their_subject(event_type: str, subject: str):
    assert outcome(event(subject, event_type)) == ("ignored", "event-type")
    assert outcome(cloud(subject, event_type)) == ("ignored", "event-type")


def test_the_end_of_the_event_subscription_itself_is_ignored_by_its_name():
    body = event(STORAGE, "Microsoft.EventGrid.SubscriptionDeletedEvent")
    assert outcome(body) == ("ignored", "event-subscription-deleted")
    assert outcome(event(STORAGE, DELETED.upper())) == CANDIDATE
