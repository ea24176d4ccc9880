"""What is odd about an event's time: a warning for people, never a reason to treat the event otherwise.

Delivery may trail by a day, a queue by its messages' life, a replay of dead letters by any time at all; and
publishers write times with seven or nine digits of a second, with an offset or without.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

OLD = timedelta(days=7)
FUTURE = timedelta(minutes=5)
_FRACTION = re.compile(r"(\.\d{6})\d+")


def age(text: str, now: datetime) -> timedelta | None:
    """How long ago an event's time is; ``None`` if it cannot be read.

    Args:
        text: as the event has it, empty if it has none; without an offset it is UTC.
        now: aware.
    """
    try:
        made = datetime.fromisoformat(_FRACTION.sub(r"\1", text.strip()))
        return now - (made if made.tzinfo else made.replace(tzinfo=UTC))
    except (ValueError, OverflowError):
        return None


def warning(text: str, now: datetime) -> str:
    """Judge an event's time.

    Args:
        text: as the event has it, empty if it has none; without an offset it is UTC.
        now: aware.

    Returns:
        ``event-old`` (more than 7 days), ``event-from-the-future`` (more than 5 minutes),
        ``event-time-unreadable`` or an empty string.
    """
    since = age(text, now)
    if since is None:
        return "event-time-unreadable"
    if since > OLD:
        return "event-old"
    return "event-from-the-future" if since < -FUTURE else ""
