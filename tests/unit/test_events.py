"""The parser of deletion events: hints are read tolerantly, trusted narrowly, and never raise."""

from __future__ import annotations

import base64
import dataclasses
import gzip
import json
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared import naming
from shared.events import BATCH_EVENTS, Decision, EventDecision, parse

SUBSCRIPTION = "11111111-2222-3333-4444-555555555555"
OTHER = "99999999-2222-3333-4444-555555555555"
ROOT = f"/subscriptions/{SUBSCRIPTION}"
GROUP = f"{ROOT}/resourceGroups/rg"
ACCOUNT = f"{GROUP}/providers/Microsoft.Storage/storageAccounts/acc"
CLUSTER = f"{GROUP}/providers/Microsoft.ContainerService/managedClusters/aks"
LINKER = f"{CLUSTER}/providers/Microsoft.ServiceLinker/linkers/blob"
IDENTITY = f"{GROUP}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/id"
CREDENTIAL = f"{IDENTITY}/federatedIdentityCredentials/fc"
WATCHED = frozenset({"microsoft.storage/storageaccounts", "microsoft.keyvault/vaults"})
DELETED = "Microsoft.Resources.ResourceDeleteSuccess"
SECRET = "someone@example.org"


def event(subject: Any = ACCOUNT, event_type: Any = DELETED, **changes: Any) -> dict[str, Any]:
    """An event of the subscription topic as published, with the parts that must never be carried on."""
    made = {
        "topic": ROOT,
        "subject": subject,
        "eventType": event_type,
        "eventTime": "2026-11-22T10:00:00.1234567Z",
        "id": "e-1",
        "data": {
            "authorization": {"scope": f"{GROUP}/providers/X.Y/z/other", "action": "Microsoft.X/y/delete"},
            "claims": {"http://schemas.xmlsoap.org/ws/2005/05/identity/claims/upn": SECRET},
            "httpRequest": {"clientIpAddress": "192.0.2.1", "method": "DELETE", "url": "https://x"},
            "correlationId": "c",
            "resourceProvider": "Microsoft.Storage",
            "resourceUri": subject,
            "operationName": "Microsoft.Storage/storageAccounts/delete",
            "status": "Succeeded",
            "subscriptionId": SUBSCRIPTION,
            "tenantId": "t",
        },
        "dataVersion": "2",
        "metadataVersion": "1",
    }
    made |= changes
    return {name: value for name, value in made.items() if value is not ...}


def cloud(subject: Any = ACCOUNT, event_type: Any = DELETED, **changes: Any) -> dict[str, Any]:
    plain = event(subject, event_type)
    made = {
        "specversion": "1.0",
        "source": plain["topic"],
        "type": plain["eventType"],
        "time": plain["eventTime"],
        "id": plain["id"],
        "subject": subject,
        "data": plain["data"],
    } | changes
    return {name: value for name, value in made.items() if value is not ...}


def notification(subject: str = ACCOUNT, kind: str = "Deleted", **info: Any) -> dict[str, Any]:
    data = {
        "resourceInfo": {"id": subject, "name": "x", "type": "t"} | info,
        "operationalInfo": {"resourceEventTime": "2026-11-22T10:00:00"},
    }
    return event(subject, f"Microsoft.ResourceNotifications.Resources.{kind}", data=data)


def decide(
    body: Any, subscriptions: frozenset[str] | None = frozenset({SUBSCRIPTION})
) -> list[EventDecision]:
    text = body if isinstance(body, bytes | str) else json.dumps(body)
    return parse(text, subscriptions=subscriptions, watched=WATCHED)


def only(body: Any, **options: Any) -> EventDecision:
    (decision,) = decide(body, **options)
    return decision


def outcome(body: Any, **options: Any) -> tuple[str, str]:
    decision = only(body, **options)
    return decision.decision.value, decision.reason


# --- what is of use -----------------------------------------------------------------------------------


