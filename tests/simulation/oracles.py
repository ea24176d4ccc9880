"""What must never happen, looked at in the moment in which it would.

The oracles stand inside the fakes: they see every row before it is written and every effect before it takes
place, and know nothing of how the product decides.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from shared.clients.kube_uses import use_of
from shared.errors import MooringError
from shared.limits import Lease
from shared.models import Connection, ConnectionState, Intent, Kind, StepRecord
from shared.naming import MANAGED_BY, fold_id
from shared.ports import Columns, Row
from shared.users import Shared, User
from tests.fakes.azure_world import StoredObject
from tests.simulation.left import Left
from tests.simulation.linked import Linked
from tests.simulation.ports import RUN, Run
from tests.simulation.records import SERVING, Records, account_thing, role_thing
from tests.simulation.removals import Removals
from tests.simulation.turns import Turns
from tests.simulation.world import SimulatedWorld

FINAL = frozenset({"succeeded", "failed", "superseded", "rejected"})
ENDED = frozenset({"done", "failed"})
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
        self.turns = Turns(self.fail)
        self._removals = Removals(self.fail, cap, world)
        self.linked = Linked(world, self.fail)
        self.left = Left(world)
        self._checks: Mapping[str, Callable[..., None]] = {
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

    # --- rows ------------------------------------------------------------------------------------

    def row(self, table: str, partition: str, key: str, before: Row | None, after: Columns | None) -> None:
        """A row is about to change."""
        if table == "connections" and after is not None:
            self._connection_row(key, before, after)
        if before is None:
            return
        old = before.columns
        if table == "connections" and key.startswith("op|"):
            if after is None:
                self.fail(f"{key} was removed")
            elif key.count("|") == 1:
                if old["state"] in FINAL and (old["state"], old["code"]) != (after["state"], after["code"]):
                    self.fail(f"operation {key} had ended {old['state']} and became {after['state']}")
            else:
                self._step_row(key, before, after)
                self.turns.row(key, before, after, self.records)
        elif table == "users":
            self._users_row(before, after)
        elif table == "requests" and key == "request":
            # A refusal did nothing, and the same request may be sent again; all else is decided once.
            if after is None or (old["outcome"] != "rejected" and after["body"] != old["body"]):
                self.fail(f"the record of request {partition} changed")
        elif partition.startswith("lease|") and after is not None and after["holder"] != old["holder"]:
            lease = self.records.parse(Lease, old)
            if self._age(before) < lease.seconds:
                self.fail(
                    f"lease {partition} went from {old['holder']} to {after['holder']} while it was live"
                )

    def _connection_row(self, key: str, before: Row | None, after: Columns) -> None:
        """Remember when operations are opened, what is left to linkers, and which are recorded."""
        if before is None and key.startswith("op|") and key.count("|") == 1:
            self.world.opened[key.removeprefix("op|")] = self.world.loop.time()
        elif key.startswith("op|") and key.count("|") > 1:
            self.left.step(self.records.parse(StepRecord, after), self.records)
        elif key.startswith("i|"):
            self.left.intent(self.records.parse(Intent, after), self.records)
        elif key == "a|connection" and after["state"] == ConnectionState.OBSERVED.value:
            self.linked.saw(self.records.parse(Connection, after))

    def _users_row(self, before: Row, after: Columns | None) -> None:
        """Who leaves is the present run's own connection, in the life that the run's operation is about."""
        was = self.records.parse(Shared, before.columns)
        stays = self.records.parse(Shared, after).users if after is not None else ()
        run = RUN.get(None)
        operation = self.records.operation(run.operation_id) if run is not None else None
        for user in set(was.users) - set(stays):
            if operation is None or user != User(
                connection_id=operation.connection_id, generation=operation.generation
            ):
                self.fail(f"{user} of {was.thing} is sent away by {run and run.operation_id}")

    def _step_row(self, key: str, before: Row, after: Columns) -> None:
        old = before.columns
        if old["state"] in ENDED and after["body"] != old["body"]:
            self.fail(f"step {key} had ended {old['state']} and was written again as {after['state']}")
        if old["state"] != "running" or after["state"] != "running":
            return
        was, becomes = self.records.parse(StepRecord, old), self.records.parse(StepRecord, after)
        # A run that was overtaken may let go of its own lease; taking another's is what must not happen.
        if (
            becomes.holder
            and was.holder
            and was.holder != becomes.holder
            and self._age(before) < was.lease_seconds
        ):
            self.fail(f"step {key} has two lease holders")

    def _age(self, row: Row) -> float:
        return (self.world.loop.now() - row.written_at).total_seconds()

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
        self._unused(run, f"identity|{key}")
        self.linked.identity(run, resource_id)

    def _credential_ensure(self, run: Run, identity_id: str, credential: Any) -> None:
        identity = self.world.identities.get(fold_id(identity_id))
        there = self.world.credentials.get(fold_id(identity_id), {}).get(credential.name)
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

    def _apply(self, run: Run, cluster_id: str, kind: str, namespace: str, name: str, **_: Any) -> None:
        there = self._object(cluster_id, kind, namespace, name)
        if self.world.born.get((fold_id(cluster_id), namespace, name), 0.0) > run.started_at:
            return  # somebody put theirs in the place of ours after the run's look
        if there is not None and there.labels.get(LABEL) != MANAGED_BY:
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
            self._no_pod(run, cluster_id, kind, namespace, name)

    # --- who needs it ----------------------------------------------------------------------------

    def _unused(self, run: Run, thing: str) -> None:
        """Nobody but the connection that is going away uses the thing."""
        self._removals.count(run, self.records)
        for shared in self.records.shared():
            others = [user for user in shared.users if user.connection_id != run.connection_id]
            if shared.thing == thing and others:
                self.fail(f"{thing} is deleted by {run.operation_id}, and {others[0].connection_id} uses it")
        for held in self.records.held():
            if held.connection.state in SERVING and thing in held.things:
                self.fail(f"{thing} is deleted, and {held.connection.connection_id} is configured with it")

    def _no_serving_secret(self, run: Run, cluster_id: str, namespace: str, name: str) -> None:
        self._removals.count(run, self.records)
        for held in self.records.held():
            keys = held.objects("settings")
            if held.connection.state in SERVING and (fold_id(cluster_id), namespace, name) in keys:
                self.fail(f"secret {namespace}/{name} of a configured connection is deleted")

    def _no_pod(self, run: Run, cluster_id: str, kind: str, namespace: str, name: str) -> None:
        for (place, pod), body in self.world.clusters[fold_id(cluster_id)].pods.items():
            use = use_of("Pod", body)
            if (
                place != namespace
                or use is None
                or self.world.born[fold_id(cluster_id), place, pod] > run.started_at
            ):
                continue
            if use.service_account == name if kind == "ServiceAccount" else name in use.secrets:
                self.fail(f"{kind} {namespace}/{name} is pruned while pod {pod} uses it")
