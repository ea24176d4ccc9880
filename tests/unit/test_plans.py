"""Which steps a repair and a prune have, and in which order: access goes first, the last look comes last."""

import pytest

from shared import evidence, naming, plans
from shared.catalogue import catalogue
from shared.models import Cause, Connection, ConnectionState, Direction, Kind
from tests.fakes.clock import START
from tests.fakes.local_app import CLUSTER, STORAGE
from tests.fakes.snapshots import SPEC

ID = naming.connection_id(CLUSTER, "shop", "orders-blob")


def test_a_repair_takes_the_steps_of_a_create():
    assert plans.plan(Kind.REPAIR) == plans.plan(Kind.CREATE)


def test_a_prune_that_overtakes_waits_first_for_what_it_overtook():
    cause = Cause(kind="target", resource_id=STORAGE)
    connection = Connection(
        connection_id=ID, spec=SPEC, body_hash="", state=ConnectionState.CONFIGURED, created_at=START
    )
    calm = plans.plan(Kind.PRUNE, connection=connection, cause=cause)
    hasty = plans.plan(Kind.PRUNE, connection=connection, cause=cause, overtakes=True)
    assert [step.name for step in hasty] == ["quiesce", *(step.name for step in calm)]
    assert hasty[1].needs == ("quiesce",)


def test_a_prune_needs_its_cause():
    with pytest.raises(ValueError, match="no plan for prune"):
        plans.plan(Kind.PRUNE)


@pytest.mark.parametrize("kind", ["target", "identity", "credential", "linker", "cluster"])
def test_every_removal_revokes_access_first_and_looks_again_at_the_end(kind: str):
    connection = Connection.model_validate(
        {
            "connection_id": ID,
            "spec": SPEC,
            "body_hash": "x",
            "state": ConnectionState.CONFIGURED,
            "created_at": "2026-01-05T08:00:00Z",
        }
    )
    plan = plans.plan(Kind.PRUNE, connection=connection, cause=Cause(kind=kind, resource_id="/x"))
    names = [one.name for one in plan]
    assert (names[0], names[-1]) == ("confirm_gone", "verify_gone")
    assert [one.name for one in plan if one.direction is Direction.REVERT] == names[1:-1]
    assert names[1:-1] == [name for name in plans.REVERT if name in names]
    observed = connection.model_copy(update={"state": ConnectionState.OBSERVED, "linker_id": "/l"})
    theirs = plans.plan(Kind.PRUNE, connection=observed, cause=Cause(kind=kind, resource_id="/x"))
    assert {one.name for one in theirs[1:-1]} <= {"settings", "service_account"}, "all else is not ours"


def test_what_a_prune_may_revert_has_a_kind_in_its_record():
    reverted = {name for names in plans.PRUNED_BY_CAUSE.values() for name in names} | set(
        plans.PRUNED_OF_ADOPTED
    )
    granting = {row.grants.step for row in catalogue().rows}
    assert reverted | granting <= set(evidence._KINDS)
