"""Sweeps and their slices as rows: which one runs, who works on which slice, what was found so far.

Table ``sweeps``. Partition ``list``: one row a sweep, and ``current``, which names the newest; both are
written in one transaction, so there is one sweep at a time. Partition ``<sweep id>``: one row a slice, and
one ``open|<slice>`` for each that has not ended, so that the end of the last one is seen with one read.
"""

from __future__ import annotations

import dataclasses
import uuid
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from enum import StrEnum

from pydantic import Field

from shared.errors import StateConflictError
from shared.ports import Change, Columns, Insert, Remove, Replace, Row, StateStore
from shared.rows import Listed, columns, parse, parse_all
from shared.spec import Model
from shared.state import Stored

TABLE = "sweeps"
_LIST, _CURRENT = "list", "current"
_AT_ONCE = 48
"""Slices of one transaction; each is two changes of at most 100."""


class SweepState(StrEnum):
    """Where a sweep stands; the last two are final."""

    STARTING = "starting"
    """Its slices are being written."""
    RUNNING = "running"
    DONE = "done"
    ABANDONED = "abandoned"
    """It took too long and another one was begun instead."""

    @property
    def final(self) -> bool:
        """True once nothing more will happen."""
        return self in {SweepState.DONE, SweepState.ABANDONED}


class SliceState(StrEnum):
    """Where a slice stands."""

    PENDING = "pending"
    RUNNING = "running"
    WAITING = "waiting"
    """Not before ``due_at``: Azure asked for patience, or something failed and is tried again."""
    DONE = "done"


class Sweep(Model):
    """One look at everything."""

    sweep_id: str
    """UTC time of its start and a random end, so that ids sort by time."""
    state: SweepState = SweepState.STARTING
    started_at: datetime
    """The state store's own time, as far as one was known."""
    ended_at: datetime | None = None
    asked_by: str = "timer"
    """timer, request, recovery or recovery-dry-run."""
    slices: int = 0
    totals: Mapping[str, int] = Field(default_factory=dict)
    """Sum of the slices' counts, once it has ended."""
    calls: Mapping[str, int] = Field(default_factory=dict)

    @property
    def day(self) -> str:
        """The day by which what it finds is recognised when it is found again."""
        return f"{self.started_at:%Y-%m-%d}"


class Slice(Model):
    """A part of a sweep that one run works on at a time."""

    sweep_id: str
    slice_id: str
    kind: str
    """cluster, subscription or housekeeping."""
    what: str = ""
    """Id of the cluster, GUID of the subscription."""
    state: SliceState = SliceState.PENDING
    turn: int = 1
    """Counts messages that carry new work; a message with another turn is stale."""
    holder: str = ""
    lease_seconds: int = 0
    cursor: str = ""
    """Where to go on."""
    due_at: datetime | None = None
    tries: int = 0
    """Runs that failed or died since the cursor last moved."""
    details: tuple[str, ...] = ()
    """What kept it from looking at everything: codes."""
    counts: Mapping[str, int] = Field(default_factory=dict)
    calls: Mapping[str, int] = Field(default_factory=dict)
    messages: int = 0
    """Runs so far."""
    started_at: datetime | None = None
    ended_at: datetime | None = None


class SliceMessage(Model):
    """Body of a ``sweep-slices`` message: ids only, the table is the truth. Versions as of steps."""

    schema_version: int = 1
    sweep: str
    slice: str
    turn: int


