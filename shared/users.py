"""Who uses each derived thing, so that it goes with its last user and not before.

A derived thing is an identity, a credential, a role assignment or a service account; connections
of one workload share it. One row a thing, changed only under its etag. An entry is (connection,
generation) and leaves only on exact match, so that a late delete of an earlier life changes nothing.

Leaving as the last user marks the row ``closing`` with the operation that will delete the thing; a
newcomer that meets the mark waits. If that operation ended without deleting, the mark is void once
nothing that the operation sent can land any more: a delete by name takes a newcomer's thing as well.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from pydantic import Field

from shared.errors import NotYetError, PermanentError, StateConflictError
from shared.models import ConnectionId, OperationId
from shared.ports import Insert, Remove, Replace, StateStore
from shared.rows import columns, key_hash, parse
from shared.spec import Model

TABLE = "users"
USERS_LIMIT = 400
"""Users of one thing. A text column holds 64 KiB of UTF-16, 32,768 characters (learn.microsoft.com,
"Understanding the Table service data model"): so many users take 26,000, name and details the rest."""
_KEY = "thing"
_TRIES = 8


class User(Model):
    """One user of a thing."""

    connection_id: ConnectionId
    generation: int


class Shared(Model):
    """One thing's row."""

    thing: str
    users: tuple[User, ...]
    closing: OperationId = OperationId("")
    details: Mapping[str, Any] = Field(default_factory=dict)
    """What its makers know of it: provenance, name, uid."""


@dataclasses.dataclass(frozen=True, slots=True)
class Leaving:
    """What leaving a thing came to.

    Attributes:
        last: the caller was the last user and must delete the thing, then call ``forget``.
        shared: others use the thing; the caller leaves it alone. Neither last nor shared means that there
            is no row: the thing was never joined, or was deleted and forgotten already.
        details: what the row knew of the thing.
    """

    last: bool
    shared: bool
    details: Mapping[str, Any]


