"""Tables and queues of the simulation: as strict as the in-memory fakes, and fast enough for many seeds.

Times are whole seconds when read (the service's ``Date`` header) and exact when written, as on the wire.
Every row that changes is shown to a watcher before it changes: that is where the oracles look.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime

from shared.errors import PermanentError, StateConflictError
from shared.models import StepMessage
from shared.ports import Change, Columns, Insert, Remove, Replace, Row, Upsert
from shared.rows import TABLES
from tests.fakes.state_store import _FORBIDDEN, _check_columns

_set = object.__setattr__
_LAST = "\U0010ffff"
"""After every key."""
Watcher = Callable[[str, str, str, Row | None, Columns | None], None]
"""Called with table, partition, key, the row as it was and the columns as they will be."""


class SimulatedStore:
    """``ports.StateStore``: partitions in dictionaries."""

    def __init__(self, now: Callable[[], datetime], second: Callable[[], datetime], watch: Watcher) -> None:
        self._now, self._date = now, second
        self._watch = watch
        self.tables: dict[str, dict[str, dict[str, Row]]] = {name: {} for name in TABLES}
        self.changed: dict[str, set[str]] = {name: set() for name in TABLES}
        """Partitions of each table that were written since a reader last cleared this."""
        self._etags = 0

    async def get(self, table: str, partition: str, key: str) -> Row | None:
        row = self._partition(table, partition).get(key)
        return None if row is None else self._read(row, self._date())

    async def query(
        self, table: str, partition: str, *, key_from: str = "", key_to: str = "", limit: int | None = None
    ) -> list[Row]:
        rows = self._partition(table, partition)
        if not rows:
            return []
        date, end = self._date(), key_to or _LAST
        keys = sorted([key for key in rows if key_from <= key < end])
        return [self._read(rows[key], date) for key in keys[:limit]]

    async def scan(self, table: str, *, key: str = "", limit: int = 1000, after: str = "") -> list[Row]:
        date, rows = self._date(), sorted(self.all_rows(table).items())
        found = [row for _, row in rows if row.partition > after and key in {"", row.key}]
        return [self._read(row, date) for row in found[: max(0, limit)]]

    async def transact(self, table: str, partition: str, changes: Sequence[Change]) -> Mapping[str, str]:
        rows = self._partition(table, partition)
        keys = [change.key for change in changes]
        if len(keys) > 100 or len(set(keys)) != len(keys):
            raise PermanentError("transaction-invalid", f"{len(keys)} changes of {len(set(keys))} rows")
        if _FORBIDDEN.search("".join((partition, *keys))):
            raise PermanentError("transaction-invalid", "forbidden character in a key")
        for change in changes:
            if not isinstance(change, Remove):
                _check_columns(change.columns)
            if not _fits(rows.get(change.key), change):
                raise StateConflictError(f"{type(change).__name__} of {change.key}")
        now, etags = self._now(), dict[str, str]()
        self.changed[table].add(partition)
        for change in changes:
            columns = None if isinstance(change, Remove) else change.columns
            self._watch(table, partition, change.key, rows.get(change.key), columns)
            if columns is None:
                rows.pop(change.key, None)
                continue
            self._etags += 1
            etag = etags[change.key] = f'W/"{self._etags}"'
            rows[change.key] = _row(partition, change.key, dict(columns), etag, now, now)
        return etags

    def all_rows(self, table: str) -> dict[tuple[str, str], Row]:
        """Every row of a table by partition and key, for oracles."""
        return {
            (partition, key): row
            for partition, rows in self.tables[table].items()
            for key, row in rows.items()
        }

    def _read(self, row: Row, date: datetime) -> Row:
        """The row as of now."""
        if row.read_at == date:
            return row
        return _row(row.partition, row.key, row.columns, row.etag, row.written_at, date)

    def _partition(self, table: str, partition: str) -> dict[str, Row]:
        if table not in self.tables:
            raise PermanentError("table-missing", table)
        return self.tables[table].setdefault(partition, {})


def _row(  # noqa: PLR0917 - names would cost more than the rest
    partition: str, key: str, columns: Columns, etag: str, written_at: datetime, read_at: datetime
) -> Row:
    """A row without the dataclass's own ceremony: this is the busiest line of all."""
    row = object.__new__(Row)
    _set(row, "partition", partition)
    _set(row, "key", key)
    _set(row, "columns", columns)
    _set(row, "etag", etag)
    _set(row, "written_at", written_at)
    _set(row, "read_at", read_at)
    return row


def _fits(present: Row | None, change: Change) -> bool:
    match change:
        case Insert():
            return present is None
        case Replace():
            return present is not None and present.etag == change.etag
        case Upsert():
            return True
        case Remove():
            return not change.etag or (present is not None and present.etag == change.etag)


@dataclasses.dataclass(slots=True)
class Message:
    """One message of one queue."""

    queue: str
    text: str
    message_id: str
    deliveries: int = 0
    done: bool = False


class SimulatedQueue:
    """``ports.StepQueue``; every message is handed to ``deliver`` when it becomes visible."""

    def __init__(self, deliver: Callable[[Message, float], None]) -> None:
        self._deliver = deliver
        self._count = 0
        self.live: dict[str, Message] = {}
        """Messages that nobody has acknowledged, by id."""
        self.rejected: list[str] = []

    async def announce(self, message: StepMessage, *, delay_seconds: float = 0) -> None:
        self.put("connection-steps", message.model_dump_json(), delay_seconds)

    async def forward_event(self, text: str, *, delay_seconds: float = 0) -> None:
        self.put("resource-events", text, delay_seconds)

    async def announce_slice(self, text: str, *, delay_seconds: float = 0) -> None:
        self.put("sweep-slices", text, delay_seconds)

    async def put_back(self, queue: str, text: str, *, delay_seconds: float) -> None:
        self.put(queue, text, delay_seconds)

    async def reject(self, envelope: Mapping[str, object]) -> None:
        self.rejected.append(str(envelope.get("kind", "")))

    async def depth(self, queue: str) -> int:
        return sum(message.queue == queue for message in self.live.values())

    async def oldest_at(self, queue: str) -> None:
        """Nobody looks at ages here."""

    def put(self, queue: str, text: str, delay_seconds: float = 0) -> Message:
        """Put a message as anybody might; a visibility delay has whole seconds."""
        self._count += 1
        message = Message(queue, text, f"m{self._count}")
        self.live[message.message_id] = message
        self._deliver(message, math.ceil(max(0.0, delay_seconds)))
        return message

    def acknowledge(self, message: Message) -> None:
        """The message is done with; a copy under way elsewhere changes nothing any more."""
        message.done = True
        self.live.pop(message.message_id, None)
