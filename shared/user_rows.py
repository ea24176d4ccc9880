"""Values of a users row: who uses a thing, what is known of it, and what leaving it came to."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from pydantic import Field

from shared.models import ConnectionId, OperationId
from shared.spec import Model

USERS_LIMIT = 400
"""Users of one thing. A text column holds 64 KiB of UTF-16, 32,768 characters (learn.microsoft.com,
"Understanding the Table service data model"): so many users take 26,000, name and details the rest."""


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

    left: tuple[User, ...] = ()
    """Who has left, as many of the last as there is room for: some may still be on record as holding it."""

    def having(self, users: tuple[User, ...], *gone: User) -> Shared:
        """The row with these users, some of those before them being gone."""
        left = (*(one for one in self.left if one not in users and one not in gone), *gone)
        room = max(0, USERS_LIMIT - len(users))
        return self.model_copy(update={"users": users, "left": left[max(0, len(left) - room) :]})

    def others(self, connection_id: ConnectionId) -> tuple[User, ...]:
        """Its users but one connection."""
        return tuple(user for user in self.users if user.connection_id != connection_id)


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
