"""What the timer measures of everything on record."""

import logging
from datetime import timedelta
from pathlib import Path

import pytest

from handlers import timers
from shared.errors import TransientError
from shared.orphans import Orphan, OrphanKind, orphan_id
from shared.sweeping.sweeps import SweepState
from tests.fakes.http_app import handlers_of
from tests.fakes.local_app import CLUSTER, LocalApp, create_body, make_app
from tests.fakes.telemetry import Listener


@pytest.fixture
def listener() -> Listener:
    return Listener()


@pytest.fixture
def app(tmp_path: Path, listener: Listener) -> LocalApp:
    return make_app(tmp_path, telemetry=listener)


async def swept(app: LocalApp) -> None:
    await app.services.sweeping.sweeper.start(asked_by="request")
    await app.settle()
    current = await app.services.sweeping.sweeps.current()
    assert current is not None
    assert current.value.state is SweepState.DONE


def to_quarter(app: LocalApp, *, past_minutes: int = 0) -> None:
    """Move the clock to a quarter of an hour, or some minutes past one."""
    now = app.clock.now()
    left = timedelta(minutes=15 - now.minute % 15 + past_minutes)
    app.clock.advance(left.total_seconds())


async def test_without_a_sweep_its_age_is_not_known(app: LocalApp, listener: Listener):
    assert await timers.measure(app.services) is None
    assert ("sweep_age_seconds", ()) not in listener.values()


async def test_the_age_counts_from_the_end_of_the_last_sweep_that_came_to_one(
    app: LocalApp, listener: Listener
):
    await swept(app)
    app.clock.advance(600)
    age = await timers.measure(app.services)
    assert age is not None
    assert 600 <= age < 1900
    # One that is under way does not make it young.
    await app.services.sweeping.sweeper.start(asked_by="request")
    app.clock.advance(60)
    assert await timers.measure(app.services) == age + 60
    assert listener.values()[("sweep_age_seconds", ())] == pytest.approx(age + 60, abs=1)


async def test_where_no_sweep_ends_the_age_counts_from_the_first_beginning(app: LocalApp):
    await app.services.sweeping.sweeper.start(asked_by="request")
    app.clock.advance(7200)
    assert await timers.measure(app.services) == 7200


async def test_connections_and_orphans_are_counted_every_quarter_of_an_hour(
    app: LocalApp, listener: Listener
):
    await app.send(create_body())
    await app.settle()
    now = app.clock.now()
    for name, prune in (("a", ""), ("b", ""), ("c", "x-1")):
        one = orphan_id(OrphanKind.SECRET, cluster_id=CLUSTER, namespace="shop", name=name)
        orphan = Orphan(
            orphan_id=one,
            kind=OrphanKind.SECRET,
            cluster_id=CLUSTER,
            namespace="shop",
            name=name,
            rule="r",
            first_seen_at=now,
            last_seen_at=now,
        )
        await app.services.orphans.put(orphan.model_copy(update={"prune": prune}))
    to_quarter(app, past_minutes=1)
    await timers.measure(app.services)
    assert not any(name in {"connections", "orphans"} for name, _ in listener.values())
    to_quarter(app)
    await timers.measure(app.services)
    values = listener.values()
    assert values[("connections", (("state", "configured"),))] == 1
    assert values[("orphans", (("kind", "secret"), ("state", "found")))] == 2
    assert values[("orphans", (("kind", "secret"), ("state", "pruning")))] == 1


async def test_every_page_of_connections_is_counted(
    app: LocalApp, listener: Listener, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("shared.census.PAGE", 2)
    for number in range(5):
        await app.send(create_body(f"orders-{number}"), message_id=f"m{number}")
    to_quarter(app)
    await timers.measure(app.services)
    counted = [value for (name, _), value in listener.values().items() if name == "connections"]
    assert sum(counted) == 5


async def test_counting_ends_after_so_many_pages(
    app: LocalApp, listener: Listener, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("shared.census.PAGE", 2)
    monkeypatch.setattr("shared.census.PAGES", 1)
    for number in range(3):
        await app.send(create_body(f"orders-{number}"), message_id=f"m{number}")
    to_quarter(app)
    await timers.measure(app.services)
    assert sum(value for (name, _), value in listener.values().items() if name == "connections") == 2


async def test_a_row_that_cannot_be_read_leaves_the_sign_of_life(
    app: LocalApp, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
):
    async def broken(_census: object) -> None:
        raise TransientError("row-unreadable", "newer")

    monkeypatch.setattr("shared.census.Census.tell", broken)
    with caplog.at_level(logging.INFO, "mooring"):
        await handlers_of(app)["tend"](None)
    lines = [record.getMessage() for record in caplog.records]
    assert lines == [
        "census-failed code=row-unreadable",
        "tended open=0 step_late_seconds=0 message_late_seconds=0 throttled_seconds=0 rejected=0",
    ]


async def test_the_timer_writes_the_age_of_the_last_sweep_with_its_sign_of_life(
    app: LocalApp, caplog: pytest.LogCaptureFixture
):
    await swept(app)
    with caplog.at_level(logging.INFO, "mooring"):
        await handlers_of(app)["tend"](None)
    [line] = [
        text for text in (record.getMessage() for record in caplog.records) if text.startswith("tended")
    ]
    assert line.partition("sweep_age_seconds=")[2].partition(" ")[0].isdigit()


@pytest.mark.parametrize(
    "queue", ["connection-requests", "connection-steps", "resource-events", "sweep-slices"]
)
async def test_a_message_of_a_poison_queue_is_counted(app: LocalApp, listener: Listener, queue: str):
    name = f"{queue.replace('-', '_')}_poison"
    await handlers_of(app)[name]("no message of ours")
    assert listener.values()[("poison_messages", (("queue", queue),))] == 1
