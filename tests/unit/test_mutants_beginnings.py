"""Every field that the beginning of an operation changes (docs/reference/mutation.md)."""

import pytest

from shared import naming
from shared.beginnings import begin, misfit, pointless, require_restorable
from shared.errors import RefusedError
from shared.models import ConnectionState, Kind, OperationState, Replaced
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


@pytest.mark.parametrize(
    ("state", "fits"),
    [
        (ConnectionState.CONNECTING, True),
        (ConnectionState.CONFIGURED, True),
        (ConnectionState.USABLE, True),
        (ConnectionState.FAILED, True),
        (ConnectionState.PRUNING, False),
        (ConnectionState.DELETING, False),
    ],
)
def test_an_update_begins_while_nothing_was_taken_away_on_purpose(state: ConnectionState, fits: bool):
    shot = snapshot(begun=False, changes=naming.spec_hash(SPEC), connection_state=state)
    error = misfit(shot)
    assert (error is None) is fits
    assert error is None or error.code == "body-differs"


def test_a_prune_has_nothing_to_do_where_a_person_has_put_things_back():
    shot = snapshot(Kind.PRUNE, connection_state=ConnectionState.RESTORED)
    assert pointless(shot) == "nothing-to-do"
    assert pointless(snapshot(Kind.PRUNE, connection_state=ConnectionState.USABLE)) == ""


def test_what_was_never_pruned_is_not_restored():
    alive = snapshot(connection_state=ConnectionState.USABLE).connection.value
    for generation, connection, code in (
        (1, None, "not-found"),
        (2, alive, "not-restorable"),
        (1, alive, "not-restorable"),
    ):
        with pytest.raises(RefusedError) as refused:
            require_restorable(generation, connection)
        assert refused.value.code == code
    require_restorable(1, alive.model_copy(update={"state": ConnectionState.PRUNED}))


@pytest.mark.parametrize("linker_id", ["", "/linkers/x"])
def test_only_what_is_left_of_a_linker_gives_way_to_any_create(linker_id: str):
    wanted = SPEC.model_copy(update={"workload": "another"})
    shot = snapshot(spec=wanted, begun=False, connection_state=ConnectionState.RESTORED)
    error = misfit(with_connection(shot, linker_id=linker_id))
    assert (error is None) is bool(linker_id)


@pytest.mark.parametrize("restored", [True, False])
@pytest.mark.parametrize("state", [ConnectionState.CONFIGURED, ConnectionState.PRUNED])
def test_only_a_life_that_goes_on_stays_restored(restored: bool, state: ConnectionState):
    shot = with_connection(snapshot(begun=False, connection_state=state), restored=restored)
    _, connection = begin(shot.operation.value, shot.connection.value, LATER)
    assert connection.restored is (restored and state is ConnectionState.CONFIGURED)


def test_an_update_that_begins_notes_what_it_takes_over_from():
    shot = snapshot(begun=False, changes=naming.spec_hash(SPEC), connection_state=ConnectionState.USABLE)
    shot = with_connection(shot, configured_at=START, usable_at=LATER)
    begun, _ = begin(shot.operation.value, shot.connection.value, LATER)
    was = Replaced(spec=SPEC, state=ConnectionState.USABLE, configured_at=START, usable_at=LATER)
    assert begun.replaced == was
