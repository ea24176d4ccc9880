"""HTTP lists: pages, and what is left out: rows that this version does not understand, counted and logged."""

import logging
import re
from collections.abc import Awaitable

import azure.functions as func

from shared.errors import RefusedError, UnreadableRowError
from shared.logs import bind
from shared.models import Connection
from shared.rows import Listed

LOGGED = 20
"""Keys that are logged of one list; the count says how many there are."""
_CONNECTION_ID = re.compile(r"[0-9a-f]{24}")


def after(req: func.HttpRequest) -> str:
    """Id of the connection behind which a page begins, as ``next`` of the page before has it; may be empty.

    Raises:
        RefusedError: ``invalid-id``.
    """
    given = str(req.params.get("after", ""))
    if given and not _CONNECTION_ID.fullmatch(given):
        detail = "after is a connection's id, as next has it"
        raise RefusedError("invalid-id", detail, field="after", remedy="follow next")
    return given


def last_of(page: Listed[Connection]) -> str:
    """Id of the last connection of a page, unreadable or not."""
    unreadable = (key.partition("/")[0] for key in page.unreadable)
    return max([*(one.connection_id for one in page), *unreadable], default="")


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
