"""The simulation's wire: what becomes of a call whose host dies."""

import types

import pytest

from tests.simulation.faults import CELLS, LATE_SECONDS, Fault
from tests.simulation.ports import RUN, SLOW_SECONDS, Port, Run
from tests.simulation.simulation import Simulation

WRITE, READ = "roles.delete", "roles.get"
CALLS = 60


def landed(method: str, monkeypatch: pytest.MonkeyPatch, fault: Fault | None) -> list[float]:
    """How long after their host's death calls took effect that were under way then."""
    simulated, times = Simulation(1, traced=False), list[float]()
    loop, wire, host = simulated.loop, simulated.wire, simulated.platform.hosts[0]
    died_at = dict[str, float]()

    async def takes_effect(scope: str, number: str) -> None:
        times.append(loop.time() - died_at[number])

    monkeypatch.setattr(wire.dice, "draw", lambda _: fault)
    name, attribute = method.split(".")
    port = Port(wire, host, name, types.SimpleNamespace(**{attribute: takes_effect}))
    for number in map(str, range(CALLS)):
        before = host.life
        RUN.set(Run(host=host.name, life=before, label=number))
        loop.create_task(getattr(port, attribute)("scope", number))
        if fault is None:
            loop.call_later(0.01, host.crash)
        assert loop.run(until=lambda life=before: host.life != life, limit=loop.time() + SLOW_SECONDS)
        died_at[number] = loop.time()
    loop.run(until=lambda: False, limit=loop.time() + 1000.0)
    return times


@pytest.mark.parametrize("fault", [None, CELLS[WRITE][0]], ids=["beside", "in it"])
def test_what_a_host_had_sent_when_it_died_lands_within_a_lease_or_never(
    monkeypatch: pytest.MonkeyPatch, fault: Fault | None
):
    times = landed(WRITE, monkeypatch, fault)
    assert CALLS / 4 < len(times) < CALLS * 3 / 4
    assert LATE_SECONDS * 3 / 4 < max(times) <= LATE_SECONDS


def test_a_question_of_a_dead_host_has_no_effect(monkeypatch: pytest.MonkeyPatch):
    assert landed(READ, monkeypatch, None) == []
