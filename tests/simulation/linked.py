"""What living connections of Service Connector work through: nobody may take it from under them."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from shared.models import Connection
from shared.naming import fold_id, secret_name, service_account_name
from shared.ports import Credential, Linker, RoleAssignment
from tests.simulation.ports import Run
from tests.simulation.records import Records
from tests.simulation.world import STALE_SECONDS, SimulatedWorld

_LINKERS = "/providers/microsoft.servicelinker/"


class Linked:
    """The part of the oracles that knows linkers.

    A removal is bound by linkers of its own connection's cluster, of what clusters share also by those of
    others that are on record (``docs/reference/steps.md``), and by none that its run could not know of yet.
    """

    def __init__(self, world: SimulatedWorld, fail: Callable[[str], None]) -> None:
        self._world = world
        self._fail = fail
        self.records: Records
        self._seen: dict[str, float] = {}
        """When each linker was recorded first, by its folded id."""

    def saw(self, connection: Connection) -> None:
        """A connection of Service Connector is recorded."""
        self._seen.setdefault(fold_id(connection.linker_id), self._world.loop.time())

    def cluster_object(self, run: Run, kind: str, namespace: str, name: str) -> None:
        """A cluster object is removed: a linker's secret, or the account of its identity."""
        for key, linker in self._known(run):
            names = {"Secret": secret_name(linker.name)}
            if linker.client_id:
                names["ServiceAccount"] = service_account_name(linker.client_id)
            if linker.namespace == namespace and names.get(kind) == name:
                self._fail(f"{kind} {namespace}/{name} is deleted while {key} lives")

    def credential(self, run: Run, there: Credential) -> None:
        """A credential is removed: the one that the account of a linker's identity signs in by."""
        for key, linker in self._known(run):
            cluster = self._world.clusters.get(key.partition(_LINKERS)[0])
            subject = f"system:serviceaccount:{linker.namespace}:{service_account_name(linker.client_id)}"
            issued = cluster is not None and cluster.described.issuer == there.issuer
            if issued and linker.client_id and subject == there.subject:
                self._fail(f"credential {there.name} is deleted while {key} lives")

    def role(self, run: Run, scope: str, there: RoleAssignment) -> None:
        """A role is removed: of a linker's identity, at its target or above."""
        for key, linker in self._known(run, everywhere=True):
            identity = self._world.identity_of(linker.client_id) if linker.client_id else None
            same = identity is not None and identity.principal_id == there.principal_id
            if same and f"{fold_id(linker.target_id)}/".startswith(f"{fold_id(scope)}/"):
                self._fail(f"role assignment {there.name} at {scope} is deleted while {key} lives")

    def identity(self, run: Run, resource_id: str) -> None:
        """An identity is removed."""
        client_id = self._world.identities[fold_id(resource_id)].client_id
        for key, linker in self._known(run, everywhere=True):
            if linker.client_id.lower() == client_id.lower():
                self._fail(f"identity {resource_id} is deleted while {key} lives")

    def _known(self, run: Run, *, everywhere: bool = False) -> Iterator[tuple[str, Linker]]:
        """Linkers of the run's cluster that even an old list shows, by their ids; and those on record."""
        if not self._world.linkers:
            return
        held = self.records.held_by(run.connection_id)
        here = fold_id(held.connection.spec.cluster_id) if held else ""
        for key, linker in self._world.linkers.items():
            known = self._world.born.get(key, 0.0) < run.started_at - 2 * STALE_SECONDS
            near = known and key.startswith(f"{here}{_LINKERS}")
            if near or (everywhere and self._on_record(run, key)):
                yield key, linker

    def _on_record(self, run: Run, key: str) -> bool:
        """Say whether a linker of whatever cluster was on record when a run began, and is still."""
        if self._seen.get(key, run.started_at) >= run.started_at:
            return False
        present = [one.connection for one in self.records.held() if one.connection.linker_id]
        return any(fold_id(one.linker_id) == key and one.state.live for one in present)
