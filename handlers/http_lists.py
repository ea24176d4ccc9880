"""What an HTTP list leaves out: rows that this version does not understand, counted and named in the log."""

import logging
from collections.abc import Awaitable

from shared.errors import UnreadableRowError
from shared.logs import bind
from shared.rows import Listed

LOGGED = 20
"""Keys that are logged of one list; the count says how many there are."""


class LeftOut:
    """Rows of one answer that could not be read. Mutable: it is filled while the answer is made."""

    def __init__(self) -> None:
        self._keys: list[str] = []

    @property
    def number(self) -> int:
        """How many there are so far."""
        return len(self._keys)

    def note[M](self, listed: Listed[M]) -> Listed[M]:
        """The list, whose unreadable rows are noted."""
        self._keys += listed.unreadable
        return listed

    async def read[T](self, key: str, work: Awaitable[T]) -> T | None:
        """What was read, ``None`` if its row could not be."""
        try:
            return await work
        except UnreadableRowError:
            self._keys.append(key)
            return None

    def told(self) -> dict[str, int]:
        """The answer's count; each key is logged, so that somebody can look at the row."""
        log = bind(logging.getLogger("mooring"))
        for key in self._keys[:LOGGED]:
            log.warning("row-unreadable", extra={"key": key})
        return {"unreadable": self.number}
