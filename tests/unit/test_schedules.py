"""Schedules are refused if the host would not start with them, or if they never ring."""

import pytest

from shared.schedules import fault


@pytest.mark.parametrize(
    "schedule",
    [
        "0 7 * * * *",
        "0 */15 * * * *",
        "0 5/20 * * * *",
        "0 0,30 9-17 * * Mon-Fri",
        "0 0 0 1 January,jul *",
        "0 0 0 29 2 *",
        "0 0 0 31 * *",
        "0 0 0 30-31 2-3 *",
        "59 59 23 31 12 6",
        "0 0 22-4 * * *",
    ],
)
def test_a_schedule_that_rings_is_taken(schedule: str):
    assert fault(schedule) == ""


@pytest.mark.parametrize(
    ("schedule", "said"),
    [
        ("", "six fields"),
        ("0 * * * *", "six fields"),
        ("0  7 * * * *", "six fields"),
        ("0 7 * * * * *", "six fields"),
        ("60 * * * * *", "'60' as second"),
        ("0 61 * * * *", "'61' as minute: must be 0 to 59"),
        ("0 0 24 * * *", "'24' as hour"),
        ("0 0 0 0 * *", "'0' as day: must be 1 to 31"),
        ("0 0 0 * 13 *", "'13' as month"),
        ("0 0 0 * * 7", "'7' as day of the week"),
        ("0 0 0 * mon *", "'mon' as month"),
        ("0 0 0 * ju *", "'ju' as month"),
        ("0 0 jan * * *", "'jan' as hour"),
        ("0 */0 * * * *", "'*/0' as minute"),
        ("0 5- * * * *", "'5-' as minute"),
        ("0 1,,2 * * * *", "'1,,2' as minute"),
        ("0 9999999999 * * * *", "as minute"),
        ("0 0 0 31 2 *", "never rings: no month that it names has a day 31"),
        ("0 0 0 31 4,6,Sep,11 *", "never rings"),
        ("0 0 0 30 feb *", "no month that it names has a day 30"),
    ],
)
def test_a_schedule_that_never_rings_is_refused_with_the_field_that_is_wrong(schedule: str, said: str):
    assert said in fault(schedule)
