"""How an operation begins: the connection takes over its purpose, or the operation no longer fits."""

from __future__ import annotations

from datetime import datetime

from shared import naming
from shared.errors import PermanentError
from shared.models import Connection, ConnectionState, Kind, Operation, OperationState
from shared.state import Snapshot


def misfit(snapshot: Snapshot) -> PermanentError | None:
    """Why an operation that has not begun must not begin any more.

    A create that waited behind a delete or prune which then failed, or found nothing to do, meets the
    connection alive: it may go on with the same properties only, or what the old ones made would be lost.
    """
    operation, connection = snapshot.operation.value, snapshot.connection.value
    if operation.begun or operation.spec is None or not connection.state.live:
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


def begin(operation: Operation, connection: Connection, now: datetime) -> tuple[Operation, Connection]:
    """The connection takes over the operation's purpose, once, when its first step is claimed."""
    if operation.begun:
        return operation, connection
    if operation.kind is Kind.CREATE and operation.spec is not None:
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
            },
        )
    elif operation.kind is Kind.DELETE:
        connection = connection.model_copy(update={"state": ConnectionState.DELETING})
    begun = operation.model_copy(
        update={
            "begun": True,
            "behind": "",
            "generation": connection.generation,
            "state": OperationState.RUNNING,
            "waiting": "",
            "detail": "",
        },
    )
    return begun, connection
