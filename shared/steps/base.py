"""What every step is given, and what it must be able to do.

A step runs at least once and possibly twice: each verb must lead to the same end when it is
repeated after any interruption. It saves what it is about to make (``intend``) before it makes it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterable, Mapping
from datetime import datetime
from typing import Any, Protocol

from shared import naming
from shared.catalogue import Catalogue
from shared.errors import PermanentError, RefusedError
from shared.limits import Limits
from shared.models import Connection, ConnectionId, Done, Finding, Intent, Kind, Operation, OperationId, Plan
from shared.ports import KubeObject
from shared.prunes import SavedObject
from shared.steps.surroundings import Outside, Rules
from shared.targets import TargetType
from shared.users import User, Users

LABEL_MANAGED_BY = "app.kubernetes.io/managed-by"
LABEL_CONNECTION = "mooring.dev/connection"
LABEL_WORKLOAD = "mooring.dev/workload"
ANNOTATION_NONCE = "mooring.dev/nonce"
ANNOTATION_KEEP = "mooring.dev/keep"
ANNOTATION_CLIENT_ID = "azure.workload.identity/client-id"
ANNOTATION_TENANT_ID = "azure.workload.identity/tenant-id"
TAG_WORKLOAD = "mooring-workload"
TAG_NONCE = "mooring-nonce"
SETTLED_AT = "settledAt"
"""Output of ``quiesce``: when no write of an overtaken operation can land any more."""


class Recorder(Protocol):
    """What a step tells the engine while it runs."""

    async def intend(self, planned: Mapping[str, Any]) -> Mapping[str, Any]:
        """Save what is about to be made; returns it as saved.

        The nonce of an earlier try for the same things stays; a plan for other things is kept beside it.

        Raises:
            StateConflictError: the operation was superseded or the lease was lost: make nothing.
        """
        ...

    async def depend(self, kind: str, resource_id: str) -> None:
        """Record that the connection relies on a resource."""
        ...

    async def save(self, saved: SavedObject) -> None:
        """Save what a cluster object is, before this prune removes it."""
        ...

    async def saved(self, operation_id: OperationId) -> list[SavedObject]:
        """What a prune has saved."""
        ...

    async def settled(self, operation_id: OperationId) -> bool:
        """Say whether an operation has ended and nothing that it sent can land any more."""
        ...

    async def holds(self, connection_id: ConnectionId) -> bool:
        """Say whether a connection is on record that holds, or may hold, things."""
        ...

    async def linkers_of(self, identity_id: str, client_id: str) -> Mapping[str, str]:
        """Living connections of Service Connector on record that work through an identity: id and target.

        By its id and its client id: whose that was cannot always be told. The target is empty where only what
        was left to one is on record. Of every watched cluster, without the connection's own linker.
        """
        ...

    async def generation(self) -> int:
        """The connection's life that is on record now; 0 if there is none."""
        ...

    async def held_by_others(self, identity_id: str) -> Mapping[str, Mapping[User, bool]]:
        """What other living connections share through an identity, and who: False if it may have left."""
        ...

    async def only_linkers(self, users: Iterable[User]) -> bool:
        """Say whether all of a thing's users are rows of connections of Service Connector."""
        ...

    async def any_of_ours(self, users: Iterable[User]) -> bool:
        """Say whether one of a thing's users is on record as ours, or as left to a linker by ours."""
        ...

    async def leave_to(self, linker_id: str, plans: Mapping[str, Plan]) -> User:
        """Record what stays for a linker, to be pruned once that is gone; returns who uses it from now on.

        Raises:
            NotYetError: ``behind``: a prune of what was left to the same linker is under way.
        """
        ...

    async def stands(self, user: User) -> bool:
        """Say whether a user's connection is on record in that life, and no prune of it has begun."""
        ...

    async def lease_left_seconds(self, operation_id: OperationId) -> float:
        """Longest lease that a step of another operation still has; 0 if none is live."""
        ...

    async def in_doubt_seconds(self, *, removals: bool, of: str = "") -> float:
        """How long writes (or deletes) of the connection, whose answer was lost, may still land.

        Those of its other operations, and those that an earlier run of this step sent; with ``of`` only those
        that a step of that name sent in another operation.
        """
        ...


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class StepContext:
    """Everything that one run of one step may use."""

    connection: Connection
    operation: Operation
    step: str
    intents: Mapping[str, Intent]
    done: Mapping[str, Mapping[str, Any]]
    """Outputs of this operation's finished steps by name."""
    noted: Mapping[str, str]
    """What this step noted when it last waited."""
    now: datetime
    """The state store's own time at the start of the run."""
    nonce: str
    """Marks what this run makes."""
    outside: Outside
    rules: Rules
    catalogue: Catalogue
    users: Users
    limits: Limits
    recorder: Recorder

    @property
    def user(self) -> User:
        """This connection as a user of shared things."""
        return User(connection_id=self.connection.connection_id, generation=self.operation.generation)

    @property
    def target(self) -> TargetType:
        """The catalogue's row of the connection's target."""
        return self.catalogue.find(self.connection.spec.target_type)

    @property
    def offered_target(self) -> TargetType | None:
        """The catalogue's row, or ``None`` where Service Connector can reach what we do not offer."""
        try:
            row = self.target
        except RefusedError:
            return None
        return row if row.works else None

    @property
    def workload_key(self) -> str:
        """Identity of the connection's workload."""
        spec = self.connection.spec
        return naming.workload_key(spec.cluster_id, spec.namespace, spec.workload)

    @property
    def intent(self) -> Intent | None:
        """What this step has planned and made so far, in this life of the connection."""
        return self.intents.get(self.step)

    def output(self, step: str, name: str) -> str:
        """One output of an earlier step.

        Raises:
            PermanentError: ``missing-output``: the plan is wrong or the row was tampered with.
        """
        intent = self.intents.get(step)
        value = intent.outputs.get(name) if intent else None
        if not value:
            raise PermanentError("missing-output", f"{step} has recorded no {name}")
        return str(value)

    @property
    def plans(self) -> tuple[Plan, ...]:
        """Everything this step ever meant to make in this life of the connection."""
        return self.intent.plans() if self.intent else ()

    @property
    def repairing(self) -> bool:
        """True in a repair: what is proven ours is put right by force."""
        return self.operation.kind is Kind.REPAIR

    @property
    def adopted(self) -> bool:
        """True of a connection that Service Connector made and that was taken over."""
        return self.connection.adopted_at is not None

    @property
    def for_pruning_only(self) -> bool:
        """True of an adopted connection without an identity: only its cluster objects were taken over."""
        return self.adopted and "managed_identity" not in self.intents

    @property
    def pruning(self) -> bool:
        """True in a prune: nobody asked for the removal, so every guard holds."""
        return self.operation.cause is not None

    @property
    def facts(self) -> dict[str, str]:
        """What the settings are made of: preflight's facts of the target, and the identity's client id.

        Raises:
            PermanentError: ``missing-output``.
        """
        intent = self.intents.get("preflight")
        if intent is None or not intent.outputs.get("facts"):
            raise PermanentError("missing-output", "preflight has recorded no facts")
        recorded = {str(name): str(value) for name, value in intent.outputs["facts"].items()}
        if not self.connection.spec.by_identity:
            return recorded
        return {**recorded, "clientId": self.output("managed_identity", "clientId")}


