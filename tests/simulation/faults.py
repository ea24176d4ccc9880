"""What can go wrong with each call: one row of cells a method, and dice that choose among them.

Codes and classes are those that the real clients raise (``shared/clients/error_rules.py``). A seed strikes
twice: a background rate over all calls, and a few cells chosen in turn so that many seeds fill the matrix.
"""

from __future__ import annotations

import collections
import dataclasses
import random
from collections.abc import Callable, Mapping
from typing import Any

from shared.errors import MooringError, Pace, PermanentError, StateConflictError, TransientError

LATE_SECONDS = 140.0
"""A write whose answer was lost, or whose host died, lands at most this much later: less than one lease
(``steps/quiesce.py``)."""


@dataclasses.dataclass(frozen=True, slots=True)
class Fault:
    """One cell of the matrix; ``how`` says what happens to the call itself. Deletes land late as well.

    ``answer``: an error instead of the effect. ``lost``: the effect, then an error. ``late``: an error, the
    effect later. ``hang``: no answer before the step's deadline. ``crash-before``, ``crash-after``: the host
    dies; half of what it had sent by then lands later. ``stale``: an old answer.
    """

    name: str
    how: str
    error: Callable[[random.Random], MooringError] | None = None


def _transient(code: str, pace: Pace = Pace.SLOW) -> Callable[[random.Random], MooringError]:
    return lambda _: TransientError(code, "simulated", pace=pace)


def _permanent(code: str) -> Callable[[random.Random], MooringError]:
    return lambda _: PermanentError(code, "simulated")


def _asks_for_patience(code: str, dice: random.Random) -> MooringError:
    return TransientError(code, "simulated", pace=Pace.SLOW, retry_after_seconds=dice.randint(3, 60))


def _patient(dice: random.Random) -> MooringError:
    return _asks_for_patience("throttled", dice)


_UNANSWERED = _transient("connection-failed", Pace.FAST)
_Answers = Mapping[str, Callable[[random.Random], MooringError]]
_ARM: _Answers = {
    "401": _transient("token-refused"),
    "403": _permanent("access-denied"),
    "404": _transient("not-found-unproven"),
    "409": _transient("conflict"),
    "412": _transient("precondition", Pace.FAST),
    "429": _transient("throttled"),
    "429-wait": _patient,
    "5xx": _transient("service-error", Pace.FAST),
    "timeout": _UNANSWERED,
}
_KUBERNETES: _Answers = {
    "401": _transient("kubernetes-token-refused"),
    "403": _permanent("kubernetes-access-denied"),
    "404": _transient("cluster-unreachable"),
    "409": _transient("kubernetes-conflict", Pace.FAST),
    "412": _transient("precondition", Pace.FAST),
    "429": _transient("kubernetes-busy"),
    "429-wait": lambda dice: _asks_for_patience("kubernetes-busy", dice),
    "5xx": _transient("kubernetes-error"),
    "timeout": _transient("cluster-unreachable"),
}
_STORAGE: _Answers = {
    "401": _transient("token-refused"),
    "403": _transient("storage-access-denied"),
    "404": _permanent("table-missing"),
    "409": _transient("table-being-deleted"),
    "412": _transient("precondition", Pace.FAST),
    "429": _transient("throttled"),
    "429-wait": _patient,
    "5xx": _transient("storage-busy", Pace.FAST),
    "timeout": _UNANSWERED,
}
_QUEUE: _Answers = {**_STORAGE, "404": _permanent("queue-missing"), "409": _transient("queue-being-deleted")}
_TABLE_WRITES: _Answers = {
    **_STORAGE,
    "409": lambda _: StateConflictError("simulated: exists"),
    "412": lambda _: StateConflictError("simulated: etag"),
}
_LOCK: _Answers = {"ScopeLocked": _permanent("scope-locked")}
_CRASHES = (Fault("crash-before", "crash-before"), Fault("crash-after", "crash-after"))


def _cells(answers: _Answers, *more: Fault) -> tuple[Fault, ...]:
    return (*_CRASHES, *(Fault(name, "answer", error) for name, error in answers.items()), *more)


