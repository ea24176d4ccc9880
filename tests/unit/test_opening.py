"""What becomes of a wish: opened, attached, unchanged, nothing to do or refused, also of many at once."""

import asyncio
import dataclasses
from collections.abc import Sequence

import pytest

from shared import naming
from shared.errors import PermanentError, RefusedError, StateConflictError
from shared.models import Cause, Kind
from shared.opening import Answer, Asked
from shared.ports import Change, Row
from tests.fakes.journal import Call
from tests.fakes.local_app import CLUSTER, STORAGE, LocalApp, create_body, delete_body
from tests.fakes.snapshots import SPEC
from tests.fakes.state_store import InMemoryStateStore

ID = naming.connection_id(CLUSTER, "shop", "orders-blob")
EMPTY = {"identities": [], "assignments": [], "objects": [], "users": []}


async def opened(app: LocalApp, asked: Asked) -> Answer:
    return await app.services.intake.opener.open(asked)


async def created(app: LocalApp) -> str:
    record = await app.send(create_body(), message_id="made")
    await app.settle()
    assert await app.state(ID) == "configured"
    return str(record.operation_id)


def prune(key: str = "p") -> Asked:
    return Asked(
        kind=Kind.PRUNE,
        connection_id=ID,
        key=key,
        cause=Cause(kind="target", resource_id=STORAGE.lower()),
    )


def asked(kind: Kind, key: str = "second") -> Asked:
    if kind is Kind.PRUNE:
        return prune(key)
    return Asked(kind=kind, connection_id=ID, key=key, spec=SPEC if kind is Kind.CREATE else None)


async def test_the_same_wish_is_the_same_operation_and_is_announced_again_if_it_was_not(app: LocalApp):
    first = await opened(app, asked(Kind.CREATE, "k"))
    app.queue.take("connection-steps")
    assert await opened(app, asked(Kind.CREATE, "k")) == first
    assert await app.queue.depth("connection-steps") == 0, "it was announced"
    await app.settle()
    await app.send(delete_body(), message_id="d")
    await app.settle()
    assert await opened(app, asked(Kind.CREATE, "k")) == first, "even after its end"
    assert await app.state(ID) == "deleted"


async def test_a_create_of_what_is_there_is_unchanged_and_names_what_made_it(app: LocalApp):
    operation_id = await created(app)
    assert await opened(app, asked(Kind.CREATE)) == Answer("unchanged", operation_id)


async def test_a_create_of_what_failed_tries_again(app: LocalApp):
    app.world.clusters[naming.fold_id(CLUSTER)].namespaces.clear()
    await app.send(create_body())
    await app.settle()
    assert await app.state(ID) == "failed"
    app.world.clusters[naming.fold_id(CLUSTER)].namespaces.add("shop")
    assert (await opened(app, asked(Kind.CREATE))).outcome == "opened"
    await app.settle()
    assert await app.state(ID) == "configured"


@pytest.mark.parametrize("under_way", [True, False])
@pytest.mark.parametrize(
    ("change", "code"),
    [({"name": "Orders.Blob"}, "name-collision"), ({"client_type": "java"}, "body-differs")],
)
async def test_another_create_under_the_same_id_is_refused(
    app: LocalApp, change: dict[str, str], code: str, under_way: bool
):
    await (opened(app, asked(Kind.CREATE, "first")) if under_way else created(app))
    other = Asked(kind=Kind.CREATE, connection_id=ID, key="x", spec=SPEC.model_copy(update=change))
    with pytest.raises(RefusedError) as caught:
        await opened(app, other)
    assert caught.value.code == code
    assert caught.value.remedy
    assert len(await app.operations(ID)) == 1


async def test_a_second_create_behind_a_delete_attaches_to_the_first_or_is_refused(app: LocalApp):
    await created(app)
    await opened(app, asked(Kind.DELETE, "d"))
    first = await opened(app, asked(Kind.CREATE, "c1"))
    assert (await opened(app, asked(Kind.CREATE, "c2"))) == Answer("attached", first.operation_id)
    other = Asked(
        kind=Kind.CREATE, connection_id=ID, key="c3", spec=SPEC.model_copy(update={"client_type": "java"})
    )
    with pytest.raises(RefusedError, match="body-differs"):
        await opened(app, other)


