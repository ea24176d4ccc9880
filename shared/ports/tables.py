"""The state store: rows of tables, and transactions within one partition."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Protocol

Columns = Mapping[str, str | int | bool]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One table row as read."""

    partition: str
    key: str
    columns: Columns
    etag: str
    written_at: datetime
    """The service's own time of the last write."""
    read_at: datetime
    """The service's time of this read (the response's Date), so that no local clock is trusted."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Insert:
    """Add a row; conflicts if the key exists."""

    key: str
    columns: Columns


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Replace:
    """Replace a row; conflicts if the etag is not the present one."""

    key: str
    columns: Columns
    etag: str


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Upsert:
    """Write a row whatever is there."""

    key: str
    columns: Columns


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Remove:
    """Remove a row. With an etag: conflicts if it changed. Without: being absent already is fine."""

    key: str
    etag: str = ""


Change = Insert | Replace | Upsert | Remove


class StateStore(Protocol):
    """Table storage. One transaction covers one partition, at most 100 changes, all or nothing."""

    async def get(self, table: str, partition: str, key: str) -> Row | None:
        """Read one row."""
        ...

    async def query(
        self, table: str, partition: str, *, key_from: str = "", key_to: str = "", limit: int | None = None
    ) -> list[Row]:
        """Rows of one partition with ``key_from <= key < key_to``, in key order, at most ``limit``.

        Empty bounds are open.
        """
        ...

    async def scan(self, table: str, *, key: str = "", limit: int = 1000, after: str = "") -> list[Row]:
        """Rows of all partitions, at most ``limit``, in the order of their partitions.

        Optionally only those with that exact row key, and only of partitions that sort behind ``after``.
        """
        ...

    async def transact(self, table: str, partition: str, changes: Sequence[Change]) -> Mapping[str, str]:
        """Apply all changes or none; new etags by key (none for removed rows).

        Raises:
            StateConflictError: a row existed, was absent, or had another etag.
        """
        ...
