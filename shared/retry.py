"""How long to wait, and when to give up: pure arithmetic, no clock, no queue.

Two tables. ``PACES`` says how a transient error is tried again; ``WAITS`` says how often a waiting
step looks again and how long it may wait at all. A wait uses no attempt. Running out of either ends
the step with a code of its own, so that no loop can fall off its end silently.
"""

from __future__ import annotations

import dataclasses
import hashlib
import math
from datetime import datetime

from shared.errors import Pace, TransientError

QUEUE_DELAY_LIMIT_SECONDS = 600.0
"""Longer waits are kept in the row (``due_at``) and announced by the timer."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Backoff:
    """Delays of one pace, in seconds: ``first``, then doubled up to ``longest``."""

    first_seconds: float
    longest_seconds: float


PACES = {
    Pace.NONE: Backoff(first_seconds=0.0, longest_seconds=2.0),
    Pace.FAST: Backoff(first_seconds=2.0, longest_seconds=60.0),
    Pace.SLOW: Backoff(first_seconds=10.0, longest_seconds=300.0),
    Pace.VERY_SLOW: Backoff(first_seconds=60.0, longest_seconds=600.0),
}

LONG_WAIT_SECONDS = 7200.0
LONGEST_PATIENCE_SECONDS = 3600.0
"""A subscription, or what a slice of a sweep looks at, is left alone for so long at once, whatever was asked:
limits of Resource Manager refill within an hour, and who asks too early is refused again, with a new time
(learn.microsoft.com, "Understand how Azure Resource Manager throttles requests")."""
ANSWERED = frozenset({"state-conflict", "came-back"})
"""Transient errors that leave nothing in doubt: whatever the run had sent was answered."""
MAX_ATTEMPTS = 12
MAX_TOTAL_SECONDS = 3600.0


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class WaitRule:
    """How one waiting reason behaves.

    Attributes:
        interval_seconds: look again after so long, unless the step asks for another time.
        deadline_seconds: give up after so long in this wait, however long a service asks for patience;
            ``None`` waits for ever.
        held: shown as ``held``: only time or a person changes it.
        code: error code when the deadline passes.
    """

    interval_seconds: float
    deadline_seconds: float | None
    held: bool = False
    code: str = "wait-expired"

    @property
    def fresh_start(self) -> bool:
        """Tries are counted anew after such a wait: it may last for days, and is nobody's failure."""
        return self.held or self.deadline_seconds is None or self.deadline_seconds >= LONG_WAIT_SECONDS


WAITS = {
    "behind": WaitRule(interval_seconds=15, deadline_seconds=None),
    "closing": WaitRule(interval_seconds=5, deadline_seconds=1800, code="closing-never-ended"),
    "quiesce": WaitRule(interval_seconds=10, deadline_seconds=900, code="quiesce-expired"),
    "lease-busy": WaitRule(interval_seconds=3, deadline_seconds=1800, code="lease-never-free"),
    "credential-write-busy": WaitRule(
        interval_seconds=5, deadline_seconds=1800, code="credential-never-free"
    ),
    "cluster-updating": WaitRule(interval_seconds=30, deadline_seconds=7200, code="cluster-never-ready"),
    "target-updating": WaitRule(interval_seconds=30, deadline_seconds=7200, code="target-never-ready"),
    "grant-pending": WaitRule(interval_seconds=5, deadline_seconds=1800, code="grant-never-made"),
    "propagation": WaitRule(interval_seconds=10, deadline_seconds=900, code="never-propagated"),
    "throttled": WaitRule(interval_seconds=30, deadline_seconds=7200, code="throttled-too-long"),
    "settle": WaitRule(interval_seconds=30, deadline_seconds=1800, code="never-settled"),
    "confirm": WaitRule(interval_seconds=60, deadline_seconds=86400, code="never-confirmed"),
    "grace": WaitRule(interval_seconds=3600, deadline_seconds=None, held=True),
    "owns-data": WaitRule(interval_seconds=300, deadline_seconds=None, held=True),
    "in-use": WaitRule(interval_seconds=300, deadline_seconds=None, held=True),
    "uses-unknown": WaitRule(interval_seconds=300, deadline_seconds=None, held=True),
    "cap": WaitRule(interval_seconds=300, deadline_seconds=None, held=True),
    "no-canary": WaitRule(interval_seconds=300, deadline_seconds=None, held=True),
    "policy-unreadable": WaitRule(interval_seconds=300, deadline_seconds=None, held=True),
}
"""Every reason that a step may wait for; a step that names another one is at fault."""


