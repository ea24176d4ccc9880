"""Which wish opens what: the whole table of precedence, and what each kind with a plan really does."""

import re

import pytest

from shared.models import Kind
from shared.precedence import TABLE, Decision, decide
from tests.fakes.local_app import LocalApp
from tests.unit.test_opening import ID, asked, created, opened

# As a person would say it: newcomer, what is under way, what happens.
SAID = """
create   create   attach       create   delete   wait         create   prune    wait
create   validate beside       create   repair   overtake     create   restore  overtake
delete   create   overtake     delete   delete   attach       delete   prune    overtake
delete   validate beside       delete   repair   overtake     delete   restore  overtake
prune    create   wait         prune    delete   yield        prune    prune    attach
prune    validate beside       prune    repair   wait         prune    restore  overtake
validate create   beside       validate delete   beside       validate prune    beside
validate validate beside       validate repair   beside       validate restore  beside
repair   create   yield        repair   delete   yield        repair   prune    yield
repair   validate beside       repair   repair   attach       repair   restore  yield
restore  create   yield        restore  delete   yield        restore  prune    yield
restore  validate beside       restore  repair   yield        restore  restore  attach
"""
CELLS = re.findall(r"(\w+) +(\w+) +(\w+)", SAID)


@pytest.mark.parametrize(("newcomer", "under_way", "decision"), CELLS)
def test_each_cell_of_the_table_is_decided_as_said(newcomer: str, under_way: str, decision: str):
    assert decide(Kind(newcomer), Kind(under_way)) is Decision(decision)


def test_the_table_is_six_by_six_and_every_cell_is_said_once():
    assert {(one, other) for one, other, _ in CELLS} == {(one, other) for one in Kind for other in Kind}
    assert len(CELLS) == sum(len(row) for row in TABLE.values()) == 36


PLANNED = (Kind.CREATE, Kind.DELETE, Kind.PRUNE, Kind.VALIDATE, Kind.REPAIR)


@pytest.mark.parametrize("under_way", PLANNED)
@pytest.mark.parametrize("newcomer", PLANNED)
async def test_what_really_happens_is_what_the_table_says(app: LocalApp, newcomer: Kind, under_way: Kind):
    if under_way is not Kind.CREATE:
        await created(app)
    first = await opened(app, asked(under_way, "first"))
    assert first.outcome == "opened"
    decision = decide(newcomer, under_way)
    if newcomer is Kind.CREATE and under_way in {Kind.VALIDATE, Kind.PRUNE, Kind.REPAIR}:
        # Neither a look, nor a hint that is not confirmed, nor a repair unmakes it: the connection is there.
        assert (await opened(app, asked(newcomer))).outcome == "unchanged"
        return
    answer = await opened(app, asked(newcomer))
    states = {one.operation_id: one for one in await app.operations(ID)}
    old = states[first.operation_id]  # type: ignore[index]
    if decision in {Decision.ATTACH, Decision.YIELD}:
        assert answer.operation_id == first.operation_id
        assert answer.outcome == ("attached" if decision is Decision.ATTACH else "nothing-to-do")
        return
    new = states[answer.operation_id]  # type: ignore[index]
    assert answer.outcome == "opened"
    assert (old.state == "superseded") is (decision is Decision.OVERTAKE)
    assert (new.behind == old.operation_id) is (decision is Decision.WAIT)
    assert new.overtakes == ((old.operation_id,) if decision is Decision.OVERTAKE else ())
    stored = await app.services.state.connection(ID)
    assert stored is not None
    active = {Kind.VALIDATE: ()}.get(newcomer, (new.operation_id,))
    kept = () if decision is Decision.OVERTAKE or under_way is Kind.VALIDATE else (old.operation_id,)
    assert stored.value.active == (*kept, *active)
    await app.settle(seconds=4000)
    assert [one.state for one in await app.operations(ID) if not one.state.final] == []


async def test_what_was_overtaken_says_by_what(app: LocalApp):
    await opened(app, asked(Kind.CREATE, "first"))
    await opened(app, asked(Kind.DELETE))
    old = (await app.operations(ID))[0]
    assert (old.code, old.ended_at is not None) == ("superseded-by-delete", True)
