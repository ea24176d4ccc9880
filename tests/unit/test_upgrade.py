"""What an older version left in the middle, this one carries to its end: rows, queues and all.

The scenes are recorded by ``tests/upgrade/record.py`` with the code of the commit that they are named after.
"""

import json
from pathlib import Path
from typing import Any

import azure.functions as func
import pytest

from shared import naming
from shared.errors import TransientError
from shared.models import OperationState
from shared.ports import Upsert
from tests.fakes.http_app import HttpApp
from tests.fakes.local_app import CLUSTER, LocalApp, create_body, delete_body
from tests.upgrade.load import Scene, loaded, scenes

SCENES = scenes()
ID = naming.connection_id(CLUSTER, "shop", "orders-blob")
NOTHING = {"identities": [], "assignments": [], "objects": [], "users": []}
GONE = ("orders-blob", "orders-keys", "orders-more", "canary")

ENDS: dict[str, dict[str, str]] = {
    "create_behind_a_delete": {"orders-blob": "configured"},
    "create_in_the_middle": {"orders-blob": "configured"},
    "create_whose_host_died": {"orders-blob": "configured"},
    "delete_in_the_middle": {"orders-blob": "deleted", "orders-keys": "configured"},
    "last_user_leaves": {"orders-blob": "deleted", "orders-more": "configured"},
    "linker_on_record": {"theirs": "pruned"},
    "prune_before_its_second_look": {"orders-blob": "pruned", "canary": "configured"},
    "prune_held_by_a_pod": {"orders-blob": "pruned", "canary": "configured"},
    "prune_in_its_grace": {"orders-blob": "pruned", "canary": "configured"},
    "repair_in_the_middle": {"orders-blob": "configured"},
    "requests_in_the_queue": {"orders-blob": "configured", "orders-keys": "deleted"},
    "sweep_in_the_middle": {"orders-blob": "pruned", "canary": "configured"},
    "validation_in_the_middle": {"orders-blob": "configured"},
}
"""What each scene must come to, by connection."""


def scene_of(name: str) -> Scene:
    """A copy of a scene, to be changed."""
    [found] = [scene for key, scene in SCENES.items() if key.endswith(f"-{name}")]
    return json.loads(json.dumps(found))


async def finish(app: LocalApp) -> None:
    """Let everything run: waits, holds and the grace period included."""
    for text in app.queue.take("connection-requests"):
        await app.send(text, message_id=naming.digest([text]))
    await app.settle(seconds=3600.0)
    for key in list(app.world.clusters[naming.fold_id(CLUSTER)].pods):
        app.clusters.remove_pod(CLUSTER, *key)
    await app.settle(seconds=4 * 3600.0)


async def states(app: LocalApp, names: Any) -> dict[str, str]:
    return {name: await app.state(naming.connection_id(CLUSTER, "shop", name)) for name in names}


def test_every_kind_of_work_in_flight_is_recorded():
    assert {key.partition("-")[2] for key in SCENES} == set(ENDS)
    kinds = {
        (row["columns"]["kind"], row["columns"]["state"])
        for scene in SCENES.values()
        for row in scene["tables"]["connections"]
        if row["key"].startswith("op|") and row["key"].count("|") == 1
    }
    open_kinds = {kind for kind, state in kinds if not OperationState(state).final}
    assert open_kinds == {"create", "delete", "prune", "repair", "validate"}
    assert {queue for scene in SCENES.values() for queue in scene["queues"]} == {
        "connection-requests",
        "connection-steps",
        "resource-events",
        "sweep-slices",
    }


@pytest.mark.parametrize("key", SCENES)
async def test_what_an_older_version_left_in_the_middle_comes_to_its_end(key: str, tmp_path: Path):
    app = await loaded(SCENES[key], tmp_path)
    await finish(app)
    wanted = ENDS[key.partition("-")[2]]
    assert await states(app, wanted) == wanted
    for name in wanted:
        for operation in await app.operations(naming.connection_id(CLUSTER, "shop", name)):
            assert operation.state is OperationState.SUCCEEDED, operation
    assert await app.services.state.open_operations() == []
    assert app.queue.take("rejected") == []


@pytest.mark.parametrize("key", SCENES)
async def test_after_the_end_a_validation_is_green_and_deletes_leave_nothing(key: str, tmp_path: Path):
    app = await loaded(SCENES[key], tmp_path)
    await finish(app)
    alive = [name for name, state in ENDS[key.partition("-")[2]].items() if state == "configured"]
    for name in alive:
        connection_id = naming.connection_id(CLUSTER, "shop", name)
        await app.send({"action": "validate", "connectionId": connection_id}, message_id=f"v-{name}")
        await app.settle()
        validation = (await app.operations(connection_id))[-1]
        snapshot = await app.services.state.load(validation.operation_id)
        assert snapshot is not None
        found = [one for step in snapshot.steps.values() for one in step.value.outputs["findings"]]
        # Proofs are off by default.
        assert [one for one in found if one["result"] != "ok" and one["name"] != "access-proved"] == []
    for name in alive:
        await app.send(delete_body(name), message_id=f"d-{name}")
    await app.settle(seconds=3600.0)
    assert app.leftovers() == NOTHING


# --- a plan that names a step which is no more ----------------------------------------------------


def without_step(scene: Scene, kind: str, step: str) -> None:
    """Make a scene's open operation one of a version that had another step in the place of ``step``."""
    for row in scene["tables"]["connections"]:
        if row["key"].startswith("op|") and row["columns"].get("kind") == kind:
            operation = row["key"]
    for row in scene["tables"]["connections"]:
        if row["key"].startswith(operation):
            row["key"] = row["key"].replace(f"|{step}", "|step_of_old")
            body = row["columns"]["body"]
            row["columns"]["body"] = body.replace(f'"{step}"', '"step_of_old"')
    for waiting in scene["queues"].get("connection-steps", ()):
        waiting["text"] = waiting["text"].replace(f'"{step}"', '"step_of_old"')