@dataclasses.dataclass(frozen=True, slots=True)
class TryAgain:
    """Try again after so many seconds."""

    seconds: float


@dataclasses.dataclass(frozen=True, slots=True)
class GiveUp:
    """End the step with this code."""

    code: str


def after_error(
    error: TransientError,
    *,
    attempts: int,
    first_run_at: datetime,
    now: datetime,
    seed: str,
    scale: float = 1.0,
) -> TryAgain | GiveUp:
    """Decide after a transient error.

    Args:
        error: what happened; its ``retry_after_seconds`` is never undercut.
        attempts: transient failures of this step so far, this one included (1 or more).
        first_run_at: when the step first ran.
        now: the present instant.
        seed: makes the jitter of one try differ from its neighbours', and repeatable.
        scale: multiplies our own delays, never what a service asked for (tests use less than 1).
    """
    if attempts >= MAX_ATTEMPTS:
        return GiveUp("attempts-exhausted")
    pace = PACES[error.pace]
    delay = min(pace.first_seconds * 2 ** (attempts - 1), pace.longest_seconds) if pace.first_seconds else 0.0
    if error.pace is Pace.NONE:
        # A moved row settles at once; repeated conflicts spread out a little.
        delay = min(0.25 * (attempts - 1), pace.longest_seconds)
    delay *= scale * (1.0 + jitter(f"{seed}|{attempts}"))
    delay = max(delay, error.retry_after_seconds or 0.0)
    if (now - first_run_at).total_seconds() + delay > MAX_TOTAL_SECONDS:
        return GiveUp("time-exhausted")
    return TryAgain(delay)


def after_wait(
    reason: str,
    *,
    waiting_since: datetime,
    now: datetime,
    asked_seconds: float | None = None,
    retry_after_seconds: float | None = None,
    scale: float = 1.0,
) -> TryAgain | GiveUp:
    """Decide on a wait: look again later, or its deadline has passed.

    Args:
        reason: what is waited for.
        waiting_since: when this wait began.
        now: the present instant.
        asked_seconds: a time that the step itself computed; not scaled. What it knows to come after the
            deadline is still looked at then, once.
        retry_after_seconds: a time that a service asked for; not scaled, and no longer than to the deadline.
        scale: multiplies the reason's own interval.
    """
    rule = WAITS[reason]
    deadline_seconds = math.inf if rule.deadline_seconds is None else rule.deadline_seconds
    left_seconds = deadline_seconds - (now - waiting_since).total_seconds()
    if left_seconds <= 0:
        return GiveUp(rule.code)
    if retry_after_seconds is not None:
        return TryAgain(max(min(retry_after_seconds, left_seconds), 0.0))
    seconds = rule.interval_seconds * scale if asked_seconds is None else asked_seconds
    return TryAgain(max(seconds, 0.0))


def patience(asked_seconds: float | None, *, otherwise: float) -> float:
    """For how many seconds to leave alone what asked for patience, perhaps without saying for how long."""
    return min(asked_seconds or otherwise, LONGEST_PATIENCE_SECONDS)


def jitter(seed: str) -> float:
    """A fraction from 0 to 0.25 that depends on the seed alone."""
    return int.from_bytes(hashlib.sha256(seed.encode()).digest()[:4]) / 0xFFFFFFFF * 0.25
