"""Sweeps as such: one at a time, in slices, through crashes, beside other hosts, to their end."""

import asyncio
import dataclasses

import pytest

from shared.errors import PermanentError, StateConflictError, TransientError
from shared.sweeping.ledger import Ledger
from shared.sweeping.slices import DIED
from shared.sweeping.sweeps import SliceMessage, SliceState, message_of
from tests.fakes.journal import Call
from tests.fakes.local_app import CLUSTER, LocalApp
from tests.fakes.sweeps import begun, connected, pumped, result, slice_of, swept


class Crash(BaseException):
    """The host dies."""


# --- one at a time --------------------------------------------------------------------------------


async def test_a_sweep_under_way_is_attached_to(app: LocalApp):
    first = await begun(app)
    assert await begun(app) == first
    await pumped(app)
    assert (await result(app, first))["state"] == "done"
    app.clock.advance(60)
    assert await begun(app) != first


async def test_of_two_that_begin_at_once_one_is_attached_to_the_other(app: LocalApp):
    sweeper = app.services.sweeping.sweeper
    (one, begun_one), (two, begun_two) = await asyncio.gather(
        sweeper.start(asked_by="timer"), sweeper.start(asked_by="request")
    )
    assert one.sweep_id == two.sweep_id
    assert sorted((begun_one, begun_two)) == [False, True]


async def test_whoever_always_loses_the_race_says_so(app: LocalApp):
    def moved(call: Call) -> BaseException | None:
        written = call.name == "state.transact" and call.arguments[0] == "sweeps"
        return StateConflictError("moved") if written else None

    app.journal.before = moved
    with pytest.raises(StateConflictError):
        await begun(app)


async def test_a_sweep_that_takes_too_long_is_given_up_for_a_new_one(app: LocalApp):
    first = await begun(app)
    app.clock.advance(6 * 3600 + 1)
    second = await begun(app)
    assert (await result(app, first))["state"] == "abandoned"
    assert second != first
    texts = app.queue.take("sweep-slices")
    outcomes = [await app.services.sweeping.slices.run_one(_message(text)) for text in texts]
    assert outcomes.count("ended") == 3  # those of the first
    assert (await result(app, second))["state"] == "done"


async def test_a_sweep_that_died_while_it_was_cut_is_cut_by_the_timer(app: LocalApp):
    def dies(call: Call) -> BaseException | None:
        return Crash() if call.name == "queue.announce_slice" else None

    app.journal.before = dies
    with pytest.raises(Crash):
        await begun(app)
    app.journal.before = None
    current = await app.services.sweeping.sweeps.current()
    assert current is not None
    assert await app.services.sweeping.sweeper.tend() == 0  # they were written and are not overdue yet
    app.clock.advance(121)
    assert await app.services.sweeping.sweeper.tend() == 3
    await pumped(app)
    assert (await result(app, current.value.sweep_id))["state"] == "done"


async def test_a_sweep_that_died_before_its_slices_were_written_is_cut_by_the_timer(app: LocalApp):
    def dies(call: Call) -> BaseException | None:
        cut = call.name == "state.query" and call.arguments[:2] == ("linkers", "clusters")
        return Crash() if cut else None

    app.journal.before = dies
    with pytest.raises(Crash):
        await begun(app)
    app.journal.before = None
    assert await app.services.sweeping.sweeper.tend() == 3
    await pumped(app)
    found = await app.services.sweeping.sweeps.current()
    assert found is not None
    assert found.value.state.value == "done"


# --- the timer ------------------------------------------------------------------------------------


async def test_the_timer_has_nothing_to_tend_without_a_sweep(app: LocalApp):
    assert await app.services.sweeping.sweeper.tend() == 0
    await swept(app)
    assert await app.services.sweeping.sweeper.tend() == 0


async def test_a_slice_whose_message_was_lost_is_announced_again(app: LocalApp):
    sweep_id = await begun(app)
    app.queue.take("sweep-slices")
    assert await app.services.sweeping.sweeper.tend() == 0
    app.clock.advance(121)
    assert await app.services.sweeping.sweeper.tend() == 3
    await pumped(app)
    assert (await result(app, sweep_id))["state"] == "done"


async def test_a_sweep_whose_last_host_died_before_it_said_so_is_ended_by_the_timer(app: LocalApp):
    sweep_id = await begun(app)

    def dies(call: Call) -> BaseException | None:
        ends = call.name == "state.query" and call.options.get("key_from") == "open|"
        return Crash() if ends else None

    for text in app.queue.take("sweep-slices"):
        app.journal.before = dies
        with pytest.raises(Crash):
            await app.services.sweeping.slices.run_one(_message(text))
        app.journal.before = None
    assert (await result(app, sweep_id))["state"] == "running"
    assert await app.services.sweeping.sweeper.tend() == 0
    assert (await result(app, sweep_id))["state"] == "done"
    assert (await result(app, sweep_id))["totals"]["subscriptions"] == 1


# --- slices ---------------------------------------------------------------------------------------


def _message(text: str) -> SliceMessage:
    return SliceMessage.model_validate_json(text)


async def test_two_hosts_that_get_the_same_slice_work_on_it_once(app: LocalApp):
    await connected(app)
    app.world.remove(CLUSTER)
    sweep_id = await begun(app)
    texts = app.queue.take("sweep-slices")
    run = app.services.sweeping.slices.run_one
    outcomes = await asyncio.gather(*(run(_message(text)) for text in (*texts, *texts)))
    assert sorted(outcomes)[:3] == ["done", "done", "done"]
    assert set(outcomes[3:]) <= {"taken", "lost", "ended", "done"}
    found = await result(app, sweep_id)
    assert found["totals"]["prunes"] == {"cluster": 1}
    assert [one["messages"] for one in found["slices"]] == [1, 1, 1]


