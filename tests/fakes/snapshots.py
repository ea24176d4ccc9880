"""Snapshots of one operation in whatever state a test wants it, without a store."""

from datetime import timedelta

from shared import naming, plans
from shared.models import (
    Cause,
    Connection,
    ConnectionState,
    Intent,
    Kind,
    Operation,
    OperationId,
    OperationState,
    PlannedStep,
    StepRecord,
    StepState,
)
from shared.spec import ConnectionSpec
from shared.state import Snapshot, Stored
from tests.fakes.clock import START
from tests.fakes.local_app import CLUSTER, STORAGE

ID = naming.connection_id(CLUSTER, "shop", "orders-blob")
OPERATION = naming.operation_id(ID, "k")
LATER = START + timedelta(seconds=100)
SPEC = ConnectionSpec(
    name="orders-blob",
    cluster_id=CLUSTER,
    namespace="shop",
    workload="orders",
    target_type="storage-blob",
    target_id=STORAGE,
    client_type="python",
)


def snapshot(
    kind: Kind = Kind.CREATE,
    *,
    plan: tuple[PlannedStep, ...] = (),
    done: tuple[str, ...] = (),
    connection_state: ConnectionState = ConnectionState.CONNECTING,
    intents: dict[str, Intent] | None = None,
    **operation: object,
) -> Snapshot:
    cause = Cause(kind="target", resource_id=STORAGE.lower()) if kind is Kind.PRUNE else None
    connection = Connection(
        connection_id=ID,
        spec=SPEC,
        body_hash=naming.spec_hash(SPEC),
        state=connection_state,
        active=(OperationId("other"), OPERATION),
        created_at=START,
    )
    value = Operation.model_validate(
        {
            "operation_id": OPERATION,
            "connection_id": ID,
            "kind": kind,
            "state": OperationState.RUNNING,
            "generation": 1,
            "plan": plan or plans.plan(kind, connection=connection, cause=cause),
            "spec": SPEC if kind is Kind.CREATE else None,
            "cause": cause,
            "begun": True,
            "opened_at": START,
            **operation,
        }
    )
    steps = {
        planned.name: StepRecord(
            operation_id=OPERATION,
            name=planned.name,
            direction=planned.direction,
            state=StepState.DONE if planned.name in done else StepState.PENDING,
            turn=1 if planned.name in done else 0,
        )
        for planned in value.plan
    }
    return Snapshot(
        connection=Stored(connection, "c", START, START),
        operation=Stored(value, "o", START, START),
        steps={name: Stored(step, name, START, START) for name, step in steps.items()},
        intents=intents or {},
        read_at=START,
    )


def running(shot: Snapshot, name: str, **changes: object) -> StepRecord:
    step = shot.steps[name].value
    return step.model_copy(
        update={"state": StepState.RUNNING, "turn": 1, "holder": "h", "first_run_at": START, **changes}
    )


def intent(step: str, **planned: object) -> Intent:
    return Intent(connection_id=ID, step=step, generation=1, planned=planned)