async def test_a_delete_takes_a_create_that_waits_behind_another_delete_with_it(app: LocalApp):
    await created(app)
    await opened(app, asked(Kind.DELETE, "d1"))
    await opened(app, asked(Kind.CREATE, "c2"))
    assert (await opened(app, asked(Kind.DELETE, "d2"))).outcome == "opened"
    await app.settle(seconds=4000)
    assert await app.state(ID) == "deleted"
    assert app.leftovers() == EMPTY
    assert [one.state.value for one in await app.operations(ID)] == [
        "succeeded",
        "succeeded",
        "superseded",
    ] or {one.kind.value: one.state.value for one in await app.operations(ID)} == {
        "create": "superseded",
        "delete": "succeeded",
    }


async def test_a_create_that_waited_behind_a_delete_that_failed_is_refused_if_it_differs(app: LocalApp):
    await created(app)
    await opened(app, asked(Kind.DELETE, "d"))
    other = SPEC.model_copy(update={"client_type": "java"})
    await opened(app, Asked(kind=Kind.CREATE, connection_id=ID, key="c", spec=other))

    def rule(call: Call) -> BaseException | None:
        return PermanentError("locked", "a lock") if call.name == "roles.delete" else None

    app.journal.before = rule
    await app.settle()
    ends = {one.kind.value: (one.state.value, one.code) for one in (await app.operations(ID))[1:]}
    assert ends == {"delete": ("failed", "locked"), "create": ("failed", "body-differs")}


@pytest.mark.parametrize("kind", [Kind.DELETE, Kind.PRUNE])
async def test_removing_what_is_not_there_is_nothing_to_do(app: LocalApp, kind: Kind):
    assert await opened(app, asked(kind)) == Answer("nothing-to-do", "")
    await created(app)
    await app.send(delete_body(), message_id="d")
    await app.settle()
    last = (await app.operations(ID))[-1].operation_id
    assert await opened(app, asked(kind, "again")) == Answer("nothing-to-do", last)
    assert len(await app.operations(ID)) == 2


async def test_a_create_without_its_spec_is_refused(app: LocalApp):
    with pytest.raises(RefusedError, match="not-found"):
        await opened(app, Asked(kind=Kind.CREATE, connection_id=ID, key="k"))


async def test_validating_what_is_not_there_is_refused(app: LocalApp):
    with pytest.raises(RefusedError, match="not-found"):
        await opened(app, asked(Kind.VALIDATE))


async def test_a_prune_in_report_mode_says_so(app: LocalApp):
    await created(app)
    opener = dataclasses.replace(app.services.intake.opener, report_only=True)
    answer = await opener.open(prune())
    stored = await app.services.state.operation(answer.operation_id)  # type: ignore[arg-type]
    assert stored is not None
    assert stored.value.report_only


async def test_opening_survives_conflicts_and_gives_up_after_eight(app: LocalApp):
    left = [7]

    def rule(call: Call) -> BaseException | None:
        if call.name == "state.transact" and call.arguments[0] == "connections" and left[0]:
            left[0] -= 1
            return StateConflictError()
        return None

    app.journal.before = rule
    assert (await opened(app, asked(Kind.CREATE))).outcome == "opened"
    left[0] = 8
    with pytest.raises(StateConflictError, match="opening"):
        await opened(app, asked(Kind.DELETE, "d"))


class Interleaved(InMemoryStateStore):
    """Lets other tasks run between any two calls, as a network does."""

    async def get(self, table: str, partition: str, key: str) -> Row | None:
        row = await super().get(table, partition, key)
        await asyncio.sleep(0)
        return row

    async def transact(self, table: str, partition: str, changes: Sequence[Change]) -> dict[str, str]:
        await asyncio.sleep(0)
        return dict(await super().transact(table, partition, changes))


async def test_of_many_creates_at_once_one_opens_and_the_rest_attach(
    app: LocalApp, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(app.store, "__class__", Interleaved)
    answers = await asyncio.gather(*(opened(app, asked(Kind.CREATE, f"k{number}")) for number in range(6)))
    assert sorted(answer.outcome for answer in answers) == ["attached"] * 5 + ["opened"]
    assert len({answer.operation_id for answer in answers}) == 1


async def test_a_create_and_a_delete_at_once_leave_nothing_half_made(
    app: LocalApp, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(app.store, "__class__", Interleaved)
    await asyncio.gather(
        opened(app, asked(Kind.CREATE, "c")),
        opened(app, asked(Kind.DELETE, "d")),
        opened(app, asked(Kind.DELETE, "d2")),
    )
    await app.settle(seconds=4000)
    await opened(app, asked(Kind.DELETE, "last"))
    await app.settle(seconds=4000)
    assert app.leftovers() == EMPTY