class Step(Protocol):
    """One unit of work with its way back."""

    name: str

    async def check(self, ctx: StepContext) -> list[Finding]:
        """Look whether what ``apply`` made is as it should be; changes nothing."""
        ...

    async def apply(self, ctx: StepContext) -> Done:
        """Make present; finding it present is success."""
        ...

    async def revert(self, ctx: StepContext) -> Done:
        """Make absent what the intents say is ours; finding it absent is success."""
        ...


def found(name: str, *, ok: bool, detail: str = "", remedy: str = "") -> Finding:
    """A finding that is either fine or not."""
    return Finding(name=name, result="ok" if ok else "failed", detail=detail, remedy="" if ok else remedy)


def ours(thing: KubeObject, label: str, value: str) -> bool:
    """Say whether a cluster object bears our mark with that value."""
    return thing.labels.get(LABEL_MANAGED_BY) == naming.MANAGED_BY and thing.labels.get(label) == value


def owned(
    ctx: StepContext,
    thing: KubeObject,
    mark: tuple[str, str],
    *,
    intent: Intent | None,
    nonces: Collection[str] = (),
) -> bool:
    """Say whether an object that is there already may be applied over.

    A create goes by our labels. A repair forces fields, so it wants proof: the recorded uid, or a nonce that
    was saved before the object was written; somebody may have taken the labels off, or copied them.

    Args:
        ctx: of the run.
        thing: the object as it is.
        mark: the label that a create goes by, and its value.
        intent: what this connection recorded of the object.
        nonces: others that were saved for it, by connections that share it.
    """
    if not ctx.repairing:
        return ours(thing, *mark)
    plans = intent.plans() if intent else ()
    saved = {str(plan.planned.get("nonce", "")) for plan in plans} | set(nonces)
    uids = {str(plan.outputs.get("uid", "")) for plan in plans} - {""}
    return thing.uid in uids or thing.annotations.get(ANNOTATION_NONCE, "") in saved - {""}


def identity_thing(resource_id: str) -> str:
    """Name of an identity's users row."""
    return f"identity|{naming.fold_id(resource_id)}"


def credential_thing(identity_id: str, issuer: str, subject: str) -> str:
    """Name of a credential's users row."""
    return f"credential|{naming.fold_id(identity_id)}|{issuer}|{subject}"


def account_thing(cluster_id: str, namespace: str, client_id: str) -> str:
    """Name of a service account's users row."""
    return f"account|{naming.fold_id(cluster_id)}|{namespace}|{client_id.lower()}"


def role_thing(item: Mapping[str, Any]) -> str:
    """Name of a role assignment's users row; ``item`` names scope, principalId and roleDefinitionId."""
    role = str(item["roleDefinitionId"]).rsplit("/", 1)[-1].lower()
    return f"role|{naming.fold_id(str(item['scope']))}|{str(item['principalId']).lower()}|{role}"
