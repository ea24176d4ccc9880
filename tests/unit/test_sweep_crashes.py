"""Sweeps of many clusters in bounded messages, and through the death of a host at any call."""

from pathlib import Path

from handlers import timers
from shared import naming
from shared.inventory import Entry, Inventory
from shared.models import ConnectionId
from shared.sweeping.sweeps import SliceMessage
from tests.fakes.journal import Call
from tests.fakes.local_app import CLUSTER, GROUP, STORAGE, LocalApp, make_app
from tests.fakes.sweeps import begun, connected, prunes, put_linker, result, swept


class Crash(BaseException):
    """The host dies."""


def _message(text: str) -> SliceMessage:
    return SliceMessage.model_validate_json(text)


async def many(app: LocalApp, number: int, cluster_id: str = CLUSTER) -> None:
    """Connections on record that are over: cheap, and each is looked at."""
    inventory = Inventory(app.store)
    for n in range(number):
        connection_id = ConnectionId(f"{n:024x}")
        entry = Entry(resource_id=cluster_id, kind="cluster", connection_id=connection_id, generation=1)
        await inventory.note(entry)


async def test_a_slice_goes_on_in_a_new_message_when_its_time_is_up(app: LocalApp):
    await many(app, 1000)

    def slow(call: Call) -> None:
        if call.name == "state.query" and call.arguments[0] == "connections":
            app.clock.advance(0.5)

    app.journal.before = slow
    found = await swept(app)
    cluster = next(one for one in found["slices"] if one["kind"] == "cluster")
    assert cluster["messages"] == 6
    assert cluster["counts"]["clusters"] == 1
    assert cluster["calls"]["arm"] == 12  # describe and linkers in each message
    read = [one.arguments[1] for one in app.journal.calls if one.name == "state.query"]
    assert len([one for one in read if one.startswith("0000")]) == 2000  # once here, once by housekeeping
    assert found["state"] == "done"


async def test_a_hundred_clusters_are_looked_at_in_a_bounded_number_of_messages(app: LocalApp):
    pattern = f"{GROUP}/providers/Microsoft.ContainerService/managedClusters/*"
    app.policy_file.write_text(app.policy_file.read_text().replace(CLUSTER, pattern))
    for n in range(100):
        cluster_id = f"{CLUSTER}-{n}"
        app.world.add_cluster(cluster_id)
        await many(app, 2, cluster_id)
    app.world.clusters[naming.fold_id(f"{CLUSTER}-7")].reachable = False
    app.world.remove(f"{CLUSTER}-8")
    found = await swept(app)
    assert found["state"] == "done"
    assert found["sliceCount"] == 102
    assert sum(one["messages"] for one in found["slices"]) == 102
    assert found["totals"]["clusters"] == 100
    assert found["details"] == {"cluster-gone": 1, "unreachable": 1}


async def test_clusters_of_other_subscriptions_are_no_slices(app: LocalApp):
    other = CLUSTER.replace("11111111-1111", "99999999-9999")
    app.policy_file.write_text(app.policy_file.read_text().replace(CLUSTER, other))
    await many(app, 1, other)
    found = await swept(app)
    assert [one["kind"] for one in found["slices"]] == ["housekeeping", "subscription"]


async def test_a_crash_at_any_call_of_a_port_changes_nothing_of_what_is_found(tmp_path: Path):
    expected = await _story(tmp_path, dies_at=0)
    calls = expected.pop("calls")
    assert expected["totals"]["prunes"] == {"linker": 1, "target": 1}
    assert expected["totals"]["orphans"] == {"secret": {"new": 1}}
    # Dying after one call is dying before the next: each place is visited once.
    for number in range(1, calls + 1):
        found = await _story(tmp_path, dies_at=number)
        found.pop("calls")
        assert found == expected, number


async def _story(folder: Path, *, dies_at: int) -> dict[str, object]:
    """A sweep with something of each kind to find; the host dies once."""
    app = make_app(folder)
    connection_id = await connected(app)
    linker_id = put_linker(app)
    await swept(app)
    app.clock.advance(60)
    app.world.remove(linker_id)
    app.world.remove(STORAGE)
    app.clusters.put_object(CLUSTER, "Secret", "shop", "sc-old-secret")
    first = len(app.journal.calls)
    sweep_id = await begun(app)
    alive = {"dead": False, "died": not dies_at}

    def die(call: Call) -> BaseException | None:
        if not alive["died"] and call.number - first == dies_at:
            alive["dead"] = alive["died"] = True
        return Crash() if alive["dead"] else None

    app.journal.after = die
    for _ in range(60):
        for text in app.queue.take("sweep-slices"):
            try:
                await app.services.sweeping.slices.run_one(_message(text))
            except Crash:
                alive["dead"] = False
                app.queue.put("sweep-slices", text, 10)
        if (await result(app, sweep_id))["state"] == "done":
            break
        app.clock.advance(60)
        try:
            await timers.announce_again(app.services)
            await app.services.sweeping.sweeper.tend()
        except Crash:
            alive["dead"] = False
    calls = len(app.journal.calls) - first
    app.journal.after = None
    found = await result(app, sweep_id)
    theirs = naming.connection_id(CLUSTER, "shop", "theirs")
    return {
        "calls": calls,
        "state": found["state"],
        "totals": found["totals"],
        "details": found["details"],
        "prunes": [await prunes(app, one) for one in (connection_id, theirs)],
        "orphans": len(app.store.rows("orphans")),
    }
