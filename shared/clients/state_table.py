"""State rows in Table storage, through azure-data-tables.

A transaction is one entity-group transaction: one partition, at most 100 changes, each row once, all or
nothing. Every changed row carries an etag; the service answers 412 to a stale one, inside transactions too.

``read_at`` is the ``Date`` of the response that brought the row, ``written_at`` the row's ``Timestamp``:
both are the service's clock, so that a lease never depends on ours. ``Date`` has whole seconds, so a row
read at once may seem written up to a second after it was read.
"""

from __future__ import annotations

import email.utils
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from shared.clients.arm_errors import ask
from shared.clients.credentials import AppCredential
from shared.clients.error_rules import Intent, Service
from shared.clients.http_pool import (
    RETRIES,
    RETRY_AFTER_LIMIT_SECONDS,
    RETRY_BACKOFF_SECONDS,
    HttpPool,
    refuse_long_waits,
)
from shared.errors import PermanentError, StateConflictError
from shared.ports import Change, Columns, Insert, Remove, Replace, Row, Upsert

CHANGES_LIMIT = 100
PAGE_LIMIT = 1000
_INT32 = range(-(2**31), 2**31)
_FORBIDDEN = re.compile(r"[/\\#?\x00-\x1f\x7f-\x9f]")
"""learn.microsoft.com, "Understanding the Table service data model", characters disallowed in key fields."""


class StateTable:
    """``ports.StateStore`` over Table storage.

    Args:
        pool: Connections.
        credential: The app's identity.
        endpoint: URL of the table service. The SDK's own service version (2019-02-02) is sent: it is the
            oldest there is, so no emulator lags behind it.
    """

    def __init__(
        self,
        pool: HttpPool,
        credential: AppCredential,
        *,
        endpoint: str,
    ) -> None:
        self._pool = pool
        self._credential = credential
        self._endpoint = endpoint
        self._service: Any = None
        self._tables: dict[str, Any] = {}

    async def get(self, table: str, partition: str, key: str) -> Row | None:
        """Read one row."""
        watch = _Watch()
        call = self._table(table).get_entity(partition, key, raw_response_hook=watch.see)
        found = await ask(call, Intent.READ, service=Service.STORAGE)
        return None if found is None else _row(found, watch.date)

    async def query(
        self, table: str, partition: str, *, key_from: str = "", key_to: str = "", limit: int | None = None
    ) -> list[Row]:
        """Rows of one partition with ``key_from <= key < key_to``, in key order, at most ``limit``."""
        terms = [f"PartitionKey eq {_quoted(partition)}"]
        if key_from:
            terms.append(f"RowKey ge {_quoted(key_from)}")
        if key_to:
            terms.append(f"RowKey lt {_quoted(key_to)}")
        return await self._collect(table, " and ".join(terms), limit=limit)

    async def scan(self, table: str, *, key: str = "", limit: int = 1000, after: str = "") -> list[Row]:
        """Rows of all partitions in their order, at most ``limit``; the service answers sorted by key."""
        terms = [f"PartitionKey gt {_quoted(after)}"] if after else []
        terms += [f"RowKey eq {_quoted(key)}"] if key else []
        return await self._collect(table, " and ".join(terms), limit=limit)

    async def transact(self, table: str, partition: str, changes: Sequence[Change]) -> Mapping[str, str]:
        """Apply all changes or none; new etags by key (none for removed rows).

        The service fails a whole transaction that removes an absent row, so unconditional removes that
        meet a conflict are looked at one by one and left out if there is nothing to remove.

        Raises:
            StateConflictError: a row existed, was absent, or had another etag. Also after a lost answer,
                when the SDK's repeat met our own first write: reloading tells.
            PermanentError: ``transaction-invalid`` for more than 100 changes or a row named twice.
        """
        check(partition, changes)
        wanted = list(changes)
        while wanted:
            operations = [_operation(partition, change) for change in wanted]
            call = self._table(table).submit_transaction(operations)
            try:
                answers = await ask(call, Intent.ENSURE, service=Service.STORAGE)
            except StateConflictError:
                present = await self._without_absent(table, partition, wanted)
                if len(present) == len(wanted):
                    raise
                wanted = present
                continue
            pairs = zip(wanted, answers or [], strict=True)
            return {change.key: answer["etag"] for change, answer in pairs if not isinstance(change, Remove)}
        return {}

    async def aclose(self) -> None:
        """Close the SDK's clients."""
        opened = [*self._tables.values(), *([self._service] if self._service is not None else [])]
        self._tables, self._service = {}, None
        for client in opened:
            await client.close()

    async def _without_absent(self, table: str, partition: str, changes: list[Change]) -> list[Change]:
        kept: list[Change] = []
        for change in changes:
            unconditional = isinstance(change, Remove) and not change.etag
            if not unconditional or await self.get(table, partition, change.key) is not None:
                kept.append(change)
        return kept

    async def _collect(self, table: str, condition: str, *, limit: int | None) -> list[Row]:
        watch = _Watch()
        client = self._table(table)

        async def collect() -> list[Row]:
            size = min(limit or PAGE_LIMIT, PAGE_LIMIT)
            options = {"results_per_page": size, "raw_response_hook": watch.see}
            found = (
                client.query_entities(condition, **options) if condition else client.list_entities(**options)
            )
            rows: list[Row] = []
            async for entity in found:
                rows.append(_row(entity, watch.date))
                if len(rows) == limit:
                    break
            return rows

        if limit is not None and limit < 1:
            return []
        return await ask(collect(), Intent.READ, service=Service.STORAGE) or []

    def _table(self, name: str) -> Any:
        if self._service is None:
            from azure.data.tables.aio import TableServiceClient

            self._service = TableServiceClient(
                self._endpoint,
                credential=self._credential,
                transport=self._pool.transport(),
                retry_total=RETRIES,
                retry_backoff_factor=RETRY_BACKOFF_SECONDS,
                retry_backoff_max=RETRY_AFTER_LIMIT_SECONDS,
                raw_response_hook=refuse_long_waits,
            )
        if name not in self._tables:
            self._tables[name] = self._service.get_table_client(name)
        return self._tables[name]


