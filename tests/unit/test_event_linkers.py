"""A linker is recorded while it is alive; what Mooring notes for itself is believed no more than an event."""

import json

import pytest

from shared import naming
from shared.errors import PermanentError, StateConflictError, TransientError
from shared.event_notes import TRIES
from shared.rows import key_hash
from tests.fakes.journal import Call
from tests.fakes.linker_events import (
    LINKER,
    THEIRS,
    created,
    linker,
    receive,
    their_objects,
    written_event,
)
from tests.fakes.local_app import (
    CLUSTER,
    GROUP,
    STORAGE,
    LocalApp,
    create_body,
    delete_body,
    deletion_event,
)


async def test_a_live_linker_is_recorded_with_the_uids_of_its_objects(app: LocalApp):
    client_id = linker(app, client_id="new")
    their_objects(app, client_id)
    assert await receive(app, written_event(LINKER)) == ["observed"]
    stored = await app.services.state.connection(THEIRS)
    assert stored is not None
    value = stored.value
    assert (value.state, value.linker_id, value.generation) == ("observed", LINKER, 1)
    assert (value.spec.target_type, value.spec.client_type) == ("storage-blob", "none")
    intents = await app.services.state.intents(THEIRS)
    assert set(intents) == {"settings", "service_account", "preflight"}
    objects = app.world.clusters[naming.fold_id(CLUSTER)].objects
    assert intents["settings"].outputs == {"uid": objects["Secret", "shop", "sc-theirs-secret"].uid}
    assert {one.planned["provenance"] for one in intents.values()} == {"observed"}
    assert len(await app.store.query("linkers", key_hash(naming.fold_id(CLUSTER)))) == 1
    assert len(app.store.rows("users")) == 1
    assert len(await app.services.events.dependents.of(LINKER)) == 1


async def test_a_linker_with_a_secret_only_is_complete_without_an_account(app: LocalApp):
    linker(app, target=f"{GROUP}/providers/Microsoft.Sql/servers/s")
    their_objects(app, "")
    assert await receive(app, written_event(LINKER)) == ["observed"]
    stored = await app.services.state.connection(THEIRS)
    assert stored is not None
    assert stored.value.spec.target_type == "unknown"
    assert set(await app.services.state.intents(THEIRS)) == {"settings", "preflight"}
    assert app.store.rows("users") == []


@pytest.mark.parametrize("missing", ["objects", "account", "success"])
async def test_a_young_linker_is_looked_at_again_until_it_is_complete(app: LocalApp, missing: str):
    client_id = linker(app, client_id="new", state="Creating" if missing == "success" else "Succeeded")
    if missing != "objects":
        their_objects(app, "" if missing == "account" else client_id)
    assert await receive(app, written_event(LINKER)) == ["observe:later"]
    assert await app.services.state.connection(THEIRS) is None
    linker(app, client_id=client_id)
    their_objects(app, client_id)
    await app.settle(seconds=10)
    assert await app.state(THEIRS) == "observed"


async def test_a_linker_that_never_becomes_complete_is_left_to_the_sweep(app: LocalApp):
    linker(app, client_id="new")
    await receive(app, written_event(LINKER))
    await app.settle(seconds=400)
    assert app.journal.names().count("linkers.get") == TRIES + 1
    assert app.queue.next_due() is None
    assert await app.services.state.connection(THEIRS) is None


async def test_a_linker_that_is_gone_when_it_is_looked_at_is_not_recorded(app: LocalApp):
    assert await receive(app, written_event(LINKER)) == ["observe:gone"]
    linker(app, client_id="new")
    app.world.clusters.clear()
    assert await receive(app, written_event(LINKER)) == ["observe:later"], "its cluster is gone"


async def test_a_linker_of_a_cluster_out_of_reach_is_looked_at_again_and_recorded_once_it_answers(
    app: LocalApp,
):
    their_objects(app, linker(app, client_id="new"))
    app.world.clusters[naming.fold_id(CLUSTER)].reachable = False
    assert await receive(app, written_event(LINKER)) == ["observe:later"]
    await app.settle(seconds=120)
    assert await app.services.state.connection(THEIRS) is None
    app.world.clusters[naming.fold_id(CLUSTER)].reachable = True
    await app.settle(seconds=10)
    assert await app.state(THEIRS) == "observed"


async def test_a_linker_of_a_cluster_that_stays_out_of_reach_is_left_to_the_sweep(app: LocalApp):
    linker(app)
    app.world.clusters[naming.fold_id(CLUSTER)].reachable = False
    assert await receive(app, written_event(LINKER)) == ["observe:later"]
    await app.settle(seconds=400)
    assert app.journal.names().count("linkers.get") == TRIES + 1
    assert app.queue.next_due() is None


