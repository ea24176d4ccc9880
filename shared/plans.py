"""Which steps an operation takes, in which order: the only place that knows all steps.

Access is revoked first and the identity goes last. A plan is frozen into the operation when it opens.
Steps that do not need each other run side by side.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from shared.catalogue import catalogue
from shared.models import (
    Cause,
    Connection,
    ConnectionState,
    Direction,
    Kind,
    Operation,
    PlannedStep,
    StepRecord,
    StepState,
)
from shared.spec import ConnectionSpec
from shared.steps.base import Step
from shared.steps.confirm_gone import ConfirmGone
from shared.steps.database_access import DatabaseAccess
from shared.steps.federated_credential import FederatedCredential
from shared.steps.managed_identity import ManagedIdentity
from shared.steps.preflight import Preflight
from shared.steps.prove import Prove
from shared.steps.quiesce import Quiesce
from shared.steps.restored_objects import RestoredObjects
from shared.steps.role_assignments import RoleAssignments
from shared.steps.service_account import ServiceAccount
from shared.steps.settings import Settings
from shared.steps.verify_gone import VerifyGone

CREATE_STAGES = (
    ("preflight",),
    ("managed_identity",),
    ("role_assignments", "federated_credential", "service_account", "settings"),
    ("prove",),
)
"""Stages of a create: the steps of one run side by side once those of the one before are done. A
connection is *configured* when all but the proof is done."""

CREATE = tuple(name for stage in CREATE_STAGES for name in stage)

REVERT_STAGES = (
    ("role_assignments", "federated_credential"),
    ("settings", "service_account"),
    ("managed_identity",),
)
"""Stages of every removal: access first, then cluster objects, the identity last."""

REVERT = tuple(name for stage in REVERT_STAGES for name in stage)

GRANTED_BY = "role_assignments"
"""Where a target's rights are no roles, the step of their kind stands in its place (``target_parts``)."""
PROVED_BY = "prove"
CONFIRMED_BY = "confirm_gone"
RESTORED_BY = "restored_objects"

BY_KEY = frozenset({"preflight", "settings"})
"""Steps of a connection by a key of the target: it has no identity, and nothing is granted."""

PRUNED_OF_ADOPTED = ("role_assignments", "federated_credential", "settings", "service_account")
"""What is looked after once the linker of an adopted connection is gone, whatever took it: Service Connector
takes back what it granted and leaves the cluster objects. The identity is its owner's."""

PRUNED_OF_LEFT = ("role_assignments", "federated_credential", "managed_identity")
"""What a removal of ours may have left to a linker: it goes once the linker is gone, whatever took it."""

PRUNED_BY_CAUSE: Mapping[str, Sequence[str]] = {
    "target": REVERT,
    "identity": REVERT,
    # Nobody gets a token any more; identity and roles stay for a create that makes the rest anew.
    "credential": ("federated_credential", "settings", "service_account"),
    "linker": ("settings", "service_account"),
    # Credentials that name a dead issuer go at once; identity and roles wait for a rebuild (decision 22).
    "cluster": ("federated_credential",),
    # A namespace that was deleted took the objects; what trusts its service accounts is left in Azure.
    "namespace": REVERT,
    # An orphan that nobody has rebuilt within the retention time.
    "expiry": REVERT,
    # Something that nobody on record owns, named by a person.
    "orphan": ("federated_credential", "settings", "service_account", "managed_identity"),
}
"""What each kind of cause leaves behind."""


def steps() -> Mapping[str, Step]:
    """Every step by name."""
    known: tuple[Step, ...] = (
        Preflight(),
        ManagedIdentity(),
        RoleAssignments(),
        DatabaseAccess(),
        FederatedCredential(),
        ServiceAccount(),
        Settings(),
        Prove(),
        Quiesce(),
        ConfirmGone(),
        VerifyGone(),
        RestoredObjects(),
    )
    return {step.name: step for step in known}


def plan(
    kind: Kind,
    connection: Connection | None = None,
    *,
    cause: Cause | None = None,
    overtakes: bool = False,
    spec: ConnectionSpec | None = None,
) -> tuple[PlannedStep, ...]:
    """The plan of an operation.

    Args:
        kind: create, repair, delete, validate, prune or restore.
        connection: the connection as it is; needed for a prune.
        cause: why a prune is opened.
        spec: what a create will make of the connection; without it, what the connection is.
        overtakes: whether a prune supersedes another operation, whose last write may still be under way.

    Raises:
        ValueError: a prune without its cause, or a kind that has no plan.
    """
    planned = _planned(kind, connection=connection, cause=cause, overtakes=overtakes, spec=spec)
    granting = _granting(connection, spec)
    if granting == GRANTED_BY:
        return planned
    return tuple(
        step.model_copy(
            update={
                "name": granting if step.name == GRANTED_BY else step.name,
                "needs": tuple(granting if name == GRANTED_BY else name for name in step.needs),
            }
        )
        for step in planned
    )


