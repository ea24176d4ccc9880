"""Subject, source and data of an event must agree, and only then is an id believed."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from shared.naming import type_of
from tests.unit.test_events import (
    ACCOUNT,
    GROUP,
    IDENTITY,
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


@pytest.mark.parametrize(
    "below",
    [
        "/rg/providers/Microsoft.Network/dnsZones/e.com/A/*",
        "/rg/providers/Microsoft.Sql/servers/s/jobAgents/a#b",
        "/rg/providers/Microsoft.Compute/disks/100%..&<>",
        "/rg-m\u00fcller/providers/Microsoft.Compute/disks/d",
        "/\u30b0\u30eb\u30fc\u30d7/providers/Microsoft.Compute/disks/d",
    ],
)
def test_an_ordinary_name_of_a_type_that_nobody_connects_to_is_ignored_like_any_other(below: str):
    subject = f"{ROOT}/resourceGroups{below}"
    for body in (event(subject), cloud(subject), notification(subject)):
        decision = only(body)
        assert (decision.decision, decision.reason) == ("ignored", "resource-type")
        assert decision.resource_type == type_of(subject)
        assert decision.resource_id == "", "it is no id to act on"
    foreign = event(subject, topic=f"/subscriptions/{OTHER}")
    assert outcome(foreign) == ("rejected", "source-mismatch"), "nothing is ignored that nobody vouches for"


@pytest.mark.parametrize(
    "subject",
    [
        GROUP.replace("rg", "rg-m\u00fcller"),
        ACCOUNT.replace("/rg/", "/rg-m\u00fcller/"),
        ACCOUNT.replace("/acc", "/a#b"),
        IDENTITY.replace("/id", "/*"),
    ],
)
def test_a_name_that_no_watched_resource_can_have_here_is_rejected(subject: str):
    assert outcome(event(subject)) == ("rejected", "subject-characters")


@pytest.mark.parametrize(
    "subject",
    [
        f"{GROUP}/providers/Microsoft.Compute/di*ks/d",
        f"{GROUP}/providers/Micros\u043eft.Compute/disks/d",
        f"{GROUP}/providers/Microsoft.Compute/disks/d/../e",
        f"{GROUP}/providers/{{namespace}}/disks/d",
        f"{GROUP}/providers/Microsoft.Compute/disks/d\n",
        f"{GROUP}/providers/Microsoft.Compute/disks/d\x7f",
    ],
)
def test_a_type_that_azure_cannot_have_and_what_cannot_be_printed_are_rejected(subject: str):
    body = event(subject.replace("\n", "\nx"))
    assert outcome(body) == ("rejected", "subject-characters")


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


def packed(data: Any) -> str:
    text = data if isinstance(data, bytes) else json.dumps(data).encode()
    return base64.b64encode(text).decode()


def test_binary_data_of_a_cloud_event_is_read_like_any_other():
    assert outcome(cloud(data=..., data_base64=packed({"resourceUri": ACCOUNT}))) == ("candidate", "deleted")
    assert outcome(cloud(data=None, data_base64=packed({}))) == ("candidate", "deleted")
    assert outcome(cloud(data_base64=None)) == ("candidate", "deleted")
    other = cloud(data=..., data_base64=packed({"resourceUri": LINKER}))
    assert outcome(other) == ("rejected", "subject-mismatch")
    stranger = cloud(data=..., data_base64=packed({"subscriptionId": OTHER}))
    assert outcome(stranger) == ("rejected", "subscription-mismatch")
    assert outcome(event(data_base64=5)) == ("candidate", "deleted"), "Event Grid's schema has no such thing"


@pytest.mark.parametrize(
    "binary",
    [
        "",
        5,
        {},
        "%%%",
        packed({"resourceUri": ACCOUNT})[:-3],
        packed({"resourceUri": ACCOUNT}) + "\n",
        packed(b"\xff"),
        packed(b"text"),
        packed(b"NaN"),
        packed([]),
        packed(None),
        packed(packed({"resourceUri": ACCOUNT}).encode()),
        packed(b'{"resourceUri": "x", "resourceUri": "y"}'),
        packed(b"[" * 100),
    ],
)
def test_binary_data_that_cannot_be_read_is_rejected(binary: Any):
    assert outcome(cloud(data=..., data_base64=binary)) == ("rejected", "data")


def test_data_that_is_given_twice_is_rejected():
    assert outcome(cloud(data_base64=packed({"resourceUri": ACCOUNT}))) == ("rejected", "data")
    assert outcome(cloud(data_base64=packed({}))) == ("rejected", "data")


@pytest.mark.parametrize("kind", ["Microsoft.Storage/storageAccounts/blobServices", "t", 5, ["x"]])
def test_a_notification_that_names_another_type_than_its_ids_is_rejected(kind: Any):
    assert outcome(notification(type=kind)) == ("rejected", "subject-mismatch")


@pytest.mark.parametrize("kind", [None, "", "microsoft.storage/STORAGEACCOUNTS"])
def test_a_notification_may_name_its_type_in_any_casing_or_not_at_all(kind: Any):
    assert outcome(notification(type=kind)) == ("candidate", "deleted")


@pytest.mark.parametrize(
    "kind", ["Microsoft.Resources/resourceGroups", "microsoft.resources/subscriptions/resourcegroups"]
)
def test_the_type_of_a_group_has_two_names(kind: str):
    assert outcome(notification(GROUP, type=kind)) == ("candidate", "deleted")


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
