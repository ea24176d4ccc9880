"""Schemas, batches, encodings, limits and noise: every body is so many decisions, and none raises."""

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
from shared.events import BATCH_EVENTS, Decision
from tests.unit.test_events import (
    ACCOUNT,
    DELETED,
    GROUP,
    LINKER,
    ROOT,
    SECRET,
    cloud,
    decide,
    event,
    only,
    outcome,
)

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