_HANG = Fault("hang", "hang")
_WRITES = (Fault("took-effect", "lost", _UNANSWERED), Fault("late", "late", _UNANSWERED), _HANG)
_STALE = Fault("stale", "stale")

CELLS: Mapping[str, tuple[Fault, ...]] = {
    "identities.get": _cells(_ARM, _HANG),
    "identities.ensure": _cells({**_ARM, **_LOCK}, *_WRITES),
    "identities.delete": _cells({**_ARM, **_LOCK}, *_WRITES),
    "identities.get_credential": _cells(_ARM, _HANG),
    "identities.list_credentials": _cells(_ARM, _HANG, _STALE),
    "identities.ensure_credential": _cells({**_ARM, **_LOCK}, *_WRITES),
    "identities.delete_credential": _cells({**_ARM, **_LOCK}, *_WRITES),
    "roles.get": _cells(_ARM, _HANG),
    "roles.ensure": _cells(
        {**_ARM, **_LOCK, "RoleAssignmentExists": _transient("role-assignment-exists")}, *_WRITES
    ),
    "roles.delete": _cells({**_ARM, **_LOCK}, *_WRITES),
    "roles.list": _cells(_ARM, _HANG),
    "roles.list_for_principal": _cells(_ARM, _HANG),
    "resources.get": _cells(_ARM, _HANG),
    "resources.list": _cells(_ARM, _HANG, _STALE),
    "resources.locks": _cells(_ARM, _HANG),
    "identities.list": _cells(_ARM),
    "linkers.get": _cells(_ARM),
    "linkers.list": _cells(_ARM, _HANG, _STALE),
    "clusters.describe": _cells(_ARM, _HANG),
    "clusters.namespace_exists": _cells(_KUBERNETES, _HANG),
    "clusters.namespace_phase": _cells(_KUBERNETES, _HANG),
    "clusters.get": _cells(_KUBERNETES, _HANG),
    "clusters.create": _cells(_KUBERNETES, *_WRITES),
    "clusters.apply": _cells(_KUBERNETES, *_WRITES),
    "clusters.delete": _cells(_KUBERNETES, *_WRITES),
    "clusters.list_uses": _cells(_KUBERNETES, _HANG),
    "clusters.list_namespaces": _cells(_KUBERNETES, _HANG),
    "clusters.list_objects": _cells(_KUBERNETES, _HANG),
    "clusters.request_token": _cells(_KUBERNETES, _HANG),
    "prover.exchange": _cells({**_ARM, "403": _permanent("exchange-refused")}, _HANG),
    "prover.read": _cells({name: _ARM[name] for name in ("401", "429", "5xx", "timeout")}, _HANG),
    "state.get": _cells(_STORAGE),
    "state.query": _cells(_STORAGE),
    "state.scan": _cells(_STORAGE),
    "state.transact": _cells(
        _TABLE_WRITES,
        *_WRITES,
        # The SDK's own repeat meets the first try's write (``clients/state_table.py``).
        Fault("own-write", "lost", lambda _: StateConflictError("simulated: the repeat met the write")),
    ),
    "queue.announce": _cells(_QUEUE, *_WRITES),
    "queue.forward_event": _cells(_QUEUE, *_WRITES),
    "queue.reject": _cells(_QUEUE, *_WRITES),
    "queue.announce_slice": _cells(_QUEUE, *_WRITES),
    "queue.depth": _cells(_QUEUE),
    "topic.publish": _cells(_ARM, *_WRITES),
}
"""Which faults each call can meet. One that no call can reach would only stand in the way of the others."""

UNREACHED = frozenset({"resources.list_keys", "clusters.serves", "queue.put_back", "queue.oldest_at"})
UNREACHED_PORTS = frozenset({"cosmos", "redis", "databases"})
"""Methods of ports, and whole ports, that no simulated run calls.

The simulated connections are to storage and vaults and through identities, and mount none; no release is
newer than another; nobody measures how old messages are. Unit tests break those calls one by one. A method
that is neither here nor in ``CELLS`` fails a test, and each run that calls it.
"""

WRITES = frozenset(method for method, cells in CELLS.items() if any(cell.how == "lost" for cell in cells))
"""Calls that change something; one under way when its run ends may take effect all the same."""

