"""Every error that the core knows, and nothing of where it came from.

Clients turn whatever an SDK raises into one of two classes; the engine turns those into outcomes::

    MooringError
    ├── TransientError        trying again later can help; has a pace
    │   └── StateConflictError   somebody else changed the row first
    ├── PermanentError        trying again cannot help; has a remedy
    │   └── RefusedError         a request that must not be carried out
    └── NotYetError           not an error of anybody: the step waits for a named reason

``code`` is stable and part of the product's interface (rows, HTTP, events); ``detail`` is for people,
is cut to 256 characters and never holds a token, a claim or a message body.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

DETAIL_LIMIT = 256


class Pace(StrEnum):
    """How soon a transient error is worth another try; the seconds stand in ``shared/retry.py``."""

    NONE = "none"
    """At once: the state moved under us and a reload settles it."""
    FAST = "fast"
    SLOW = "slow"
    VERY_SLOW = "very-slow"


class MooringError(Exception):
    """Base of all errors with a stable ``code``."""

    def __init__(self, code: str, detail: str = "") -> None:
        self.code = code
        self.detail = detail[:DETAIL_LIMIT]
        super().__init__(f"{code}: {self.detail}" if self.detail else code)


class TransientError(MooringError):
    """Worth another try.

    Attributes:
        pace: how soon.
        retry_after_seconds: what the service itself asked for; never undercut, but that no subscription is
            left alone for longer than ``shared/retry.py`` says.
    """

    def __init__(
        self,
        code: str,
        detail: str = "",
        *,
        pace: Pace = Pace.FAST,
        retry_after_seconds: float | None = None,
    ) -> None:
        super().__init__(code, detail)
        self.pace = pace
        self.retry_after_seconds = retry_after_seconds


class StateConflictError(TransientError):
    """A row was inserted, changed or removed by somebody else first (HTTP 409 or 412 of the table)."""

    def __init__(self, detail: str = "") -> None:
        super().__init__("state-conflict", detail, pace=Pace.NONE)


class UnreadableRowError(TransientError, ValueError):
    """A row that this version does not understand: a newer one has written it, during a deployment perhaps.

    It is left as it is: an older version that wrote it back would drop what it does not know.
    """

    def __init__(self, detail: str = "") -> None:
        super().__init__("row-unreadable", detail, pace=Pace.SLOW)


class PermanentError(MooringError):
    """Trying again cannot help.

    Attributes:
        remedy: the next command or action for a person, empty if there is none.
    """

    def __init__(self, code: str, detail: str = "", *, remedy: str = "") -> None:
        super().__init__(code, detail)
        self.remedy = remedy


class RefusedError(PermanentError):
    """A request that is recorded and not carried out.

    Attributes:
        field: where in the request the fault is, as a dotted path; empty for the whole.
    """

    def __init__(self, code: str, detail: str = "", *, remedy: str = "", field: str = "") -> None:
        super().__init__(code, detail, remedy=remedy)
        self.field = field


class NotYetError(MooringError):
    """The step waits; no attempt is used up, only the deadline that ``shared/retry.py`` gives the reason.

    Attributes:
        seconds: look again after so long, as the step itself has computed; ``None`` takes the reason's own
            interval.
        retry_after_seconds: look again after so long, as a service has asked; the deadline comes first.
        note: what the step wants to know when it looks again.
    """

    def __init__(
        self,
        reason: str,
        detail: str = "",
        *,
        seconds: float | None = None,
        retry_after_seconds: float | None = None,
        note: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(reason, detail)
        self.seconds = seconds
        self.retry_after_seconds = retry_after_seconds
        self.note = note or {}

    @property
    def reason(self) -> str:
        """The waiting reason, as shown in the status."""
        return self.code
