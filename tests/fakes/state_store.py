"""Table storage in a dictionary, as strict as the service.

It refuses what the service refuses (unknown tables, wrong types, forbidden characters, a row twice in a
transaction, stale etags) and passes the same contract tests as the adapter does on Azurite.
"""

from __future__ import annotations

import bisect
import dataclasses
import re
from collections.abc import Iterable, Mapping, Sequence

from shared.errors import PermanentError, StateConflictError
from shared.ports import Change, Clock, Columns, Insert, Remove, Replace, Row, Upsert
from shared.rows import TABLES

_FORBIDDEN = re.compile(r"[/\\#?\x00-\x1f\x7f-\x9f]")
_NO_COLUMNS = frozenset({"PartitionKey", "RowKey", "Timestamp"})


@dataclasses.dataclass(slots=True)
class _Partition:
    """Rows of one partition, with their keys in order."""

    rows: dict[str, Row] = dataclasses.field(default_factory=dict)
    keys: list[str] = dataclasses.field(default_factory=list)

    def put(self, row: Row) -> None:
        if row.key not in self.rows:
            bisect.insort(self.keys, row.key)
        self.rows[row.key] = row

    def remove(self, key: str) -> None:
        if self.rows.pop(key, None) is not None:
            self.keys.remove(key)


class InMemoryStateStore:
    """``ports.StateStore`` for tests."""

    def __init__(self, clock: Clock, tables: Iterable[str] = TABLES) -> None:
        self._clock = clock
        self._tables: dict[str, dict[str, _Partition]] = {name: {} for name in tables}
        self._etags = 0

    async def get(self, table: str, partition: str, key: str) -> Row | None:
        _check_keys(partition, key)
        row = self._partition(table, partition).rows.get(key)
        return None if row is None else self._read(row)

    async def query(
        self, table: str, partition: str, *, key_from: str = "", key_to: str = "", limit: int | None = None
    ) -> list[Row]:
        _check_keys(partition)
        found = self._partition(table, partition)
        first = bisect.bisect_left(found.keys, key_from)
        last = bisect.bisect_left(found.keys, key_to) if key_to else len(found.keys)
        keys = found.keys[first:last] if limit is None else found.keys[first : min(last, first + limit)]
        return [self._read(found.rows[key]) for key in keys]

    async def scan(self, table: str, *, key: str = "", limit: int = 1000, after: str = "") -> list[Row]:
        found = [row for row in self.rows(table) if row.partition > after and key in {"", row.key}]
        return found[: max(0, limit)]

    async def transact(self, table: str, partition: str, changes: Sequence[Change]) -> Mapping[str, str]:
        present = self._partition(table, partition)
        keys = [change.key for change in changes]
        if len(keys) > 100 or len(set(keys)) != len(keys):
            raise PermanentError("transaction-invalid", f"{len(keys)} changes of {len(set(keys))} rows")
        _check_keys(partition, *keys)
        for change in changes:
            if not isinstance(change, Remove):
                _check_columns(change.columns)
            self._check(present.rows.get(change.key), change)
        self._tables[table][partition] = present
        etags: dict[str, str] = {}
        for change in changes:
            if isinstance(change, Remove):
                present.remove(change.key)
                continue
            self._etags += 1
            now = self._clock.now()
            etags[change.key] = f'W/"{self._etags}"'
            present.put(
                Row(
                    partition=partition,
                    key=change.key,
                    columns=dict(change.columns),
                    etag=etags[change.key],
                    written_at=now,
                    read_at=now,
                ),
            )
        return etags

    def rows(self, table: str) -> list[Row]:
        """Every row of a table, for assertions."""
        return [
            self._read(found.rows[key])
            for _, found in sorted(self._tables[table].items())
            for key in found.keys
        ]

    def _read(self, row: Row) -> Row:
        return dataclasses.replace(row, columns=dict(row.columns), read_at=self._clock.now())

    def _partition(self, table: str, partition: str) -> _Partition:
        if table not in self._tables:
            raise PermanentError("table-missing", table)
        return self._tables[table].get(partition) or _Partition()

    def _check(self, present: Row | None, change: Change) -> None:
        match change:
            case Insert():
                fits = present is None
            case Replace():
                fits = present is not None and present.etag == change.etag
            case Upsert():
                fits = True
            case Remove():
                fits = not change.etag or (present is not None and present.etag == change.etag)
        if not fits:
            raise StateConflictError(f"{type(change).__name__} of {change.key}")


def _check_keys(*keys: str) -> None:
    if any(_FORBIDDEN.search(key) for key in keys):
        raise PermanentError("transaction-invalid", "forbidden character in a key")


def _check_columns(columns: Columns) -> None:
    for name, value in columns.items():
        if not isinstance(value, str | int):
            raise PermanentError("transaction-invalid", f"{name} is a {type(value).__name__}")
        # No character has more than four bytes: a short text need not be encoded to be known as short.
        if isinstance(value, str) and len(value) > 16_384 and len(value.encode("utf-16-le")) > 65_536:
            raise PermanentError("row-too-large", name)
        if name in _NO_COLUMNS:
            raise PermanentError("transaction-invalid", f"{name} is not ours to set")
