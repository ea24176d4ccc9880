"""One seed: a world, two hosts, a workload, faults; then calm, then the end of everything."""

from __future__ import annotations

import collections
import dataclasses
import functools
import time
from collections.abc import Iterator
from datetime import timedelta
from unittest import mock

from shared import services as services_module
from shared.settings import Settings
from shared.steps.surroundings import Outside
from tests.fakes.outcome_topic import InMemoryOutcomeTopic
from tests.simulation import rest
from tests.simulation.asked import Asked
from tests.simulation.astray import Astray
from tests.simulation.blame import is_ours
from tests.simulation.chance import apart, repeatable, seeded
from tests.simulation.changes import Changes
from tests.simulation.configuration import policy, settings_with
from tests.simulation.faults import SEEN, Dice
from tests.simulation.hands import Hands
from tests.simulation.hosts import TIMER_SECONDS, Host, Log, Platform, SkewedClock
from tests.simulation.impatience import Impatience
from tests.simulation.namespaces import Namespaces
from tests.simulation.oracles import Oracles
from tests.simulation.pods import Pods
from tests.simulation.ports import Entry, Port, Wire
from tests.simulation.records import Records
from tests.simulation.releasing import Person
from tests.simulation.removals import RETENTION_SECONDS
from tests.simulation.rival import Rival
from tests.simulation.scheduler import VirtualLoop
from tests.simulation.storage import SimulatedStore
from tests.simulation.words import Words
from tests.simulation.workload import HORIZON_SECONDS, Workload
from tests.simulation.world import STALE_SECONDS, Outward, SimulatedWorld

LEAST_FAULTS = 10
FAITHFUL = 8
"""Of so many seeds one parses every row that it reads; the others know what they wrote themselves."""
ASKED_AGAIN = 1 / 3
"""Share of runs that ask for everything again in calm: it is a third of the work of such a run."""
CALM_SECONDS = 6 * 3600.0
"""A run that is not at rest so long after the last fault never will be."""


@dataclasses.dataclass(slots=True)
class Result:
    """What one seed came to."""

    seed: int
    violations: list[str]
    struck: collections.Counter[tuple[str, str]]
    connections: int
    operations: collections.Counter[str]
    steps: int
    turns: int
    virtual_seconds: float
    seconds: float
    trace: list[Entry]

    @property
    def faults(self) -> int:
        """How many calls were broken; what an answer only shows is not counted."""
        shown = {code for code, _ in SEEN.values()}
        return sum(count for (_, name), count in self.struck.items() if name not in shown)


