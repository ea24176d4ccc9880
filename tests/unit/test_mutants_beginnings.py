"""Every field that the beginning of an operation changes (docs/reference/mutation.md)."""

from shared import naming
from shared.beginnings import begin, misfit
from shared.models import ConnectionState, OperationState
from tests.fakes.clock import START
from tests.fakes.snapshots import ID, LATER, SPEC, snapshot
from tests.unit.test_mutants_outcomes import with_connection


def test_a_create_that_begins_takes_its_connection_over_whole():
    wanted = SPEC.model_copy(update={"workload": "another"})
    shot = snapshot(
        spec=wanted,
        begun=False,
        behind="other",
        state=OperationState.WAITING,
        waiting="behind",
        detail="delete x is under way",
    )
    old = shot.connection.value.model_copy(
        update={
            "state": ConnectionState.DELETED,
            "configured_at": START,
            "usable_at": START,
            "ended_at": START,
            "linker_id": "/linkers/x",
            "body_hash": "old",
        }
    )
    begun, connection = begin(shot.operation.value, old, LATER)
    assert connection == old.model_copy(
        update={
            "spec": wanted,
            "body_hash": naming.spec_hash(wanted),
            "state": ConnectionState.CONNECTING,
            "generation": 2,
            "created_at": LATER,
            "configured_at": None,
            "usable_at": None,
            "ended_at": None,
            "linker_id": "",
        }
    )
    assert begun == shot.operation.value.model_copy(
        update={
            "begun": True,
            "behind": "",
            "generation": 2,
            "state": OperationState.RUNNING,
            "waiting": "",
            "detail": "",
        }
    )


def test_a_create_under_another_spelling_of_the_name_does_not_fit_a_living_connection():
    other = SPEC.model_copy(update={"name": "orders.blob"})
    shot = snapshot(spec=other, begun=False, connection_state=ConnectionState.CONFIGURED)
    shot = with_connection(shot, body_hash=naming.spec_hash(other))
    error = misfit(shot)
    assert error is not None
    assert error.code == "body-differs"
    assert naming.connection_id(SPEC.cluster_id, SPEC.namespace, other.name) == ID
