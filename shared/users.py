"""Who uses each derived thing, so that it goes with its last user and not before.

A derived thing is an identity, a credential, a role assignment or a service account; connections
of one workload share it. One row a thing, changed only under its etag. An entry is (connection,
generation) and leaves only on exact match, so that a late delete of an earlier life changes nothing. The
life on record takes entries of its connection's other lives along: one life ends before the next begins, so
they are nobody's. (Generations begin anew when table ``connections`` is lost.)

Leaving as the last user marks the row ``closing`` with the operation that will delete the thing; a
newcomer that meets the mark waits. If that operation ended without deleting, the mark is void once
nothing that the operation sent can land any more: a delete by name takes a newcomer's thing as well.

Rows can be lost, and who joins then is alone in a new one. So the last user, once its mark stands, asks the
record who else holds the thing, and hands it over (``hand_over``) instead of deleting it. Intents outlive the
leaving of who held something, so the row keeps who has left it, on it or not: those get nothing back.
The row goes with its last user; of what was left before that, the intents themselves say so.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from shared.errors import NotYetError, PermanentError, StateConflictError
from shared.models import ConnectionId, OperationId
from shared.ports import Insert, Remove, Replace, Row, StateStore
from shared.rows import columns, key_hash, parse
from shared.user_rows import USERS_LIMIT, Leaving, Shared, User

__all__ = ["TABLE", "USERS_LIMIT", "Leaving", "Shared", "User", "Users"]

TABLE = "users"
_KEY = "thing"
_TRIES = 8


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
        if shared is not None and shared.others(connection_id) == shared.users:
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
                    raise NotYetError("closing", f"{_kind(thing)} is being removed")
            users = shared.users
            if user not in users:
                _require_room(shared)
                users = (*users, user)
            known = _added(shared.details, details or {})
            joined = shared.having(users).model_copy(update={"closing": OperationId(""), "details": known})
            if joined == shared:
                return shared
            if await self._try(thing, _replaced(joined, row)):
                return joined
        raise StateConflictError(f"users of {_kind(thing)}")

    async def leave(
        self,
        thing: str,
        user: User,
        *,
        operation_id: OperationId,
        landing: Callable[[], Awaitable[float]] | None = None,
        present: Callable[[], Awaitable[int]] | None = None,
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
            present: generation on record of the leaver's connection: if it is the leaver's, entries of other
                lives leave with it. Asked after the row was read: a later life is on record before it joins,
                so a late run sees that, or does not find the row as it was.
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
            users = await _users_now(shared, user, present)
            if user not in users:
                await _require_landed(landing)
                told = shared.having(users, user)
                if shared.others(user.connection_id) != users:
                    told = shared  # a later life is on it: whoever asks the record hears of that one
                if told == shared or await self._try(thing, _replaced(told, row)):
                    return Leaving(last=False, shared=True, details=shared.details)
                continue
            if users == (user,):
                if shared.closing == operation_id:
                    return Leaving(last=True, shared=False, details=shared.details)
                if among_others:
                    raise StateConflictError(f"the other users of {_kind(thing)} have gone")
                left = shared.model_copy(update={"users": users, "closing": operation_id})
            else:
                await _require_landed(landing)
                left = shared.having(tuple(other for other in users if other != user), user)
            if await self._try(thing, _replaced(left, row)):
                last = bool(left.closing)
                return Leaving(last=last, shared=not last, details=shared.details)
        raise StateConflictError(f"users of {_kind(thing)}")

    async def hand_over(
        self,
        thing: str,
        *,
        operation_id: OperationId,
        heirs: Callable[[], Awaitable[Mapping[User, bool]]],
        landing: Callable[[], Awaitable[float]],
    ) -> bool:
        """Leave a thing that bears this operation's mark to those who hold it without being on its row.

        Args:
            thing: the thing's own name.
            operation_id: of the removal.
            heirs: who holds it, and whether that one is sure not to have left it already. Asked after the row
                was read: who leaves meanwhile has written so. Without one who is sure the row goes, and each
                that comes looks.
            landing: seconds for which what the leaver has sent may still land.

        Returns:
            False if nobody holds it: it is the caller's to delete.

        Raises:
            NotYetError: ``settle``.
            StateConflictError: the row is another's by now, or changed too often (transient).
        """
        for _ in range(_TRIES):
            row = await self._store.get(TABLE, key_hash(thing), _KEY)
            if row is None or (shared := parse(Shared, row)).closing != operation_id:
                break
            found = {user: sure for user, sure in (await heirs()).items() if user not in shared.left}
            if not found:
                return False
            await _require_landed(landing)
            sure = sorted((user for user in found if found[user]), key=lambda user: user.connection_id)
            users = tuple(sure[:USERS_LIMIT])
            left = shared.having(users, *shared.users).model_copy(update={"closing": OperationId("")})
            if await self._try(thing, _replaced(left, row) if users else Remove(key=_KEY, etag=row.etag)):
                return True
        raise StateConflictError(f"users of {_kind(thing)}")

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

        Raises:
            StateConflictError: others come and go (transient): whose it is cannot be said.
        """
        closing = Shared(thing=thing, users=(user,), closing=operation_id, details=details or {})
        for _ in range(_TRIES):
            if await self._try(thing, Insert(key=_KEY, columns=_columns(closing))):
                return True
            present = await self.get(thing)
            if present is not None:
                return present.closing == operation_id
            # Whoever was in the way has gone again: the thing is nobody's still.
        raise StateConflictError(f"users of {_kind(thing)}")

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
        raise StateConflictError(f"users of {_kind(thing)}")

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


async def _users_now(
    shared: Shared, user: User, present: Callable[[], Awaitable[int]] | None
) -> tuple[User, ...]:
    """A row's users, with the user in place of its connection's other lives if it is the one on record."""
    now = (*shared.others(user.connection_id), user)
    if present is None or set(shared.users) <= set(now) or await present() != user.generation:
        return shared.users
    return now


async def _require_landed(landing: Callable[[], Awaitable[float]] | None) -> None:
    seconds = await landing() if landing else 0.0
    if seconds > 0:
        raise NotYetError("settle", "a write of its own may still land", seconds=seconds)


def _require_room(shared: Shared) -> None:
    if len(shared.users) < USERS_LIMIT:
        return
    raise PermanentError(
        "too-many-users",
        f"{USERS_LIMIT} connections use this {_kind(shared.thing)} already",
        remedy="name another identity (identityId) or another workload, or delete connections that"
        " nobody needs",
    )


def _kind(thing: str) -> str:
    return thing.split("|", maxsplit=1)[0]


def _replaced(shared: Shared, row: Row) -> Replace:
    return Replace(key=_KEY, columns=_columns(shared), etag=row.etag)


def _columns(shared: Shared) -> Mapping[str, str | int | bool]:
    return columns(shared, users=len(shared.users), closing=shared.closing)
