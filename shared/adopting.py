"""Takes over a connection that Service Connector made: judged, recorded, and not touched.

From then on it is validated and pruned like ours. Nothing is written but our own rows: neither Azure nor the
cluster can tell that a connection was adopted.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

from shared import naming
from shared.catalogue import Catalogue
from shared.errors import NotYetError, PermanentError, RefusedError, StateConflictError, TransientError
from shared.holdings import Holdings, HoldingsReader, intent_of, role_id, thing_of
from shared.linker_rows import is_alive, row_of, spec_of
from shared.models import Connection, ConnectionState, Intent, Plan, Provenance
from shared.policy import Policy
from shared.ports import Clock, Identity, Linker, Linkers, ManagedCluster, Resources
from shared.spec import ConnectionSpec
from shared.state import State, Stored
from shared.ties import Ties

_TRIES = 8
_LINKERS = "/providers/microsoft.servicelinker/"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Adoption:
    """What became of the wish to adopt a linker.

    Attributes:
        connection: as it is now.
        fresh: something was recorded that was not on record before.
        detail: what was left out, empty if the connection was taken over as a whole.
    """

    connection: Connection
    fresh: bool
    detail: str


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Adopter:
    """Adopts linkers."""

    state: State
    ties: Ties
    linkers: Linkers
    resources: Resources
    reader: HoldingsReader
    catalogue: Catalogue
    clock: Clock
    subscription_ids: frozenset[str]
    app_client_id: str
    load_policy: Callable[[], Policy]
    """Reads the policy afresh.

    Raises:
        PermanentError: ``policy-unreadable``.
    """

    async def adopt(self, linker_id: str, *, key: str) -> Adoption:
        """Record a live linker as a connection that is looked after from now on.

        Args:
            linker_id: of a managed cluster.
            key: of the request; a repeat of it finds its own adoption fresh, and so goes on after a crash.

        Raises:
            RefusedError: a code of the policy, or linker-not-found, linker-not-ready, linker-incomplete,
                identity-not-found, identity-forbidden, name-collision, operation-under-way; or what Azure
                denied.
            TransientError: nothing is decided; ask again.
        """
        try:
            return await self._adopt(linker_id, naming.digest([key]))
        except RefusedError:
            raise
        except PermanentError as error:
            raise RefusedError(error.code, error.detail, remedy=error.remedy, field="linkerId") from error
        except NotYetError as waits:
            raise TransientError(waits.reason, waits.detail) from waits

    async def _adopt(self, linker_id: str, mark: str) -> Adoption:
        cluster_id = linker_id[: linker_id.lower().index(_LINKERS)]
        self._require_listed(cluster_id)
        linker = await self.linkers.get(linker_id)
        if linker is None:
            remedy = f"az aks connection list --source-id {cluster_id}"
            raise RefusedError("linker-not-found", linker_id, field="linkerId", remedy=remedy)
        row = self.catalogue.match(linker.target_id)
        policy, spec = self.load_policy(), spec_of(cluster_id, linker, row)
        self._require_listed(linker.target_id)
        # What the policy does not list is not looked at either.
        usual = [role.name for role in row.roles()] if row else []
        _judge(policy, spec, usual)
        if linker.provisioning_state.lower() != "succeeded":
            raise RefusedError(
                "linker-not-ready",
                f"the linker is {linker.provisioning_state or 'without a state'}",
                field="linkerId",
                remedy="send the request again once it has succeeded; one that is Failed never will: "
                f"az aks connection update --id {linker_id}",
            )
        held = await self.reader.read(cluster_id, linker)
        if held.identity is not None:
            self._refuse_forbidden(held.identity, held.cluster)
            spec = spec.model_copy(update={"identity_id": held.identity.resource_id})
        _judge(policy, spec, self._roles(held), usual=usual)
        return await self._record(spec, held, await self._preflight(spec, held, mark))

    def _require_listed(self, resource_id: str) -> None:
        if naming.subscription_of(resource_id) not in self.subscription_ids:
            raise RefusedError(
                "subscription-not-listed",
                f"subscription {naming.subscription_of(resource_id) or 'none'} is not one of ours",
                field="linkerId",
                remedy="add it to MOORING_SUBSCRIPTION_IDS and to the policy",
            )

    def _refuse_forbidden(self, identity: Identity, cluster: ManagedCluster) -> None:
        ids = {identity.client_id.lower(), naming.fold_id(identity.resource_id)}
        if ids & {self.app_client_id.lower(), *cluster.forbidden_identities}:
            raise RefusedError(
                "identity-forbidden",
                "Mooring's own, the kubelet's and the control plane's identities cannot be a workload's",
                field="linkerId",
                remedy="give the linker another identity",
            )

    def _roles(self, held: Holdings) -> list[str]:
        """Names of the roles that the identity has on the target; the GUID of one that no row gives."""
        names = {role.id.lower(): role.name for row in self.catalogue.rows for role in row.known_roles}
        return [names.get(role_id(one), role_id(one)) for one in held.assignments]

    async def _preflight(self, spec: ConnectionSpec, held: Holdings, mark: str) -> Plan:
        """Facts of cluster and target, as preflight records them for a connection of ours."""
        outputs: dict[str, object] = {
            "issuer": held.cluster.issuer,
            "location": held.cluster.location,
            "auth": held.linker.auth_type,
        }
        row = self.catalogue.match(spec.target_id)
        if row is not None and row.works and held.identity is not None:
            target_id, parent_id = row.existence_id(spec.target_id), row.parent_id(spec.target_id)
            target = await self.resources.get(target_id, api_version=row.api_version)
            above = await self.resources.get(parent_id, api_version=row.api_version) if parent_id else None
            if target is not None:
                outputs["facts"] = row.facts(
                    spec.target_id, target, client_id="", parent=above, connection_name=spec.name
                )
        return Plan(planned={"provenance": Provenance.ADOPTED, "request": mark}, outputs=outputs)

    async def _record(self, spec: ConnectionSpec, held: Holdings, preflight: Plan) -> Adoption:
        plans = {"preflight": preflight, **held.plans()}
        for _ in range(_TRIES):
            connection_id = naming.connection_id(spec.cluster_id, spec.namespace, spec.name)
            stored = await self.state.connection(connection_id)
            connection = self._connection(spec, held.linker, stored)
            alive = stored is not None and stored.value.generation == connection.generation
            known = await self.state.intents(connection_id) if alive else {}
            intents = [intent_of(connection, step, plan, known.get(step)) for step, plan in plans.items()]
            detail = (
                "" if held.identity else f"for pruning only: its authentication is {held.linker.auth_type}"
            )
            if stored is not None and _same(stored.value, connection, known, intents):
                await self.ties.join(stored.value, intents)
                await self.ties.enlist(stored.value)
                fresh = known["preflight"].planned.get("request") == preflight.planned["request"]
                return Adoption(connection=stored.value, fresh=fresh, detail=detail)
            _refuse_busy(stored)
            await self.ties.depend(connection, intents)
            try:
                await self.state.observe(connection, intents, etag=stored.etag if stored else "")
            except StateConflictError:
                continue
            # After the row, never before: a user without a connection would keep things for ever.
            await self.ties.join(connection, intents)
            await self.ties.enlist(connection)
            return Adoption(connection=connection, fresh=True, detail=detail)
        raise StateConflictError("adopting a linker")

    def _connection(
        self, spec: ConnectionSpec, linker: Linker, stored: Stored[Connection] | None
    ) -> Connection:
        present = stored.value if stored else None
        alive = is_alive(present)
        if present is not None and alive and not present.linker_id:
            raise RefusedError(
                "name-collision",
                f"connection {present.spec.name} of Mooring has the same secret",
                field="linkerId",
                remedy="delete that connection, or the linker",
            )
        now = stored.read_at if stored else self.clock.now()
        return row_of(spec, linker, present, now=now, adopted_at=now)


def _judge(
    policy: Policy, spec: ConnectionSpec, roles: Sequence[str], *, usual: Sequence[str] | None = None
) -> None:
    """Judge as for a create; what is at fault is something of the linker, not of the request."""
    try:
        policy.judge(spec, roles, usual=usual)
    except RefusedError as error:
        raise RefusedError(error.code, error.detail, remedy=error.remedy, field="linkerId") from None


def _refuse_busy(stored: Stored[Connection] | None) -> None:
    """Refuse to take over what an operation works on: its plan was made for what the connection was.

    A prune that goes on with it would end the connection and leave it a user of what it shares for ever. It
    may be held for days, so nobody is asked to try again in a moment.
    """
    if stored is None or not stored.value.active:
        return
    operation_id = stored.value.active[0]
    raise RefusedError(
        "operation-under-way",
        f"operation {operation_id} of the connection is under way",
        field="linkerId",
        remedy=f"GET /api/operations/{operation_id} says what it waits for;"
        " send the request again once it has ended",
    )


def _same(one: Connection, other: Connection, known: dict[str, Intent], intents: Sequence[Intent]) -> bool:
    """Say whether a connection is on record as adopted, with all of this; events may have added to it."""
    return (
        one.state is ConnectionState.ADOPTED
        and one.spec == other.spec
        and all(_holds(known.get(intent.step), intent) for intent in intents)
    )


def _holds(recorded: Intent | None, seen: Intent) -> bool:
    if recorded is None or recorded.left or thing_of(recorded.planned) != thing_of(seen.planned):
        return False
    return all(recorded.outputs.get(name) == value for name, value in seen.outputs.items())
