"""Subject, source and data of an event must agree, and only then is an id believed."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.unit.test_events import (
    ACCOUNT,
    GROUP,
    LINKER,
    OTHER,
    ROOT,
    SUBSCRIPTION,
    cloud,
    event,
    notification,
    only,
    outcome,
)

# --- subject, source and data must agree --------------------------------------------------------------


@pytest.mark.parametrize(
    "spelling",
    [
        ACCOUNT.replace("resourceGroups", "resourcegroups"),
        ACCOUNT.upper(),
        ACCOUNT.lower(),
        ACCOUNT + "/",
        ACCOUNT.replace("/rg/", "//rg/"),
        ACCOUNT[1:],
        f" {ACCOUNT} ",
    ],
)
def test_every_spelling_of_a_subject_is_one_id(spelling: str):
    body = event(spelling)
    body["data"]["resourceUri"] = ACCOUNT
    body["topic"] = ROOT.upper()
    assert only(body).resource_id == ACCOUNT.lower()


@pytest.mark.parametrize(
    "subject",
    [
        None,
        7,
        [ACCOUNT],
        "",
        "   ",
        "/",
        "account",
        "/subscriptions",
        "/subscriptions/not-a-guid/resourceGroups/rg",
        f"{GROUP}/providers/Microsoft.Storage",
        "/providers/Microsoft.Management/managementGroups/m",
        f"{GROUP}/providers/Microsoft.Storage/storageAccounts",
        ACCOUNT + "/" + "a" * 2000,
    ],
)
def test_a_subject_that_is_no_resource_id_is_rejected(subject: Any):
    assert outcome(event(subject)) == ("rejected", "subject")


@pytest.mark.parametrize(
    "subject",
    [
        "/subscriptions/{subscription-id}/resourceGroups/rg",
        ACCOUNT.replace("/rg/", "/{resource-group}/"),
        ACCOUNT.replace("/acc", "/<account>"),
        ACCOUNT.replace("/acc", "/a*"),
        ACCOUNT.replace("/acc", "/%61cc"),
        ACCOUNT + "/../other",
        ACCOUNT.replace("KeyVault", "K").replace("rg", "r\u0261"),
        ACCOUNT + "\u212a",
        ACCOUNT + "\x00",
        ACCOUNT + "\u200b",
        ACCOUNT + "\n/x/y",
        ACCOUNT + "\ud800",
    ],
)
def test_encoded_characters_dots_and_look_alikes_in_a_subject_are_rejected(subject: str):
    assert outcome(event(subject)) == ("rejected", "subject-characters")


@pytest.mark.parametrize("named", [LINKER, "", 5, [ACCOUNT], ACCOUNT.replace("acc", "a\u0441c")])
def test_a_subject_that_the_data_contradicts_is_rejected(named: Any):
    body = event()
    body["data"]["resourceUri"] = named
    assert outcome(body) == ("rejected", "subject-mismatch")
    assert outcome(notification(id=named)) == ("rejected", "subject-mismatch")


@pytest.mark.parametrize("data", ["text", '{"resourceUri": "x"}', [1], 5, True])
def test_data_that_is_no_object_is_rejected(data: Any):
    assert outcome(event(data=data)) == ("rejected", "data")
    assert outcome(event(data={"resourceInfo": data})) == ("rejected", "data")


@pytest.mark.parametrize("source", [f"/subscriptions/{OTHER}", "", "/", None, 5, ..., "/tenants/x"])
def test_a_source_of_another_subscription_is_rejected(source: Any):
    assert outcome(event(topic=source)) == ("rejected", "source-mismatch")
    assert outcome(cloud(source=source)) == ("rejected", "source-mismatch")


def test_only_listed_subscriptions_are_believed():
    assert outcome(event(), subscriptions=frozenset({OTHER})) == ("rejected", "subscription-not-listed")
    assert outcome(event(), subscriptions=frozenset()) == ("rejected", "subscription-not-listed")
    assert outcome(event(), subscriptions=None) == ("candidate", "deleted")
    upper = SUBSCRIPTION.replace("1", "a").upper()
    body = json.loads(json.dumps(event()).replace(SUBSCRIPTION, upper.lower()))
    assert outcome(body, subscriptions=frozenset({upper})) == ("candidate", "deleted")


def test_a_group_topic_is_a_source_of_its_subscription():
    assert outcome(event(topic=GROUP)) == ("candidate", "deleted")