class Simulation:
    """Everything of one seed."""

    def __init__(self, seed: int, *, traced: bool = True) -> None:
        self.seed = seed
        dice = seeded(seed)
        self.loop = VirtualLoop()  # type: ignore[abstract]
        self.world = SimulatedWorld(self.loop, seeded(dice.getrandbits(64)))
        self.world.furnish()
        self.outward = Outward.of(self.world)
        cap = dice.choice((20, 20, 3))
        self.oracles = Oracles(self.world, cap)
        self.wire = Wire(
            loop=self.loop,
            random=seeded(dice.getrandbits(64)),
            dice=Dice(seed, seeded(dice.getrandbits(64))),
            watch=self.oracles,
            traced=traced,
        )
        self.store = SimulatedStore(self.loop.now, self.loop.second, self.oracles.row)
        self.records = Records(self.store)
        self.oracles.look_at(self.records)
        rival = Rival(self.world, self.outward, self.wire.dice, seeded(dice.getrandbits(64)))
        rival.records, self.wire.rival = self.records, rival
        self.topic = InMemoryOutcomeTopic()
        self.platform = Platform(self.wire, seeded(dice.getrandbits(64)))
        self.workload = Workload(self.world, self.outward, self.platform, seeded(dice.getrandbits(64)))
        self._names = seeded(dice.getrandbits(64))
        self.reports = dice.random() < 0.1
        # Fourteen days are more than a run has; in some runs an orphan is kept for a minute.
        self.oracles.removals.retention_seconds = apart(seed, "retention").choice((RETENTION_SECONDS, 60))
        settings = settings_with(
            MOORING_ORPHAN_RETENTION_SECONDS=str(self.oracles.removals.retention_seconds),
            MOORING_PRUNE_CAP_PER_HOUR=str(cap),
            MOORING_PROVE=dice.choice(("on", "off", "off")),
            MOORING_PRUNE_MODE="report" if self.reports else "enforce",
            MOORING_DRIFT=dice.choice(("report", "repair")),
        )
        later = apart(seed, "changes")
        self.changes = Changes(self.workload, self.records, seeded(dice.getrandbits(64)), later=later)
        self.namespaces = Namespaces(self.workload, self.changes, apart(seed, "namespaces"))
        self.astray = Astray(self.workload, self.changes, apart(seed, "astray"))
        self._asked = Asked(self.workload, self.oracles, self.store)
        self._calm_at = float("inf")
        for number in (1, 2):
            self._host(f"host{number}", settings, timedelta(seconds=dice.uniform(-200.0, 200.0)))

    def run(self) -> Result:
        """Play the seed to its end, or to the first violation."""
        began = time.perf_counter()
        with repeatable(self._names, self.records, faithful=self.seed % FAITHFUL == 0):
            violations = self._play()
            trace, ended = [*self.wire.trace], self.loop.time()
            turns = self.loop.turns
            self.platform.stop()
        result = Result(
            seed=self.seed,
            violations=violations,
            struck=self.wire.dice.struck,
            connections=len(self.workload.wanted),
            operations=collections.Counter(
                f"{operation.kind.value} {operation.state.value}" for operation in self.records.operations()
            ),
            steps=self.platform.handled,
            turns=turns,
            virtual_seconds=ended,
            seconds=time.perf_counter() - began,
            trace=trace,
        )
        self.loop.close()
        return result

    def _play(self) -> list[str]:
        self.workload.write()
        self.changes.write()
        self.namespaces.write()
        self.astray.write()
        Pods(self.workload, apart(self.seed, "pods")).write()
        Hands(self.workload, apart(self.seed, "hands")).write()
        Words(self.workload, apart(self.seed, "words")).write()
        Impatience(self.workload, self.topic.events, apart(self.seed, "impatience")).write()
        self.loop.call_later(TIMER_SECONDS / 2, self.platform.tick)
        self.loop.call_later(STALE_SECONDS, self._photograph)
        self._run_until(HORIZON_SECONDS)
        if self._broken:
            return self._broken
        self.wire.dice.on = False
        self.wire.say("world", "CALM")
        self._calm_at = self.loop.time()
        self.workload.heal()
        Person(self.loop, self.store).act()
        if not self._settle() or not self._swept():
            return self._broken or [*self._unsettled()]
        found = [*self._at_rest(), *rest.ghosts_change_nothing(self.records, self.store)]
        if found:
            return found
        if apart(self.seed, "again").random() < ASKED_AGAIN:
            found = self._again()
            if found:
                return found
        self.wire.say("world", "THE END OF EVERYTHING")
        self.workload.delete_all(self.changes.restored())
        self._run_until(self.loop.time() + 30.0)
        if not self._settle():
            return self._broken or [*self._unsettled()]
        left = rest.nothing_left(self.world, self.oracles, self.records, watched=self.reports)
        return [*self._at_rest(), *left]

    def _again(self) -> list[str]:
        """In calm all that is wanted can be had: what is wrong if it is asked for once more."""
        self.wire.say("world", "EVERYTHING IS ASKED FOR AGAIN")
        asked = self._asked.again()
        self._run_until(self.loop.time() + 30.0)
        if not self._settle():
            return self._broken or [*self._unsettled()]
        return [*self._at_rest(), *self._asked.made(asked)]

    @property
    def _broken(self) -> list[str]:
        for error in self.platform.unexpected:
            if is_ours(error):
                raise error
        unexpected = [f"the product raised {error!r}" for error in self.platform.unexpected]
        return [*self.oracles.violations, *unexpected]

    def _run_until(self, instant: float) -> None:
        broken = lambda: self.oracles.violations or self.platform.unexpected  # noqa: E731
        self.loop.run(until=broken, limit=instant)
        if not broken():
            self.loop._now = max(self.loop.time(), instant)

    def _settle(self) -> bool:
        """Go on until nothing is left to do; false if that never comes."""
        return self.loop.run(until=self._still, limit=self.loop.time() + CALM_SECONDS) and not self._broken

    def _swept(self) -> bool:
        """Sweep a world in which nothing else happens: what is as it should be must stay so."""
        if self.oracles.removals.retention_seconds < CALM_SECONDS:
            self._run_until(self.loop.time() + 2 * self.oracles.removals.retention_seconds)
        self.changes.sweep()
        return self._settle()

    def _still(self) -> bool:
        still = self.platform.quiet and not self._open_rows() and all(h.alive for h in self.platform.hosts)
        return bool(self._broken) or still

    def _open_rows(self) -> int:
        return sum(len(rows) for rows in self.store.tables["openoperations"].values())

    def _unsettled(self) -> Iterator[str]:
        yield f"not at rest after {CALM_SECONDS:g} s of calm; {len(self.platform.queue.live)} messages"
        yield from self._at_rest()

    def _at_rest(self) -> Iterator[str]:
        yield from self._broken
        yield from self._asked.recorded()
        yield from rest.nothing_open(self.records, self._open_rows())
        yield from rest.nobody_gave_up(self.world, self.records, since=self._calm_at)
        # A topic that does not answer is told later; only one that refuses for good is never told.
        refused = ("topic.publish", "403") in self.wire.dice.struck
        yield from rest.told_once(self.records, self.topic.events, faults=refused)
        yield from rest.nothing_leaked(self.world, self.oracles, self.records)
        yield from rest.nothing_missing(self.world, self.records)

    def _photograph(self) -> None:
        self.world.photograph()
        self.loop.call_later(STALE_SECONDS, self._photograph)

    def _host(self, name: str, settings: Settings, skew: timedelta) -> None:
        host = Host(name, self.wire)
        port = functools.partial(Port, self.wire, host)
        log = functools.partial(Log, kept=self.platform.unexpected)
        with mock.patch.multiple(services_module, load_policy=lambda *_: policy(), StepLog=log):
            host.services = services_module.build(
                settings,
                store=port("state", self.store),
                queue=port("queue", self.platform.queue),
                topic=port("topic", self.topic),
                outside=Outside(**{key: port(key, value) for key, value in self.outward.named().items()}),
                clock=SkewedClock(self.loop.now, skew),
            )
        self.platform.hosts.append(host)