class _Watch:
    """Notes the ``Date`` of each response of one call."""

    def __init__(self) -> None:
        self.date = datetime.now(UTC)

    def see(self, response: Any) -> None:
        refuse_long_waits(response)
        raw = response.http_response.headers.get("Date")
        if raw:
            self.date = email.utils.parsedate_to_datetime(raw).astimezone(UTC)


def check(partition: str, changes: Sequence[Change]) -> None:
    """Refuse what the service would refuse.

    Raises:
        PermanentError: ``transaction-invalid``.
    """
    keys = [change.key for change in changes]
    columns = [value for change in changes for value in getattr(change, "columns", {}).values()]
    if any(not isinstance(value, str | int) for value in columns):
        raise PermanentError("transaction-invalid", "a column is no text, number or truth value")
    if any(_FORBIDDEN.search(key) for key in (partition, *keys)):
        raise PermanentError("transaction-invalid", "a key holds a character that the service refuses")
    if len(keys) > CHANGES_LIMIT:
        raise PermanentError("transaction-invalid", f"{len(keys)} changes; the service takes {CHANGES_LIMIT}")
    if len(set(keys)) != len(keys):
        raise PermanentError("transaction-invalid", "a row is named twice")


def _operation(partition: str, change: Change) -> tuple[Any, ...]:
    from azure.core import MatchConditions
    from azure.data.tables import UpdateMode

    keys = {"PartitionKey": partition, "RowKey": change.key}
    if isinstance(change, Insert):
        return "create", {**keys, **_sent(change.columns)}
    if isinstance(change, Upsert):
        return "upsert", {**keys, **_sent(change.columns)}, {"mode": UpdateMode.REPLACE}
    match = {"etag": change.etag, "match_condition": MatchConditions.IfNotModified} if change.etag else {}
    if isinstance(change, Replace):
        return "update", {**keys, **_sent(change.columns)}, {"mode": UpdateMode.REPLACE, **match}
    return "delete", keys, match


def _sent(columns: Columns) -> dict[str, Any]:
    from azure.data.tables import EdmType, EntityProperty

    return {
        name: EntityProperty(value, EdmType.INT64)
        if isinstance(value, int) and not isinstance(value, bool) and value not in _INT32
        else value
        for name, value in columns.items()
    }


def _row(entity: Any, read_at: datetime) -> Row:
    metadata = entity.metadata
    columns = {
        name: getattr(value, "value", value)
        for name, value in entity.items()
        if name not in {"PartitionKey", "RowKey"}
    }
    return Row(
        partition=entity["PartitionKey"],
        key=entity["RowKey"],
        columns=columns,
        etag=metadata["etag"],
        written_at=datetime.fromtimestamp(metadata["timestamp"].timestamp(), UTC),
        read_at=read_at,
    )


def _quoted(text: str) -> str:
    """A string in an OData filter; a quote is doubled."""
    return "'" + text.replace("'", "''") + "'"