@pytest.mark.parametrize("subject", [ACCOUNT, CLUSTER, LINKER, IDENTITY, CREDENTIAL, GROUP])
@pytest.mark.parametrize("make", [event, cloud, notification])
def test_a_deletion_of_what_a_connection_may_depend_on_is_a_candidate_in_every_schema(
    make: Any, subject: str
):
    decision = only(make(subject))
    assert decision == EventDecision(
        index=0,
        decision=Decision.CANDIDATE,
        reason="deleted",
        resource_id=subject.lower(),
        resource_type=naming.type_of(subject),
        event_type=decision.event_type,
        event_time="2026-11-22T10:00:00.1234567Z",
        event_id="e-1",
        subject=subject,
        source=ROOT,
    )
    assert "deleted" in decision.event_type.lower() or "DeleteSuccess" in decision.event_type


@pytest.mark.parametrize("body", [event(LINKER, "Microsoft.Resources.ResourceWriteSuccess"),
                                  cloud(LINKER, "Microsoft.Resources.ResourceWriteSuccess"),
                                  notification(LINKER, "CreatedOrUpdated")])  # fmt: skip
def test_a_written_linker_of_a_cluster_is_observed(body: dict[str, Any]):
    assert outcome(body) == ("observe", "linker-written")


@pytest.mark.parametrize("subject", [ACCOUNT, CLUSTER, IDENTITY, GROUP])
def test_any_other_write_is_ignored(subject: str):
    assert outcome(event(subject, "Microsoft.Resources.ResourceWriteSuccess")) == ("ignored", "write")


@pytest.mark.parametrize("event_type", [DELETED, "Microsoft.Resources.ResourceWriteSuccess"])
def test_a_linker_of_anything_but_a_cluster_is_ignored(event_type: str):
    for parent in (f"{GROUP}/providers/Microsoft.Web/sites/s", ROOT):
        body = event(f"{parent}/providers/Microsoft.ServiceLinker/linkers/l", event_type)
        assert outcome(body) == ("ignored", "linker-of-another-source")


@pytest.mark.parametrize(
    "below",
    [
        "/agentPools/p",
        "/maintenanceConfigurations/m",
        "/providers/Microsoft.ContainerService/scheduledEvents/s",
        "/providers/Microsoft.KubernetesConfiguration/extensions/sc-extension",
        "/providers/Microsoft.Authorization/roleAssignments/r",
    ],
)
def test_what_lies_below_a_cluster_does_not_stand_for_the_cluster(below: str):
    decision = only(event(CLUSTER + below))
    assert (decision.decision, decision.reason) == (Decision.IGNORED, "resource-type")


def test_a_deployment_id_that_starts_like_a_group_is_not_the_group():
    assert outcome(event(f"{GROUP}/deployments/y")) == ("ignored", "resource-type")
    assert outcome(event(f"{GROUP}/providers/Microsoft.Resources/deployments/y")) == (
        "ignored",
        "resource-type",
    )


def test_groups_whose_names_begin_alike_are_different_ids():
    one, other = decide([event(f"{ROOT}/resourceGroups/rg-a"), event(f"{ROOT}/resourceGroups/rg-ab")])
    assert one.resource_id != other.resource_id
    assert one.resource_id not in naming.ancestors(other.resource_id)


def test_a_target_type_is_a_candidate_only_if_it_is_watched():
    (decision,) = parse(json.dumps(event()), subscriptions=None)
    assert decision.reason == "resource-type"


# --- the event type decides ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        *(f"Microsoft.Resources.Resource{verb}{end}" for verb in ("Write", "Delete", "Action")
          for end in ("Failure", "Cancel")),
        "Microsoft.Resources.ResourceActionSuccess",
        "Microsoft.EventGrid.SubscriptionValidationEvent",
        "Microsoft.Storage.BlobDeleted",
        "Microsoft.ResourceNotifications.AKSResources.FleetGateDeleted",
        "Microsoft.KeyVault.VaultAccessPolicyChanged",
        "",
    ],
)  # fmt: skip
def test_failures_cancellations_and_other_topics_are_ignored_whatever_their_status_says(name: str):
    assert outcome(event(event_type=name)) == ("ignored", "event-type")
    assert outcome(cloud(event_type=name)) == ("ignored", "event-type")


def test_an_event_type_is_compared_without_case():
    assert only(event(event_type=DELETED.upper())).decision is Decision.CANDIDATE


