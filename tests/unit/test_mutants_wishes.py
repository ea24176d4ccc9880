"""What a wish opens while something is under way, decision by decision (docs/reference/mutation.md)."""

import dataclasses
from pathlib import Path

import pytest

from shared import naming, plans
from shared.catalogue import catalogue
from shared.errors import RefusedError
from shared.models import Cause, Connection, ConnectionState, Kind, Operation, OperationId
from shared.opening import Answer, Asked, Opener
from tests.fakes.clock import START
from tests.fakes.local_app import CLUSTER, LocalApp, create_body, make_app
from tests.fakes.snapshots import ID, SPEC
from tests.fakes.telemetry import Listener

CAUSE = Cause(kind="cluster", resource_id=CLUSTER)
PRUNE = Asked(kind=Kind.PRUNE, connection_id=ID, key="p", cause=CAUSE)
RESTORE = Asked(kind=Kind.RESTORE, connection_id=ID, key="u", generation=1, restores=OperationId("x"))
CREATE = Asked(kind=Kind.CREATE, connection_id=ID, key="c", spec=SPEC)
DELETE = Asked(kind=Kind.DELETE, connection_id=ID, key="d")
REPAIR = Asked(kind=Kind.REPAIR, connection_id=ID, key="r")


async def made(app: LocalApp, state: ConnectionState = ConnectionState.CONFIGURED, **changes: object) -> None:
    await app.send(create_body())
    await app.settle()
    stored = await app.services.state.connection(ID)
    assert stored is not None
    value = stored.value.model_copy(update={"state": state, **changes})
    await app.services.state.observe(value, [], etag=stored.etag)


async def opened(app: LocalApp, asked: Asked, *, report_only: bool = False) -> Answer:
    return await opener(app, report_only=report_only).open(asked)


def opener(app: LocalApp, *, report_only: bool) -> Opener:
    return dataclasses.replace(app.services.intake.opener, report_only=report_only)


async def operation(app: LocalApp, asked: Asked) -> Operation:
    stored = await app.services.state.operation(naming.operation_id(ID, asked.key))
    assert stored is not None
    return stored.value


# --- a prune and a restore -----------------------------------------------------------------------


async def test_a_prune_overtakes_the_restore_of_an_orphan_and_waits_for_its_last_write(app: LocalApp):
    await made(app, ConnectionState.ORPHANED)
    restore = await opened(app, RESTORE)
    assert (await opened(app, PRUNE)).outcome == "opened"
    prune = await operation(app, PRUNE)
    assert prune.overtakes == (restore.operation_id,)
    assert prune.plan[0].name == "quiesce"
    assert (await operation(app, RESTORE)).code == "superseded-by-prune"


async def test_a_prune_does_not_stop_the_restore_of_what_is_pruned(app: LocalApp):
    await made(app, ConnectionState.PRUNED)
    restore = await opened(app, RESTORE)
    assert await opened(app, PRUNE) == Answer("nothing-to-do", restore.operation_id)


async def test_a_prune_that_only_reports_stands_beside_what_it_would_overtake(app: LocalApp):
    await made(app, ConnectionState.ORPHANED)
    await opened(app, RESTORE)
    assert (await opened(app, PRUNE, report_only=True)).outcome == "opened"
    prune = await operation(app, PRUNE)
    assert (prune.overtakes, prune.behind, prune.plan[0].name) == ((), "", plans.CONFIRMED_BY)
    assert not (await operation(app, RESTORE)).state.final


async def test_a_prune_that_only_reports_waits_for_a_create_all_the_same(app: LocalApp):
    create = await opened(app, CREATE)
    assert (await opened(app, PRUNE, report_only=True)).outcome == "opened"
    assert (await operation(app, PRUNE)).behind == create.operation_id


async def test_where_prunes_only_report_a_delete_overtakes_as_ever(app: LocalApp):
    create = await opened(app, CREATE)
    await opened(app, DELETE, report_only=True)
    assert (await operation(app, DELETE)).overtakes == (create.operation_id,)


# --- what is made already ------------------------------------------------------------------------


async def test_a_create_finds_its_connection_made_beside_a_repair_and_a_hint(app: LocalApp):
    await made(app)
    await opened(app, REPAIR)
    await opened(app, PRUNE)
    last = (await operation(app, REPAIR)).operation_id
    answer = await opened(app, CREATE)
    assert answer.outcome == "unchanged"
    assert answer.operation_id not in {"", last}


async def test_what_looks_after_connections_by_itself_is_told_that_there_is_nothing_to_do(app: LocalApp):
    await made(app, ConnectionState.OBSERVED, linker_id="/linkers/x")
    repair = dataclasses.replace(REPAIR, generation=1)
    assert (await opened(app, repair)).outcome == "nothing-to-do"
    with pytest.raises(RefusedError):
        await opened(app, REPAIR)


async def test_a_prune_leaves_what_a_person_has_put_back(app: LocalApp):
    await made(app, ConnectionState.RESTORED)
    assert (await opened(app, PRUNE)).outcome == "nothing-to-do"


# --- the plan ------------------------------------------------------------------------------------


async def test_what_a_create_will_make_decides_its_plan_and_not_what_was_there(app: LocalApp):
    await made(app, ConnectionState.PRUNED)
    keyed = SPEC.model_copy(update={"auth_type": "secret"})
    assert not keyed.by_identity
    await opened(app, dataclasses.replace(CREATE, spec=keyed))
    create = await operation(app, CREATE)
    assert {step.name for step in create.plan} <= plans.BY_KEY


def test_a_create_in_the_place_of_a_linker_grants_as_its_own_target_does():
    row = next(one for one in catalogue().rows if one.grants.step != plans.GRANTED_BY)
    spec = SPEC.model_copy(update={"target_type": row.name})
    theirs = Connection(
        connection_id=ID,
        spec=SPEC,
        body_hash="",
        state=ConnectionState.PRUNED,
        linker_id="/linkers/x",
        created_at=START,
    )
    names = {step.name for step in plans.plan(Kind.CREATE, theirs, spec=spec)}
    assert row.grants.step in names
    assert plans.GRANTED_BY not in names


# --- what is told and kept -----------------------------------------------------------------------


async def test_the_span_of_a_wish_names_the_operation_that_carries_it_out_already(tmp_path: Path):
    listener = Listener()
    app = make_app(tmp_path, telemetry=listener)
    first = await opened(app, CREATE)
    await opened(app, dataclasses.replace(CREATE, key="again"))
    told = [span for span in listener.spans() if span.name == "open create"]
    assert [one.fields["operation_id"] for one in told] == [first.operation_id] * 2
    assert [one.links for one in told] == [(), ()], "nobody asked from a trace of its own"


async def test_an_operation_that_undoes_no_prune_names_none(app: LocalApp):
    await opened(app, CREATE)
    assert (await operation(app, CREATE)).restores == ""