def _granting(connection: Connection | None, spec: ConnectionSpec | None) -> str:
    """The step that grants and revokes: what Service Connector granted are roles, or nothing of ours."""
    if connection is not None and connection.linker_id and spec is None:
        return GRANTED_BY
    wanted = spec or (connection.spec if connection else None)
    row = next((one for one in catalogue().rows if wanted and one.name == wanted.target_type), None)
    return row.grants.step if row else GRANTED_BY


def _planned(
    kind: Kind,
    *,
    connection: Connection | None,
    cause: Cause | None,
    overtakes: bool,
    spec: ConnectionSpec | None,
) -> tuple[PlannedStep, ...]:
    wanted = spec or (connection.spec if connection is not None else None)
    by_key = wanted is not None and not wanted.by_identity

    def fitting(names: Sequence[str]) -> tuple[str, ...]:
        return tuple(name for name in names if not by_key or name in BY_KEY)

    if kind in {Kind.CREATE, Kind.REPAIR}:
        stages = [fitting(stage) for stage in CREATE_STAGES]
        return _graph([(stage, Direction.APPLY) for stage in stages if stage])
    restored = connection is not None and connection.restored
    if kind is Kind.RESTORE:
        return _graph([((RESTORED_BY,), Direction.APPLY)])
    if kind is Kind.VALIDATE:
        return _graph([((*fitting(CREATE), *((RESTORED_BY,) if restored else ())), Direction.CHECK)])
    if kind is Kind.DELETE:
        return _removal(("quiesce",), (*fitting(REVERT), *((RESTORED_BY,) if restored else ())))
    if cause is not None and connection is not None:
        names = PRUNED_BY_CAUSE[cause.kind]
        if connection.left_by:
            names = PRUNED_OF_LEFT
        elif connection.adopted_at is not None:
            names = PRUNED_OF_ADOPTED
        elif connection.linker_id:
            # Whatever took it, even its cluster: a users row left behind would keep the account for ever.
            names = PRUNED_BY_CAUSE["linker"]
        names = fitting(names)
        return _removal(("quiesce", CONFIRMED_BY) if overtakes else (CONFIRMED_BY,), names)
    raise ValueError(f"no plan for {kind}")


def records(operation: Operation) -> Sequence[StepRecord]:
    """The step rows of an operation that is being opened."""
    return [
        StepRecord(
            operation_id=operation.operation_id,
            name=planned.name,
            direction=planned.direction,
            state=StepState.PENDING if planned.needs else StepState.READY,
            turn=0 if planned.needs else 1,
        )
        for planned in operation.plan
    ]


def end_state(
    kind: Kind, cause: Cause | None, *, connection: Connection | None = None
) -> ConnectionState | None:
    """What a connection is once an operation of that kind has succeeded; ``None`` leaves it.

    Nothing is kept for a rebuild of a connection of Service Connector, whose linker went too, nor of one by a
    key, which has no identity.
    """
    if kind is Kind.DELETE:
        return ConnectionState.DELETED
    if kind is Kind.RESTORE:
        return ConnectionState.RESTORED
    if kind is Kind.PRUNE:
        theirs = connection is not None and (bool(connection.linker_id) or not connection.spec.by_identity)
        kept = cause is not None and cause.kind in {"cluster", "credential"} and not theirs
        return ConnectionState.ORPHANED if kept else ConnectionState.PRUNED
    return None


def _removal(first: Sequence[str], names: Sequence[str]) -> tuple[PlannedStep, ...]:
    known = [(*stage, RESTORED_BY) if "settings" in stage else stage for stage in REVERT_STAGES]
    stages = [tuple(name for name in stage if name in names) for stage in known]
    return _graph(
        [
            *(((name,), Direction.APPLY) for name in first),
            *((stage, Direction.REVERT) for stage in stages if stage),
            (("verify_gone",), Direction.APPLY),
        ],
    )


def _graph(stages: Sequence[tuple[Sequence[str], Direction]]) -> tuple[PlannedStep, ...]:
    return tuple(
        PlannedStep(name=name, direction=direction, needs=tuple(stages[index - 1][0]) if index else ())
        for index, (stage, direction) in enumerate(stages)
        for name in stage
    )
