"""Rules of schedules, settings, definitions and returned texts, without any process."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import pytest

from sandbox.functions.definitions import FunctionDefinition, RetryPolicy
from sandbox.functions.responses import sniffed_response
from sandbox.functions.schedules import is_faster_than_a_minute, parse_schedule
from sandbox.functions.settings import AppSettings, HostOptions, QueueOptions, SettingsError, parse_timespan
from sandbox.functions.timer_status import TimerLock, TimerStatus, TimerStatusFile
from sandbox.functions.timers import judge_status


def moment(text: str) -> dt.datetime:
    return dt.datetime.fromisoformat(text).replace(tzinfo=dt.UTC)


# Schedules


@pytest.mark.parametrize(
    ("text", "after", "expected"),
    [
        ("*/15 * * * * *", "2026-11-22T10:00:01", "2026-11-22T10:00:15"),
        ("0 */5 * * * *", "2026-11-22T10:00:00", "2026-11-22T10:05:00"),
        ("*/5 * * * *", "2026-11-22T10:00:30", "2026-11-22T10:05:00"),
        ("0 30 9 * Jan Mon-Fri", "2026-11-22T10:00:00", "2027-01-01T09:30:00"),
        ("0 0 0 13 * 5", "2026-01-01T00:00:00", "2026-02-13T00:00:00"),
        ("00:10:00", "2026-11-22T10:00:00", "2026-11-22T10:10:00"),
        ("0 5/20 * * * *", "2026-11-22T10:06:00", "2026-11-22T10:25:00"),
    ],
)
def test_schedules_give_their_next_occurrence_and_day_and_weekday_must_both_fit(
    text: str, after: str, expected: str
) -> None:
    assert parse_schedule(text).next_after(moment(after)) == moment(expected)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "* * * *",
        "0 0 0 * * 7",
        "0 0 0 ? * 1",
        "0 0 0 L * *",
        "61 * * * * *",
        "0 0 22-2 * * *",
        "0 */0 * * * *",
        "00:00:00",
    ],
)
def test_what_ncrontab_does_not_know_is_refused(text: str) -> None:
    with pytest.raises(SettingsError):
        parse_schedule(text)


def test_a_schedule_of_less_than_a_minute_has_no_monitor() -> None:
    now = moment("2026-11-22T10:00:00")
    assert is_faster_than_a_minute(parse_schedule("*/30 * * * * *"), now)
    assert is_faster_than_a_minute(parse_schedule("0,10 0 * * * *"), now)
    assert not is_faster_than_a_minute(parse_schedule("0 * * * * *"), now)


def test_a_recorded_occurrence_that_passed_is_past_due_once() -> None:
    schedule = parse_schedule("0 0 * * * *")
    status = TimerStatus(
        last=moment("2026-11-22T08:00:00"),
        next=moment("2026-11-22T09:00:00"),
        last_updated=moment("2026-11-22T08:00:01"),
    )
    assert judge_status(status, schedule, moment("2026-11-22T12:30:00")) == (status, True)
    assert judge_status(status, schedule, moment("2026-11-22T08:30:00")) == (status, False)


def test_a_status_of_another_schedule_text_is_computed_anew_and_not_past_due() -> None:
    status = TimerStatus(
        last=moment("2026-11-22T08:00:00"),
        next=moment("2026-11-22T09:00:00"),
        last_updated=moment("2026-11-22T08:00:01"),
    )
    fresh, past_due = judge_status(status, parse_schedule("0 */30 * * * *"), moment("2026-11-22T12:10:00"))
    assert not past_due
    assert fresh.next == moment("2026-11-22T12:30:00")


def test_a_first_start_records_the_next_occurrence() -> None:
    fresh, past_due = judge_status(None, parse_schedule("0 0 * * * *"), moment("2026-11-22T12:10:00"))
    assert (fresh.last, fresh.next, past_due) == (None, moment("2026-11-22T13:00:00"), False)


def test_a_timer_status_survives_in_its_file(tmp_path: Path) -> None:
    status = TimerStatus(
        last=None, next=moment("2026-11-22T09:00:00"), last_updated=moment("2026-11-22T08:00:01")
    )
    file = TimerStatusFile(tmp_path, "tick")
    assert file.read() is None
    file.write(status)
    assert TimerStatusFile(tmp_path, "tick").read() == status


def test_one_host_at_a_time_holds_a_timers_lock(tmp_path: Path) -> None:
    first, second = TimerLock(tmp_path, "tick"), TimerLock(tmp_path, "tick")
    assert first.acquire()
    assert not second.acquire()
    first.release()
    assert second.acquire()
    second.release()


# Settings


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("00:05:00", 300), ("1.00:00:00", 86400), ("00:00:00.100", 0.1), ("00:30", 1800)],
)
def test_time_spans_are_read_as_dot_net_writes_them(text: str, seconds: float) -> None:
    assert parse_timespan(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "5", "00:60:00", "24:00:00", "x"])
def test_what_is_no_time_span_is_refused(text: str) -> None:
    with pytest.raises(SettingsError):
        parse_timespan(text)


def test_queue_options_default_as_the_extension_does() -> None:
    options = QueueOptions.parse({}, development=False, processors=2)
    assert (options.batch_size, options.new_batch_threshold, options.max_dequeue_count) == (16, 16, 5)
    assert (options.max_polling_seconds, options.visibility_seconds, options.base64) == (60.0, 0.0, True)
    assert QueueOptions.parse({}, development=True, processors=1).max_polling_seconds == 2.0


@pytest.mark.parametrize(
    "section",
    [
        {"batchSize": 0},
        {"batchSize": 33},
        {"newBatchThreshold": -1},
        {"maxDequeueCount": 0},
        {"maxPollingInterval": "00:00:00.050"},
        {"messageEncoding": "utf8"},
    ],
)
def test_queue_options_out_of_limits_are_refused(section: dict[str, Any]) -> None:
    with pytest.raises(SettingsError):
        QueueOptions.parse(section, development=False, processors=1)


def test_host_json_must_be_there_and_of_version_2(tmp_path: Path) -> None:
    settings = AppSettings({})
    with pytest.raises(SettingsError, match="cannot be read"):
        HostOptions.load(tmp_path, settings)
    (tmp_path / "host.json").write_text('{"version": "1.0"}')
    with pytest.raises(SettingsError, match="version"):
        HostOptions.load(tmp_path, settings)
    (tmp_path / "host.json").write_text(
        '{"version": "2.0", "functionTimeout": "-1", "extensions": {"http": {"routePrefix": ""}}}',
    )
    options = HostOptions.load(tmp_path, settings)
    assert (options.timeout_seconds, options.route_prefix) == (None, "")


def test_settings_are_found_without_case_and_resolved_between_percent_signs(tmp_path: Path) -> None:
    file = tmp_path / "local.settings.json"
    file.write_text('{"Values": {"Queue": "work", "Storage__queueServiceUri": "u", "Flag": true}}')
    settings = AppSettings.load(file, {"OTHER": "x"})
    assert settings.resolve("a-%QUEUE%-%other%") == "a-work-x"
    assert settings.get("storage:queueserviceuri") == "u"
    assert settings.get("Flag") == "true"
    with pytest.raises(SettingsError, match="missing"):
        settings.resolve("%missing%")


def test_a_function_is_disabled_by_its_setting() -> None:
    settings = AppSettings({"AzureWebJobs.one.Disabled": "true", "AzureWebJobs.two.Disabled": "false"})
    assert settings.is_disabled("one")
    assert not settings.is_disabled("two")
    assert not settings.is_disabled("three")


# Functions and responses


def test_a_function_with_a_trigger_this_host_lacks_is_refused() -> None:
    raw = {"name": "f", "function_id": "1", "raw_bindings": ['{"type": "blobTrigger", "name": "b"}']}
    with pytest.raises(ValueError, match="blobTrigger"):
        FunctionDefinition.parse(raw)


def test_an_exponential_retry_policy_doubles_up_to_its_maximum() -> None:
    policy = RetryPolicy(max_retry_count=5, minimum_seconds=1.0, maximum_seconds=5.0)
    assert [policy.delay_seconds(retry) for retry in (1, 2, 3, 4)] == [1.0, 2.0, 4.0, 5.0]


def test_a_returned_json_text_is_sniffed_for_a_response() -> None:
    described = sniffed_response('{"status": "202", "Body": {"a": 1}, "headers": {"x-a": "b"}}')
    assert (described.status, described.text, described.content_type) == (202, '{"a":1}', "application/json")
    assert described.headers["x-a"] == "b"
    plain = sniffed_response('{"a": 1}')
    assert (plain.status, plain.text, plain.content_type) == (200, '{"a":1}', "application/json")
    text = sniffed_response("hello")
    assert (text.status, text.text, text.content_type) == (200, "hello", "text/plain")
