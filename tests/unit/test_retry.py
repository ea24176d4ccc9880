"""Retry arithmetic: never sooner than asked, never for ever."""

import math
from datetime import timedelta

import pytest

from shared import retry
from shared.errors import Pace, TransientError
from tests.fakes.clock import START


def after(
    error: TransientError,
    *,
    attempts: int = 1,
    elapsed_seconds: float = 0,
    seed: str = "s",
    scale: float = 1.0,
) -> retry.TryAgain | retry.GiveUp:
    now = START + timedelta(seconds=elapsed_seconds)
    return retry.after_error(error, attempts=attempts, first_run_at=START, now=now, seed=seed, scale=scale)


def seconds(decision: retry.TryAgain | retry.GiveUp) -> float:
    assert isinstance(decision, retry.TryAgain)
    return decision.seconds


@pytest.mark.parametrize(("pace", "first"), [(Pace.FAST, 2.0), (Pace.SLOW, 10.0), (Pace.VERY_SLOW, 60.0)])
def test_the_first_try_again_waits_the_paces_first_delay_with_at_most_a_quarter_more(
    pace: Pace, first: float
):
    assert first <= seconds(after(TransientError("x", pace=pace))) <= first * 1.25


def test_a_moved_row_is_tried_again_at_once_and_then_a_little_later_each_time():
    error = TransientError("state-conflict", pace=Pace.NONE)
    assert seconds(after(error)) == 0.0
    assert 0.25 <= seconds(after(error, attempts=2)) <= 0.25 * 1.25
    assert seconds(after(error, attempts=11)) <= 2.0 * 1.25


def test_delays_double_up_to_the_longest_of_their_pace():
    error = TransientError("x", pace=Pace.FAST)
    delays = [seconds(after(error, attempts=attempt)) for attempt in range(1, 12)]
    assert 8.0 <= delays[2] <= 10.0
    assert 60.0 <= delays[10] <= 75.0


def test_what_the_service_asked_for_is_never_undercut_nor_scaled():
    error = TransientError("throttled", pace=Pace.FAST, retry_after_seconds=120)
    assert seconds(after(error, scale=0.001)) == 120


def test_our_own_delays_are_scaled():
    assert seconds(after(TransientError("x", pace=Pace.SLOW), scale=0.01)) <= 0.125


def test_the_last_attempt_is_the_twelfth():
    assert isinstance(after(TransientError("x", pace=Pace.NONE), attempts=11), retry.TryAgain)
    assert after(TransientError("x", pace=Pace.NONE), attempts=12) == retry.GiveUp("attempts-exhausted")


def test_no_try_is_planned_beyond_the_total_time():
    assert isinstance(after(TransientError("x"), elapsed_seconds=3590), retry.TryAgain)
    assert after(TransientError("x"), elapsed_seconds=3599) == retry.GiveUp("time-exhausted")
    late = TransientError("throttled", retry_after_seconds=3601)
    assert after(late) == retry.GiveUp("time-exhausted")


def test_jitter_depends_on_the_seed_alone_and_stays_below_a_quarter():
    found = [retry.jitter(f"seed {number}") for number in range(200)]
    assert found == [retry.jitter(f"seed {number}") for number in range(200)]
    assert 0 <= min(found) < 0.05
    assert 0.2 < max(found) <= 0.25


@pytest.mark.parametrize("reason", sorted(retry.WAITS))
def test_every_wait_looks_again_after_its_interval_or_after_the_time_asked_for(reason: str):
    interval = retry.WAITS[reason].interval_seconds
    looked = retry.after_wait(reason, waiting_since=START, now=START, scale=0.5)
    assert looked == retry.TryAgain(interval * 0.5)
    asked = retry.after_wait(reason, waiting_since=START, now=START, asked_seconds=7, scale=0.5)
    assert asked == retry.TryAgain(7)


def test_a_time_in_the_past_means_now():
    assert retry.after_wait("grace", waiting_since=START, now=START, asked_seconds=-5) == retry.TryAgain(0.0)


@pytest.mark.parametrize("reason", sorted(retry.WAITS))
def test_every_wait_ends_at_its_deadline_with_its_own_code_unless_only_a_person_ends_it(reason: str):
    rule = retry.WAITS[reason]
    limit = rule.deadline_seconds if rule.deadline_seconds is not None else 10**8
    now = START + timedelta(seconds=limit)
    decision = retry.after_wait(reason, waiting_since=START, now=now)
    if rule.deadline_seconds is None:
        assert isinstance(decision, retry.TryAgain)
        return
    assert decision == retry.GiveUp(rule.code)
    just_before = retry.after_wait(reason, waiting_since=START, now=now - timedelta(seconds=1))
    assert isinstance(just_before, retry.TryAgain)


LIMITED = {name: rule.deadline_seconds for name, rule in retry.WAITS.items() if rule.deadline_seconds}
WEEK_SECONDS = 604800.0


@pytest.mark.parametrize("reason", sorted(LIMITED))
def test_a_wait_ends_at_its_deadline_however_long_a_service_asks_for_patience(reason: str):
    def decided(after_seconds: float, asked_seconds: float) -> retry.TryAgain | retry.GiveUp:
        now = START + timedelta(seconds=after_seconds)
        return retry.after_wait(
            reason, waiting_since=START, now=now, retry_after_seconds=asked_seconds, scale=0.5
        )

    deadline_seconds = LIMITED[reason]
    assert decided(0, 7) == retry.TryAgain(7), "neither scaled nor undercut"
    assert decided(0, -1) == retry.TryAgain(0)
    assert decided(100, WEEK_SECONDS) == retry.TryAgain(deadline_seconds - 100)
    assert decided(100, math.inf) == retry.TryAgain(deadline_seconds - 100)
    assert decided(deadline_seconds, WEEK_SECONDS) == retry.GiveUp(retry.WAITS[reason].code)


def test_a_time_that_a_step_has_computed_itself_is_kept_though_it_comes_after_the_deadline():
    # Two days between the two looks of a prune are a setting that somebody may have.
    decision = retry.after_wait("confirm", waiting_since=START, now=START, asked_seconds=172800)
    assert decision == retry.TryAgain(172800)


@pytest.mark.parametrize(
    ("asked_seconds", "seconds"), [(None, 30), (0.0, 30), (7, 7), (3600, 3600), (WEEK_SECONDS, 3600)]
)
def test_nobody_is_left_alone_for_longer_than_an_hour_at_once(asked_seconds: float | None, seconds: float):
    assert retry.patience(asked_seconds, otherwise=30) == seconds


def test_only_what_has_no_deadline_of_its_own_is_held():
    assert all(rule.deadline_seconds is None for rule in retry.WAITS.values() if rule.held)


def test_an_unknown_reason_is_a_defect_and_not_a_wait():
    with pytest.raises(KeyError):
        retry.after_wait("coffee", waiting_since=START, now=START)
