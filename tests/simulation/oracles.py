"""What must never happen, looked at in the moment in which it would.

The oracles stand inside the fakes: they see every row before it is written and every effect before it takes
place, and know nothing of how the product decides.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from shared.errors import MooringError
from shared.models import Kind
from shared.naming import MANAGED_BY, fold_id
from tests.fakes.azure_world import StoredObject
from tests.simulation.makings import Makings
from tests.simulation.ports import Run
from tests.simulation.records import SERVING, Records, account_thing, role_thing
from tests.simulation.removals import Removals
from tests.simulation.row_oracle import RowOracle
from tests.simulation.wishes import Wishes
from tests.simulation.world import SimulatedWorld

LABEL = "app.kubernetes.io/managed-by"


class Oracles:
    """Watches rows and effects; ``violations`` stays empty in a good run."""

    def __init__(self, world: SimulatedWorld, cap: int) -> None:
        self.world = world
        self.violations: list[str] = []
        self.records: Records
        self.made_identities: set[str] = set()
        """Principal ids of identities that the product made."""
        self.made_roles: set[tuple[str, str]] = set()
        self.made_credentials: set[tuple[str, str]] = set()
        """Client id of the identity and name of the credential."""
        self.made_objects: set[str] = set()
        self.landed_late: set[object] = set()
        self._rows = RowOracle(world, self.fail)
        self.row, self.turns = self._rows.row, self._rows.turns
        self.linked, self.left = self._rows.linked, self._rows.left
        self.removals = Removals(self.fail, cap, world)
        self._makings, self._wishes = Makings(self.fail), Wishes(world, self.fail)
        self._checks: Mapping[str, Callable[..., None]] = {
            "roles.ensure": self._makings.role,
            "clusters.create": self._makings.cluster_object,
            "roles.delete": self._role_delete,
            "identities.delete": self._identity_delete,
            "identities.delete_credential": self._credential_delete,
            "identities.ensure": self._identity_ensure,
            "identities.ensure_credential": self._credential_ensure,
            "clusters.apply": self._apply,
            "clusters.delete": self._object_delete,
        }

    def fail(self, text: str) -> None:
        """Note a violation."""
        self.violations.append(text)

    def look_at(self, records: Records) -> None:
        """The rows of this run."""
        self.records = self._rows.records = self.linked.records = self._makings.records = records

    # --- effects ---------------------------------------------------------------------------------

    def before(self, method: str, arguments: tuple[Any, ...], options: dict[str, Any], run: Run) -> None:
        """A call is about to take effect."""
        if method == "queue.announce":
            self.turns.announce(arguments[0], self.records)
            return
        check = self._checks.get(method)
        if check is not None:
            check(run, *arguments, **options)

    def failed(self, error: MooringError) -> None:
        """A call ends with an error."""
        self.turns.failed(error)
        self.left.failed(error)

    def after(
        self, method: str, arguments: tuple[Any, ...], options: dict[str, Any], result: Any, *, late: bool
    ) -> None:
        """A call has taken effect: what we made is ours from now on."""
        match method:
            case "identities.ensure":
                self.made_identities.add(result.principal_id)
            case "roles.ensure" if not result.existing:
                key = (fold_id(result.scope), result.name)
                self.made_roles.add(key)
                if late:
                    self.landed_late.add(key)
            case "identities.ensure_credential":
                place = f"{fold_id(arguments[0])}/federatedidentitycredentials/{result.name}"
                self.world.returned[fold_id(place)] = self.world.loop.time()
                key = (self.world.identities[fold_id(arguments[0])].client_id, result.name)
                self.made_credentials.add(key)
                if late:
                    self.landed_late.add(key)
            case "clusters.create" | "clusters.apply":
                self.made_objects.add(result.uid)

    def _role_delete(self, run: Run, scope: str, name: str) -> None:
        there = self.world.assignments.get((fold_id(scope), name.lower()))
        if there is None:
            return
        if (fold_id(scope), name) not in self.made_roles:
            self.fail(f"role assignment {name} at {scope} is not ours and is deleted")
        self._unused(run, role_thing(scope, there.principal_id, there.role_definition_id))
        self.linked.role(run, scope, there)

    def _identity_ensure(self, run: Run, resource_id: str, **_: Any) -> None:
        there = self.world.identities.get(fold_id(resource_id))
        if there is not None and there.principal_id not in self.made_identities:
            self.fail(f"identity {resource_id} is not ours and is written")
        operation, held = self.records.operation(run.operation_id), self.records.held_by(run.connection_id)
        going = operation is not None and held is not None and not operation.state.final
        if going and held and fold_id(resource_id) not in held.identity_ids(ever=True):
            self.fail(f"identity {resource_id} is made and nothing says that it was meant to be")

    def _identity_delete(self, run: Run, resource_id: str) -> None:
        key = fold_id(resource_id)
        there = self.world.identities.get(key)
        if there is None:
            return
        if there.principal_id not in self.made_identities:
            self.fail(f"identity {resource_id} is not ours and is deleted")
        made = self.made_credentials - self.landed_late
        left = [name for name in self.world.credentials.get(key, {}) if (there.client_id, name) in made]
        left += [
            place[1]
            for place, assignment in self.world.assignments.items()
            if assignment.principal_id == there.principal_id and place in self.made_roles - self.landed_late
        ]
        # What was left to a linker that has gone by now keeps nothing: access of nobody harms nobody.
        for name in left and sorted({*left} - self.left.names()):
            self.fail(f"identity {resource_id} goes before its access {name}")
        operation = self.records.operation(run.operation_id)
        if operation is not None and operation.kind is Kind.PRUNE:
            self._wishes.identity(run, key)
        self._unused(run, f"identity|{key}")
        self.linked.identity(run, resource_id)

    def _credential_ensure(self, run: Run, identity_id: str, credential: Any) -> None:
        identity = self.world.identities.get(fold_id(identity_id))
        there = self.world.credentials.get(fold_id(identity_id), {}).get(credential.name)
        self._makings.credential(run, identity_id, credential)
        if identity is None or there is None:
            return
        if (identity.client_id, credential.name) not in self.made_credentials and there != credential:
            self.fail(f"credential {credential.name} of {identity_id} is not ours and is written")

    def _credential_delete(self, run: Run, identity_id: str, name: str) -> None:
        key = fold_id(identity_id)
        there = self.world.credentials.get(key, {}).get(name)
        if there is None:
            return
        if (self.world.identities[key].client_id, name) not in self.made_credentials:
            self.fail(f"credential {name} of {identity_id} is not ours and is deleted")
        self._unused(run, f"credential|{key}|{there.issuer}|{there.subject}")
        self.linked.credential(run, there)

    def _object(self, cluster_id: str, kind: str, namespace: str, name: str) -> StoredObject | None:
        cluster = self.world.clusters.get(fold_id(cluster_id))
        return (
            None if cluster is None or not cluster.reachable else cluster.objects.get((kind, namespace, name))
        )

    def _apply(self, run: Run, cluster_id: str, kind: str, namespace: str, name: str, **given: Any) -> None:
        there = self._object(cluster_id, kind, namespace, name)
        if self.world.born.get((fold_id(cluster_id), namespace, name), 0.0) > run.started_at:
            return  # somebody put theirs in the place of ours after the run's look
        if there is None or there.uid in self.made_objects:
            return
        read = (given.get("uid") or there.uid, given.get("resource_version") or there.resource_version)
        if read != (there.uid, there.resource_version):
            return  # Kubernetes refuses it: what is there is not what was read
        operation = self.records.operation(run.operation_id)
        forced = operation is not None and operation.kind is Kind.REPAIR
        # A create goes by our labels; a repair takes fields over, and wants proof (``steps/base.py``, owned).
        if forced or there.labels.get(LABEL) != MANAGED_BY:
            self.fail(f"{kind} {namespace}/{name} is not ours and is written")

    def _object_delete(
        self,
        run: Run,
        cluster_id: str,
        kind: str,
        namespace: str,
        name: str,
        *,
        uid: str,
        resource_version: str,
    ) -> None:
        there = self._object(cluster_id, kind, namespace, name)
        if there is None or there.uid != uid or there.resource_version != resource_version:
            return
        if uid not in self.made_objects and not any(uid in one.observed_uids for one in self.records.held()):
            self.fail(f"{kind} {namespace}/{name} is not ours and is deleted")
        if kind == "ServiceAccount":
            self._unused(run, account_thing(cluster_id, namespace, name))
        else:
            self._no_serving_secret(run, cluster_id, namespace, name)
        self.linked.cluster_object(run, kind, namespace, name)
        operation = self.records.operation(run.operation_id)
        if operation is not None and operation.kind is Kind.PRUNE:
            self._wishes.cluster_object(
                run, (cluster_id, kind, namespace, name), ours=uid in self.made_objects
            )

    # --- who needs it ----------------------------------------------------------------------------

    def _unused(self, run: Run, thing: str) -> None:
        """Nobody but the connection that is going away uses the thing."""
        self.removals.count(run, self.records)
        for shared in self.records.shared():
            others = [user for user in shared.users if user.connection_id != run.connection_id]
            if shared.thing == thing and others:
                self.fail(f"{thing} is deleted by {run.operation_id}, and {others[0].connection_id} uses it")
        for held in self.records.held():
            if held.connection.state in SERVING and thing in held.things:
                self.fail(f"{thing} is deleted, and {held.connection.connection_id} is configured with it")

    def _no_serving_secret(self, run: Run, cluster_id: str, namespace: str, name: str) -> None:
        self.removals.count(run, self.records)
        for held in self.records.held():
            keys = held.objects("settings")
            if held.connection.state in SERVING and (fold_id(cluster_id), namespace, name) in keys:
                self.fail(f"secret {namespace}/{name} of a configured connection is deleted")
