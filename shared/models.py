"""The field's own nouns as frozen values: connection, operation, step, intent, finding.

Wire formats (requests) live in ``shared/requests.py``; how rows are stored in ``shared/state.py``.
Instants are aware UTC ``datetime``; durations are seconds with the unit in the name.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any, NewType

from pydantic import Field

from shared.spec import ConnectionSpec, Model

ConnectionId = NewType("ConnectionId", str)
OperationId = NewType("OperationId", str)
ResourceId = NewType("ResourceId", str)
"""An ARM id as the caller wrote it; compare only through ``naming.fold_id``."""


class Kind(StrEnum):
    """What an operation does; each kind has one plan."""

    CREATE = "create"
    DELETE = "delete"
    PRUNE = "prune"
    VALIDATE = "validate"
    REPAIR = "repair"
    RESTORE = "restore"


class Direction(StrEnum):
    """Which of a step's three verbs a plan uses."""

    CHECK = "check"
    APPLY = "apply"
    REVERT = "revert"


class OperationState(StrEnum):
    """Where an operation stands; the last four are final."""

    RUNNING = "running"
    WAITING = "waiting"
    HELD = "held"
    """Waiting for something that only time or a person changes: a pod, a grace period, the cap."""
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    SUPERSEDED = "superseded"
    REJECTED = "rejected"

    @property
    def final(self) -> bool:
        """True once nothing more will happen."""
        return self.value in {"succeeded", "failed", "superseded", "rejected"}


class StepState(StrEnum):
    """Where one step of one operation stands."""

    PENDING = "pending"
    READY = "ready"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"


class ConnectionState(StrEnum):
    """What a connection is, seen from outside."""

    CONNECTING = "connecting"
    CONFIGURED = "configured"
    USABLE = "usable"
    FAILED = "failed"
    DELETING = "deleting"
    DELETED = "deleted"
    PRUNING = "pruning"
    PRUNED = "pruned"
    ORPHANED = "orphaned"
    """The cluster or the credential is gone; the identity and its roles are kept for a rebuild."""
    OBSERVED = "observed"
    """Service Connector's; we only know it, and prune what it leaves behind."""
    ADOPTED = "adopted"
    """Service Connector's, taken over by request: validated and pruned like ours, made and deleted by it."""
    RESTORED = "restored"
    """Pruned, and its cluster objects put back by request: they are kept; what Azure lost is still gone."""

    @property
    def live(self) -> bool:
        """True while the connection holds, or may hold, things in Azure or the cluster."""
        return self not in {ConnectionState.DELETED, ConnectionState.PRUNED}


class Provenance(StrEnum):
    """Where a thing that a connection relies on comes from: who made it decides what is removed."""

    CREATED = "created"
    ADOPTED = "adopted"
    PROVIDED = "provided"
    OBSERVED = "observed"


class Connection(Model):
    """One connection's row."""

    connection_id: ConnectionId
    spec: ConnectionSpec
    body_hash: str
    """Hash of the spec; equal bodies have equal hashes."""
    state: ConnectionState
    generation: int = 1
    """Counts creations under this id, so that a late delete of an earlier life changes nothing."""
    active: tuple[OperationId, ...] = ()
    """Operations that are not final, oldest first; ``validate`` is never among them."""
    last_operation: OperationId = OperationId("")
    linker_id: str = ""
    """Set for connections of Service Connector: observed or adopted."""
    left_by: ConnectionId = ConnectionId("")
    """Set on the row of what a connection of ours had to leave to ``linker_id`` when it ended."""
    adopted_at: datetime | None = None
    """Set for adopted connections; Service Connector makes and deletes them all the same."""
    restored: bool = False
    """A restore was opened in this life: a delete removes what it may have put back."""
    created_at: datetime
    configured_at: datetime | None = None
    usable_at: datetime | None = None
    ended_at: datetime | None = None


class Replaced(Model):
    """What an update took over from: the connection is that again if the update could make nothing."""

    spec: ConnectionSpec
    state: ConnectionState
    configured_at: datetime | None = None
    usable_at: datetime | None = None


class PlannedStep(Model):
    """One node of a plan as frozen into the operation when it starts."""

    name: str
    direction: Direction
    needs: tuple[str, ...] = ()


class Cause(Model):
    """Why a prune was opened: the Azure resource that is said to be gone."""

    kind: str
    """target, identity, credential, linker, cluster, namespace, expiry or orphan."""
    resource_id: str
    """ARM id; of a namespace ``<cluster id>/namespaces/<name>``."""
    event_id: str = ""
    event_time: str = ""
    source: str = "event"
    """event, sweep or request: how we came to look."""