async def test_a_fault_while_looking_at_a_linker_delivers_the_event_again(app: LocalApp):
    linker(app)

    def busy(call: Call) -> BaseException | None:
        return TransientError("kubernetes-busy") if call.name == "clusters.get" else None

    app.journal.before = busy
    with pytest.raises(TransientError, match="kubernetes-busy"):
        await receive(app, written_event(LINKER))

    def rule(call: Call) -> BaseException | None:
        return PermanentError("forbidden") if call.name == "clusters.get" else None

    app.journal.before = rule
    other = json.loads(deletion_event(STORAGE))
    both = json.dumps([json.loads(written_event(LINKER)), other])
    assert await receive(app, both) == ["rejected", "prunes:0"], "one event does not lose the others"
    assert [json.loads(text)["reason"] for text in app.queue.take("rejected")] == ["forbidden"]


async def test_looking_again_at_a_live_linker_refreshes_uids_in_the_same_life(app: LocalApp):
    client_id = linker(app, client_id="new")
    their_objects(app, client_id)
    await receive(app, written_event(LINKER))
    first = await app.services.state.connection(THEIRS)
    del app.world.clusters[naming.fold_id(CLUSTER)].objects["Secret", "shop", "sc-theirs-secret"]
    their_objects(app, client_id)
    app.clock.advance(60)
    assert await receive(app, written_event(LINKER)) == ["observed"]
    second = await app.services.state.connection(THEIRS)
    assert first is not None
    assert second is not None
    assert (second.value.generation, second.value.created_at) == (1, first.value.created_at)
    objects = app.world.clusters[naming.fold_id(CLUSTER)].objects
    uid = (await app.services.state.intents(THEIRS))["settings"].outputs["uid"]
    assert uid == objects["Secret", "shop", "sc-theirs-secret"].uid


async def test_a_linker_that_takes_a_name_of_ours_is_not_recorded_over_it(app: LocalApp):
    await created(app, "theirs")
    before = await app.services.state.connection(THEIRS)
    linker(app)
    assert await receive(app, written_event(LINKER)) == ["observe:name-is-ours"]
    assert await app.services.state.connection(THEIRS) == before


async def test_a_linker_after_our_deleted_connection_begins_a_new_life(app: LocalApp):
    await created(app, "theirs")
    await app.send(delete_body("theirs"), message_id="d")
    await app.settle()
    linker(app)
    their_objects(app, "")
    assert await receive(app, written_event(LINKER)) == ["observed"]
    stored = await app.services.state.connection(THEIRS)
    assert stored is not None
    assert (stored.value.generation, stored.value.state) == (2, "observed")


async def test_a_linker_whose_row_moves_while_it_is_recorded_is_looked_at_again(app: LocalApp):
    linker(app)
    their_objects(app, "")
    await receive(app, written_event(LINKER))

    def rule(call: Call) -> BaseException | None:
        moved = call.name == "state.transact" and call.arguments[0] == "connections"
        return StateConflictError() if moved else None

    app.journal.before = rule
    with pytest.raises(StateConflictError):
        await receive(app, written_event(LINKER))
    app.journal.before = None
    assert await receive(app, written_event(LINKER)) == ["observed"]


async def test_an_observed_connection_is_not_deleted_validated_or_created_over(app: LocalApp):
    linker(app)
    their_objects(app, "")
    await receive(app, written_event(LINKER))
    for action in ("delete", "validate"):
        record = await app.send({"action": action, "connectionId": THEIRS}, message_id=action)
        assert (record.outcome, record.code) == ("rejected", "observed-connection")
        assert record.remedy == f"az aks connection {action} --id {LINKER}"
    record = await app.send(create_body("theirs"), message_id="c")
    assert (record.outcome, record.code, record.field) == (
        "rejected",
        "linker-holds-name",
        "connection.name",
    )


async def test_a_service_account_that_waits_for_its_last_user_is_joined_only_after_it_is_gone(app: LocalApp):
    client_id = linker(app, client_id="new")
    their_objects(app, client_id)
    await receive(app, written_event(LINKER))
    users = app.services.events.observer.users
    [row] = app.store.rows("users")
    thing = json.loads(str(row.columns["body"]))["thing"]
    shared = await users.get(thing)
    assert shared is not None
    await users.leave(thing, shared.users[0], operation_id=naming.operation_id(THEIRS, "gone"))
    app.clock.advance(200)
    assert await receive(app, written_event(LINKER)) == ["observed"], "that operation never was"
    again = await users.get(thing)
    assert again is not None
    assert again.closing == ""


@pytest.mark.parametrize(
    "body",
    [
        '{"observe": {"linkerId": 7}}',
        '{"observe": []}',
        '{"observe": {"linkerId": "/x"}, "more": 1}',
        "[" * 4000,
        '{"observe": {"linkerId": "' + "x" * 5000 + '"}}',
    ],
)
async def test_what_only_looks_like_our_note_is_an_event_like_any_other(app: LocalApp, body: str):
    assert await receive(app, body) == ["rejected"]
    assert "linkers.get" not in app.journal.names()


async def test_a_note_with_strange_tries_is_the_last_one(app: LocalApp):
    linker(app, client_id="new")
    for tries in ("many", -5, True, None):
        note = json.dumps({"observe": {"linkerId": LINKER, "tries": tries}})
        assert await receive(app, note.encode()) == ["observe:incomplete"]
    app.clock.advance(5)
    assert app.queue.take("resource-events") == []