def test_operation_name_status_and_authorization_decide_nothing():
    body = event()
    body["data"] |= {"operationName": "Microsoft.X/y/write", "status": "Failed", "authorization": "{opaque"}
    assert only(body).resource_id == ACCOUNT.lower()
    del body["data"]["resourceUri"]
    assert only(body).decision is Decision.CANDIDATE
    assert only(event(data=...)).decision is Decision.CANDIDATE


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


# --- schemas and shapes -------------------------------------------------------------------------------


def test_the_version_key_of_cloud_events_is_tolerated_in_other_casing():
    body = cloud()
    body["specVersion"] = body.pop("specversion")
    assert outcome(body) == ("candidate", "deleted")


@pytest.mark.parametrize(
    "body",
    [
        cloud(specversion="0.1"),
        cloud(specversion=1.0),
        cloud(specversion=...),
        {"cloudEventsVersion": "0.1", "eventType2": DELETED, "source": ROOT},
        {"operationName": "x/delete", "resourceId": ACCOUNT, "category": "Administrative"},
        event(event_type=...),
        event(event_type=5),
        event(event_type=None),
        {},
    ],
)
def test_unknown_schemas_are_rejected(body: dict[str, Any]):
    assert outcome(body) == ("rejected", "unknown-schema")


@pytest.mark.parametrize("key", ["deadLetterReason", "deadletterreason"])
def test_a_dead_letter_wrapper_is_ignored(key: str):
    assert outcome([event() | {key: "MaxDeliveryAttemptsExceeded"}]) == ("ignored", "dead-letter")


@pytest.mark.parametrize("body", ['"text"', "7", "null", "true", "[[]]", "[null]", '["x"]'])
def test_what_is_no_event_is_rejected_once(body: str):
    assert outcome(body) == ("rejected", "not-an-object")


def test_an_empty_batch_is_rejected_once():
    assert outcome("[]") == ("rejected", "empty-batch")


@pytest.mark.parametrize(
    "body",
    [
        "",
        json.dumps(event())[:-1],
        json.dumps(event()).replace('", "', '" "', 1),
        json.dumps(event())[:-1] + ",}",
        "\ufeff" + json.dumps(event()),
        json.dumps(event()).encode("utf-16"),
        json.dumps(event()).replace('"e-1"', "NaN"),
        base64.b64encode(base64.b64encode(json.dumps(event()).encode())),
        base64.b64encode(gzip.compress(json.dumps(event()).encode())),
        gzip.compress(json.dumps(event()).encode()),
        "\ud800",
    ],
)
def test_malformed_text_is_rejected_once(body: bytes | str):
    assert outcome(body) == ("rejected", "not-json")


def test_nesting_is_capped():
    assert outcome("[" * 10_000) == ("rejected", "too-deep")
    assert outcome("[" * 10_000 + "]" * 10_000) == ("rejected", "too-deep")


def test_plain_text_base64_and_base64_with_line_breaks_all_work():
    text = json.dumps(event()).encode()
    for body in (text, base64.b64encode(text), base64.encodebytes(text), base64.encodebytes(text).decode()):
        assert outcome(body) == ("candidate", "deleted")


def test_a_bad_element_does_not_spoil_the_good_ones():
    bad = [None, [], {}, event("x"), event(event_type="Other"), "text"]
    body = [event(), *bad, event(LINKER)]
    decisions = decide(body)
    assert [one.index for one in decisions] == list(range(len(body)))
    assert [one.index for one in decisions if one.decision is Decision.CANDIDATE] == [0, len(body) - 1]


def test_repeated_keys_spoil_their_own_element_only():
    good, twice = json.dumps(event()), '{"subject": "/x", ' + json.dumps(event())[1:]
    inner = json.dumps(event()).replace('"data": {', f'"data": {{"resourceUri": "{LINKER}", ')
    decisions = decide(f"[{twice}, {inner}, {good}]")
    assert [(one.decision.value, one.reason) for one in decisions] == [
        ("rejected", "duplicate-key"),
        ("rejected", "data"),
        ("candidate", "deleted"),
    ]


def test_one_id_on_different_events_is_not_taken_for_a_repeat():
    assert [one.resource_type for one in decide([event(), event(LINKER)])] == [
        "microsoft.storage/storageaccounts",
        "microsoft.servicelinker/linkers",
    ]


