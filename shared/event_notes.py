"""What Mooring puts on ``resource-events`` for itself: look at a linker again, go on with a deletion.

Whoever may write to that queue can write events as well, so a note is believed no more than an event: it
leads to the same looks.
"""

from __future__ import annotations

import dataclasses
import json
import re
from typing import Any

TRIES = 60
"""Looks at a young linker; the last one records nothing and gives up."""
NOTE_BYTES = 8192
"""Notes are short; anything longer is an event."""
_ID_LENGTH = 2048
_CONNECTION = re.compile(r"([0-9a-f]{24})?")


@dataclasses.dataclass(frozen=True, slots=True)
class LookAgain:
    """Look at a linker that was not complete yet, for the so many-th time."""

    linker_id: str
    tries: int

    def text(self) -> str:
        """The message."""
        return json.dumps({"observe": {"linkerId": self.linker_id, "tries": self.tries}})


@dataclasses.dataclass(frozen=True, slots=True)
class GoOn:
    """Go on with the connections that rely on what was deleted, behind one's id (empty: from the first).

    Id and time are the event's: the prunes are the same whichever message opens them.
    """

    resource_id: str
    event_id: str
    event_time: str
    after: str

    def text(self) -> str:
        """The message."""
        names = ("resourceId", "eventId", "eventTime", "after")
        return json.dumps({"goOn": dict(zip(names, dataclasses.astuple(self), strict=True))})


def read(body: bytes | str) -> LookAgain | GoOn | None:
    """Our own note, or ``None`` for anything else."""
    if len(body) > NOTE_BYTES:
        return None
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        return None
    if not isinstance(value, dict) or len(value) != 1:
        return None
    [(name, note)] = value.items()
    if not isinstance(note, dict):
        return None
    return {"observe": _look_again, "goOn": _go_on}.get(name, _nothing)(note)


def _look_again(note: dict[str, Any]) -> LookAgain | None:
    linker_id, tries = note.get("linkerId"), note.get("tries")
    if not isinstance(linker_id, str) or len(linker_id) > _ID_LENGTH:
        return None
    sound = isinstance(tries, int) and not isinstance(tries, bool) and 0 <= tries <= TRIES
    return LookAgain(linker_id, int(tries) if sound and tries is not None else TRIES)


def _go_on(note: dict[str, Any]) -> GoOn | None:
    found = [note.get(name) for name in ("resourceId", "eventId", "eventTime", "after")]
    texts = [one for one in found if isinstance(one, str) and len(one) <= _ID_LENGTH]
    if len(texts) != len(found) or not _CONNECTION.fullmatch(texts[-1]):
        return None
    return GoOn(*texts)


def _nothing(_: dict[str, Any]) -> None:
    return None
