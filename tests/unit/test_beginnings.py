"""What an operation makes of its connection when it begins, and what keeps it from beginning or going on."""

import pytest

from shared.beginnings import begin, crashed, misfit
from shared.models import ConnectionState, Kind, OperationState, StepState
from shared.state import Snapshot, Stored
from tests.fakes.clock import START
from tests.fakes.local_app import CLUSTER
from tests.fakes.snapshots import LATER, SPEC, running, snapshot


def test_a_step_whose_runs_all_die_ends_with_host_crash_and_one_that_waits_does_not():
    shot = snapshot()
    assert crashed(running(shot, "preflight", attempts=10)) is None
    gone = crashed(running(shot, "preflight", attempts=11))
    assert gone is not None
    assert gone.code == "host-crash"
    ready = running(shot, "preflight", attempts=11, state=StepState.READY)
    assert crashed(ready) is None


def test_a_create_of_something_gone_begins_a_new_life_and_of_something_alive_goes_on():
    shot = snapshot(begun=False)
    gone = shot.connection.value.model_copy(
        update={"state": ConnectionState.DELETED, "generation": 3, "ended_at": START}
    )
    operation, reborn = begin(shot.operation.value, gone, LATER)
    assert (reborn.generation, reborn.created_at, reborn.ended_at) == (4, LATER, None)
    assert operation.generation == 4
    _, same = begin(shot.operation.value, shot.connection.value, LATER)
    assert (same.generation, same.created_at) == (1, START)


def test_a_delete_shows_as_deleting_and_a_prune_changes_nothing_when_it_begins():
    for kind, state in ((Kind.DELETE, ConnectionState.DELETING), (Kind.PRUNE, ConnectionState.CONFIGURED)):
        shot = snapshot(kind, begun=False, state=OperationState.RUNNING)
        configured = shot.connection.value.model_copy(update={"state": ConnectionState.CONFIGURED})
        assert begin(shot.operation.value, configured, LATER)[1].state is state


@pytest.mark.parametrize(
    ("change", "state", "code"),
    [
        ({"client_type": "java"}, ConnectionState.CONFIGURED, "body-differs"),
        ({"name": "Orders.Blob"}, ConnectionState.CONFIGURED, "body-differs"),
        ({"client_type": "java"}, ConnectionState.DELETED, ""),
        ({"cluster_id": CLUSTER.upper()}, ConnectionState.CONFIGURED, ""),
    ],
)
def test_a_create_that_waited_goes_on_only_if_it_still_fits(
    change: dict[str, str], state: ConnectionState, code: str
):
    shot = snapshot(begun=False, spec=SPEC.model_copy(update=change))
    there = shot.connection.value.model_copy(update={"state": state})
    fault = misfit(
        Snapshot(
            connection=Stored(there, "c", START, START),
            operation=shot.operation,
            steps=shot.steps,
            intents={},
            read_at=START,
        )
    )
    assert (fault.code if fault else "") == code


def test_what_has_begun_always_fits():
    assert misfit(snapshot(spec=SPEC.model_copy(update={"client_type": "java"}))) is None