# --- limits, times and privacy ------------------------------------------------------------------------


def test_an_event_of_a_megabyte_is_read_and_a_larger_body_is_not():
    body = event()
    body["data"]["claims"] = {"groups": SECRET * 48_000}
    assert len(json.dumps(body)) > 900_000
    assert outcome(body) == ("candidate", "deleted")
    body["data"]["claims"] = {"groups": "x" * 1_100_000}
    assert outcome(body) == ("rejected", "message-too-large")


def test_a_full_batch_is_read_quickly_and_a_larger_one_is_not():
    small = {"topic": ROOT, "subject": GROUP, "eventType": DELETED}
    started = time.perf_counter()
    decisions = decide([small] * BATCH_EVENTS)
    assert time.perf_counter() - started < 5
    assert {one.decision for one in decisions} == {Decision.CANDIDATE}
    assert len(decisions) == BATCH_EVENTS
    assert outcome([{}] * (BATCH_EVENTS + 1)) == ("rejected", "too-many-events")


@pytest.mark.parametrize(
    "stamp",
    ["2999-01-01T00:00:00Z", "0001-01-01T00:00:00Z", "2017-08-01T00:00:00-07:00", "2026-11-22T10:00:00",
     "2026-11-22T10:00:00.123456789Z", "yesterday", None, 5, ..., {"a": 1}],
)  # fmt: skip
def test_no_time_changes_a_decision(stamp: Any):
    assert outcome(event(eventTime=stamp)) == ("candidate", "deleted")
    assert only(event(eventTime=stamp)).event_time == (stamp if isinstance(stamp, str) else "")


def test_nothing_of_claims_authorization_or_request_is_carried_on():
    for body in (event(), cloud(), event("x"), event(topic="/"), event(event_type="Other")):
        assert "claims" in body["data"]
        text = str(dataclasses.asdict(only(body)))
        assert SECRET not in text
        assert "192.0.2.1" not in text
        assert "x.y" not in text.lower()


def test_what_is_carried_on_is_short_printable_ascii():
    decision = only(
        event(id="i\n\u202e" + "d" * 500, event_type="T\x1b[31m\ud800" * 100, eventTime="t\u0000")
    )
    for value in (decision.event_id, decision.event_type, decision.event_time):
        assert value.isascii()
        assert value.isprintable()
        assert 0 < len(value) <= 128


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=8,
)
subjects = st.sampled_from([ACCOUNT, LINKER, GROUP, ROOT, LINKER.replace(GROUP, ROOT)]) | st.text(
    max_size=20
).map(lambda tail: f"{GROUP}/{tail}")


@given(st.binary(max_size=80) | st.text(max_size=80))
def test_noise_never_raises_and_is_one_decision(body: bytes | str):
    assert len(decide(body)) == 1


@given(
    st.dictionaries(
        st.sampled_from(
            ["topic", "source", "data", "id", "eventTime", "specversion", "specVersion", "type", "time"]
        ),
        json_values,
    ),
    subjects,
    st.sampled_from([event, cloud]),
    st.sampled_from([DELETED, "Microsoft.Resources.ResourceWriteSuccess"]),
)
@settings(max_examples=200)
def test_a_disfigured_event_never_raises_and_names_only_sound_ids(
    changes: dict[str, Any], subject: str, make: Any, event_type: str
):
    decision = only(make(subject, event_type) | changes)
    if decision.resource_id:
        assert decision.resource_id == naming.fold_id(subject)
        assert decision.resource_type == naming.type_of(subject)
    if decision.decision in {Decision.CANDIDATE, Decision.OBSERVE}:
        assert decision.resource_id
    assert decision.reason


@given(st.lists(json_values, min_size=1, max_size=5))
def test_there_is_one_decision_per_element_in_order(elements: list[Any]):
    assert [one.index for one in decide(elements)] == list(range(len(elements)))


@given(st.lists(st.sampled_from([event(), event(LINKER), event("x"), cloud(GROUP)]), min_size=1, max_size=6))
def test_an_events_decision_does_not_depend_on_its_neighbours(elements: list[dict[str, Any]]):
    together = [dataclasses.replace(one, index=0) for one in decide(elements)]
    assert together == [only(one) for one in elements]
