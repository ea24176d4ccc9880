"""How long a queue listener waits after an empty poll.

``RandomizedExponentialBackoffStrategy`` of the WebJobs storage extension: 100 ms at first, then
100 ms plus a doubling, randomised share, up to ``maxPollingInterval``; any message resets it.
"""

from __future__ import annotations

import random
from collections.abc import Callable

MINIMUM_SECONDS = 0.1
RANDOMIZATION = 0.2


def _uniform(low: float, high: float) -> float:
    return random.uniform(low, high)  # noqa: S311 - jitter, not a secret


class Backoff:
    """The delay of one listener."""

    def __init__(
        self,
        maximum_seconds: float,
        *,
        uniform: Callable[[float, float], float] = _uniform,
    ) -> None:
        self._maximum = maximum_seconds
        self._uniform = uniform
        self._current = MINIMUM_SECONDS
        self._exponent = 0

    def next_seconds(self, *, found: bool) -> float:
        """Return the delay after a poll: the minimum after work, else the next longer one."""
        if found:
            self._current = MINIMUM_SECONDS
            self._exponent = 1
            return self._current
        if self._current != self._maximum:
            interval = MINIMUM_SECONDS
            if self._exponent > 0:
                factor = self._uniform(1 - RANDOMIZATION, 1 + RANDOMIZATION)
                interval += factor * 2 ** (self._exponent - 1) * MINIMUM_SECONDS
            if interval < self._maximum:
                self._current = interval
                self._exponent += 1
            else:
                self._current = self._maximum
        return self._current