class Sweeps:
    """Typed access to the rows."""

    def __init__(self, store: StateStore) -> None:
        self._store = store

    async def current(self) -> Stored[Sweep] | None:
        """The newest sweep, whether or not it has ended."""
        row = await self._store.get(TABLE, _LIST, _CURRENT)
        return await self.get(str(row.columns["sweep"])) if row else None

    async def get(self, sweep_id: str) -> Stored[Sweep] | None:
        """One sweep."""
        row = await self._store.get(TABLE, _LIST, f"s|{sweep_id}")
        return _stored(Sweep, row) if row else None

    async def newest(self, *, since: datetime, limit: int) -> Listed[Sweep]:
        """Sweeps that started since then, the newest first, at most ``limit``."""
        rows = await self._store.query(TABLE, _LIST, key_from=f"s|{_stamp(since)}", key_to="s}")
        return parse_all(Sweep, list(reversed(rows))[:limit])

    async def begin(
        self, *, now: datetime, asked_by: str, instead_of: Stored[Sweep] | None, abandon_at: datetime | None
    ) -> Sweep:
        """Make a sweep the current one.

        Args:
            now: when it starts.
            asked_by: timer or request.
            instead_of: the current one, as it was read.
            abandon_at: ends ``instead_of`` as abandoned, at that time.

        Raises:
            StateConflictError: another one became the current one first.
        """
        sweep = Sweep(sweep_id=f"{_stamp(now)}-{uuid.uuid4().hex[:8]}", started_at=now, asked_by=asked_by)
        pointer: Columns = {"schema": 1, "body": "", "sweep": sweep.sweep_id}
        changes: list[Change] = [Insert(key=f"s|{sweep.sweep_id}", columns=_sweep_columns(sweep))]
        row = await self._store.get(TABLE, _LIST, _CURRENT)
        if (row is None) != (instead_of is None):
            raise StateConflictError("the current sweep")
        if row is None or instead_of is None:
            changes.append(Insert(key=_CURRENT, columns=pointer))
        else:
            if row.columns["sweep"] != instead_of.value.sweep_id:
                raise StateConflictError("the current sweep")
            changes.append(Replace(key=_CURRENT, columns=pointer, etag=row.etag))
        if instead_of is not None and abandon_at is not None:
            given_up = instead_of.value.model_copy(
                update={"state": SweepState.ABANDONED, "ended_at": abandon_at}
            )
            changes.append(_replaced(given_up, instead_of.etag))
        await self._store.transact(TABLE, _LIST, changes)
        return sweep

    async def save(self, stored: Stored[Sweep], sweep: Sweep) -> None:
        """Replace a sweep's row.

        Raises:
            StateConflictError: it moved meanwhile.
        """
        await self._store.transact(TABLE, _LIST, [_replaced(sweep, stored.etag)])

    async def add(self, slices: Sequence[Slice]) -> None:
        """Write slices that are not there yet; those that are stay as they are."""
        known = {one.value.slice_id for one in await self.slices(slices[0].sweep_id)} if slices else set()
        missing = [one for one in slices if one.slice_id not in known]
        for first in range(0, len(missing), _AT_ONCE):
            part = missing[first : first + _AT_ONCE]
            changes: list[Change] = [Insert(key=_key(one), columns=_slice_columns(one)) for one in part]
            changes += [Insert(key=f"open|{one.slice_id}", columns={"schema": 1}) for one in part]
            await self._store.transact(TABLE, part[0].sweep_id, changes)

    async def slice(self, sweep_id: str, slice_id: str) -> Stored[Slice] | None:
        """One slice."""
        row = await self._store.get(TABLE, sweep_id, f"slice|{slice_id}")
        return _stored(Slice, row) if row else None

    async def slices(self, sweep_id: str) -> list[Stored[Slice]]:
        """All slices of a sweep, in the order of their ids."""
        rows = await self._store.query(TABLE, sweep_id, key_from="slice|", key_to="slice}")
        return [_stored(Slice, row) for row in rows]

    async def replace(self, stored: Stored[Slice], new: Slice) -> Stored[Slice]:
        """Replace a slice's row; one that has ended is no longer among the open ones.

        Raises:
            StateConflictError: it moved meanwhile.
        """
        changes: list[Change] = [Replace(key=_key(new), columns=_slice_columns(new), etag=stored.etag)]
        if new.state is SliceState.DONE:
            changes.append(Remove(key=f"open|{new.slice_id}"))
        etags = await self._store.transact(TABLE, new.sweep_id, changes)
        return dataclasses.replace(stored, value=new, etag=etags[_key(new)])

    async def any_open(self, sweep_id: str) -> bool:
        """Say whether a slice has not ended: one row is read at most."""
        rows = await self._store.query(TABLE, sweep_id, key_from="open|", key_to="open}", limit=1)
        return bool(rows)

    async def forget_before(self, instant: datetime, *, limit: int) -> int:
        """Remove sweeps that started before then, at most ``limit``; returns how many rows that were."""
        rows = await self._store.query(
            TABLE, _LIST, key_from="s|", key_to=f"s|{_stamp(instant)}", limit=limit
        )
        removed = 0
        for row in rows:
            sweep_id = row.key.removeprefix("s|")
            parts = await self._store.query(TABLE, sweep_id)
            for first in range(0, len(parts), 100):
                gone = [Remove(key=part.key) for part in parts[first : first + 100]]
                await self._store.transact(TABLE, sweep_id, gone)
            await self._store.transact(TABLE, _LIST, [Remove(key=row.key)])
            removed += len(parts) + 1
        return removed


def totals(slices: Iterable[Slice]) -> tuple[dict[str, int], dict[str, int]]:
    """Sums of counts and of calls."""
    counts: dict[str, int] = {}
    calls: dict[str, int] = {}
    for one in slices:
        for name, number in one.counts.items():
            counts[name] = counts.get(name, 0) + number
        for name, number in one.calls.items():
            calls[name] = calls.get(name, 0) + number
    return dict(sorted(counts.items())), dict(sorted(calls.items()))


def message_of(one: Slice) -> str:
    """The message that asks for a slice's next run."""
    return SliceMessage(sweep=one.sweep_id, slice=one.slice_id, turn=one.turn).model_dump_json()


def too_old(stored: Stored[Sweep], limit_seconds: float) -> bool:
    """Say whether a sweep has had its time, by the service's clock."""
    return stored.read_at - stored.value.started_at > timedelta(seconds=limit_seconds)


def _stamp(instant: datetime) -> str:
    return f"{instant:%Y%m%dt%H%M%S}"


def lease_left_seconds(stored: Stored[Slice]) -> float:
    """Seconds that the lease of a running slice still has; 0 if nobody holds it or it has expired."""
    if not stored.value.holder:
        return 0.0
    age_seconds = (stored.read_at - stored.written_at).total_seconds()
    return max(0.0, stored.value.lease_seconds - age_seconds)


def _stored[M: Model](model: type[M], row: Row) -> Stored[M]:
    return Stored(parse(model, row), row.etag, row.written_at, row.read_at)


def _key(one: Slice) -> str:
    return f"slice|{one.slice_id}"


def _replaced(sweep: Sweep, etag: str) -> Replace:
    return Replace(key=f"s|{sweep.sweep_id}", columns=_sweep_columns(sweep), etag=etag)


def _sweep_columns(sweep: Sweep) -> dict[str, str | int | bool]:
    return dict(columns(sweep, state=sweep.state.value, slices=sweep.slices))


def _slice_columns(one: Slice) -> dict[str, str | int | bool]:
    return dict(columns(one, kind=one.kind, what=one.what, state=one.state.value, turn=one.turn))
