"""How an operation begins: the connection takes over its purpose, or the operation no longer fits."""

from __future__ import annotations

from datetime import datetime

from shared import naming, retry
from shared.errors import NotYetError, PermanentError, RefusedError
from shared.models import (
    Connection,
    ConnectionState,
    Kind,
    Operation,
    OperationState,
    Replaced,
    StepRecord,
    StepState,
)
from shared.state import Snapshot

RESTORABLE = frozenset({ConnectionState.PRUNED, ConnectionState.ORPHANED, ConnectionState.RESTORED})
"""A restored connection too: it may have been pruned more than once, and each prune is undone by itself."""
CHANGEABLE = frozenset(
    {
        ConnectionState.CONNECTING,
        ConnectionState.CONFIGURED,
        ConnectionState.USABLE,
        ConnectionState.FAILED,
    }
)
"""What an update may find when it begins: nothing was taken away on purpose."""
_PUT_BACK = frozenset({ConnectionState.RESTORED, ConnectionState.DELETING})
_CHANGING = frozenset({ConnectionState.CONNECTING, ConnectionState.PRUNING})


def misfit(snapshot: Snapshot) -> PermanentError | None:
    """Why an operation that has not begun must not begin any more.

    A create that waited behind a delete or prune which then failed, or found nothing to do, meets the
    connection alive: it may go on with the same properties only. An update goes on from the properties that
    it was judged by, and from no others.
    """
    operation, connection = snapshot.operation.value, snapshot.connection.value
    if operation.changes and not operation.begun:
        return _misfit_update(operation, connection)
    if operation.begun or operation.spec is None or not connection.state.live:
        return None
    if left_by_linker(connection):
        return None
    if (
        naming.spec_hash(operation.spec) == connection.body_hash
        and operation.spec.name == connection.spec.name
    ):
        return None
    return PermanentError(
        "body-differs",
        f"connection {connection.spec.name} still exists with other properties",
        remedy="delete the connection, then send this request again",
    )


def _misfit_update(operation: Operation, connection: Connection) -> PermanentError | None:
    if not connection.state.live:
        return PermanentError(
            "not-found", "the connection was removed meanwhile", remedy="send a create request"
        )
    if connection.body_hash == operation.changes and connection.state in CHANGEABLE:
        return None
    return PermanentError(
        "body-differs",
        f"connection {connection.spec.name} was changed meanwhile",
        remedy=f"look at it (GET /api/connections/{connection.connection_id}), then send the update again",
    )


def left_in_doubt(step: StepRecord, now: datetime) -> StepRecord:
    """The step as it was found: if a run died in it, what that had sent may still land, whatever comes next.

    Not every such step is taken again at once: its operation may be failing, its tries may be used up, or it
    has to wait. Whoever looks later sees no more that a run had left it.
    """
    if step.state is not StepState.RUNNING:
        return step
    return step.model_copy(update={"unanswered_at": now})


def crashed(step: StepRecord) -> PermanentError | None:
    """Why a step whose run died must not run any more: its host dies in it again and again.

    The poison queue cannot tell: a message that comes back while the dead run's lease is live is dropped,
    and the timer's message after the lease is a new one.
    """
    if step.state is not StepState.RUNNING or step.attempts + 1 < retry.MAX_ATTEMPTS:
        return None
    return PermanentError(
        "host-crash", f"no run of this step came to its end in {step.attempts + 1} attempts"
    )


def blocked(operation: Operation, connection: Connection) -> NotYetError | None:
    """Why an operation must not go on yet, though it stands behind no other one.

    One thing at a time changes a connection: a prune that has not confirmed its cause lets a create or
    another prune finish, and a create does not begin while a prune removes.
    """
    if operation.kind is Kind.CREATE and not operation.begun and connection.state is ConnectionState.PRUNING:
        return NotYetError("behind", "a prune is under way")
    if operation.kind is Kind.PRUNE and not operation.confirmed and connection.state in _CHANGING:
        return NotYetError("behind", f"the connection is {connection.state.value}")
    return None


def pointless(snapshot: Snapshot) -> str:
    """Why a prune has nothing left to prune, empty if it has: looked at before each of its steps.

    What it was opened for may have been deleted meanwhile, or be another life under the same name.
    """
    operation, connection = snapshot.operation.value, snapshot.connection.value
    if operation.kind is not Kind.PRUNE:
        return ""
    if operation.generation != connection.generation:
        return "stale-cause"
    if not connection.state.live or connection.state is ConnectionState.RESTORED:
        return "nothing-to-do"
    return ""


def require_restorable(generation: int | None, connection: Connection | None) -> None:
    """Refuse a restore of what is not pruned any more, or was never.

    Raises:
        RefusedError: ``not-found`` or ``not-restorable``.
    """
    if connection is None:
        raise RefusedError("not-found", "there is no such connection")
    if generation != connection.generation:
        raise RefusedError(
            "not-restorable",
            "the connection was made anew since that prune",
            remedy="send a create request, or nothing: a later life may be whole",
        )
    if connection.state not in RESTORABLE:
        raise RefusedError("not-restorable", f"the connection is {connection.state.value}")


def left_by_linker(connection: Connection) -> bool:
    """Say whether Service Connector's connection is gone and only what was put back of it is there.

    Nothing else of Service Connector's is ever being deleted by us.
    """
    return bool(connection.linker_id) and connection.state in _PUT_BACK


def begin(operation: Operation, connection: Connection, now: datetime) -> tuple[Operation, Connection]:
    """The connection takes over the operation's purpose, once, when its first step is claimed."""
    if operation.begun:
        return operation, connection
    replaced: Replaced | None = None
    if operation.kind is Kind.CREATE and operation.spec is not None:
        replaced = _replaced(connection) if operation.changes else None
        reborn = not connection.state.live
        connection = connection.model_copy(
            update={
                "spec": operation.spec,
                "body_hash": naming.spec_hash(operation.spec),
                "state": ConnectionState.CONNECTING,
                "generation": connection.generation + 1 if reborn else connection.generation,
                "created_at": now if reborn else connection.created_at,
                "configured_at": None,
                "usable_at": None,
                "ended_at": None,
                "linker_id": "",
                "adopted_at": None,
                "restored": connection.restored and not reborn,
            },
        )
    elif operation.kind is Kind.DELETE:
        connection = connection.model_copy(update={"state": ConnectionState.DELETING})
    begun = operation.model_copy(
        update={
            "begun": True,
            "replaced": replaced,
            "behind": "",
            "generation": connection.generation,
            "state": OperationState.RUNNING,
            "waiting": "",
            "detail": "",
        },
    )
    return begun, connection


def _replaced(connection: Connection) -> Replaced:
    return Replaced(
        spec=connection.spec,
        state=connection.state,
        configured_at=connection.configured_at,
        usable_at=connection.usable_at,
    )
