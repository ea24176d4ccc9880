"""Releases over HTTP: what the cap holds goes on, and nothing else is touched."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from shared import releasing
from shared.errors import StateConflictError
from tests.fakes.held_prunes import held_by_cap, read_again
from tests.fakes.http_app import HttpApp
from tests.fakes.journal import Call
from tests.fakes.local_app import CLUSTER, LocalApp, create_body, deletion_event, make_app
from tests.unit.test_restore import LINKER, THEIRS, observed, pruned

MISSING = f"{'0' * 24}-{'0' * 12}"


@pytest.fixture
def app(tmp_path: Path) -> LocalApp:
    return make_app(tmp_path, MOORING_PRUNE_CONFIRM_SECONDS="1", MOORING_PRUNE_GRACE_SECONDS="1")


@pytest.mark.parametrize("by", ["cluster", "operation"])
async def test_what_the_cap_holds_is_released_and_woken(tmp_path: Path, by: str):
    app, [prune] = await held_by_cap(tmp_path)
    body = {"clusterId": CLUSTER.upper()} if by == "cluster" else {"operationIds": [prune.operation_id]}
    status, answer, _ = await HttpApp(app).call("release_prunes", body=body)
    released = [{"operationId": prune.operation_id, "outcome": "released"}]
    assert (status, answer) == (200, {"prunes": released, "released": 1, "truncated": False})
    present = await read_again(app, prune)
    assert present.released
    snapshot = await app.services.state.load(prune.operation_id)
    assert snapshot is not None
    step = snapshot.steps["confirm_gone"].value
    assert (step.announced, step.due_at) == (True, app.clock.now())
    await app.settle(seconds=600)
    assert (await read_again(app, prune)).state == "succeeded"
    assert await app.state(prune.connection_id) == "pruned"
    _, again, _ = await HttpApp(app).call("release_prunes", body={"operationIds": [MISSING]})
    assert again["prunes"] == [{"operationId": MISSING, "outcome": "not-found"}]


async def test_what_is_not_held_by_the_cap_is_not_released(app: LocalApp):
    prune = await pruned(app)
    _, body, _ = await HttpApp(app).call("release_prunes", body={"operationIds": [prune.operation_id]})
    assert body["prunes"] == [{"operationId": prune.operation_id, "outcome": "ended"}]
    _, body, _ = await HttpApp(app).call("release_prunes", body={"clusterId": CLUSTER})
    assert body == {"prunes": [], "released": 0, "truncated": False}


async def test_a_release_that_meets_a_moving_row_looks_again_and_never_for_ever(tmp_path: Path):
    app, [prune] = await held_by_cap(tmp_path)
    conflicts = [True]

    def rule(call: Call) -> BaseException | None:
        moved = call.name == "state.transact" and call.arguments[0] == "connections"
        return StateConflictError() if moved and conflicts and conflicts.pop() else None

    app.journal.before = rule
    [released] = (await app.services.releaser.of_cluster(CLUSTER)).prunes
    assert (released.operation_id, released.outcome) == (prune.operation_id, "released")
    app.journal.before = lambda call: StateConflictError() if call.name == "state.transact" else None
    with pytest.raises(StateConflictError):
        await app.services.releaser.these([prune.operation_id])


async def test_only_prunes_of_that_cluster_are_released(tmp_path: Path):
    app, [prune] = await held_by_cap(tmp_path)
    await app.send(create_body("three"), message_id="three")
    assert (await app.services.releaser.of_cluster(f"{CLUSTER}-2")).prunes == []
    assert not (await read_again(app, prune)).released


async def test_a_call_releases_so_many_and_says_that_there_are_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    app, held = await held_by_cap(tmp_path, connections=4)
    monkeypatch.setattr(releasing, "LIMIT", 2)
    http, body = HttpApp(app), {"clusterId": CLUSTER}
    _, first, _ = await http.call("release_prunes", body=body)
    assert (first["released"], first["truncated"]) == (2, True)
    _, second, _ = await http.call("release_prunes", body=body)
    assert (second["released"], second["truncated"]) == (1, False), "what was released is not held any more"
    assert all([(await read_again(app, one)).released for one in held])


async def test_a_prune_that_waits_for_a_pod_is_not_released(app: LocalApp):
    client_id = await observed(app)
    spec = {"serviceAccountName": f"sc-account-{client_id}", "containers": []}
    app.clusters.put_pod(CLUSTER, "shop", "p", spec)
    app.world.remove(LINKER)
    app.queue.put("resource-events", deletion_event(LINKER))
    await app.settle(seconds=100)
    [prune] = await app.operations(THEIRS)
    _, body, _ = await HttpApp(app).call("release_prunes", body={"operationIds": [prune.operation_id]})
    assert body["prunes"][0]["outcome"] == "not-held"


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"{", "invalid-release"),
        (b"[" * 5000, "invalid-release"),
        (b'{"clusterId": "' + b"x" * 20_000 + b'"}', "invalid-release"),
        ([], "invalid-release"),
        ({"clusterId": 7}, "invalid-release"),
        ({"clusterId": CLUSTER, "operationIds": [MISSING]}, "invalid-release"),
        ({"operationIds": []}, "invalid-release"),
        ({"operationIds": [MISSING] * 101}, "invalid-release"),
        ({"clusterId": "/x"}, "invalid-id"),
        ({"operationIds": ["x"]}, "invalid-id"),
    ],
)
async def test_a_release_that_names_nothing_sound_is_refused(app: LocalApp, body: Any, code: str):
    status, answer, _ = await HttpApp(app).call("release_prunes", body=body)
    assert (status, answer["code"]) == (400, code)