class Users:
    """The users rows."""

    def __init__(self, store: StateStore, *, lease_seconds: float) -> None:
        self._store = store
        self.lease_seconds = lease_seconds

    async def get(self, thing: str) -> Shared | None:
        """The row of a thing."""
        row = await self._store.get(TABLE, key_hash(thing), _KEY)
        return parse(Shared, row) if row else None

    async def require_room(self, thing: str, connection_id: ConnectionId) -> None:
        """A connection is among the users of a thing, or may join them.

        Raises:
            PermanentError: ``too-many-users``.
        """
        shared = await self.get(thing)
        if shared is not None and all(user.connection_id != connection_id for user in shared.users):
            _require_room(shared)

    async def join(
        self,
        thing: str,
        user: User,
        *,
        settled: Callable[[OperationId], Awaitable[bool]],
        details: Mapping[str, Any] | None = None,
    ) -> Shared:
        """Become a user of a thing, before making or touching it.

        Args:
            thing: the thing's own name, any text.
            user: who joins; joining twice changes nothing.
            settled: says whether an operation has ended and nothing that it sent can land any more.
            details: added to what the row knows; lists grow, all else is replaced.

        Raises:
            NotYetError: ``closing``: its last user is on the way out.
            PermanentError: ``too-many-users``.
            StateConflictError: too many others changed the row meanwhile (transient).
        """
        for _ in range(_TRIES):
            row = await self._store.get(TABLE, key_hash(thing), _KEY)
            if row is None:
                fresh = Shared(thing=thing, users=(user,), details=details or {})
                if await self._try(thing, Insert(key=_KEY, columns=_columns(fresh))):
                    return fresh
                continue
            shared = parse(Shared, row)
            if shared.closing:
                age_seconds = (row.read_at - row.written_at).total_seconds()
                if age_seconds < self.lease_seconds or not await settled(shared.closing):
                    raise NotYetError("closing", f"{thing.split('|', maxsplit=1)[0]} is being removed")
            users = shared.users
            if user not in users:
                _require_room(shared)
                users = (*users, user)
            joined = shared.model_copy(
                update={
                    "users": users,
                    "closing": OperationId(""),
                    "details": _added(shared.details, details or {}),
                },
            )
            if joined == shared:
                return shared
            if await self._try(thing, Replace(key=_KEY, columns=_columns(joined), etag=row.etag)):
                return joined
        raise StateConflictError(f"users of {thing.split('|', maxsplit=1)[0]}")

    async def leave(
        self,
        thing: str,
        user: User,
        *,
        operation_id: OperationId,
        landing: Callable[[], Awaitable[float]] | None = None,
        among_others: bool = False,
    ) -> Leaving:
        """Stop being a user of a thing.

        A missing row means that the thing was never joined, or was deleted and forgotten already.

        Args:
            thing: the thing's own name.
            user: who leaves.
            operation_id: of the removal.
            landing: seconds for which a write of the leaver may still land. Who leaves a thing to others
                stays so long: the last of them looks for its own late writes only. So does who is no user:
                its own joining may be such a write, and an entry of nobody would keep the thing for ever.
            among_others: the leaver counts on others that stay: it has not looked whether the thing can go.

        Raises:
            NotYetError: ``settle``.
            StateConflictError: others changed the row too often, or have gone meanwhile (transient).
        """
        for _ in range(_TRIES):
            row = await self._store.get(TABLE, key_hash(thing), _KEY)
            if row is None:
                await _require_landed(landing)
                return Leaving(last=False, shared=False, details={})
            shared = parse(Shared, row)
            if user not in shared.users:
                await _require_landed(landing)
                return Leaving(last=False, shared=True, details=shared.details)
            if shared.users == (user,):
                if shared.closing == operation_id:
                    return Leaving(last=True, shared=False, details=shared.details)
                if among_others:
                    raise StateConflictError(
                        f"the other users of {thing.split('|', maxsplit=1)[0]} have gone"
                    )
                left = shared.model_copy(update={"closing": operation_id})
            else:
                await _require_landed(landing)
                left = shared.model_copy(
                    update={"users": tuple(other for other in shared.users if other != user)},
                )
            if await self._try(thing, Replace(key=_KEY, columns=_columns(left), etag=row.etag)):
                last = bool(left.closing)
                return Leaving(last=last, shared=not last, details=shared.details)
        raise StateConflictError(f"users of {thing.split('|', maxsplit=1)[0]}")

    async def seize(
        self,
        thing: str,
        user: User,
        *,
        operation_id: OperationId,
        details: Mapping[str, Any] | None = None,
    ) -> bool:
        """Keep newcomers from a thing that nobody uses while it is removed again; then call ``forget``.

        Returns:
            False if somebody uses the thing by now: it is theirs.
        """
        closing = Shared(thing=thing, users=(user,), closing=operation_id, details=details or {})
        if await self._try(thing, Insert(key=_KEY, columns=_columns(closing))):
            return True
        present = await self.get(thing)
        return present is not None and present.closing == operation_id

    async def forget(self, thing: str, *, operation_id: OperationId) -> None:
        """Drop the row of a thing that this operation has deleted; anything else there stays.

        Raises:
            StateConflictError: the row could not be dropped (transient): nobody else ever would.
        """
        for _ in range(_TRIES):
            row = await self._store.get(TABLE, key_hash(thing), _KEY)
            if row is None or parse(Shared, row).closing != operation_id:
                return
            if await self._try(thing, Remove(key=_KEY, etag=row.etag)):
                return
        raise StateConflictError(f"users of {thing.split('|', maxsplit=1)[0]}")

    async def _try(self, thing: str, change: Insert | Replace | Remove) -> bool:
        try:
            await self._store.transact(TABLE, key_hash(thing), [change])
        except StateConflictError:
            return False
        return True


def _added(known: Mapping[str, Any], details: Mapping[str, Any]) -> Mapping[str, Any]:
    grown = {
        name: [*known.get(name, ()), *(one for one in value if one not in known.get(name, ()))]
        for name, value in details.items()
        if isinstance(value, list)
    }
    return {**known, **details, **grown}


async def _require_landed(landing: Callable[[], Awaitable[float]] | None) -> None:
    seconds = await landing() if landing else 0.0
    if seconds > 0:
        raise NotYetError("settle", "a write of its own may still land", seconds=seconds)


def _require_room(shared: Shared) -> None:
    if len(shared.users) < USERS_LIMIT:
        return
    raise PermanentError(
        "too-many-users",
        f"{USERS_LIMIT} connections use this {shared.thing.split('|', maxsplit=1)[0]} already",
        remedy="name another identity (identityId) or another workload, or delete connections that"
        " nobody needs",
    )


def _columns(shared: Shared) -> Mapping[str, str | int | bool]:
    return columns(shared, users=len(shared.users), closing=shared.closing)
