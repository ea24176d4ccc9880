"""Whether a wanted connection could be made: every look of preflight and more, and each one's finding.

A create stops at the first thing that is wrong; this says all that is. It reads only, nothing is recorded,
and no look waits longer than its bound.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Awaitable, Callable, Mapping, Sequence

from shared import naming
from shared.admission import refuse_another, refuse_theirs
from shared.beginnings import left_by_linker
from shared.errors import NotYetError, PermanentError, TransientError
from shared.models import Connection, ConnectionState, Finding, Kind
from shared.ports import Credential, Identity, ManagedCluster
from shared.spec import ConnectionSpec
from shared.state import State
from shared.steps.base import LABEL_CONNECTION, LABEL_WORKLOAD, TAG_WORKLOAD, Outside, found, ours
from shared.steps.federated_credential import equal, require_budget
from shared.steps.managed_identity import foreign_identity, own_identity_id, require_provided
from shared.steps.preflight import (
    enabling,
    foreign_secret,
    namespace_missing,
    refuse_cluster_identity,
    refuse_linkers_name,
    require_running,
)
from shared.steps.service_account import foreign_account
from shared.targets import TargetType

LOOK_SECONDS = 10.0
"""Longest that one look may take; at most four follow each other."""
NAMES = (
    "target-exists",
    "cluster-exists",
    "cluster-running",
    "issuer-on",
    "workload-identity-on",
    "namespace-exists",
    "name-free",
    "linker-name-free",
    "secret-free",
    "service-account-free",
    "identity-usable",
    "credential-budget",
)
"""Every finding, in the order in which they are shown."""


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
    account = naming.service_account_name(client_id)
    return Credential(
        name=naming.credential_name(spec.cluster_id, spec.namespace, account),
        issuer=issuer,
        subject=naming.subject(spec.namespace, account),
        audiences=(naming.AUDIENCE,),
    )


def unseen(reason: str) -> Fit:
    """What is told where nothing may be looked at."""
    return Fit(findings=_Looks(0).told(reason))


class _Looks:
    """Findings of looks, each of which has its bound."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._found: dict[str, Finding] = {}

    async def take[T](self, name: str, work: Awaitable[T]) -> T | None:
        """What a look saw; ``None`` if it failed, which is a finding then."""
        try:
            async with asyncio.timeout(self._seconds):
                seen = await work
        except PermanentError as error:
            self.say(found(name, ok=False, detail=str(error), remedy=error.remedy))
        except TransientError as error:
            self.say(Finding(name=name, result="unknown", detail=str(error), remedy="ask again"))
        except TimeoutError:
            detail = f"no answer within {self._seconds:g} s"
            self.say(Finding(name=name, result="unknown", detail=detail, remedy="ask again"))
        else:
            self._found.setdefault(name, found(name, ok=True))
            return seen
        return None

    def hold(self, name: str, rule: Callable[[], None], detail: str = "") -> bool:
        """Say whether a rule of the steps holds."""
        try:
            rule()
        except NotYetError as waits:
            self.say(Finding(name=name, result="warning", detail=str(waits), remedy="a create waits for it"))
        except PermanentError as error:
            self.say(found(name, ok=False, detail=str(error), remedy=error.remedy))
        else:
            self.say(found(name, ok=True, detail=detail))
            return True
        return False

    def say(self, finding: Finding) -> None:
        self._found[finding.name] = finding

    def good(self, name: str) -> bool:
        """Say whether a finding is there, and fine."""
        return name in self._found and self._found[name].result == "ok"

    def keep[T](self, name: str, value: T) -> T:
        """A value that needs no look: its finding is fine."""
        self.say(found(name, ok=True))
        return value

    def told(self, reason: str) -> tuple[Finding, ...]:
        """Every finding in order; what was not looked at is unknown for that reason."""
        return tuple(
            self._found.get(name, Finding(name=name, result="unknown", detail=f"not looked at: {reason}"))
            for name in NAMES
        )


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Fitness:
    """Looks whether connections could be made."""

    state: State
    outside: Outside
    identity_resource_group_id: str
    app_client_id: str
    look_seconds: float = LOOK_SECONDS

    def identity_id(self, spec: ConnectionSpec) -> str:
        """The identity that is named, or that would be made."""
        return spec.identity_id or own_identity_id(spec, self.identity_resource_group_id)

    async def look(self, spec: ConnectionSpec, row: TargetType) -> Fit:
        """Look at everything that a create of this connection depends on."""
        looks = _Looks(self.look_seconds)
        cluster, facts, identity, made, _ = await asyncio.gather(
            looks.take("cluster-exists", self._cluster(spec)),
            looks.take("target-exists", self._target(spec, row)),
            looks.take("identity-usable", self._identity(spec)),
            looks.take("name-free", self._name(spec)),
            looks.take("linker-name-free", self._linkers(spec)),
        )
        credentials, _ = await asyncio.gather(
            self._credentials(looks, spec, cluster, identity), self._inside(looks, spec, cluster, identity)
        )
        return Fit(
            findings=looks.told("what comes before it is not right"),
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

    async def _target(self, spec: ConnectionSpec, row: TargetType) -> Mapping[str, str]:
        target_id, parent_id = row.existence_id(spec.target_id), row.parent_id(spec.target_id)
        target = await self.outside.resources.get(target_id, api_version=row.api_version)
        if target is None:
            raise PermanentError("target-not-found", target_id)
        read = self.outside.resources.get
        parent = await read(parent_id, api_version=row.api_version) if parent_id else None
        return row.facts(spec.target_id, target, client_id="", parent=parent, connection_name=spec.name)

    async def _identity(self, spec: ConnectionSpec) -> Identity | None:
        resource_id = self.identity_id(spec)
        identity = await self.outside.identities.get(resource_id)
        if spec.identity_id:
            require_provided(identity, resource_id, app_client_id=self.app_client_id)
        elif identity is not None and identity.tags.get(TAG_WORKLOAD) != _workload(spec):
            raise foreign_identity(resource_id)
        return identity

    async def _name(self, spec: ConnectionSpec) -> bool:
        """Say whether the connection is made already, unless its name is somebody else's."""
        connection_id = naming.connection_id(spec.cluster_id, spec.namespace, spec.name)
        stored = await self.state.connection(connection_id)
        if stored is None:
            return False
        connection = stored.value
        held = connection.state.live and not left_by_linker(connection)
        if held and connection.linker_id:
            refuse_theirs(Kind.CREATE, connection)
        if connection.active:
            newest = await self.state.operation(connection.active[-1])
            if newest is not None and newest.value.spec is not None:
                refuse_another(newest.value.spec, spec)
        elif held:
            refuse_another(connection.spec, spec)
        return held and _made(connection)

    async def _linkers(self, spec: ConnectionSpec) -> None:
        refuse_linkers_name(spec, await self.outside.linkers.list(spec.cluster_id))

    async def _credentials(
        self, looks: _Looks, spec: ConnectionSpec, cluster: ManagedCluster | None, identity: Identity | None
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
        self, looks: _Looks, spec: ConnectionSpec, cluster: ManagedCluster | None, identity: Identity | None
    ) -> None:
        """Look at the cluster and, if it runs, into it."""
        if cluster is None:
            return
        remedy = enabling(spec.cluster_id)
        looks.say(found("issuer-on", ok=bool(cluster.issuer), detail=cluster.issuer, remedy=remedy))
        looks.say(found("workload-identity-on", ok=cluster.workload_identity, remedy=remedy))
        if not looks.hold("cluster-running", lambda: require_running(cluster)):
            return
        await looks.take("namespace-exists", self._namespace(spec))
        await looks.take("secret-free", self._secret(spec))
        if identity is not None:
            await looks.take("service-account-free", self._account(spec, identity))
        elif looks.good("identity-usable"):
            # The account bears the client id of an identity that is not made yet.
            looks.keep("service-account-free", ())

    async def _namespace(self, spec: ConnectionSpec) -> None:
        if not await self.outside.clusters.namespace_exists(spec.cluster_id, spec.namespace):
            raise namespace_missing(spec.namespace)

    async def _secret(self, spec: ConnectionSpec) -> None:
        name = naming.secret_name(spec.name)
        there = await self.outside.clusters.get(spec.cluster_id, "Secret", spec.namespace, name)
        connection_id = naming.connection_id(spec.cluster_id, spec.namespace, spec.name)
        if there is not None and not ours(there, LABEL_CONNECTION, connection_id):
            raise foreign_secret(spec)

    async def _account(self, spec: ConnectionSpec, identity: Identity) -> None:
        name = naming.service_account_name(identity.client_id)
        there = await self.outside.clusters.get(spec.cluster_id, "ServiceAccount", spec.namespace, name)
        if there is not None and not ours(there, LABEL_WORKLOAD, _workload(spec)):
            raise foreign_account(spec.namespace, name)


def _made(connection: Connection) -> bool:
    done = connection.state in {ConnectionState.CONFIGURED, ConnectionState.USABLE}
    return done and not connection.active


def _workload(spec: ConnectionSpec) -> str:
    return naming.workload_key(spec.cluster_id, spec.namespace, spec.workload)
