"""What is on record of one connection, for a sweep: one read."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from shared import drift
from shared.drift import Drift
from shared.models import Connection, ConnectionId, ConnectionState, Intent, Plan
from shared.ports import StateStore
from shared.rows import parse
from shared.sweeping.ledger import Ledger

TABLE = "connections"
_MADE = frozenset({ConnectionState.CONFIGURED, ConnectionState.USABLE})


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class OnRecord:
    """A connection with the intents of its present life, and the drift that is known."""

    connection: Connection
    intents: Mapping[str, Intent]
    drift: Mapping[str, Drift]

    @property
    def present(self) -> bool:
        """True while the connection holds something, or something is under way."""
        return self.connection.state.live or bool(self.connection.active)

    @property
    def holds(self) -> bool:
        """True if something was made or meant to be: one that failed before that has nothing to lose."""
        return bool(self.intents.keys() - {"preflight"})

    @property
    def settled(self) -> bool:
        """True if all of it is made and nothing is under way: only then can something be amiss."""
        made = self.connection.state in _MADE or bool(self.connection.linker_id)
        return made and self.connection.state.live and not self.connection.active

    def output(self, step: str, name: str) -> str:
        """What a step recorded, empty if it recorded nothing."""
        intent = self.intents.get(step)
        return str(intent.outputs.get(name, "")) if intent else ""

    def planned(self, step: str) -> Mapping[str, Any]:
        """What a step means to make at present."""
        intent = self.intents.get(step)
        return intent.planned if intent else {}

    def plans(self, step: str) -> tuple[Plan, ...]:
        """Everything that a step ever meant to make in this life."""
        intent = self.intents.get(step)
        return intent.plans() if intent else ()


async def read(store: StateStore, ledger: Ledger, connection_id: str) -> OnRecord | None:
    """Read a connection; ``None`` if there is none, or if its rows are not such that we understand them."""
    rows = await store.query(TABLE, connection_id, key_from="a|", key_to=drift.KEY_TO)
    if not rows or not rows[0].key.startswith("a|"):
        return None
    try:
        connection = parse(Connection, rows[0])
        found = [parse(Intent, row) for row in rows if row.key.startswith("i|")]
        known = drift.read(row for row in rows if row.key.startswith(drift.KEY_FROM))
    except ValueError:
        # One row that another version or a person has written must not stop the others.
        ledger.count("rowsUnreadable")
        return None
    intents = {one.step: one for one in found if one.generation == connection.generation}
    return OnRecord(connection=connection, intents=intents, drift=known)


def connection_id_of(key: str) -> ConnectionId:
    """The connection that an entry's key names."""
    return ConnectionId(key.partition("|")[0])