@pytest.mark.parametrize("step", ["settings", "managed_identity", "verify_gone"])
async def test_a_delete_whose_plan_names_a_step_that_is_no_more_fails_and_a_new_one_leaves_nothing(
    step: str, tmp_path: Path
):
    scene = scene_of("delete_in_the_middle")
    without_step(scene, "delete", step)
    app = await loaded(scene, tmp_path)
    await finish(app)
    last = (await app.operations(ID))[-1]
    assert (last.state, last.code) == (OperationState.FAILED, "plan-mismatch")
    assert "step_of_old" in last.detail
    assert await app.state(ID) == "failed"
    for name in ("orders-blob", "orders-keys"):
        await app.send(delete_body(name), message_id=f"again-{name}")
    await finish(app)
    assert await app.state(ID) == "deleted"
    assert app.leftovers() == NOTHING


async def test_a_create_whose_plan_names_a_step_that_is_no_more_fails_and_is_sent_again(tmp_path: Path):
    scene = scene_of("create_in_the_middle")
    without_step(scene, "create", "prove")
    app = await loaded(scene, tmp_path)
    await finish(app)
    assert (await app.operations(ID))[-1].code == "plan-mismatch"
    await app.send(create_body(), message_id="again")
    await finish(app)
    assert await app.state(ID) == "configured"
    await app.send(delete_body(), message_id="delete")
    await finish(app)
    assert app.leftovers() == NOTHING


async def test_a_prune_whose_plan_names_a_step_that_is_no_more_fails_and_a_sweep_opens_it_anew(
    tmp_path: Path,
):
    scene = scene_of("prune_before_its_second_look")
    without_step(scene, "prune", "settings")
    app = await loaded(scene, tmp_path)
    await finish(app)
    assert (await app.operations(ID))[-1].code == "plan-mismatch"
    await app.services.sweeping.sweeper.start(asked_by="request")
    await finish(app)
    assert await app.state(ID) == "pruned"
    assert {one.code for one in await app.operations(ID)} == {"", "plan-mismatch"}


# --- what a newer version left, met by this one ---------------------------------------------------


def newer(text: str) -> str:
    """A message as a later version may write it."""
    return json.dumps({**json.loads(text), "schema_version": 2, "added_later": "x"})


@pytest.mark.parametrize("queue", ["connection-steps", "sweep-slices"])
@pytest.mark.parametrize("ending", ["", "_poison"])
async def test_a_message_of_a_newer_version_goes_back_and_is_told_once(
    queue: str, ending: str, app: LocalApp
):
    http = HttpApp(app)
    await app.send(create_body())
    await app.services.sweeping.sweeper.start(asked_by="request")
    messages = [newer(text) for text in app.queue.take(queue)]
    name = queue.replace("-", "_") + ending
    for text in messages * 3:
        body = text if ending else func.QueueMessage(body=text.encode())
        await http.handlers[name](body)
    assert app.queue.take(queue) == []
    app.clock.advance(600)
    assert sorted(app.queue.take(queue)) == sorted(messages * 3), "as they were, and none is lost"
    told = await http.operations(state="rejected")
    assert [(one["code"], one["source"]) for one in told] == [("message-newer", "queue")] * len(messages)
    assert len(app.queue.take("rejected")) == len(messages)
    assert (await app.operations(ID))[0].state is OperationState.RUNNING


async def test_a_newer_versions_step_is_carried_out_once_that_version_is_back(app: LocalApp):
    """This version plays the newer one, to which the message means something again."""
    http = HttpApp(app)
    await app.send(create_body())
    [text] = app.queue.take("connection-steps")
    await http.handlers["connection_steps"](func.QueueMessage(body=newer(text).encode()))
    app.clock.advance(600)
    [back] = app.queue.take("connection-steps")
    app.queue.put("connection-steps", json.dumps({**json.loads(text), "turn": json.loads(back)["turn"]}))
    await app.settle()
    assert await app.state(ID) == "configured"


@pytest.mark.parametrize(
    "text", ["nonsense", "[]", '{"schema_version": true}', '{"schema_version": "9"}', "{}"]
)
async def test_what_names_no_newer_version_is_handled_as_ever(text: str, app: LocalApp):
    assert not await app.services.newer.put_back("connection-steps", text)
    await HttpApp(app).handlers["connection_steps_poison"](text)
    [told] = await HttpApp(app).operations(state="rejected")
    assert told["code"] == "not-a-step"


async def test_an_operation_that_a_newer_version_wrote_stays_as_it_is_until_that_version_is_back(
    app: LocalApp,
):
    http = HttpApp(app)
    await app.send(create_body())
    [row] = [one for one in app.store.rows("connections") if one.columns.get("kind")]
    body = str(row.columns["body"])
    later = body.replace('"begun":', '"added_later":1,"begun":')
    await app.store.transact(
        "connections", row.partition, [Upsert(key=row.key, columns={**row.columns, "body": later})]
    )
    [text] = app.queue.take("connection-steps")
    with pytest.raises(TransientError, match="row-unreadable"):
        await http.handlers["connection_steps"](func.QueueMessage(body=text.encode()))
    await http.handlers["connection_steps_poison"](text)
    await app.settle(seconds=300)
    assert app.world.identities == {}, "nothing is done with what is not understood"
    assert [key for key, _ in await app.services.state.open_operations()] == [row.key.removeprefix("op|")]
    await app.store.transact("connections", row.partition, [Upsert(key=row.key, columns=row.columns)])
    await app.settle(seconds=600)
    assert await app.state(ID) == "configured"
