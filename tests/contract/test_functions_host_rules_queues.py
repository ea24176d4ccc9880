"""Rules of queue triggers and outputs, and of the pipe, without any process."""

from __future__ import annotations

import datetime as dt
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.functions.bindings import QueueFacts, apply_body, queue_metadata, queue_value
from sandbox.functions.channel import decode, encode
from sandbox.functions.outputs import OutputError, messages_of
from sandbox.functions.polling import Backoff
from sandbox.functions.queues import poison_queue_name, valid_queue_name
from sandbox.functions.settings import SettingsError

FACTS = QueueFacts(
    message_id="m-1",
    dequeue_count=3,
    inserted_on=dt.datetime(2026, 11, 22, 10, tzinfo=dt.UTC),
    expires_on=None,
    next_visible_on=dt.datetime(2026, 11, 22, 10, 10, tzinfo=dt.UTC),
    pop_receipt="receipt",
)


# Pipe

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@given(values)
def test_the_pipe_returns_what_it_was_given_bytes_and_dollar_keys_included(value: Any) -> None:
    assert decode(encode(value)) == value


def test_a_query_parameter_called_like_the_bytes_marker_stays_text() -> None:
    assert decode(encode({"query": {"$bytes": "aGk="}, "body": b"hi"})) == {
        "query": {"$bytes": "aGk="},
        "body": b"hi",
    }


# Back-off


def test_empty_polls_wait_100_200_300_500_900_milliseconds_and_stop_at_the_maximum() -> None:
    backoff = Backoff(1.0, uniform=lambda _low, _high: 1.0)
    waits = [backoff.next_seconds(found=False) for _ in range(8)]
    assert waits == pytest.approx([0.1, 0.2, 0.3, 0.5, 0.9, 1.0, 1.0, 1.0])


def test_a_message_resets_the_back_off_to_the_minimum() -> None:
    backoff = Backoff(60.0, uniform=lambda _low, _high: 1.0)
    for _ in range(6):
        backoff.next_seconds(found=False)
    assert backoff.next_seconds(found=True) == pytest.approx(0.1)
    assert backoff.next_seconds(found=False) == pytest.approx(0.2)


def test_the_back_off_is_random_by_a_fifth() -> None:
    asked: list[tuple[float, float]] = []

    def lowest(low: float, high: float) -> float:
        asked.append((low, high))
        return low

    backoff = Backoff(60.0, uniform=lowest)
    backoff.next_seconds(found=False)
    assert backoff.next_seconds(found=False) == pytest.approx(0.18)
    assert asked == [(0.8, 1.2)]


# Queue metadata


def test_metadata_has_text_as_string_and_numbers_and_dates_as_json() -> None:
    metadata = queue_metadata(FACTS, b"hello", binary=False)
    assert metadata == {
        "QueueTrigger": {"string": "hello"},
        "DequeueCount": {"json": "3"},
        "Id": {"string": "m-1"},
        "PopReceipt": {"string": "receipt"},
        "InsertionTime": {"json": '"2026-11-22T10:00:00+00:00"'},
        "NextVisibleTime": {"json": '"2026-11-22T10:10:00+00:00"'},
    }


def test_the_bodys_top_level_properties_overwrite_metadata_whatever_their_case() -> None:
    body = json.dumps(
        {"id": "mine", "DEQUEUECOUNT": 9, "popReceipt": None, "list": [1], "o": {"a": 1}}
    ).encode()
    metadata = queue_metadata(FACTS, body, binary=False)
    assert metadata["Id"] == {"string": "mine"}
    assert metadata["DequeueCount"] == {"string": "9"}
    assert metadata["PopReceipt"] == {"string": "receipt"}
    assert "list" not in metadata
    assert metadata["o"] == {"json": '{\n  "a": 1\n}'}
    assert "id" not in metadata


def test_body_values_become_text_as_json_net_casts_them() -> None:
    metadata: dict[str, Any] = {}
    apply_body(metadata, '{"yes": true, "at": "2026-11-22T12:00:00+02:00", "n": 1.5}')
    assert metadata == {
        "yes": {"string": "True"},
        "at": {"string": "11/22/2026 10:00:00"},
        "n": {"string": "1.5"},
    }


@pytest.mark.parametrize("body", [b"[1,2]", b"{not json}", b'"text"', b"plain"])
def test_a_body_that_is_no_json_object_leaves_the_metadata_alone(body: bytes) -> None:
    assert set(queue_metadata(FACTS, body, binary=False)) == {
        "QueueTrigger",
        "DequeueCount",
        "Id",
        "PopReceipt",
        "InsertionTime",
        "NextVisibleTime",
    }


def test_a_binary_trigger_gets_bytes_and_no_properties_of_the_body() -> None:
    assert queue_value(b'{"id": "x"}', binary=True) == {"bytes": b'{"id": "x"}'}
    assert queue_metadata(FACTS, b'{"id": "x"}', binary=True)["Id"] == {"string": "m-1"}
    assert "QueueTrigger" not in queue_metadata(FACTS, b"\xff\xfe", binary=True)


# Queue outputs


def test_a_json_object_is_written_anew_and_indented() -> None:
    assert messages_of({"string": ' {"a":1,"b":{"c":"ü"}} '}) == [
        '{\n  "a": 1,\n  "b": {\n    "c": "ü"\n  }\n}'.encode()
    ]


def test_a_json_array_becomes_one_message_for_each_element() -> None:
    assert messages_of({"string": '["a", {"b": 1}, 2, true, null]'}) == [
        b"a",
        b'{\n  "b": 1\n}',
        b"2",
        b"True",
        b"",
    ]


def test_bytes_and_plain_text_go_out_untouched() -> None:
    assert messages_of({"bytes": b'{"a":1}'}) == [b'{"a":1}']
    assert messages_of({"string": "plain"}) == [b"plain"]
    assert messages_of({}) == []


def test_text_that_looks_like_json_and_is_not_fails_the_invocation() -> None:
    with pytest.raises(OutputError, match="does not parse"):
        messages_of({"string": "{nope}"})


def test_dates_in_a_json_output_lose_their_trailing_zeros_and_offsets() -> None:
    (message,) = messages_of(
        {"string": '{"a":"2026-11-22T10:00:00.500Z","b":"2026-11-22T12:00:00.000+02:00"}'}
    )
    assert json.loads(message) == {"a": "2026-11-22T10:00:00.5Z", "b": "2026-11-22T10:00:00+00:00"}


# Poison


def test_a_poison_queue_and_a_very_long_name_have_no_poison_queue() -> None:
    assert poison_queue_name("work") == "work-poison"
    assert poison_queue_name("work-poison") is None
    assert poison_queue_name("w" * 56) == "w" * 56 + "-poison"
    assert poison_queue_name("w" * 57) is None


@pytest.mark.parametrize("name", ["in", "a--b", "-ab", "ab_c", "w" * 64, "%UNSET%"])
def test_a_queue_name_that_storage_refuses_is_refused_at_the_start(name: str) -> None:
    assert valid_queue_name("Work-1") == "work-1"
    with pytest.raises(SettingsError):
        valid_queue_name(name)
