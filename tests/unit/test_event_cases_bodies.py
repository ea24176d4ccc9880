"""The nasty bodies, and how they are read: whole or not at all, in bounded time, never raising.

==  ============================  ==  ============================  ==  ===========================
16  malformed text                17  a megabyte, a full batch      18  encodings of a queue's body
==  ============================  ==  ============================  ==  ===========================
"""

from __future__ import annotations

import base64
import dataclasses
import gzip
import json
import time
import tracemalloc
from typing import Any

import pytest

from shared.catalogue import catalogue
from shared.events import BATCH_EVENTS, Decision, EventDecision, parse
from tests.fakes.azure_events import PRIVATE, event
from tests.fakes.local_app import CLUSTER, STORAGE, SUBSCRIPTION

CANDIDATE = ("candidate", "deleted")


def read(body: Any) -> list[EventDecision]:
    return parse(
        body if isinstance(body, bytes | str) else json.dumps(body),
        subscriptions=frozenset({SUBSCRIPTION}),
        watched=catalogue().watched_types(),
    )


def outcome(body: Any) -> tuple[str, str]:
    [decision] = read(body)
    return decision.decision.value, decision.reason


# 16
TEXT = json.dumps(event(STORAGE))


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (TEXT.replace('", "', '" "', 1), "not-json"),
        (TEXT[:-1] + ",}", "not-json"),
        (TEXT[: len(TEXT) // 2], "not-json"),
        ("\ufeff".encode() + TEXT.encode(), "not-json"),
        (base64.b64encode("\ufeff".encode() + TEXT.encode()), "not-json"),
        (TEXT.encode("utf-16"), "not-json"),
        (TEXT.replace('"e-1"', "NaN"), "not-json"),
        (TEXT.replace('"subject"', '"id": "x", "subject"', 1), "duplicate-key"),
        (TEXT.replace('"resourceUri"', f'"resourceUri": "{CLUSTER}", "resourceUri"'), "data"),
        ("[" * 10_000 + "]" * 10_000, "too-deep"),
        ('{"a":' * 10_000, "too-deep"),
        ("9" * 5000, "not-json"),
        (b"\xff\xfe\x00", "not-json"),
    ],
)
def test_malformed_text_is_one_rejection_and_never_raises(body: Any, reason: str):
    assert outcome(body) == ("rejected", reason)


@pytest.mark.parametrize(
    "text", ['"' + '\\"' * 400_000, '["' + '\\"' * 400_000, "\\" * 900_000, '{"' * 400_000]
)
def test_a_megabyte_of_what_never_ends_is_refused_at_once(text: str):
    started = time.perf_counter()
    assert read(text)[0].decision is Decision.REJECTED
    assert time.perf_counter() - started < 5


# 17
def test_an_event_of_a_megabyte_and_a_full_batch_are_read_in_bounded_time_and_memory():
    large = event(STORAGE, claims={"groups": PRIVATE * 47_000})
    batch = [event(f"{STORAGE}{number}", event_id=str(number)) for number in range(BATCH_EVENTS)]
    assert len(json.dumps(batch)) > 4_000_000
    for body, count in ((json.dumps(large), 1), (json.dumps(batch), BATCH_EVENTS)):
        started = time.perf_counter()
        decisions = read(body)
        assert time.perf_counter() - started < 10
        assert [one.reason for one in decisions] == ["deleted"] * count
        assert PRIVATE not in str([dataclasses.asdict(one) for one in decisions[:10]])


@pytest.mark.parametrize("body", [event(STORAGE, claims={"g": "x" * 1_100_000}), [event("x" * 9_000_000)]])
def test_a_body_beyond_the_limits_is_refused_before_it_is_parsed(body: Any):
    text = json.dumps(body)
    tracemalloc.start()
    assert outcome(text) == ("rejected", "message-too-large")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 3 * len(text)


def test_a_batch_beyond_the_limit_is_one_rejection():
    assert outcome("[" + "{}," * BATCH_EVENTS + "{}]") == ("rejected", "too-many-events")


# 18
RAW = TEXT.encode()


@pytest.mark.parametrize("body", [RAW, base64.b64encode(RAW), base64.encodebytes(RAW), b" \n" + RAW + b"\n"])
def test_plain_text_and_base64_with_or_without_line_breaks_are_read(body: bytes):
    assert outcome(body) == CANDIDATE
    assert outcome(body.decode()) == CANDIDATE


@pytest.mark.parametrize(
    "body",
    [base64.b64encode(base64.b64encode(RAW)), gzip.compress(RAW), base64.b64encode(gzip.compress(RAW)), b""],
)
def test_base64_of_base64_compressed_and_empty_bodies_are_rejected(body: bytes):
    assert outcome(body) == ("rejected", "not-json")
