"""The row of what a removal of ours left to a living linker: pruned once that linker is gone.

The connection whose things they were has ended and knows nothing any more, and the linker's own row knows
what Service Connector made. So what is left has a row of its own, one for each such connection, target and
linker (one for all targets would grow with each of them), with the plans by which we know it as ours. To
events and sweeps it is a connection that relies on a linker.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from shared import naming
from shared.errors import NotYetError, StateConflictError
from shared.models import Connection, ConnectionId, ConnectionState, Intent, OperationId, Plan
from shared.records import Dependent, Dependents
from shared.state import State

_TRIES = 8


def left_id(connection: Connection, linker_id: str) -> ConnectionId:
    """Id of the row; not one that a connection has: those hash three parts, the first of them an ARM id."""
    place = [naming.fold_id(linker_id), naming.fold_id(connection.spec.target_id)]
    return ConnectionId(naming.digest(["left", owner_of(connection), *place]))


def owner_of(connection: Connection) -> ConnectionId:
    """The connection of ours whose things they were, also if they are left a second time."""
    return connection.left_by or connection.connection_id


async def leave_to(
    state: State,
    dependents: Dependents,
    connection: Connection,
    linker_id: str,
    plans: Mapping[str, Plan],
    *,
    now: datetime,
) -> Connection:
    """Record what stays for a linker, beside what is on record for it already; twice is fine.

    Raises:
        NotYetError: ``behind``: a prune has found that linker gone, and its end forgets what is on record.
        StateConflictError: too much moved meanwhile (transient).
    """
    connection_id = left_id(connection, linker_id)
    for _ in range(_TRIES):
        stored = await state.connection(connection_id)
        present = stored.value if stored else None
        if present is not None and present.state is ConnectionState.PRUNING:
            raise NotYetError("behind", "a prune of what was left to the same linker is under way")
        same = present if present is not None and (present.state.live or present.active) else None
        left = Connection(
            connection_id=connection_id,
            spec=connection.spec,
            body_hash=connection.body_hash,
            state=ConnectionState.OBSERVED,
            generation=same.generation if same else (present.generation if present else 0) + 1,
            active=same.active if same else (),
            last_operation=present.last_operation if present else OperationId(""),
            linker_id=linker_id,
            left_by=owner_of(connection),
            created_at=same.created_at if same else now,
        )
        known = await state.intents(connection_id) if same else {}
        intents = [_intent(left, step, plan, known.get(step)) for step, plan in plans.items()]
        relied_on = {"linker": linker_id, "identity": str(plans["managed_identity"].planned["resourceId"])}
        for kind, resource_id in relied_on.items():
            await dependents.add(
                Dependent(
                    resource_id=resource_id,
                    kind=kind,
                    connection_id=connection_id,
                    generation=left.generation,
                )
            )
        if left == present and all(known.get(intent.step) == intent for intent in intents):
            return left
        try:
            await state.observe(left, intents, etag=stored.etag if stored else "")
        except StateConflictError:
            continue
        return left
    raise StateConflictError("row of what is left to a linker")


def _intent(left: Connection, step: str, plan: Plan, known: Intent | None) -> Intent:
    """A plan as the step's present intent, with whatever else was left."""
    earlier = known.plans() if known is not None and known.generation == left.generation else ()
    return Intent(
        connection_id=left.connection_id,
        step=step,
        generation=left.generation,
        planned=plan.planned,
        outputs=plan.outputs,
        previous=tuple(one for one in earlier if one.planned != plan.planned),
    )
