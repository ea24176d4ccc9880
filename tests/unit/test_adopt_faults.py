"""An adoption that is cut off anywhere, or meets a fault, ends as if nothing had happened."""

import json
from pathlib import Path
from typing import Any

import pytest

from shared.errors import PermanentError, StateConflictError, TransientError
from shared.models import Kind
from tests.fakes.journal import Call
from tests.fakes.local_app import STORAGE, LocalApp, make_app
from tests.fakes.their_linker import THEIRS, TheirLinker, make_linker
from tests.unit.test_adopt_records import adopt_body, adopted, writes


@pytest.fixture
def theirs(app: LocalApp) -> TheirLinker:
    return make_linker(app)


class Crash(BaseException):
    """The host dies."""


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
async def test_a_crash_at_any_call_is_mended_by_the_same_message(tmp_path: Path, after: bool):
    number, died = 0, True
    while died:
        number += 1
        app = make_app(tmp_path)
        make_linker(app)
        died = await dies(app, number, after=after)
        record = await app.send(adopt_body())
        assert record.outcome == "opened", number
        await app.settle()
        assert await app.state(THEIRS) == "adopted", number
        [operation] = await app.operations(THEIRS)
        assert (operation.kind, operation.state) == (Kind.VALIDATE, "succeeded"), number
        users = [json.loads(str(row.columns["body"])) for row in app.store.rows("users")]
        assert sorted(one["thing"].partition("|")[0] for one in users) == ["account", "credential", "role"]
        assert all(len(one["users"]) == 1 for one in users)
        assert writes(app) == []
    assert number > 30


async def dies(app: LocalApp, number: int, *, after: bool) -> bool:
    """Deliver the message to a host that dies at one call; false if there is no such call."""
    dead = False

    def die(call: Call) -> BaseException | None:
        nonlocal dead
        dead = dead or call.number == number
        return Crash() if dead else None

    app.journal.before, app.journal.after = (None, die) if after else (die, None)
    try:
        await app.send(adopt_body())
    except Crash:
        return True
    finally:
        app.journal.before = app.journal.after = None
    return False


@pytest.mark.parametrize(
    "port", ["linkers.get", "clusters.get", "identities.list", "roles.list_for_principal"]
)
async def test_a_fault_on_the_way_decides_nothing(app: LocalApp, theirs: TheirLinker, port: str):
    app.journal.before = lambda call: TransientError("weather") if call.name == port else None
    with pytest.raises(TransientError):
        await app.send(adopt_body())
    assert app.store.rows("connections") == app.store.rows("requests") == []
    app.journal.before = None
    assert (await adopted(app, "m-1")).outcome == "opened"


async def test_what_azure_denies_is_the_reason_of_a_refusal(app: LocalApp, theirs: TheirLinker):
    denied = PermanentError("access-denied", "no right to list", remedy="assign the reader role")
    app.journal.before = lambda call: denied if call.name == "identities.list" else None
    record = await app.send(adopt_body())
    assert (record.outcome, record.code, record.remedy) == (
        "rejected",
        "access-denied",
        "assign the reader role",
    )


async def test_a_row_that_moves_meanwhile_is_looked_at_again_and_not_for_ever(
    app: LocalApp, theirs: TheirLinker
):
    tries: list[int] = []

    def conflict(call: Call) -> Exception | None:
        if call.name != "state.transact" or call.arguments[0] != "connections":
            return None
        tries.append(1)
        return StateConflictError("moved") if len(tries) in wanted else None

    wanted: Any = {1}
    app.journal.before = conflict
    assert (await app.send(adopt_body())).outcome == "opened"
    theirs.grant(STORAGE, "66666666-6666-4666-8666-666666666666")
    tries.clear()
    wanted = range(100)
    with pytest.raises(StateConflictError, match="adopting"):
        await app.send(adopt_body(), message_id="m-2")
