"""Times as Kubernetes writes them."""

from __future__ import annotations

import datetime as dt


def timestamp(after_seconds: float = 0) -> str:
    """Now, or a moment later, in UTC to the second."""
    moment = dt.datetime.now(dt.UTC) + dt.timedelta(seconds=after_seconds)
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
