"""The fakes' own tools, on which crash and simulation tests stand."""

from __future__ import annotations

import pytest

from shared.errors import TransientError
from shared.ports import Insert
from tests.fakes.clock import START, VirtualClock
from tests.fakes.journal import Journal, Recorded
from tests.fakes.state_store import InMemoryStateStore


async def test_a_crash_after_a_call_leaves_its_effect_and_one_before_does_not():
    journal = Journal()
    fake = InMemoryStateStore(VirtualClock())
    store = Recorded(fake, "state", journal)
    journal.after = lambda call: TransientError("crash") if call.number == 1 else None
    journal.before = lambda call: TransientError("crash") if call.number == 2 else None
    for key in ("a", "b", "c"):
        change = [Insert(key=key, columns={"n": 1})]
        if key == "c":
            await store.transact("users", "p", change)
            continue
        with pytest.raises(TransientError, match="crash"):
            await store.transact("users", "p", change)
    assert [row.key for row in fake.rows("users")] == ["a", "c"]
    assert journal.names() == ["state.transact"] * 3


def test_virtual_time_moves_only_forward_and_only_when_told():
    clock = VirtualClock()
    assert clock.now() == clock.now() == START
    assert (clock.advance(90) - START).total_seconds() == 90
    with pytest.raises(ValueError, match="backwards"):
        clock.advance(-1)