async def test_a_slice_that_is_taken_is_left_alone_until_its_lease_is_over(app: LocalApp):
    sweep_id = await begun(app)
    message = message_of(await slice_of(app, sweep_id, "cluster"))
    app.journal.before = lambda call: Crash() if call.name == "clusters.describe" else None
    with pytest.raises(Crash):
        await app.services.sweeping.slices.run_one(_message(message))
    app.journal.before = None
    assert await app.services.sweeping.slices.run_one(_message(message)) == "taken"
    app.clock.advance(211)
    assert await app.services.sweeping.sweeper.tend() == 3
    await pumped(app)
    found = await result(app, sweep_id)
    assert (found["state"], found["details"]) == ("done", {})


async def died_in_every_try(app: LocalApp) -> str:
    """A sweep that is over, though each host that looked into the cluster died of it; returns its id."""
    sweep_id = await begun(app)
    app.journal.before = lambda call: Crash() if call.name == "clusters.describe" else None
    for _ in range(5):
        message = message_of(await slice_of(app, sweep_id, "cluster"))
        with pytest.raises(Crash):
            await app.services.sweeping.slices.run_one(_message(message))
        app.clock.advance(211)
    await app.services.sweeping.sweeper.tend()
    await pumped(app)
    return sweep_id


async def test_a_slice_that_kills_its_host_every_time_ends_and_says_so(app: LocalApp):
    sweep_id = await died_in_every_try(app)
    found = await result(app, sweep_id)
    assert (found["state"], found["details"]) == ("done", {DIED: 1})


@pytest.mark.parametrize("wrong", [{"sweep": "none"}, {"slice": "none"}, {"turn": 9}])
async def test_a_message_that_fits_no_slice_is_dropped(app: LocalApp, wrong: dict[str, object]):
    sweep_id = await begun(app)
    message = SliceMessage.model_validate_json(message_of(await slice_of(app, sweep_id, "cluster")))
    outcome = await app.services.sweeping.slices.run_one(message.model_copy(update=wrong))
    assert outcome == ("stale" if "turn" in wrong else "unknown")
    assert await app.services.sweeping.slices.poisoned(message.model_copy(update=wrong)) in {"stale", "ended"}


async def test_what_fails_for_a_while_is_tried_again_and_counted_once(app: LocalApp):
    connection_id = await connected(app)
    app.world.remove(CLUSTER)
    failed = []

    def broken(call: Call) -> BaseException | None:
        if call.name == "state.query" and call.arguments[1] == connection_id and len(failed) < 3:
            failed.append(call)
            return TransientError("storage-busy", "later")
        return None

    app.journal.before = broken
    found = await swept(app)
    assert len(failed) == 3
    assert (found["state"], found["details"]) == ("done", {"cluster-gone": 1})
    assert found["totals"]["connections"] == 1
    assert found["totals"]["clusters"] == 1
    assert found["totals"]["prunes"] == {"cluster": 1}


async def test_what_fails_for_ever_ends_its_slice_with_its_code_and_no_other(app: LocalApp):
    await connected(app)

    def broken(call: Call) -> BaseException | None:
        return TransientError("service-error", "no") if call.name == "clusters.describe" else None

    app.journal.before = broken
    found = await swept(app)
    assert (found["state"], found["details"]) == ("done", {"service-error": 1})
    assert found["totals"]["subscriptions"] == 1
    assert app.journal.names().count("clusters.describe") >= 5


async def test_what_is_refused_for_good_ends_its_slice_at_once(app: LocalApp):
    def broken(call: Call) -> BaseException | None:
        return PermanentError("access-denied", "no") if call.name == "clusters.describe" else None

    app.journal.before = broken
    found = await swept(app)
    assert (found["state"], found["details"]) == ("done", {"access-denied": 1})
    assert app.journal.names().count("clusters.describe") == 1


class Hanging:
    """A worker that never comes to an end."""

    async def work(self, ledger: Ledger) -> bool:
        await asyncio.Event().wait()
        return True


async def test_a_run_that_never_ends_is_cut_off(app: LocalApp):
    workers = {"cluster": Hanging()}
    hasty = dataclasses.replace(app.services.sweeping.slices, deadline_seconds=0.01, workers=workers)
    sweep_id = await begun(app)
    await hasty.run_one(_message(message_of(await slice_of(app, sweep_id, "cluster"))))
    found = await slice_of(app, sweep_id, "cluster")
    assert (found.state, found.tries) == (SliceState.WAITING, 1)


@pytest.mark.parametrize("code", ["throttled", "kubernetes-busy"])
async def test_a_sweep_goes_on_within_the_hour_though_a_service_asks_for_a_week_of_patience(
    app: LocalApp, code: str
):
    await connected(app)
    refused = []

    def patience(call: Call) -> BaseException | None:
        if call.name == "identities.list" and not refused:
            refused.append(call)
            return TransientError(code, "slow down", retry_after_seconds=604800)
        return None

    app.journal.before = patience
    began_at = app.clock.now()
    found = await swept(app, patience_seconds=7200)
    assert (found["state"], len(refused)) == ("done", 1)
    assert 3600 <= (app.clock.now() - began_at).total_seconds() < 3700