class Operation(Model):
    """One operation's row: a plan being carried out for one connection."""

    operation_id: OperationId
    connection_id: ConnectionId
    kind: Kind
    state: OperationState
    generation: int
    plan: tuple[PlannedStep, ...]
    spec: ConnectionSpec | None = None
    """What a create will make of the connection when it begins."""
    changes: str = ""
    """Set for an update, which is a create on what is made: hash of the properties that it goes on from."""
    replaced: Replaced | None = None
    """Set once an update has begun."""
    request_id: str = ""
    begun: bool = False
    """The connection's row has taken over this operation's purpose."""
    behind: OperationId = OperationId("")
    """Waits until that operation is final."""
    overtakes: tuple[OperationId, ...] = ()
    """Operations that this one superseded; ``quiesce`` waits for their leases."""
    cause: Cause | None = None
    confirmed: bool = False
    """A prune whose cause is a fact by now; only one of a connection is, at a time."""
    report_only: bool = False
    """Walk the whole path and change nothing (PRUNE_MODE=report)."""
    released: bool = False
    """A person has let this prune go beyond the cap."""
    restores: OperationId = OperationId("")
    """The prune that a restore undoes."""
    failing: bool = False
    """A step has failed for good; the operation ends once no step runs any more."""
    revision: int = 0
    waiting: str = ""
    """Reason of the present wait, empty if none."""
    detail: str = ""
    code: str = ""
    """Error code of a failed operation, or the result of an early end."""
    remedy: str = ""
    opened_at: datetime
    ended_at: datetime | None = None


class StepRecord(Model):
    """One step of one operation."""

    operation_id: OperationId
    name: str
    direction: Direction
    state: StepState = StepState.PENDING
    turn: int = 0
    """Counts announcements that carry new work; a message with another turn is stale."""
    attempts: int = 0
    """Transient failures so far; waits are not counted."""
    crashes: int = 0
    """Times that the step's message went to the poison queue while it was current; a wait ends the count."""
    holder: str = ""
    """Token of the run that holds the lease."""
    lease_seconds: int = 0
    announced: bool = False
    due_at: datetime | None = None
    """Not to run before; ``None`` is at once."""
    waiting: str = ""
    waiting_since: datetime | None = None
    noted: Mapping[str, str] = Field(default_factory=dict)
    """What a waiting step wants to know when it looks again."""
    first_run_at: datetime | None = None
    started_at: datetime | None = None
    unanswered_at: datetime | None = None
    """When a run last ended, or was found dead, and may have sent what it got no answer to: that lands within
    one lease."""
    ended_at: datetime | None = None
    outputs: Mapping[str, Any] = Field(default_factory=dict)
    code: str = ""
    detail: str = ""
    remedy: str = ""


class Plan(Model):
    """What was planned once, and what came of it."""

    planned: Mapping[str, Any] = Field(default_factory=dict)
    outputs: Mapping[str, Any] = Field(default_factory=dict)


class Intent(Model):
    """What a step means to make, saved first: a revert works from it alone, so that no crash leaks."""

    connection_id: ConnectionId
    step: str
    generation: int
    planned: Mapping[str, Any] = Field(default_factory=dict)
    outputs: Mapping[str, Any] = Field(default_factory=dict)
    previous: tuple[Plan, ...] = ()
    """Earlier plans of this life that named other things (another identity); a revert removes them too."""
    left: bool = False
    """A removal has left all that it shares; who intends it again holds it again."""

    def plans(self) -> tuple[Plan, ...]:
        """Everything that was ever meant in this life, the present plan first."""
        return (Plan(planned=self.planned, outputs=self.outputs), *self.previous)


class StepMessage(Model):
    """Body of a ``connection-steps`` message: ids only, the table is the truth.

    Any change of it is a higher ``schema_version``: an older version puts such a message back.
    """

    schema_version: int = 1
    connection: ConnectionId
    operation: OperationId
    step: str
    turn: int


class Finding(Model):
    """One line of a validation."""

    name: str
    result: str
    """ok, failed, warning or unknown."""
    detail: str = ""
    remedy: str = ""


class Done(Model):
    """A step's good end."""

    outputs: Mapping[str, Any] = Field(default_factory=dict)
    ends_operation: str = ""
    """Non-empty: the rest of the plan is not needed and this is the operation's result code."""
    detail: str = ""
    remedy: str = ""
    """With ``detail``, for people: of an early end, and the next command after it."""
    earlier_plans: int | None = None
    """How many of the step's earlier plans are still needed, the newest; ``None``: all of them."""
