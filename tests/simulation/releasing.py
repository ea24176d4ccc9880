"""A person who lets prunes go that the cap holds, once nothing else happens any more."""

from __future__ import annotations

import contextlib

from shared.errors import StateConflictError
from shared.state import State
from tests.simulation.scheduler import VirtualLoop
from tests.simulation.storage import SimulatedStore

INTERVAL_SECONDS = 600.0


class Person:
    """Looks at held prunes again and again, and releases all of them."""

    def __init__(self, loop: VirtualLoop, store: SimulatedStore) -> None:
        self._loop = loop
        self._state = State(store)

    def act(self) -> None:
        """Release what is held now, and come again."""
        self._loop.create_task(self._release())
        self._loop.call_later(INTERVAL_SECONDS, self.act)

    async def _release(self) -> None:
        for operation_id, _ in await self._state.open_operations():
            snapshot = await self._state.load(operation_id)
            if snapshot is None or all(one.value.waiting != "cap" for one in snapshot.steps.values()):
                continue
            released = snapshot.operation.value.model_copy(update={"released": True})
            with contextlib.suppress(StateConflictError):
                await self._state.commit(snapshot, released)
