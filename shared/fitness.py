"""Whether a wanted connection could be made: every look of preflight and more, and each one's finding.

A create stops at the first thing that is wrong; this says all that is. It reads only, nothing is recorded,
and no look waits longer than its bound.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Mapping, Sequence

from shared import changes, cluster_commands, naming
from shared.admission import refuse_another, refuse_theirs
from shared.beginnings import left_by_linker
from shared.errors import PermanentError
from shared.looks import LOOK_SECONDS, Looks
from shared.models import Connection, ConnectionId, ConnectionState, Finding, Kind
from shared.ports import Credential, Identity, ManagedCluster
from shared.spec import ConnectionSpec
from shared.state import State
from shared.steps import cluster_state, mounts, provided_account
from shared.steps.base import (
    LABEL_CONNECTION,
    LABEL_WORKLOAD,
    TAG_WORKLOAD,
    found,
    identity_thing,
    ours,
)
from shared.steps.federated_credential import equal, require_budget
from shared.steps.managed_identity import foreign_identity, own_identity_id, require_provided
from shared.steps.preflight import (
    namespace_missing,
    refuse_cluster_identity,
    refuse_linkers_name,
    require_entra,
)
from shared.steps.registration import namespace_of, require_part, target_missing
from shared.steps.registration import require as require_registration
from shared.steps.service_account import foreign_account
from shared.steps.settings import foreign_settings
from shared.steps.surroundings import Outside
from shared.steps.verdicts import of_answer
from shared.targets import TargetType
from shared.users import Users


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """What was found; ``None`` is what could not be seen."""

    findings: tuple[Finding, ...]
    made: bool = False
    """The connection is on record as made, exactly as wanted."""
    cluster: ManagedCluster | None = None
    facts: Mapping[str, str] | None = None
    identity: Identity | None = None
    credentials: Sequence[Credential] | None = None
    """Of the identity; empty for one that is to be made."""


def credential_of(spec: ConnectionSpec, issuer: str, client_id: str) -> Credential:
    """The credential that a connection of an identity needs."""
    account = naming.account_name(spec, client_id)
    return Credential(
        name=naming.credential_name(spec.cluster_id, spec.namespace, account, issuer),
        issuer=issuer,
        subject=naming.subject(spec.namespace, account),
        audiences=(naming.AUDIENCE,),
    )


def unseen(reason: str, spec: ConnectionSpec) -> Fit:
    """What is told where nothing may be looked at."""
    return Fit(findings=Looks(0).told(reason, by_identity=spec.by_identity))


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Fitness:
    """Looks whether connections could be made."""

    state: State
    users: Users
    outside: Outside
    identity_resource_group_id: str
    app_client_id: str
    look_seconds: float = LOOK_SECONDS

    def identity_id(self, spec: ConnectionSpec) -> str:
        """The identity that is named, or that would be made."""
        return spec.identity_id or own_identity_id(spec, self.identity_resource_group_id)

    async def look(self, spec: ConnectionSpec, row: TargetType, *, update: bool = False) -> Fit:
        """Look at everything that a create (or an update) of this connection depends on."""
        looks = Looks(self.look_seconds)
        cluster, facts, identity, made, *_ = await asyncio.gather(
            looks.take("cluster-exists", self._cluster(spec)),
            looks.take("target-exists", self._target(looks, spec, row)),
            looks.take("identity-usable", self._identity(spec)),
            looks.take("name-free", self._name(spec, row if update else None)),
            looks.take("linker-name-free", self._linkers(spec)),
            looks.take("providers-registered", self._providers(looks, spec, row)),
        )
        credentials, _ = await asyncio.gather(
            self._credentials(looks, spec, cluster, identity), self._inside(looks, spec, cluster, identity)
        )
        return Fit(
            findings=looks.told(
                "what comes before it is not right",
                conditions=[
                    *(one.finding for one in row.required(spec.auth_kind)),
                    *([mounts.FINDING] if spec.mounted else []),
                ],
                by_identity=spec.by_identity,
            ),
            made=bool(made),
            cluster=cluster,
            facts=facts,
            identity=identity,
            credentials=credentials,
        )

    async def _cluster(self, spec: ConnectionSpec) -> ManagedCluster:
        cluster = await self.outside.clusters.describe(spec.cluster_id)
        if cluster is None:
            raise PermanentError("cluster-not-found", spec.cluster_id)
        return cluster

    async def _target(self, looks: Looks, spec: ConnectionSpec, row: TargetType) -> Mapping[str, str]:
        target_id, parent_id = row.existence_id(spec.target_id), row.parent_id(spec.target_id)
        target = await self.outside.resources.get(target_id, api_version=row.api_version)
        if target is None:
            raise target_missing(target_id)
        await require_part(self.outside.resources, row, spec.target_id)
        read = self.outside.resources.get
        parent = await read(parent_id, api_version=row.api_version) if parent_id else None
        for verdict in of_answer(row, spec, target, parent=parent):
            waited_for = {"result": "warning", "remedy": "a create waits for it"} if verdict.waits else {}
            bad = verdict.finding.result == "failed"
            looks.say(verdict.finding.model_copy(update=waited_for if bad else {}))
        return row.facts(spec.target_id, target, client_id="", parent=parent, connection_name=spec.name)

    async def _providers(self, looks: Looks, spec: ConnectionSpec, row: TargetType) -> None:
        """The providers of the target and of identities are registered where they are needed."""
        needed = [row.existence_id(spec.target_id), *([self.identity_id(spec)] if spec.by_identity else [])]
        for resource_id in needed:
            subscription_id, namespace = naming.subscription_of(resource_id), namespace_of(resource_id)
            try:
                await require_registration(self.outside.resources, subscription_id, namespace)
            except PermanentError as error:
                if error.code == "provider-not-registered":
                    raise
                # Who may not read it does not know, and Azure itself would refuse the write.
                name, detail = "providers-registered", str(error)
                looks.say(Finding(name=name, result="unknown", detail=detail, remedy=error.remedy))

    async def _identity(self, spec: ConnectionSpec) -> Identity | None:
        if not spec.by_identity:
            return None
        resource_id = self.identity_id(spec)
        await self.users.require_room(identity_thing(resource_id), _connection_id(spec))
        identity = await self.outside.identities.get(resource_id)
        if spec.identity_id:
            require_provided(identity, resource_id, app_client_id=self.app_client_id)
        elif identity is not None and identity.tags.get(TAG_WORKLOAD) != _workload(spec):
            raise foreign_identity(resource_id)
        return identity

    async def _name(self, spec: ConnectionSpec, row: TargetType | None) -> bool:
        """Say whether the connection is made already, unless its name is somebody else's."""
        stored = await self.state.connection(_connection_id(spec))
        if stored is None or not (stored.value.state.live or stored.value.active):
            if row:
                changes.refuse_unmade()
            return False
        connection = stored.value
        held = connection.state.live and not left_by_linker(connection)
        if held and connection.linker_id:
            refuse_theirs(Kind.CREATE, connection)
        newest = await self.state.operation(connection.active[-1]) if connection.active else None
        if row:
            ahead = [newest.value] if newest else []
            return changes.begins_from(connection, ahead, spec, row) == naming.spec_hash(spec) and _made(
                connection
            )
        if newest is not None and newest.value.spec is not None:
            refuse_another(newest.value.spec, spec)
        elif held and not connection.active:
            refuse_another(connection.spec, spec)
        return held and _made(connection)

    async def _linkers(self, spec: ConnectionSpec) -> None:
        refuse_linkers_name(spec, await self.outside.linkers.list(spec.cluster_id))

    async def _credentials(
        self, looks: Looks, spec: ConnectionSpec, cluster: ManagedCluster | None, identity: Identity | None
    ) -> Sequence[Credential] | None:
        """Credentials of the identity, once they and the room for one more are looked at."""
        if identity is None:
            # One that is to be made has none; of one that could not be seen nothing is known.
            unmade = looks.good("identity-usable")
            return looks.keep("credential-budget", ()) if unmade else None
        if cluster is not None and spec.identity_id:
            looks.hold("identity-usable", lambda: refuse_cluster_identity(cluster, spec.identity_id))
        listing = self.outside.identities.list_credentials(identity.resource_id)
        present = await looks.take("credential-budget", listing)
        if present is not None and cluster is not None:
            wanted = credential_of(spec, cluster.issuer, identity.client_id)
            if not any(equal(one, wanted) for one in present):
                looks.hold("credential-budget", lambda: require_budget(present, wanted, identity.resource_id))
        return present

    async def _inside(
        self, looks: Looks, spec: ConnectionSpec, cluster: ManagedCluster | None, identity: Identity | None
    ) -> None:
        """Look at the cluster and, if it runs, into it."""
        if cluster is None:
            return
        remedy = cluster_commands.enable_workload_identity(spec.cluster_id)
        looks.say(found("issuer-on", ok=bool(cluster.issuer), detail=cluster.issuer, remedy=remedy))
        looks.say(found("workload-identity-on", ok=cluster.workload_identity, remedy=remedy))
        running = looks.hold(cluster_state.RUNNING, lambda: cluster_state.require_running(cluster))
        if running:
            looks.say(cluster_state.running(cluster))
        if not looks.hold("cluster-takes-entra", lambda: require_entra(cluster)) or not running:
            return
        await looks.take("namespace-exists", self._namespace(spec))
        if spec.mounted:
            await looks.take(mounts.FINDING, mounts.require_driver(self.outside.clusters, spec))
        await looks.take("secret-free", self._settings(spec))
        if spec.service_account:
            await looks.take("service-account-free", self._provided_account(spec, identity))
        elif identity is not None:
            await looks.take("service-account-free", self._account(spec, identity))
        elif looks.good("identity-usable"):
            # The account bears the client id of an identity that is not made yet.
            looks.keep("service-account-free", ())

    async def _namespace(self, spec: ConnectionSpec) -> None:
        if not await self.outside.clusters.namespace_exists(spec.cluster_id, spec.namespace):
            raise namespace_missing(spec.namespace)

    async def _settings(self, spec: ConnectionSpec) -> None:
        kind, name = naming.settings_object(spec)
        there = await self.outside.clusters.get(spec.cluster_id, kind, spec.namespace, name)
        if there is not None and not ours(there, LABEL_CONNECTION, _connection_id(spec)):
            raise foreign_settings(spec)

    async def _provided_account(self, spec: ConnectionSpec, identity: Identity | None) -> None:
        name = spec.service_account
        there = await self.outside.clusters.get(spec.cluster_id, "ServiceAccount", spec.namespace, name)
        if there is None:
            raise provided_account.missing(spec)
        provided_account.refuse_taken(there, identity.client_id if identity else "")

    async def _account(self, spec: ConnectionSpec, identity: Identity) -> None:
        name = naming.service_account_name(identity.client_id)
        there = await self.outside.clusters.get(spec.cluster_id, "ServiceAccount", spec.namespace, name)
        if there is not None and not ours(there, LABEL_WORKLOAD, _workload(spec)):
            raise foreign_account(spec.namespace, name)


def _connection_id(spec: ConnectionSpec) -> ConnectionId:
    return naming.connection_id(spec.cluster_id, spec.namespace, spec.name)


def _made(connection: Connection) -> bool:
    done = connection.state in {ConnectionState.CONFIGURED, ConnectionState.USABLE}
    return done and not connection.active


def _workload(spec: ConnectionSpec) -> str:
    return naming.workload_key(spec.cluster_id, spec.namespace, spec.workload)
