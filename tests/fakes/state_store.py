"""Table storage in a dictionary, as strict as the service.

It refuses what the service refuses (unknown tables, wrong types, forbidden characters, a row twice in a
transaction, stale etags) and passes the same contract tests as the adapter does on Azurite.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from shared.errors import PermanentError, StateConflictError
from shared.ports import Change, Clock, Columns, Insert, Remove, Replace, Row, Upsert
from shared.rows import TABLES

_FORBIDDEN = re.compile(r"[/\\#?\x00-\x1f\x7f-\x9f]")
_NO_COLUMNS = frozenset({"PartitionKey", "RowKey", "Timestamp"})


class InMemoryStateStore:
    """``ports.StateStore`` for tests."""

    def __init__(self, clock: Clock, tables: Iterable[str] = TABLES) -> None:
        self._clock = clock
        self._tables: dict[str, dict[tuple[str, str], Row]] = {name: {} for name in tables}
        self._etags = 0

    async def get(self, table: str, partition: str, key: str) -> Row | None:
        _check_keys(partition, key)
        row = self._rows(table).get((partition, key))
        return None if row is None else self._read(row)

    async def query(self, table: str, partition: str, *, key_from: str = "", key_to: str = "") -> list[Row]:
        _check_keys(partition)
        return [
            self._read(row)
            for (part, key), row in sorted(self._rows(table).items())
            if part == partition and key >= key_from and (not key_to or key < key_to)
        ]

    async def scan(self, table: str, *, key: str = "", limit: int = 1000) -> list[Row]:
        found = [row for (_, row_key), row in sorted(self._rows(table).items()) if not key or row_key == key]
        return [self._read(row) for row in found[: max(0, limit)]]

    async def transact(self, table: str, partition: str, changes: Sequence[Change]) -> Mapping[str, str]:
        rows = self._rows(table)
        keys = [change.key for change in changes]
        if len(keys) > 100 or len(set(keys)) != len(keys):
            raise PermanentError("transaction-invalid", f"{len(keys)} changes of {len(set(keys))} rows")
        _check_keys(partition, *keys)
        for change in changes:
            if not isinstance(change, Remove):
                _check_columns(change.columns)
            self._check(rows.get((partition, change.key)), change)
        etags: dict[str, str] = {}
        for change in changes:
            if isinstance(change, Remove):
                rows.pop((partition, change.key), None)
                continue
            self._etags += 1
            now = self._clock.now()
            etags[change.key] = f'W/"{self._etags}"'
            rows[partition, change.key] = Row(
                partition=partition,
                key=change.key,
                columns=dict(change.columns),
                etag=etags[change.key],
                written_at=now,
                read_at=now,
            )
        return etags

    def rows(self, table: str) -> list[Row]:
        """Every row of a table, for assertions."""
        return [self._read(row) for _, row in sorted(self._rows(table).items())]

    def _read(self, row: Row) -> Row:
        return Row(
            partition=row.partition,
            key=row.key,
            columns=dict(row.columns),
            etag=row.etag,
            written_at=row.written_at,
            read_at=self._clock.now(),
        )

    def _rows(self, table: str) -> dict[tuple[str, str], Row]:
        if table not in self._tables:
            raise PermanentError("table-missing", table)
        return self._tables[table]

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
