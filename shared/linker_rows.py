"""The row of a connection that Service Connector made: what it is of, and which life it is in."""

from __future__ import annotations

from datetime import datetime

from shared import naming
from shared.models import Connection, ConnectionState, OperationId
from shared.ports import Linker
from shared.spec import ConnectionSpec
from shared.targets import TargetType


def spec_of(cluster_id: str, linker: Linker, row: TargetType | None) -> ConnectionSpec:
    """What a linker ties together; ``row`` is the catalogue's of its target, if it has one."""
    return ConnectionSpec(
        name=linker.name,
        cluster_id=cluster_id,
        namespace=linker.namespace,
        workload=naming.fold_name(linker.name),
        target_type=row.name if row else "unknown",
        target_id=linker.target_id,
        client_type=linker.client_type or "none",
    )


def is_alive(present: Connection | None) -> bool:
    """Say whether the life on record goes on: a row that is written now is the same life's."""
    return present is not None and (present.state.live or bool(present.active))


def row_of(
    spec: ConnectionSpec,
    linker: Linker,
    present: Connection | None,
    *,
    now: datetime,
    adopted_at: datetime | None = None,
) -> Connection:
    """The row of a living linker, in the life that is on record or in a new one.

    Args:
        spec: of the connection.
        linker: alive.
        present: what is on record.
        now: when a new life begins.
        adopted_at: set if it is taken over, else it is observed.
    """
    same = present if is_alive(present) else None
    generation = same.generation if same else (present.generation + 1 if present else 1)
    return Connection(
        connection_id=naming.connection_id(spec.cluster_id, spec.namespace, spec.name),
        spec=spec,
        body_hash=naming.spec_hash(spec),
        state=ConnectionState.ADOPTED if adopted_at else ConnectionState.OBSERVED,
        generation=generation,
        active=same.active if same else (),
        last_operation=present.last_operation if present else OperationId(""),
        linker_id=linker.resource_id,
        adopted_at=adopted_at,
        restored=same is not None and same.restored,
        created_at=same.created_at if same else now,
    )
