"""Faults and latency that every emulator understands, set while it runs.

A rule names requests by method and a regular expression over the path (with query) and says what
happens to them, a number of times or for ever. Latency is a table of the same shape. Both are
plain JSON over HTTP (``PUT /sandbox/faults``, ``PUT /sandbox/latency``), documented in
``docs/reference/sandbox.md``.
"""

from __future__ import annotations

import dataclasses
import re
from typing import Any


@dataclasses.dataclass(slots=True, kw_only=True)
class FaultRule:
    """One fault. Mutable: ``times`` counts down as the rule is used."""

    method: str = ""
    """HTTP method, empty for any."""
    path: str = ".*"
    """Regular expression searched for in ``path?query``, case-insensitive."""
    times: int | None = 1
    """How many requests meet it; ``None`` is for ever."""
    skip: int = 0
    """How many matching requests pass unharmed first."""
    status: int = 500
    headers: dict[str, str] = dataclasses.field(default_factory=dict)
    body: Any = None
    """JSON body of the answer; a string is sent as text."""
    delay_seconds: float = 0.0
    after: bool = False
    """True: the request takes effect first and only the answer is replaced (a lost answer)."""
    drop: bool = False
    """True: the connection is closed without an answer."""

    def take(self, method: str, target: str) -> bool:
        """Say whether this request meets the rule, and count it."""
        if self.method and self.method.upper() != method.upper():
            return False
        if not re.search(self.path, target, re.IGNORECASE):
            return False
        if self.skip > 0:
            self.skip -= 1
            return False
        if self.times is None:
            return True
        if self.times <= 0:
            return False
        self.times -= 1
        return True


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class LatencyRule:
    """Delay of every request that matches; the first matching rule wins."""

    method: str = ""
    path: str = ".*"
    seconds: float = 0.0

    def matches(self, method: str, target: str) -> bool:
        """Say whether the rule covers this request."""
        if self.method and self.method.upper() != method.upper():
            return False
        return re.search(self.path, target, re.IGNORECASE) is not None
