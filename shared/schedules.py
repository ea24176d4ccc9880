"""When a timer rings, as the Functions host reads it: what it would not start with, or what never rings."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator

_ITEM = re.compile(r"(?:(?P<all>\*)|(?P<first>[0-9a-z]+)(?:-(?P<last>[0-9a-z]+))?)(?:/(?P<step>\d{1,4}))?")
_NAME_LETTERS = 3
_MONTHS = (
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
)
_DAYS = ("sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday")
_LAST_DAYS = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
"""February has 29 days in some years: such a schedule rings seldom, but it does."""


@dataclasses.dataclass(frozen=True, slots=True)
class _Field:
    name: str
    least: int
    most: int
    names: tuple[str, ...] = ()


_FIELDS = (
    _Field("second", 0, 59),
    _Field("minute", 0, 59),
    _Field("hour", 0, 23),
    _Field("day", 1, 31),
    _Field("month", 1, 12, _MONTHS),
    _Field("day of the week", 0, 6, _DAYS),
)
_DAY, _MONTH = 3, 4


def fault(schedule: str) -> str:
    """What is wrong with an NCRONTAB expression; empty if it rings some day.

    Fields, ranges, steps and names: learn.microsoft.com/azure/azure-functions/functions-bindings-timer.
    """
    parts = schedule.lower().split(" ")
    if len(parts) != len(_FIELDS):
        return "must be an NCRONTAB expression of six fields"
    found: list[set[int]] = []
    for field, part in zip(_FIELDS, parts, strict=True):
        try:
            found.append({value for item in part.split(",") for value in _values(field, item)})
        except ValueError:
            return f"has {part!r} as {field.name}: must be {field.least} to {field.most}, or *"
    if not any(min(found[_DAY]) <= _LAST_DAYS[month - 1] for month in found[_MONTH]):
        return f"never rings: no month that it names has a day {min(found[_DAY])}"
    return ""


def _values(field: _Field, item: str) -> Iterator[int]:
    """Values that one part of a list stands for; a step from one value on goes to the field's end."""
    match = _ITEM.fullmatch(item)
    if match is None:
        raise ValueError(item)
    step = int(match["step"] or 1)
    if step < 1:
        raise ValueError(item)
    if match["all"]:
        return iter(range(field.least, field.most + 1, step))
    first = _value(field, match["first"])
    last = _value(field, match["last"]) if match["last"] else field.most if match["step"] else first
    return iter(range(min(first, last), max(first, last) + 1, step))


def _value(field: _Field, text: str) -> int:
    if text.isascii() and text.isdigit():
        value = int(text[:4])
    else:
        named = [index for index, name in enumerate(field.names) if name.startswith(text)]
        value = field.least + named[0] if named and len(text) >= _NAME_LETTERS else field.most + 1
    if not field.least <= value <= field.most:
        raise ValueError(text)
    return value
