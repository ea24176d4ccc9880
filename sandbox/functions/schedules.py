"""Timer schedules: NCRONTAB and constant intervals.

Differences from Unix cron that matter: six fields (seconds first, five mean no seconds), and day
of month AND day of week must both fit (NCrontab ``CrontabSchedule``).
"""

from __future__ import annotations

import datetime as dt
import re
from typing import Protocol

from croniter import croniter

from sandbox.functions.settings import SettingsError, parse_timespan

_FIELDS = (
    ("second", 0, 59, ()),
    ("minute", 0, 59, ()),
    ("hour", 0, 23, ()),
    ("day", 1, 31, ()),
    ("month", 1, 12, ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")),
    ("day of week", 0, 6, ("sun", "mon", "tue", "wed", "thu", "fri", "sat")),
)
_PART = re.compile(r"(?P<first>\*|\w+)(?:-(?P<last>\w+))?(?:/(?P<every>\d+))?")


class Schedule(Protocol):
    """When a timer is due."""

    def next_after(self, moment: dt.datetime) -> dt.datetime:
        """Return the first occurrence after a moment (UTC)."""
        ...


class CronSchedule:
    """An NCRONTAB expression, in UTC."""

    def __init__(self, expression: str) -> None:
        fields = expression.split()
        if len(fields) == 5:
            fields = ["0", *fields]
        if len(fields) != 6:
            raise SettingsError(f"'{expression}' has {len(fields)} fields; NCRONTAB has five or six")
        for field, (name, low, high, names) in zip(fields, _FIELDS, strict=True):
            _check_field(field, name, low, high, names)
        self._expression = " ".join(fields)

    def next_after(self, moment: dt.datetime) -> dt.datetime:
        """Return the first occurrence after a moment (UTC)."""
        found: dt.datetime = croniter(
            self._expression,
            moment,
            ret_type=dt.datetime,
            second_at_beginning=True,
            day_or=False,
        ).get_next()
        return found


class ConstantSchedule:
    """A TimeSpan between runs."""

    def __init__(self, interval_seconds: float) -> None:
        self._interval = dt.timedelta(seconds=interval_seconds)

    def next_after(self, moment: dt.datetime) -> dt.datetime:
        """Return the moment plus the interval."""
        return moment + self._interval


def parse_schedule(text: str) -> Schedule:
    """Read a timer's schedule, its ``%SETTING%`` already resolved.

    Raises:
        SettingsError: It is neither NCRONTAB nor a TimeSpan.
    """
    if ":" in text:
        seconds = parse_timespan(text)
        if seconds <= 0:
            raise SettingsError(f"'{text}' is not an interval")
        return ConstantSchedule(seconds)
    return CronSchedule(text)


def is_faster_than_a_minute(schedule: Schedule, moment: dt.datetime) -> bool:
    """Say whether occurrences come closer than a minute: then there is no schedule monitor."""
    occurrence = schedule.next_after(moment)
    for _ in range(5):
        following = schedule.next_after(occurrence)
        if following - occurrence < dt.timedelta(minutes=1):
            return True
        occurrence = following
    return False


def _check_field(field: str, name: str, low: int, high: int, names: tuple[str, ...]) -> None:
    """Refuse what croniter takes and NCrontab does not: ``7``, ``?``, ``L``, ``#``, wrapped ranges."""
    for part in field.split(","):
        match = _PART.fullmatch(part)
        if match is None or (match["first"] == "*" and match["last"] is not None):
            raise SettingsError(f"'{field}' is not an NCRONTAB {name}")
        numbers = []
        for bound in (match["first"], match["last"]):
            if bound is None or bound == "*":
                continue
            folded = bound.lower()[:3]
            if folded in names:
                numbers.append(names.index(folded) + low)
            elif bound.isdecimal() and low <= int(bound) <= high:
                numbers.append(int(bound))
            else:
                raise SettingsError(f"'{bound}' is not an NCRONTAB {name} ({low} to {high})")
        if numbers != sorted(numbers) or match["every"] == "0":
            raise SettingsError(f"'{field}' is not an NCRONTAB {name}")