OWN = ("state.", "queue.", "topic.")
"""Ports to what is Mooring's own."""
_LATE = {method: cell for method, cells in CELLS.items() for cell in cells if cell.how == "late"}

WORLD_FAULTS: Mapping[str, str] = {
    "principal-not-found": "roles.ensure",
    "credential-write-busy": "identities.ensure_credential",
    "bad-request": "identities.ensure_credential",
    "cluster-updating": "clusters.describe",
    "cluster-unreachable": "clusters.get",
    "namespace-not-found": "clusters.create",
    "object-exists": "clusters.create",
    "cluster-gone": "clusters.get",
    "parent-not-found": "roles.ensure",
    "existing": "roles.ensure",
    "remade": "clusters.get",
}
"""Faults that the simulated world itself makes, and the call at which each is counted."""

SEEN: Mapping[str, tuple[str, Callable[[Any], bool]]] = {
    "roles.ensure": ("existing", lambda assignment: assignment.existing),
    "clusters.describe": (
        "cluster-updating",
        lambda cluster: cluster is not None and cluster.provisioning_state == "Updating",
    ),
}
"""Those that are no errors: a call answers, and its answer shows them."""

TARGETED = tuple((method, cell) for method, cells in CELLS.items() for cell in cells)
TARGETS_PER_SEED = 14
_WEIGHTS = {"403": 0.15, "404": 0.5, "ScopeLocked": 0.3, "crash-before": 0.5, "hang": 0.4, "late": 4.0}


class Dice:
    """Decides for each call whether it fails, and how; remembers what it did."""

    def __init__(self, seed: int, random_: random.Random) -> None:
        self._random = random_
        self.on = True
        self.struck: collections.Counter[tuple[str, str]] = collections.Counter()
        self._rate = random_.choice((0.004, 0.006, 0.01, 0.015))
        self._late_rate = random_.choice((0.0, 0.0, 0.0, 0.12))
        """In some runs many answers of Azure are lost and their writes land late."""
        self._late_row_rate = random_.choice((0.0, 0.0, 0.0, 0.01))
        """In others those of tables, queues and topic, to which a run makes many more calls."""
        self._bound: dict[str, list[tuple[int, Fault]]] = {}
        for index in range(TARGETS_PER_SEED):
            # A stride that shares no factor with the number of cells visits all of them in turn.
            method, cell = TARGETED[(seed * TARGETS_PER_SEED + index) * 101 % len(TARGETED)]
            # Some calls are made once or twice in a run: half of the cells strike at the first.
            skip = int(random_.expovariate(0.25)) if random_.random() < 0.5 else 0
            self._bound.setdefault(method, []).append((skip, cell))
        self._left = 0
        self._roll()

    def draw(self, method: str) -> Fault | None:
        """The fault of this call, or none."""
        if not self.on:
            return None
        waiting = self._bound.get(method)
        if waiting:
            skip, cell = waiting[0]
            if skip:
                waiting[0] = (skip - 1, cell)
            else:
                waiting.pop(0)
                return self._strike(method, cell)
        rate = self._late_row_rate if method.startswith(OWN) else self._late_rate
        if rate and method in _LATE and self._random.random() < rate:
            return self._strike(method, _LATE[method])
        self._left -= 1
        if self._left > 0:
            return None
        self._roll()
        cells = CELLS[method]
        weights = [_WEIGHTS.get(cell.name, 1.0) for cell in cells]
        return self._strike(method, self._random.choices(cells, weights)[0])

    def note(self, code: str) -> None:
        """The world itself did something; whatever code is none of its faults is none."""
        if code in WORLD_FAULTS:
            self.struck[WORLD_FAULTS[code], code] += 1

    def answered(self, method: str, result: Any) -> None:
        """A call has answered: what the answer shows may be a fault of the world."""
        code, shows = SEEN.get(method, ("", None))
        if shows is not None and shows(result):
            self.note(code)

    def _strike(self, method: str, cell: Fault) -> Fault:
        self.struck[method, cell.name] += 1
        return cell

    def _roll(self) -> None:
        self._left = 1 + int(self._random.expovariate(self._rate))
