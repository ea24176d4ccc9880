"""Which steps an operation takes, in which order: the only place that knows all steps.

Access is granted last and revoked first. A plan is frozen into the operation when it opens; until
the simulation holds for parallel steps each plan is a chain, though the engine knows ready-sets.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from shared.models import Cause, Connection, ConnectionState, Direction, Kind, PlannedStep
from shared.steps.base import Step
from shared.steps.confirm_gone import ConfirmGone
from shared.steps.federated_credential import FederatedCredential
from shared.steps.managed_identity import ManagedIdentity
from shared.steps.preflight import Preflight
from shared.steps.prove import Prove
from shared.steps.quiesce import Quiesce
from shared.steps.role_assignments import RoleAssignments
from shared.steps.service_account import ServiceAccount
from shared.steps.settings import Settings
from shared.steps.verify_gone import VerifyGone

CREATE = (
    "preflight",
    "managed_identity",
    "role_assignments",
    "federated_credential",
    "service_account",
    "settings",
    "prove",
)
"""Order of a create; a connection is *configured* when all but the proof is done."""

REVERT = ("role_assignments", "federated_credential", "settings", "service_account", "managed_identity")
"""Order of every removal (design decision 20): access first, then cluster objects, the identity last."""

PROVED_BY = "prove"

_PRUNED_BY_CAUSE: Mapping[str, Sequence[str]] = {
    "target": REVERT,
    "identity": REVERT,
    # Nobody gets a token any more; identity and roles stay for a create that makes the rest anew.
    "credential": ("federated_credential", "settings", "service_account"),
    "linker": ("settings", "service_account"),
    # Credentials that name a dead issuer go at once; identity and roles wait for a rebuild (decision 22).
    "cluster": ("federated_credential",),
}


def steps() -> Mapping[str, Step]:
    """Every step by name."""
    known: tuple[Step, ...] = (
        Preflight(),
        ManagedIdentity(),
        RoleAssignments(),
        FederatedCredential(),
        ServiceAccount(),
        Settings(),
        Prove(),
        Quiesce(),
        ConfirmGone(),
        VerifyGone(),
    )
    return {step.name: step for step in known}


def plan(
    kind: Kind, *, connection: Connection | None = None, cause: Cause | None = None
) -> tuple[PlannedStep, ...]:
    """The plan of an operation.

    Args:
        kind: create, delete, validate or prune.
        connection: the connection as it is; needed for a prune.
        cause: why a prune is opened.

    Raises:
        ValueError: a prune without its cause, or a kind that has no plan.
    """
    if kind is Kind.CREATE:
        return _chain([(name, Direction.APPLY) for name in CREATE])
    if kind is Kind.VALIDATE:
        return _chain([(name, Direction.CHECK) for name in CREATE])
    if kind is Kind.DELETE:
        return _removal("quiesce", REVERT)
    if kind is Kind.PRUNE and cause is not None and connection is not None:
        names = _PRUNED_BY_CAUSE[cause.kind]
        if connection.linker_id:
            names = [name for name in names if name in _PRUNED_BY_CAUSE["linker"]]
        return _removal("confirm_gone", names)
    raise ValueError(f"no plan for {kind}")


def end_state(kind: Kind, cause: Cause | None) -> ConnectionState | None:
    """What a connection is once an operation of that kind has succeeded; ``None`` leaves it."""
    if kind is Kind.DELETE:
        return ConnectionState.DELETED
    if kind is Kind.PRUNE:
        kept = cause is not None and cause.kind in {"cluster", "credential"}
        return ConnectionState.ORPHANED if kept else ConnectionState.PRUNED
    return None


def _removal(first: str, names: Sequence[str]) -> tuple[PlannedStep, ...]:
    return _chain(
        [
            (first, Direction.APPLY),
            *((name, Direction.REVERT) for name in names),
            ("verify_gone", Direction.APPLY),
        ],
    )


def _chain(pairs: Sequence[tuple[str, Direction]]) -> tuple[PlannedStep, ...]:
    return tuple(
        PlannedStep(name=name, direction=direction, needs=(pairs[index - 1][0],) if index else ())
        for index, (name, direction) in enumerate(pairs)
    )
