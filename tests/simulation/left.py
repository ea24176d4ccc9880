"""What removals leave to living linkers of Service Connector: nobody's leak, for as long as that holds."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from shared.errors import MooringError, PermanentError
from shared.models import Connection, Intent, StepRecord, StepState
from shared.naming import fold_id, secret_name, service_account_name
from shared.ports import Linker
from tests.simulation.ports import RUN, Run
from tests.simulation.records import Records
from tests.simulation.world import SimulatedWorld

GOES_WITH_LINKER = True
"""Whether the product takes what it has left to a linker when that linker goes.

Then nothing is excused if none of the linkers lives that lived when it was left. Otherwise a sweep tells
of it, and nobody removes it.
"""

WISHED = frozenset({"keep-annotation", "mark-removed", "object-changed"})
LOOKED_SECONDS = 150.0
"""A step that ends now has looked no longer ago than its lease, and a list is at most so old besides."""


class Left:
    """Names of things that stand for a linker's sake, until a connection of ours plans to hold them again.

    Names are computed: a later life makes the same ones, and what it makes is to go with it.
    """

    def __init__(self, world: SimulatedWorld, fail: Callable[[str], None]) -> None:
        self._world, self._fail = world, fail
        self._lived: dict[str, tuple[Linker, float]] = {}
        """Every linker that there was, by folded id, and when it was seen alive last."""
        self._stays: set[str] = set()
        """Names of what a prune left to people."""
        self._clients: dict[str, str] = {}
        """Client id by principal id of every identity that there was."""
        self._left: dict[str, frozenset[str]] = {}
        """With the linkers that lived when it was left."""
        self.unread: set[str] = set()
        """Operations whose roles were made by a run that could not read a linker, and went on."""
        self._refused: list[Run] = []
        self._on_record: set[str] = set()
        """Folded ids of linkers that were recorded as seen alive."""

    def saw(self, connection: Connection) -> None:
        """A linker is recorded, for what it holds itself and not for what is left to it alone."""
        if not connection.left_by:
            self._on_record.add(fold_id(connection.linker_id))

    def failed(self, error: MooringError) -> None:
        """A call ends with an error. No run goes on after a refusal, but one that asks for a linker."""
        run = RUN.get(None)
        if run is not None and isinstance(error, PermanentError):
            self._refused.append(run)

    def step(self, row: StepRecord, records: Records) -> None:
        """A step's row is written: a removal that is done says what it has kept, and why."""
        if row.name == "role_assignments" and row.state is StepState.DONE:
            writer = RUN.get(None)
            if any(run is writer for run in self._refused):
                self.unread.add(row.operation_id)
        self._see()
        self._wished(row, records)
        kept = [one for one in row.outputs.get("kept", ()) if one["rule"] == "live-linker"]
        operation = records.operation(row.operation_id)
        if row.state is not StepState.DONE or not kept or operation is None or operation.report_only:
            return
        cluster_id = records.cluster_of(operation.connection_id)
        for item in kept:
            if not self._works_through(cluster_id, row, item, records):
                self._fail(
                    f"{row.operation_id} keeps {_name(cluster_id, item)} for a linker, and none needs it"
                )
            self._left[_name(cluster_id, item)] = frozenset(self._world.linkers)

    def _wished(self, row: StepRecord, records: Records) -> None:
        """What somebody wants kept, or has made theirs, stays: no leak, if that somebody really did."""
        operation = records.operation(row.operation_id)
        if row.state is not StepState.DONE or operation is None or operation.report_only:
            return
        cluster_id = fold_id(records.cluster_of(operation.connection_id))
        for item in row.outputs.get("kept", ()):
            if item["rule"] in WISHED:
                place = (cluster_id, item["kind"], item["namespace"], item["name"])
                if place not in self._world.handled and item["rule"] != "object-changed":
                    self._fail(
                        f"{row.operation_id} keeps {item['name']} ({item['rule']}), and nobody asked for it"
                    )
                self._stays.add(_name(cluster_id, item))
            elif item["rule"] == "in-use" and item["kind"] == "identity":
                self._stays.add(fold_id(item["id"]))

    def _see(self) -> None:
        now = self._world.loop.time()
        self._lived |= {key: (linker, now) for key, linker in self._world.linkers.items()}
        self._clients |= {one.principal_id: one.client_id for one in self._world.identities.values()}

    def _works_through(
        self, cluster_id: str, row: StepRecord, item: Mapping[str, Any], records: Records
    ) -> bool:
        """Say whether a linker that lived when this step looked works through what was kept for it."""
        since = self._world.loop.time() - LOOKED_SECONDS
        known = [(key, linker) for key, (linker, at) in self._lived.items() if at >= since]
        here = [one for key, one in known if key.startswith(f"{fold_id(cluster_id)}/")]
        match item["kind"]:
            case "role":
                client_id, scope = self._clients.get(item["principalId"]), f"{fold_id(item['scope'])}/"
                targets = [f"{fold_id(one.target_id)}/" for _, one in known if one.client_id == client_id]
                return any(one.startswith(scope) or scope.startswith(one) for one in targets)
            case "credential":
                subjects = [
                    f"system:serviceaccount:{one.namespace}:{service_account_name(one.client_id)}"
                    for one in here
                ]
                return item["subject"] in subjects
            case "identity":
                there = self._world.identities.get(fold_id(item["id"]))
                steps = ("role_assignments", "federated_credential")
                rows = [step for name in steps if (step := records.step(row.operation_id, name))]
                left = any(
                    one["rule"] == "live-linker" for step in rows for one in step.outputs.get("kept", ())
                )
                return left or there is None or any(one.client_id == there.client_id for _, one in known)
            case "ServiceAccount":
                names = {(one.namespace, service_account_name(one.client_id)) for one in here}
            case _:
                names = {(one.namespace, secret_name(one.name)) for one in here}
        return (item["namespace"], item["name"]) in names

    def intent(self, intent: Intent, records: Records) -> None:
        """A connection says what it means to hold: that is its own to remove from now on."""
        if intent.left:
            return  # it says what it has left
        for name in _planned(records.cluster_of(intent.connection_id), intent.planned):
            self._left.pop(name, None)
            self._stays.discard(name)

    def names(self) -> set[str]:
        """Folded ids of identities; names of assignments and credentials; place and name of objects."""
        alive = self._world.linkers.keys()
        left = {name for name, linkers in self._left.items() if not GOES_WITH_LINKER or linkers & alive}
        left |= self._stays
        # An identity that a later life has used stays for a credential that was left to a linker before.
        return left | {key for key, there in self._world.credentials.items() if left & there.keys()}

    def unseen_accounts(self) -> set[str]:
        """Places and names of accounts that were left to linkers none of which was ever on record.

        Such a linker's event was rejected, and it went before a sweep saw it. Nobody but a person may take
        what was never seen alive; a sweep reports the account, and that is all that is asked.
        """
        through: dict[str, set[str]] = {}
        for key, (linker, _) in self._lived.items():
            cluster_id = key.partition("/providers/microsoft.servicelinker/")[0]
            account = object_name(cluster_id, linker.namespace, service_account_name(linker.client_id))
            through.setdefault(account, set()).add(key)
        return {
            name
            for name, linkers in self._left.items()
            if (working := linkers & through.get(name, set())) and not working & self._on_record
        }


def object_name(cluster_id: str, namespace: str, name: str) -> str:
    """What an object of a cluster is called here."""
    return f"{fold_id(cluster_id)}|{namespace}|{name}"


def _name(cluster_id: str, item: Mapping[str, Any]) -> str:
    if "id" in item:
        return fold_id(item["id"])
    if "namespace" in item:
        return object_name(cluster_id, item["namespace"], item["name"])
    return str(item["name"])


def _planned(cluster_id: str, planned: Mapping[str, Any]) -> Iterator[str]:
    for one in (*planned.get("assignments", ()), *planned.get("objects", ())):
        yield _name(cluster_id, one)
    if "resourceId" in planned:
        yield fold_id(planned["resourceId"])
    elif "name" in planned:
        yield _name(cluster_id, planned)
